"""Pictures on their way into a store: attached to an image, not yet written, or written but not yet committed.

What an image carries of them is kept in its ``_attachment``, an :class:`Attachment`.  It outlives a rollback, so that
the same object can be added to a session again; once its transaction has committed the content is let go.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import IO, Any, Protocol
from weakref import WeakValueDictionary

from sqlalchemy import inspect

from ...key import ImageKey, new_revision
from ...store import Store

__all__ = ["Attachment", "Content", "StoredContent", "Upload", "attachment_of", "find_upload", "remember_merged"]


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
class Upload:
    """What is to be written for one image, and where."""

    content: Content
    store: Store
    #: Stands in the ``revision`` of the image until it is flushed.
    token: str = field(default_factory=new_revision)

    def __post_init__(self) -> None:
        _uploads[self.token] = self


@dataclass(slots=True)
class Attachment:
    """What this process knows of an image beyond its row."""

    #: The content to write, or written by a transaction that is not committed yet.
    upload: Upload | None = None
    #: What was merged into a stored image and is not flushed yet.
    merged: Upload | None = None
    #: The store that certainly has the blob, if that is known.
    stored_in: Store | None = None
    #: The store given to the operation that removed the image from its set.
    removed_from: Store | None = None
    #: For a thumbnail: the original that it was made from.
    made_from: Any = None

    @property
    def is_pending(self) -> bool:
        """Whether there is no blob in any store yet."""
        return self.upload is not None and self.stored_in is None

    def __reduce__(self) -> tuple[Any, ...]:
        # stores hold connections and locks; a file in waiting cannot travel
        if self.upload is not None:
            msg = "an image whose file is not committed yet cannot be pickled: commit its session first"
            raise pickle.PicklingError(msg)
        return Attachment, ()


# Session.merge() copies the columns of an unsaved image to another object, and nothing else: the token is what leads
# from the copy to the content.  Weak, so the content is not kept alive by it.
_uploads: WeakValueDictionary[str, Upload] = WeakValueDictionary()


def attachment_of(image: Any) -> Attachment:
    """The :class:`Attachment` of ``image``, made when there is none yet."""
    attachment = image.__dict__.get("_attachment")
    if attachment is None:
        attachment = image.__dict__["_attachment"] = Attachment()
    return attachment  # type: ignore[no-any-return]


def remember_merged(image: Any, revision: object) -> None:
    """If ``revision`` is the token of an unsaved image, ``image`` is a copy of it, and keeps its content alive."""
    upload = _uploads.get(revision) if isinstance(revision, str) else None
    if upload is not None:
        if inspect(image).key is None:
            attachment_of(image).upload = upload
        else:  # until it is flushed, it has the blob that it had
            attachment_of(image).merged = upload


def find_upload(image: Any) -> Upload | None:
    """What is to be written for ``image``, also if ``image`` is a merged copy of the one that it was attached to."""
    upload = attachment_of(image).upload
    if upload is None and isinstance(token := getattr(image, "revision", None), str):
        upload = _uploads.get(token)
    return upload
