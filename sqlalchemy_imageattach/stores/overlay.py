"""Two stores that look like one: changes go to the first, and the second is never written.

So production's pictures can be used, replaced and deleted in a preview, and production does not notice:

>>> from sqlalchemy_imageattach.stores.memory import MemoryStore
>>> production, preview = MemoryStore(), MemoryStore()
>>> key = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2w")
>>> production.put(key, io.BytesIO(b"a picture"), reproducible=False)
>>> store = OverlayStore(preview, production)
>>> store.get(key).read()
b'a picture'
>>> store.delete_key(key)
True
>>> store.get(key)
Traceback (most recent call last):
  ...
sqlalchemy_imageattach.errors.BlobNotFoundError: ...
>>> production.get(key).read()
b'a picture'

That a blob of the underlying store is deleted is written down as a mark: a blob with the key of the deleted one, and
with :data:`MARK` as its content, in the overriding store.
"""

from __future__ import annotations

import enum
import errno
import io
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from ..arguments import wrong_type
from ..blobpart import BlobPart, BlobStat
from ..errors import BlobExistsError, BlobNotFoundError, InvalidValueError
from ..file import COPY_CHUNK, is_seekable
from ..key import ImageKey
from ..store import ImageLike, Store, StoredBlob, are_same_place, is_missing, key_of
from .keyed import KeyedStore

__all__ = ["MARK", "OverlayStore", "State"]

#: What stands in the overriding store in the place of a blob that is deleted.  No image starts so.
MARK = b"This image is deleted: SQLAlchemy-ImageAttach overlay mark 1\n"

# of how many blobs with a revision it is remembered where they are
_REMEMBERED = 100_000


class State(enum.Enum):
    """What the overriding store has of a blob."""

    PRESENT = enum.auto()
    ABSENT = enum.auto()
    DELETED = enum.auto()


