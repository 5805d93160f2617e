"""A store in memory, for tests: nothing to set up, nothing to clean up.

>>> from sqlalchemy_imageattach.context import store_context
>>> store = MemoryStore()
>>> with store_context(store):
...     pass  # attach pictures and commit
>>> len(store)
0
"""

from __future__ import annotations

import errno
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO
from urllib.parse import quote

from ..arguments import wrong_type
from ..blobpart import BlobPart
from ..errors import BlobExistsError, BlobNotFoundError
from ..file import copy_chunks
from ..key import ImageKey
from ..store import StoredBlob
from .keyed import KeyedStore

__all__ = ["MemoryStore"]


class MemoryStore(KeyedStore):
    """Keeps blobs in the memory of this process.  Threads can share it.

    A blob is there whole or not at all, and with a revision it is never overwritten, as in any other store.

    :param base_url: what URLs start with; they lead nowhere
    :raises InvalidTypeError: ``base_url`` is no string
    """

    def __init__(self, base_url: str = "memory:///") -> None:
        if not isinstance(base_url, str):
            raise wrong_type("base_url", base_url, "str")
        self.base_url = base_url if base_url.endswith("/") else f"{base_url}/"
        self._blobs: dict[ImageKey, bytes] = {}
        self._modified: dict[ImageKey, datetime] = {}
        self._lock = threading.Lock()

    @property
    def blobs(self) -> dict[ImageKey, bytes]:
        """What is stored at this moment, by key: a copy, which later changes do not reach."""
        with self._lock:
            return dict(self._blobs)

    def _put(self, key: ImageKey, file: IO[bytes], reproducible: bool) -> None:
        """Afterwards the blob is there; if ``file`` raises, it is not.

        :raises BlobExistsError: there is a blob with this revision already; it stays as it is
        """
        self._store(key, file, replace=key.revision is None)

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        """Afterwards the blob is there; of several who try at once, one can.

        :raises BlobExistsError: there is one already; it stays as it is
        """
        self._store(key, file, replace=False)

    def _store(self, key: ImageKey, file: IO[bytes], *, replace: bool) -> None:
        copy = io.BytesIO()
        copy_chunks(file, copy)  # before locking: a slow source must not keep the others waiting
        with self._lock:
            if not replace and key in self._blobs:
                msg = f"{key.file_path()} is stored already, and is not overwritten; store it with a new revision"
                raise BlobExistsError(errno.EEXIST, msg)
            self._blobs[key] = copy.getvalue()
            self._modified[key] = datetime.now(UTC)

    def _get(self, key: ImageKey) -> IO[bytes]:
        """A file of its own with the blob.

        :raises BlobNotFoundError: there is none
        """
        with self._lock:
            blob = self._blobs.get(key)
        if blob is None:
            raise BlobNotFoundError(errno.ENOENT, f"no such blob: {key.file_path()}")
        return io.BytesIO(blob)

    def _get_part(self, key: ImageKey, start: int, length: int | None) -> BlobPart:
        part = super()._get_part(key, start, length)
        with self._lock:
            return replace(part, stat=replace(part.stat, modified_at=self._modified.get(key)))

    def _url(self, key: ImageKey) -> str:
        """A URL that names the blob, but can be opened by nobody."""
        return self.base_url + quote(key.file_path())

    def _delete(self, key: ImageKey) -> bool:
        """Afterwards the blob is not there.

        :return: whether it was
        """
        with self._lock:
            self._modified.pop(key, None)
            return self._blobs.pop(key, None) is not None

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        """What is stored when the first one is asked for; names are the paths that they would have in a directory."""
        with self._lock:
            keys = list(self._blobs)
        for key in keys:
            with self._lock:
                blob, modified_at = self._blobs.get(key), self._modified.get(key)
            if blob is None or modified_at is None:
                continue  # deleted meanwhile
            if (name := key.file_path()).startswith(prefix):
                yield StoredBlob(name, len(blob), modified_at, key)

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._blobs

    def __len__(self) -> int:
        with self._lock:
            return len(self._blobs)

    def __bool__(self) -> bool:
        return True  # an empty store is still a store: `store or other` must not pass it over

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} blobs>"
