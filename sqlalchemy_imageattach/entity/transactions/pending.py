"""Pictures on their way into a store: attached to an image, not yet written, or written but not yet committed.

What an image carries of them is kept in its ``_blob_state``, an :class:`BlobState`.  It outlives a rollback, so that
the same object can be added to a session again; once its transaction has committed the content is let go.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import IO, Any, Protocol
from weakref import WeakValueDictionary

from sqlalchemy.orm.attributes import instance_state

from ...key import ImageKey, new_revision
from ...store import Store, revision_of

__all__ = [
    "BlobState",
    "Content",
    "PendingBlob",
    "StoredContent",
    "blob_state",
    "find_pending",
    "is_pending",
    "remember_merged",
    "stored_in",
]


class Content(Protocol):
    """Bytes that can be read as often as needed, each time from their start."""

    @property
    def byte_size(self) -> int | None: ...
    @property
    def checksum(self) -> str | None: ...
    def open(self) -> IO[bytes]: ...


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The content of a blob that is in a store already; for an image that moves to another key."""

    store: Store
    key: ImageKey
    byte_size: int | None
    checksum: str | None

    def open(self) -> IO[bytes]:
        return self.store.get(self.key)


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class PendingBlob:
    """What is to be written for one image, and where."""

    content: Content
    #: ``None`` if the flush has to ask the session for it.
    store: Store | None
    #: Whether nobody has named the store, so that it was that of the session: another session may have another one.
    is_of_session: bool = False
    #: Stands in the ``revision`` of the image until it is flushed.
    token: str = field(default_factory=new_revision)

    def __post_init__(self) -> None:
        _by_token[self.token] = self

    def beside(self, content: Content) -> PendingBlob:
        """Another one, which goes to where this one goes."""
        return PendingBlob(content, self.store, self.is_of_session)


@dataclass(slots=True)
class BlobState:
    """What this process knows of an image beyond its row."""

    #: The content to write, or written by a transaction that is not committed yet.
    pending: PendingBlob | None = None
    #: What was merged into a stored image and is not flushed yet.
    merged: PendingBlob | None = None
    #: The store that certainly has the blob, if that is known.
    stored_in: Store | None = None
    #: The store given to the operation that removed the image from its set.
    removed_from: Store | None = None
    #: Whether another image takes its place: then what else belongs to the picture is looked for after the flush.
    is_replaced: bool = False
    #: For a thumbnail: the original that it was made from.
    made_from: Any = None
    #: The attributes by which its set tells its picture from others of the same owner.
    discriminators: Collection[str] = ()

    @property
    def is_pending(self) -> bool:
        """Whether there is no blob in any store yet."""
        return self.pending is not None and self.stored_in is None

    def __reduce__(self) -> tuple[Any, ...]:
        # stores hold connections and locks; a file in waiting cannot travel
        if self.pending is not None:
            msg = "an image whose file is not committed yet cannot be pickled: commit its session first"
            raise pickle.PicklingError(msg)
        return BlobState, ()


# Session.merge() copies the columns of an unsaved image to another object, and nothing else: the token is what leads
# from the copy to the content.  Weak, so the content is not kept alive by it.
_by_token: WeakValueDictionary[str, PendingBlob] = WeakValueDictionary()


def blob_state(image: Any) -> BlobState:
    """The :class:`BlobState` of ``image``, made when there is none yet."""
    state = image.__dict__.get("_blob_state")
    if state is None:
        state = image.__dict__["_blob_state"] = BlobState()
    return state  # type: ignore[no-any-return]


def is_pending(image: Any) -> bool:
    """Whether there is no blob of ``image`` in any store yet.  For each image of a page, so nothing is made for it."""
    state: BlobState | None = image.__dict__.get("_blob_state")
    return state is not None and state.is_pending


def stored_in(image: Any) -> Store | None:
    """The store that certainly has the blob of ``image``, if that is known.  Likewise."""
    state: BlobState | None = image.__dict__.get("_blob_state")
    return None if state is None else state.stored_in


def remember_merged(image: Any, revision: object) -> None:
    """If ``revision`` is the token of an unsaved image, ``image`` is a copy of it, and keeps its content alive."""
    pending = _by_token.get(revision) if isinstance(revision, str) else None
    if pending is not None:
        if instance_state(image).key is None:
            blob_state(image).pending = pending
        else:  # until it is flushed, it has the blob that it had
            blob_state(image).merged = pending


def find_pending(image: Any) -> PendingBlob | None:
    """What is to be written for ``image``, also if ``image`` is a merged copy of the one that it was attached to."""
    pending = blob_state(image).pending
    if pending is None and isinstance(token := revision_of(image), str):
        pending = _by_token.get(token)
    return pending
