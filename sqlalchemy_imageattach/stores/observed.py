"""A store whose calls are counted and timed.

>>> import io
>>> from sqlalchemy_imageattach.observing import observe
>>> from sqlalchemy_imageattach.stores.memory import MemoryStore
>>> store, names = ObservedStore(MemoryStore()), []
>>> stop = observe(lambda event: names.append((event.name, event.attributes["store"])))
>>> store.put(ImageKey("user-picture", 1, 640, 480, "image/jpeg"), io.BytesIO(b"a picture"), reproducible=False)
>>> stop()
>>> names
[('store.put', 'MemoryStore')]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from ..blobpart import BlobPart, BlobStat
from ..key import ImageKey
from ..observing import measured
from ..store import ImageLike, Store, StoredBlob
from ..storewrapper import StoreWrapper

__all__ = ["ObservedStore"]


class ObservedStore(StoreWrapper):
    """A store of which each call is an event; all else is that of the wrapped store.

    ::

        store = ObservedStore(S3Store("pictures"))

    ``store.get`` is the opening; how long the reading takes depends on who reads.  ``store.list`` ends with the list.

    :param wrapped: the store
    :raises InvalidTypeError: it is none
    """

    def _measured(self, verb: str) -> Any:
        return measured(f"store.{verb}", store=type(self.wrapped).__name__)

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        with self._measured("put"):
            super().put_file(*args, **kwargs)

    def get_file(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        with self._measured("get"):
            return super().get_file(*args, **kwargs)

    def delete_file(self, *args: Any, **kwargs: Any) -> bool | None:
        with self._measured("delete"):
            return super().delete_file(*args, **kwargs)

    def store(self, image: ImageLike, file: IO[bytes]) -> None:
        with self._measured("put"):
            super().store(image, file)

    def open(self, image: ImageLike, use_seek: bool = False) -> IO[bytes]:
        with self._measured("get"):
            return super().open(image, use_seek)

    def delete(self, image: ImageLike) -> None:
        with self._measured("delete"):
            super().delete(image)

    def put(self, key: ImageKey, file: IO[bytes], *, reproducible: bool) -> None:
        with self._measured("put"):
            super().put(key, file, reproducible=reproducible)

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        with self._measured("put"):
            super().put_once(key, file)

    def copy_from(self, other: Store, source: ImageKey, target: ImageKey, *, checksum: str, reproducible: bool) -> bool:
        with self._measured("copy"):
            return super().copy_from(other, source, target, checksum=checksum, reproducible=reproducible)

    def get(self, key: ImageKey, *, use_seek: bool = False) -> IO[bytes]:
        with self._measured("get"):
            return super().get(key, use_seek=use_seek)

    def delete_key(self, key: ImageKey) -> bool | None:
        with self._measured("delete"):
            return super().delete_key(key)

    def get_part(self, key: ImageKey, start: int = 0, length: int | None = None) -> BlobPart:
        with self._measured("get"):
            return super().get_part(key, start, length)

    def stat_key(self, key: ImageKey) -> BlobStat:
        with self._measured("has"):
            return super().stat_key(key)

    def has_key(self, key: ImageKey) -> bool:
        with self._measured("has"):
            return super().has_key(key)

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        with self._measured("list"):
            yield from super().list_blobs(prefix)
