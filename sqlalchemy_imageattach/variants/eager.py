"""Makes the variants that are declared to be made later: by a job, after the outermost commit.

Import :mod:`sqlalchemy_imageattach.variants`, where the application makes its sessions and where its workers make their
:class:`~sqlalchemy_imageattach.jobs.JobRunner`.  From then on, a picture whose class declares variants with
``make="later"`` has a job as soon as its transaction has committed, by the queue that is bound to the session::

    import sqlalchemy_imageattach.variants

    queue = ThreadQueue(JobRunner(Session, Base))
    Session.configure(info={"image_store": store, "image_queue": queue})

Without a queue nothing is made, and ``imageattach variants`` finds what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import event, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, Session, object_session

from ..bulk.classes import own_attachments
from ..entity import BaseImageSet, Image, ImageAttachment, MultipleImageSet
from ..entity.identity import set_identity
from ..jobs import Job, Work, encode_key, enqueue_after_commit, find_queue, handles
from ..jobs.job import name_of_class

__all__ = ["KIND", "make_later_variants"]

#: What jobs of this module are called.
KIND = "imageattach.variants"


@handles(KIND)
def make_later_variants(work: Work) -> None:
    """The picture of the job has all that its class declares to be made now or later."""
    with work.session() as session, session.begin():
        image = work.find_image(session)
        image_set = None if image is None else find_image_set(session, image)
        if image_set is not None:
            variants = image_set.image_class.image_variants
            names = [name for name, variant in variants.items() if variant.make != "on demand"]
            image_set.make_variants(*names, store=work.store)


def find_image_set(session: Session, image: Any) -> BaseImageSet[Any] | None:
    """The set that ``image`` is a part of; ``None`` if it has no owner."""
    for attachment in _attachments_of(inspect(type(image))):
        owners = select(attachment.parent.class_).where(attachment.class_attribute.contains(image))
        owner = session.scalars(owners).first()
        if owner is not None:
            images = getattr(owner, attachment.key)
            if not isinstance(images, MultipleImageSet):
                return images  # type: ignore[no-any-return]
            identity = set_identity(image)
            return images.get_image_set(**{name: identity[name] for name in images._discriminator_names})
    return None


def _attachments_of(mapper: Mapper[Any]) -> Iterator[ImageAttachment[Any]]:
    """Those that lead to images of the mapper's class, and may be written."""
    for owner in mapper.registry.mappers:
        for attachment in own_attachments(owner):
            if not attachment.viewonly and mapper.isa(attachment.mapper):
                yield attachment


@event.listens_for(Image, "after_insert", propagate=True)
def _after_insert(mapper: Mapper[Any], _connection: Connection, image: Any) -> None:
    if image.original:
        _enqueue(mapper, image)


@event.listens_for(Image, "after_update", propagate=True)
def _after_update(mapper: Mapper[Any], _connection: Connection, image: Any) -> None:
    attributes = inspect(image).attrs
    names = [name for name in ("revision", "focal_x", "focal_y") if name in attributes]
    if image.original and any(attributes[name].history.has_changes() for name in names):
        _enqueue(mapper, image)


def _enqueue(mapper: Mapper[Any], image: Any) -> None:
    session = object_session(image)
    if session is None or not any(variant.make == "later" for variant in type(image).image_variants.values()):
        return
    if find_queue(None, session.info) is not None:
        name = name_of_class(type(image))
        identity = tuple(map(encode_key, mapper.primary_key_from_instance(image)))
        enqueue_after_commit(session, Job(KIND, name, identity, getattr(image, "revision", None)))
