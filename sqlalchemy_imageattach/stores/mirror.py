"""Two stores that are kept alike, for moving from one to the other and, should it come to that, back.

1. ``MirrorStore(old, new)``: what is stored from now on is in both, and read from the old one.
2. Migrate from ``old`` to ``new``, while the application is running.
3. ``MirrorStore(new, old)``: read from the new one.  The way back is to 1, at any time, and nothing is lost by it.
4. ``new`` alone.

>>> import io
>>> from sqlalchemy_imageattach.stores.memory import MemoryStore
>>> old, new = MemoryStore(), MemoryStore()
>>> key = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2w")
>>> MirrorStore(old, new).put(key, io.BytesIO(b"a picture"), reproducible=False)
>>> old.get(key).read() == new.get(key).read()
True

**What holds when one write fails:**

* Storing: the first store is written before the second.  If the first fails, the second is not touched.  If the second
  fails, the blob is deleted from the first again and the error is raised, so that neither has it; should that deletion
  fail too, the first has a blob without a row, which the sweeper finds.  A blob *without* a revision has replaced
  another one by then, which cannot be brought back: it stays in the first store, the second one has the former, and the
  error is raised.
* With ``require_both=False`` a failure of the second store is logged instead, and the first one is then ahead of it.
  Migrate again before the second becomes the first: that copies what is missing.
* Deleting: it is tried in both whatever happens, and then the first error is raised.  A blob that one of them still has
  can be read as before.

**Where one of them takes no revisions**, as stores that were written for 1.x, a new picture takes the place of the
former one of its size there, whatever the other one does.  Transactions know: what is replaced is read before, and
brought back in that store if the transaction is rolled back; if it is committed, the former picture is deleted in the
other store alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TypeVar

from ..arguments import wrong_type
from ..blobpart import BlobPart, BlobStat
from ..errors import BlobExistsError, InvalidValueError
from ..file import Spool, is_seekable
from ..key import ImageKey
from ..store import ImageLike, ListingNotSupportedError, Store, StoredBlob, are_same_place, is_missing, keeps_revisions
from .keyed import KeyedStore

__all__ = ["MirrorStore"]

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class MirrorStore(KeyedStore):
    """Writes to both stores, and reads from the first one that has the blob.  URLs are those of ``first``.

    While ``first`` cannot be reached, ``second`` is read in its place.

    :param first: the store that is written first, read first, and gives the URLs
    :param second: the other one
    :param require_both: whether storing and deleting must succeed in both; otherwise it is enough that it does in
        ``first``, and failures of ``second`` are logged
    :raises InvalidTypeError: one of them is no store
    :raises InvalidValueError: both are the same
    """

    def __init__(self, first: Store, second: Store, *, require_both: bool = True) -> None:
        for name, store in (("first", first), ("second", second)):
            if not isinstance(store, Store):
                raise wrong_type(name, store, "a store")
        if first is second:
            raise InvalidValueError(f"expected two stores, got {first!r} twice")
        self.first = first
        self.second = second
        self.require_both = require_both

    @property
    def accepts_revision(self) -> bool:  # type: ignore[override]  # as its two stores do
        return self.first.accepts_revision or self.second.accepts_revision

    def _put(self, key: ImageKey, file: IO[bytes], reproducible: bool) -> None:
        """Afterwards both have the blob.  See the module's documentation for when one fails.

        :raises OSError: as the store does that failed; errors of ``file`` itself pass as they are
        """
        with _rewindable(file) as source:
            start = source.tell()
            self.first.put(key, source, reproducible=reproducible)
            try:
                source.seek(start)
                self.second.put(key, source, reproducible=reproducible)
            except BaseException as error:
                if not self.require_both and isinstance(error, OSError):
                    _log.warning("%s is in the first store only; migrate it again: %s", key.file_path(), error)
                    return
                self._withdraw(key, error)
                raise

    def _get(self, key: ImageKey) -> IO[bytes]:
        """The blob of the first store that has it.

        :raises BlobNotFoundError: neither has it
        :raises OSError: a store failed, and the other one has no such blob or failed too
        """
        return self._of_either(lambda store: store.get(key))

    def _of_either(self, get: Callable[[Store], _T]) -> _T:
        try:
            return get(self.first)
        except OSError as error:
            try:
                return get(self.second)
            except OSError as second_error:
                # a failure tells more than an absence
                if is_missing(error) and not is_missing(second_error):
                    raise
                raise error from second_error

    def get_part(self, key: ImageKey, start: int = 0, length: int | None = None) -> BlobPart:
        """A part of the blob of the first store that has it; what it raises is what ``get()`` raises."""
        return self._of_either(lambda store: store.get_part(key, start, length))

    def stat_key(self, key: ImageKey) -> BlobStat:
        """The same of what there is to say of it."""
        return self._of_either(lambda store: store.stat_key(key))

    def _url(self, key: ImageKey) -> str:
        """The URL that the first store gives."""
        return self.first.url_of(key)

    def _delete(self, key: ImageKey) -> bool | None:
        """Afterwards neither has the blob.

        :return: whether one had, or ``None`` where that is not known
        :raises OSError: it could not be deleted from one of them
        """
        try:
            in_first = self.first.delete_key(key)
        except OSError:
            with suppress(OSError):  # the first error is the one to raise
                self.second.delete_key(key)
            raise
        try:
            in_second = self.second.delete_key(key)
        except OSError as error:
            if self.require_both:
                raise
            _log.warning("%s is still in the second store; the sweeper finds it: %s", key.file_path(), error)
            return in_first
        if in_first or in_second:
            return True
        return None if in_first is None or in_second is None else False

    def locate(self, image: ImageLike) -> str:
        """The URL of the image, as the first store gives it."""
        return self.first.locate(image)

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        """Refused: what to do about a blob that only one has depends on which one that is.

        :raises ListingNotSupportedError: always
        """
        msg = "a MirrorStore does not list its blobs; check or sweep its stores (first, second) one by one"
        raise ListingNotSupportedError(msg)

    def has_key(self, key: ImageKey) -> bool:
        """Whether one of them has the blob.

        :raises OSError: a store cannot tell, and the other one has no such blob
        """
        try:
            if self.first.has_key(key):
                return True
        except OSError:
            if self.second.has_key(key):
                return True
            raise
        return self.second.has_key(key)

    def is_same_place(self, other: Store) -> bool:
        """Whether one of the two stores is, or is one that ``other`` stands for: what is stored here is in both."""
        return self is other or any(are_same_place(store, other) for store in (self.first, self.second))

    def require_presence(self) -> None:
        """Both are there.

        :raises StoreError: one is not
        """
        self.first.require_presence()
        self.second.require_presence()

    def replicas(self) -> tuple[Store, ...]:
        """Both stores."""
        return self.first, self.second

    def _withdraw(self, key: ImageKey, error: BaseException) -> None:
        # without a revision it is what the key stands for from now on; and one that exists is somebody else's
        if key.revision is None or not keeps_revisions(self.first) or isinstance(error, BlobExistsError):
            return
        try:
            self.first.delete_key(key)
        except OSError as another:
            _log.warning("%s is in the first store only; the sweeper finds it: %s", key.file_path(), another)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.first!r}, {self.second!r})"


@contextmanager
def _rewindable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """``file`` itself, or a copy of what is left of it if it cannot be rewound."""
    if is_seekable(file):
        yield file
    else:
        with Spool.read_from(file).open() as copy:
            yield copy
