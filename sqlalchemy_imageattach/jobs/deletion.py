"""Blobs that a store did not delete when their transaction had ended, as jobs.

Without a queue they are left for the sweeper.  If the session has one, a job deletes each blob as soon as the store
can, where workers know that store: it is that of the session, or the :attr:`~sqlalchemy_imageattach.entity.Image.
image_store` of a class with blobs of this type, which the job then names.  Other blobs stay, which is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy.orm import Session

from ..bulk.classes import object_types
from ..concurrency import run_blocking
from ..context import find_store, own_store
from ..entity.identity import mapper_of
from ..entity.locks import image_classes
from ..entity.transactions.frame import BlobRef
from ..entity.transactions.ledger import left_behind
from ..errors import ImageAttachError
from ..key import ImageKey
from ..store import Store, are_same_place
from .job import Job, name_of_class
from .queue import find_queue, hand_over
from .runner import Work, handles

__all__ = ["DELETE"]

#: The kind of these jobs.
DELETE = "imageattach.delete"

_log = logging.getLogger(__name__)


@handles(DELETE)
def _delete(work: Work) -> None:
    """The blob is not in the store any more.  A revision is given once, so no row has come to name it meanwhile."""
    key = ImageKey.parse_object_name(work.job.params["blob"])
    if key is None or key.revision is None:
        _log.error("%s is given up: expected the name of a blob with a revision", work.job)
        return
    store = _store_of(work)
    if store.delete_key(key) is False:  # None is the answer of those that cannot tell
        _log.warning(
            "%s found nothing to delete in %r: it was done before, or the blob is in a store that is unknown here, and"
            " stays there until it is swept",
            work.job,
            store,
        )


def _store_of(work: Work) -> Store:
    name = work.job.params.get("store_of")
    return work.runner.store if name is None else work.runner.store_of_class(work.runner.find_mapper(name).class_)


def _enqueue(session: Session, blobs: list[BlobRef]) -> None:
    """Never raises because of a store or a class: the database has committed already."""
    try:
        if (queue := find_queue(None, session.info)) is None:
            return
    except ImageAttachError:
        _log.exception("%d blobs are left for the sweeper", len(blobs))
        return
    for blob in blobs:
        if (where := _find_place(session, blob)) is None:
            _log.warning(
                "%r stays in %r until it is swept: no job can delete it, since that is neither the session's store nor"
                " the image_store of its class",
                blob.key,
                blob.store,
            )
        else:
            run_blocking(hand_over, queue, Job(DELETE, params={"blob": blob.key.object_name(), **where}))


def _find_place(session: Session, blob: BlobRef) -> Mapping[str, str] | None:
    """What tells a worker which store has ``blob``; ``None`` if nothing does."""
    with suppress(ImageAttachError):  # the session has none
        if are_same_place(find_store(None, session.info), blob.store):
            return {}
    for cls, store in _own_stores(blob.key.object_type):
        if are_same_place(store, blob.store):
            return {"store_of": name_of_class(cls)}
    return None


def _own_stores(object_type: str) -> Iterator[tuple[type[Any], Store]]:
    """The classes of pictures of this type that name a store themselves, with that store."""
    for cls in sorted(image_classes, key=name_of_class):
        if object_type not in object_types(mapper_of(cls)):
            continue
        try:
            store = own_store(cls)
        except Exception:  # of the application's own code
            _log.exception("the image_store of %s cannot be told", name_of_class(cls))
            continue
        if store is not None:
            yield cls, store


left_behind.append(_enqueue)
