"""Stores to which a key is one value: the four documented methods, written once.

Inherit :class:`KeyedStore` and write the same four by key:

>>> import io
>>> from sqlalchemy_imageattach.errors import BlobNotFoundError
>>> class DictStore(KeyedStore):
...     def __init__(self):
...         self.blobs = {}
...     def _put(self, key, file, reproducible):
...         self.blobs[key] = file.read()
...     def _get(self, key):
...         if key not in self.blobs:
...             raise BlobNotFoundError(f"no such blob: {key.file_path()}")
...         return io.BytesIO(self.blobs[key])
...     def _url(self, key):
...         return f"dict:///{key.file_path()}"
...     def _delete(self, key):
...         return self.blobs.pop(key, None) is not None
>>> store = DictStore()
>>> store.put_file(io.BytesIO(b"a picture"), "user-picture", 1, 640, 480, "image/jpeg", False)
>>> store.get(ImageKey("user-picture", 1, 640, 480, "image/jpeg")).read()
b'a picture'
"""

from __future__ import annotations

from abc import abstractmethod
from typing import IO

from ..blobpart import BlobPart, BlobStat
from ..file import completed
from ..key import ImageKey
from ..store import Store

__all__ = ["KeyedStore"]


class KeyedStore(Store):
    """A store that is told of a blob by its :class:`~sqlalchemy_imageattach.key.ImageKey`, made and checked once.

    All stores of this package are.  What they promise of ``_put`` and so on, they promise of ``put_file`` and of
    :meth:`~.Store.store` alike.  A subclass that overrides one of the documented four, and calls the inherited one, is
    asked by way of it.
    """

    # --- to implement ------------------------------------------------------------------------------------------------

    @abstractmethod
    def _put(self, key: ImageKey, file: IO[bytes], reproducible: bool) -> None:
        """Store a blob: what :meth:`.Store.put_file` promises."""
        raise self._not_implemented(self._put)

    @abstractmethod
    def _get(self, key: ImageKey) -> IO[bytes]:
        """Open a blob: what :meth:`.Store.get_file` promises."""
        raise self._not_implemented(self._get)

    @abstractmethod
    def _url(self, key: ImageKey) -> str:
        """Give a blob's URL: what :meth:`.Store.get_url` promises."""
        raise self._not_implemented(self._url)

    @abstractmethod
    def _delete(self, key: ImageKey) -> bool | None:
        """Delete a blob: what :meth:`.Store.delete_file` promises."""
        raise self._not_implemented(self._delete)

    # --- the documented four -----------------------------------------------------------------------------------------

    def put_file(
        self,
        file: IO[bytes],
        object_type: str,
        object_id: int,
        width: int,
        height: int,
        mimetype: str,
        reproducible: bool,
        *,
        revision: str | None = None,
    ) -> None:
        self._put(ImageKey(object_type, object_id, width, height, mimetype, revision), file, reproducible)

    def get_file(
        self,
        object_type: str,
        object_id: int,
        width: int,
        height: int,
        mimetype: str,
        *,
        revision: str | None = None,
    ) -> IO[bytes]:
        return self._get(ImageKey(object_type, object_id, width, height, mimetype, revision))

    def get_url(
        self,
        object_type: str,
        object_id: int,
        width: int,
        height: int,
        mimetype: str,
        *,
        revision: str | None = None,
    ) -> str:
        return self._url(ImageKey(object_type, object_id, width, height, mimetype, revision))

    def delete_file(
        self,
        object_type: str,
        object_id: int,
        width: int,
        height: int,
        mimetype: str,
        *,
        revision: str | None = None,
    ) -> bool | None:
        return self._delete(ImageKey(object_type, object_id, width, height, mimetype, revision))

    # --- to implement if it can be done better -----------------------------------------------------------------------

    def _get_part(self, key: ImageKey, start: int, length: int | None) -> BlobPart:
        """A part of a blob: what :meth:`.Store.get_part` promises."""
        return super().get_part(key, start, length)

    def _stat(self, key: ImageKey) -> BlobStat:
        """What there is to say of a blob: what :meth:`.Store.stat_key` promises."""
        return super().stat_key(key)

    # --- by key: whole, unless one of the four is overridden ---------------------------------------------------------

    def put(self, key: ImageKey, file: IO[bytes], *, reproducible: bool) -> None:
        if _is(self.put_file, KeyedStore.put_file):
            self._put(self.own_key(key), file, reproducible)
        else:
            super().put(key, file, reproducible=reproducible)

    def get(self, key: ImageKey, *, use_seek: bool = False) -> IO[bytes]:
        if _is(self.get_file, KeyedStore.get_file):
            return completed(self._get(self.own_key(key)), use_seek=use_seek)
        return super().get(key, use_seek=use_seek)

    def get_part(self, key: ImageKey, start: int = 0, length: int | None = None) -> BlobPart:
        if _is(self.get_file, KeyedStore.get_file):
            return self._get_part(self.own_key(key), start, length)
        return super().get_part(key, start, length)

    def stat_key(self, key: ImageKey) -> BlobStat:
        if _is(self.get_file, KeyedStore.get_file):
            return self._stat(self.own_key(key))
        return super().stat_key(key)

    def url_of(self, key: ImageKey) -> str:
        if _is(self.get_url, KeyedStore.get_url):
            return self._url(self.own_key(key))
        return super().url_of(key)

    def delete_key(self, key: ImageKey) -> bool | None:
        if _is(self.delete_file, KeyedStore.delete_file):
            return self._delete(self.own_key(key))
        return super().delete_key(key)


def _is(method: object, function: object) -> bool:
    return getattr(method, "__func__", None) is function