class OverlayStore(KeyedStore):
    """Reads fall through to ``underlying`` where ``overriding`` has nothing; writes and deletions stop at the latter.

    ``underlying`` is never written.  A failure of ``overriding`` is raised and not taken for an absence.

    A URL is that of the store that has the blob.  To find out which, ``overriding`` is asked: once for each blob with a
    revision, of which the answer is remembered, and every time for one without.  So unlike other stores this one does
    make a request for a URL.  It is meant for previews.

    Of the overriding store's list, the keys are held in memory while :meth:`list_blobs` runs.

    :param overriding: the store for all changes
    :param underlying: the store that is only read
    :raises InvalidTypeError: one of them is no store
    :raises InvalidValueError: both are the same
    """

    def __init__(self, overriding: Store, underlying: Store) -> None:
        for name, store in (("overriding", overriding), ("underlying", underlying)):
            if not isinstance(store, Store):
                raise wrong_type(name, store, "a store")
        if overriding is underlying:
            raise InvalidValueError(f"expected two stores, got {overriding!r} twice")
        #: The store for all changes.
        self.overriding = overriding
        #: The store that is only read.
        self.underlying = underlying
        self._in_overriding: dict[ImageKey, bool] = {}

    @property
    def accepts_revision(self) -> bool:  # type: ignore[override]  # as its two stores do
        return self.overriding.accepts_revision or self.underlying.accepts_revision

    def _put(self, key: ImageKey, file: IO[bytes], reproducible: bool) -> None:
        """Afterwards the overriding store has the blob.

        :raises OSError: as that store does
        """
        self.overriding.put(key, file, reproducible=reproducible)
        self._remember(key, own=True)

    def _get(self, key: ImageKey) -> IO[bytes]:
        """The blob of the overriding store, or else that of the underlying one.

        :raises BlobNotFoundError: neither has it, or it is deleted
        :raises OSError: a store failed
        """
        file = self._own_file(key)
        return self.underlying.get(key) if file is None else file

    def get_part(self, key: ImageKey, start: int = 0, length: int | None = None) -> BlobPart:
        """A part of the blob of the store that has it; what it raises is what ``get()`` raises."""
        try:
            part = self.overriding.get_part(key, start, length)
        except OSError as error:
            if is_missing(error):
                return self.underlying.get_part(key, start, length)
            raise
        size = part.stat.byte_size
        if (size is None or size <= len(MARK)) and self._state(key) is not State.PRESENT:
            part.file.close()
            raise _deleted(key)
        return part

    def stat_key(self, key: ImageKey) -> BlobStat:
        """What there is to say of the blob of the store that has it."""
        part = self.get_part(key)
        part.file.close()
        return part.stat

    def _url(self, key: ImageKey) -> str:
        """The URL that the store gives which has the blob.

        :raises OSError: the overriding store cannot tell
        """
        return self._store_of(key).url_of(key)

    def _delete(self, key: ImageKey) -> bool | None:
        """Afterwards the blob is not there; the underlying store still has it.

        :return: whether it was, or ``None`` where the overriding store cannot tell
        :raises OSError: a store failed
        """
        state = self._state(key)
        if state is State.DELETED:
            return False
        self._in_overriding.pop(key, None)
        if not self.underlying.has_key(key):
            return self.overriding.delete_key(key)
        if state is State.PRESENT and key.revision is not None:
            self.overriding.delete_key(key)  # blobs with a revision cannot be replaced, not even by a mark
        with suppress(BlobExistsError):  # another thread or process was faster
            self._put_mark(key)
        return True

    def locate(self, image: ImageLike) -> str:
        """The URL of the image, as the store gives it which has the blob."""
        return self._store_of(key_of(image)).locate(image)

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        """What both have, without what is deleted, and without what the overriding store has in its place.

        :param prefix: only what has a name that starts so
        :raises StoreError: one of them cannot list, or failed
        """
        hidden: set[ImageKey] = set()
        for blob in self.overriding.list_blobs(prefix):
            if blob.key is not None:
                hidden.add(blob.key)
                if blob.byte_size <= len(MARK) and self._state(blob.key) is State.DELETED:
                    continue
            yield blob
        for blob in self.underlying.list_blobs(prefix):
            # what is unfinished there is none of our business
            if blob.key not in hidden and not blob.is_temporary:
                yield blob

    def discard_temporary(self, blob: StoredBlob) -> bool:
        """Afterwards what is left of an unfinished write to the overriding store is gone."""
        return self.overriding.discard_temporary(blob)

    def has_key(self, key: ImageKey) -> bool:
        """Whether there is a blob.

        :raises OSError: a store cannot tell
        """
        state = self._state(key)
        return state is State.PRESENT or (state is State.ABSENT and self.underlying.has_key(key))

    def is_same_place(self, other: Store) -> bool:
        """Whether one of the two stores is, or is one that ``other`` stands for: what is there can be seen here."""
        return self is other or any(are_same_place(store, other) for store in (self.overriding, self.underlying))

    # --- the overriding store's part ---------------------------------------------------------------------------------

    def parts(self) -> tuple[Store, ...]:
        """Both stores."""
        return self.overriding, self.underlying

    def targets(self) -> tuple[Store, ...]:
        """The overriding store alone."""
        return (self.overriding,)

    def require_presence(self) -> None:
        """The underlying store is there; the overriding one may have nothing yet.

        :raises StoreError: it is not
        """
        self.underlying.require_presence()

    def _state(self, key: ImageKey) -> State:
        try:
            file = self._own_file(key)
        except BlobNotFoundError:
            return State.DELETED
        if file is None:
            return State.ABSENT
        file.close()
        return State.PRESENT

    def _own_file(self, key: ImageKey) -> IO[bytes] | None:
        """The overriding store's blob; ``None`` if it has none.

        :raises BlobNotFoundError: it has a mark
        """
        try:
            file = self.overriding.get(key)
        except OSError as error:
            if is_missing(error):
                return None
            raise
        return self._unless_mark(key, file)

    def _unless_mark(self, key: ImageKey, file: IO[bytes]) -> IO[bytes]:
        try:
            head = _read_fully(file, len(MARK) + 1)
            if head == MARK:
                raise _deleted(key)
            return _put_back(file, head)
        except BaseException:
            file.close()
            raise

    def _put_mark(self, key: ImageKey) -> None:
        self.overriding.put(key, io.BytesIO(MARK), reproducible=False)

    def _store_of(self, key: ImageKey) -> Store:
        if key.revision is None or not self.overriding.accepts_revision:
            own = self._state(key) is not State.ABSENT
        elif (known := self._in_overriding.get(key)) is not None:
            own = known
        else:
            own = self._state(key) is not State.ABSENT
            self._remember(key, own=own)
        return self.overriding if own else self.underlying

    def _remember(self, key: ImageKey, *, own: bool) -> None:
        if len(self._in_overriding) >= _REMEMBERED:
            self._in_overriding.clear()
        self._in_overriding[key] = own

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.overriding!r}, {self.underlying!r})"


class _Prepended(io.RawIOBase):
    """A file of which the head has been read already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._head[: len(buffer)] if self._head else self._rest.read(len(buffer))
        buffer[: len(part)] = part
        self._head = self._head[len(part) :]
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._rest.close()
        super().close()


def _deleted(key: ImageKey) -> BlobNotFoundError:
    return BlobNotFoundError(errno.ENOENT, f"no such blob: {key.file_path()} is deleted in this overlay")


def _read_fully(file: IO[bytes], size: int) -> bytes:
    """The first ``size`` bytes, or all if there are fewer, even from a file that gives less than it is asked for."""
    head = b""
    while len(head) < size and (part := file.read(size - len(head))):
        head += part
    return head


def _put_back(file: IO[bytes], head: bytes) -> IO[bytes]:
    if is_seekable(file):
        file.seek(-len(head), io.SEEK_CUR)
        return file
    return io.BufferedReader(_Prepended(head, file), COPY_CHUNK)
