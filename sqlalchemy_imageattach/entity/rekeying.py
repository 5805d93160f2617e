"""Owners whose primary key changes, where the database takes the rows of their images along (``ON UPDATE CASCADE``).

SQLAlchemy emits no UPDATE for those rows and sends no event, yet each names another blob afterwards: its key contains
that of its owner.  So when such a key is set, which is rare, the owner is remembered; the images of its sets are loaded
and locked before the flush, and their blobs follow after it.  What listeners set during the flush comes too late for
that, and is refused.  With ``passive_updates=False``, SQLAlchemy updates the rows itself, and none of this is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import InstanceState, Mapper, Session, object_session
from sqlalchemy.orm.attributes import get_history
from sqlalchemy.orm.base import PassiveFlag

from ..concurrency import run_blocking
from ..errors import ImageIdentityError
from ..spool import Spool
from .identity import has_own_column, mapper_of
from .relationship import ImageAttachment
from .transactions.frame import BlobRef
from .transactions.pending import PendingBlob, StoredContent

__all__ = ["images_to_follow", "moving_blob", "refuse_latecomers", "watch_keys"]

#: An ordinary load would look for the images of the new key, of which there are none yet.
_BY_FORMER_KEY = PassiveFlag.PASSIVE_OFF | PassiveFlag.NO_RAISE | PassiveFlag.LOAD_AGAINST_COMMITTED

_REKEYED = "sqlalchemy_imageattach.rekeyed"


def watch_keys(mapper: Mapper[Any]) -> None:
    """From now on owners of class ``mapper`` are remembered when their key is set."""
    for attachment in _cascading(mapper):
        if attachment.parent is mapper:
            for name in _key_names(attachment):
                event.listen(getattr(mapper.class_, name), "set", _remember, propagate=True)


def images_to_follow(session: Session, flushed: Collection[Any] | None) -> Iterator[Any]:
    """The stored images whose rows the coming flush makes the database change; called before it.

    :param flushed: the objects that are to be flushed; ``None`` for all
    :raises ImageIdentityError: an image is to be removed in the same flush, whose DELETE would not find its row
    """
    states = None if flushed is None else {inspect(each) for each in flushed}
    for owner, attachment in _rekeyed(session, states):
        history = get_history(owner, attachment.key, _BY_FORMER_KEY)
        if any(inspect(image).persistent for image in history.deleted or ()):
            raise ImageIdentityError(
                f"{type(owner).__name__} was given another primary key, and images were removed from its"
                f" {attachment.key}: flush in between"
            )
        yield from history.unchanged or ()


def refuse_latecomers(session: Session, flushed: Collection[InstanceState[Any]]) -> None:
    """No owner with images was given another key when the flush was under way; called after it.

    :raises ImageIdentityError: a listener has done so, too late for the blobs to follow
    """
    for owner, attachment in _rekeyed(session, flushed):
        history = get_history(owner, attachment.key, PassiveFlag.PASSIVE_OFF | PassiveFlag.NO_RAISE)
        if any(inspect(image).persistent for image in history.unchanged or ()):
            raise ImageIdentityError(
                f"{type(owner).__name__} was given another primary key by a listener of the flush itself, when the"
                f" files of its {attachment.key} could not follow any more: give it the key before the flush"
            )


def _rekeyed(
    session: Session, flushed: Collection[InstanceState[Any]] | None
) -> Iterator[tuple[Any, ImageAttachment[Any]]]:
    """The remembered owners that are flushed, with each of their attachments that has another key; then forgotten."""
    remembered: list[Any] = session.info.pop(_REKEYED, [])
    waiting = [owner for owner in remembered if flushed is not None and inspect(owner) not in flushed]
    if waiting:
        session.info[_REKEYED] = waiting
    for owner in remembered:
        state = inspect(owner)
        if not state.persistent or state.session is not session or any(owner is other for other in waiting):
            continue
        for attachment in _cascading(state.mapper):
            if any(state.attrs[name].history.has_changes() for name in _key_names(attachment)):
                yield owner, attachment


def _cascading(mapper: Mapper[Any]) -> Iterator[ImageAttachment[Any]]:
    for attachment in mapper.relationships:
        if not isinstance(attachment, ImageAttachment) or attachment.viewonly or attachment.secondary is not None:
            continue  # the key of the owner is in no row of an image
        if attachment.passive_updates:
            yield attachment


def _key_names(attachment: ImageAttachment[Any]) -> list[str]:
    return [attachment.parent.get_property_by_column(local).key for local, _ in attachment.local_remote_pairs or ()]


def _remember(owner: Any, value: object, former: object, _initiator: object) -> None:
    session = object_session(owner)
    if session is not None and inspect(owner).persistent:
        owners = session.info.setdefault(_REKEYED, [])
        if not any(owner is mine for mine in owners):
            owners.append(owner)


def moving_blob(image: Any, blob: BlobRef) -> PendingBlob:
    """What takes the blob of ``image`` along to its new key."""
    if blob.is_immutable:
        mapper = mapper_of(type(image))
        known = {name: getattr(image, name) for name in ("byte_size", "checksum") if has_own_column(mapper, name)}
        content = StoredContent(blob.store, blob.key, known.get("byte_size"), known.get("checksum"))
        return PendingBlob(content, blob.store)
    # the same flush may write another picture over it
    return PendingBlob(run_blocking(_read, blob), blob.store)


def _read(blob: BlobRef) -> Spool:
    with blob.store.get(blob.key) as file:
        return Spool.read_from(file)
