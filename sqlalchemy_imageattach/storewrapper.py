"""A store around another one, to which it hands everything on: to be inherited by those that change little of it.

>>> from sqlalchemy_imageattach.stores.memory import MemoryStore
>>> class CountingStore(StoreWrapper):
...     deletions = 0
...     def delete_key(self, key):
...         self.deletions += 1
...         return super().delete_key(key)
>>> store = CountingStore(MemoryStore())
>>> store.delete_key(ImageKey("user-picture", 1, 640, 480, "image/jpeg")), store.deletions, store.blobs
(False, 1, {})
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from .arguments import wrong_type
from .blobpart import BlobPart, BlobStat
from .key import ImageKey
from .store import ImageLike, Store, StoredBlob, are_same_place
from .uploadtarget import UploadTarget

__all__ = ["StoreWrapper"]


class StoreWrapper(Store):
    """Does what the wrapped store does, and has what it has.

    Every method goes to its namesake, since a store may override any: override here all that lead to what is to be
    changed, such as ``put_file``, ``put`` and ``store``.

    :param wrapped: the store to hand everything on to
    :raises InvalidTypeError: it is no store
    """

    def __init__(self, wrapped: Store) -> None:
        if not isinstance(wrapped, Store):
            raise wrong_type("", wrapped, "a store to wrap")
        self._wrapped = wrapped

    @property
    def wrapped(self) -> Store:
        """The store to which everything is handed on."""
        return self._wrapped

    @property
    def accepts_revision(self) -> bool:  # type: ignore[override]
        return self.wrapped.accepts_revision

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        self.wrapped.put_file(*args, **kwargs)

    def get_file(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        return self.wrapped.get_file(*args, **kwargs)

    def get_url(self, *args: Any, **kwargs: Any) -> str:
        return self.wrapped.get_url(*args, **kwargs)

    def delete_file(self, *args: Any, **kwargs: Any) -> bool | None:
        return self.wrapped.delete_file(*args, **kwargs)

    def store(self, image: ImageLike, file: IO[bytes]) -> None:
        self.wrapped.store(image, file)

    def open(self, image: ImageLike, use_seek: bool = False) -> IO[bytes]:
        return self.wrapped.open(image, use_seek)

    def delete(self, image: ImageLike) -> None:
        self.wrapped.delete(image)

    def locate(self, image: ImageLike) -> str:
        return self.wrapped.locate(image)

    def own_key(self, key: ImageKey) -> ImageKey:
        return self.wrapped.own_key(key)

    def put(self, key: ImageKey, file: IO[bytes], *, reproducible: bool) -> None:
        self.wrapped.put(key, file, reproducible=reproducible)

    def get(self, key: ImageKey, *, use_seek: bool = False) -> IO[bytes]:
        return self.wrapped.get(key, use_seek=use_seek)

    def url_of(self, key: ImageKey) -> str:
        return self.wrapped.url_of(key)

    def delete_key(self, key: ImageKey) -> bool | None:
        return self.wrapped.delete_key(key)

    def has_key(self, key: ImageKey) -> bool:
        return self.wrapped.has_key(key)

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        self.wrapped.put_once(key, file)

    def copy_from(self, other: Store, source: ImageKey, target: ImageKey, *, checksum: str, reproducible: bool) -> bool:
        return self.wrapped.copy_from(other, source, target, checksum=checksum, reproducible=reproducible)

    def presign_upload(
        self, key: ImageKey, *, max_bytes: int, lifetime: int, mimetype: str | None = None, redirect: str | None = None
    ) -> UploadTarget:
        return self.wrapped.presign_upload(
            key, max_bytes=max_bytes, lifetime=lifetime, mimetype=mimetype, redirect=redirect
        )

    def get_part(self, key: ImageKey, start: int = 0, length: int | None = None) -> BlobPart:
        return self.wrapped.get_part(key, start, length)

    def stat_key(self, key: ImageKey) -> BlobStat:
        return self.wrapped.stat_key(key)

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        return self.wrapped.list_blobs(prefix)

    def discard_temporary(self, blob: StoredBlob) -> bool:
        return self.wrapped.discard_temporary(blob)

    def require_presence(self) -> None:
        self.wrapped.require_presence()

    def parts(self) -> tuple[Store, ...]:
        return self.wrapped.parts()

    def replicas(self) -> tuple[Store, ...]:
        return self.wrapped.replicas()

    def targets(self) -> tuple[Store, ...]:
        return self.wrapped.targets()

    def is_same_place(self, other: Store) -> bool:
        """Whether the wrapped store is, or is one that ``other`` stands for."""
        return self is other or are_same_place(self.wrapped, other)

    def __getattr__(self, name: str) -> Any:
        # neither what Python and its tools look for on any object, nor what a half-made copy does not have yet
        if name.startswith("__") or name in {"_wrapped", "wrapped"}:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.wrapped, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.wrapped!r})"
