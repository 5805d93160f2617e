"""What a store is: four methods to implement, four to use.

To implement one, inherit :class:`Store` and write :meth:`~Store.put_file`, :meth:`~Store.get_file`,
:meth:`~Store.get_url` and :meth:`~Store.delete_file`::

    class DictStore(Store):
        '''Keeps blobs in a dictionary.'''

        def __init__(self):
            self.blobs = {}

        def put_file(self, file, object_type, object_id, width, height, mimetype, reproducible, *, revision=None):
            self.blobs[object_type, object_id, width, height, mimetype, revision] = file.read()

        def get_file(self, object_type, object_id, width, height, mimetype, *, revision=None):
            try:
                return io.BytesIO(self.blobs[object_type, object_id, width, height, mimetype, revision])
            except KeyError:
                raise BlobNotFoundError("no such image") from None

        def get_url(self, object_type, object_id, width, height, mimetype, *, revision=None):
            return f"dict:///{object_type}/{object_id}/{width}x{height}/{revision}"

        def delete_file(self, object_type, object_id, width, height, mimetype, *, revision=None):
            self.blobs.pop((object_type, object_id, width, height, mimetype, revision), None)

``revision`` is what makes a blob immutable: no two pictures ever have the same.  A store whose methods do not take it,
as those written for 1.x, works too: the same size of the same object then has one place, and the last writer wins.
Whether a store takes it is found out once, when its class is created.
"""

from __future__ import annotations

import errno
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import IO, Any, ClassVar, Self, cast

from .blobpart import BlobPart, BlobStat, StoredBlob, part_of
from .errors import BlobExistsError, DirectUploadNotSupportedError, InvalidValueError, ListingNotSupportedError
from .file import binary_file, completed
from .imagelike import ImageLike, key_of, revision_of
from .key import ImageKey
from .uploadtarget import UploadTarget

__all__ = [
    "ImageLike",
    "ListingNotSupportedError",
    "Store",
    "StoredBlob",
    "are_same_place",
    "can_be_shared",
    "is_missing",
    "keeps_revisions",
    "key_of",
    "revision_of",
    "targets_of",
]

# Who makes a store of a URL: by name, as plug-ins are, since all stores stand upon this module.
_FROM_URL = f"{__package__}.stores.by_url:store_from_url"

_INTERFACE = ("put_file", "get_file", "get_url", "delete_file")


def are_same_place(one: Store, other: Store) -> bool:
    """Whether what one of the two stores has, the other has too, as far as either of them knows."""
    return one is other or one.is_same_place(other) or other.is_same_place(one)


def targets_of(store: Store) -> list[Store]:
    """The single stores that are written when ``store`` is: itself, unless it stands for others."""
    targets = store.targets()
    return [single for target in targets for single in targets_of(target)] if targets else [store]


def keeps_revisions(store: Store) -> bool:
    """Whether two revisions never have one place, in none of the stores that are written when ``store`` is."""
    return all(target.accepts_revision for target in targets_of(store))


def can_be_shared(store: Store) -> bool:
    """Whether several threads may call it at once, which the interface of 1.x never promised to its stores."""
    parts = store.parts()
    return all(map(can_be_shared, parts)) if parts else store.accepts_revision


def is_missing(error: OSError) -> bool:
    """Whether a store said by ``error`` that it has no such blob, rather than that it failed.

    A bare :exc:`OSError` is what stores of 1.x raise then.
    """
    return isinstance(error, FileNotFoundError) or (type(error) is OSError and error.errno is None)


class Store:
    """The interface of all stores.  See the module's documentation for how to write one."""

    #: Whether the four methods take ``revision``, so that blobs are immutable.  Found out when a class is created.
    accepts_revision: ClassVar[bool] = False

    # Whether it was, or a class said so by itself, which then holds for its subclasses too.
    _found_out: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "accepts_revision" in cls.__dict__:
            cls._found_out = False
        elif cls._found_out:
            cls.accepts_revision = all(_takes_revision(getattr(cls, name)) for name in _INTERFACE)

    # --- to implement ------------------------------------------------------------------------------------------------

    def put_file(
        self,
        file: IO[bytes],
        object_type: str,
        object_id: int,
        width: int,
        height: int,
        mimetype: str,
        reproducible: bool,
    ) -> None:
        """Store what ``file`` holds from its current position to its end.

        When it returns, the blob is there whole; when it raises, nothing new is.  To implement, not to call: the
        counterpart to call is :meth:`store`.

        :param file: a binary file, positioned at the first byte
        :param object_type: e.g. ``"user-picture"``
        :param object_id: whose image it is
        :param width: in pixels
        :param height: in pixels
        :param mimetype: e.g. ``"image/jpeg"``
        :param reproducible: whether it can be made again, as a thumbnail can, so that cheaper storage will do
        """
        raise self._not_implemented(self.put_file)

    def get_file(self, object_type: str, object_id: int, width: int, height: int, mimetype: str) -> IO[bytes]:
        """A binary file to read the blob from.  To implement, not to call: the counterpart to call is :meth:`open`.

        :raises OSError: there is no such blob; :exc:`~sqlalchemy_imageattach.errors.BlobNotFoundError` says it best
        """
        raise self._not_implemented(self.get_file)

    def get_url(self, object_type: str, object_id: int, width: int, height: int, mimetype: str) -> str:
        """The URL of the blob, by calculation alone: without I/O, and whether or not the blob is there.

        To implement, not to call: the counterpart to call is :meth:`locate`.
        """
        raise self._not_implemented(self.get_url)

    def delete_file(self, object_type: str, object_id: int, width: int, height: int, mimetype: str) -> bool | None:
        """Afterwards the blob is not there; it is no error if it was not before.

        To implement, not to call: the counterpart to call is :meth:`delete`.

        :return: whether there was such a blob, where the store can tell without asking; ``None`` where it cannot
        """
        raise self._not_implemented(self.delete_file)

    # --- to implement if it can be done ------------------------------------------------------------------------------

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        """All that is in the store, in any order: blobs, what is left of unfinished writes, and what is not its own.

        What is there from before the first item is asked for until after the last one was given is listed exactly
        once; what comes or goes in between may be.  It holds a part of the list at a time, however long that is.

        :param prefix: only what has a name that starts so, e.g. ``"user-picture/"``
        :raises ListingNotSupportedError: the store cannot tell, as those that were written for 1.x
        :raises StoreError: the store cannot be reached, refuses, or failed in the middle: the list is not complete
        """
        cls = type(self)
        msg = f"{cls.__module__}.{cls.__qualname__} cannot list its blobs: implement list_blobs() in it"
        raise ListingNotSupportedError(errno.EOPNOTSUPP, msg)

    def has_key(self, key: ImageKey) -> bool:
        """Whether there is a blob.  By default it is opened to find out.

        :raises OSError: it cannot be told
        """
        try:
            self.get(key).close()
        except OSError as error:
            if is_missing(error):
                return False
            raise
        return True

    def get_part(self, key: ImageKey, start: int = 0, length: int | None = None) -> BlobPart:
        """A part of a blob, and what there is to say of the whole, by one request.

        By default the blob is opened and read from its start.  Nothing is beyond its end, and that is no error.

        :param key: the blob's
        :param start: the first byte
        :param length: how many bytes at most, 1 or more; ``None`` for all that follow
        :raises OSError: there is no such blob, or the store cannot be reached
        """
        return part_of(self.get(key), start, length)

    def stat_key(self, key: ImageKey) -> BlobStat:
        """What there is to say of a blob.  By default it is opened to find out.

        :raises OSError: there is no such blob, or the store cannot be reached
        """
        part = self.get_part(key)
        part.file.close()
        return part.stat

    def discard_temporary(self, blob: StoredBlob) -> bool:
        """Afterwards what is left of an unfinished write, as :meth:`list_blobs` gave it, is not there any more.

        It never deletes a blob.  Only for writes that nobody works on any more: see ``maintenance.sweep()``.

        :return: whether it was there
        :raises InvalidValueError: it is not temporary, or none of this store's
        :raises StoreError: it cannot be deleted
        """
        raise self._not_implemented(self.discard_temporary)

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        """Store a blob where none is yet, with a revision or without: of several who try at once, one can.

        By default it is looked whether there is one, and then it is stored, so that two might.

        :raises BlobExistsError: there is one; it stays as it is
        :raises OSError: the store could not do it
        """
        if self.has_key(key):
            msg = f"{key.file_path()} is stored already"
            raise BlobExistsError(errno.EEXIST, msg)
        self.put(key, file, reproducible=False)

    def copy_from(self, other: Store, source: ImageKey, target: ImageKey, *, checksum: str, reproducible: bool) -> bool:
        """Store what ``other`` has as ``source`` as ``target`` without its passing here, if that can be done.

        By default it cannot, and the caller has to store what was read.  Others may write to ``source`` meanwhile, so
        **a store copies only where its service tells by the bytes what it has copied**.  An ETag is not enough: that is
        an MD5 digest, and anybody can make two files of one.

        :param other: the store that has it: this one, or another one of the same service
        :param checksum: the SHA-256 digest of what is meant, in hexadecimal; another content is not copied
        :param reproducible: as of :meth:`put_file`
        :return: whether it was done; if not, nothing new is there
        :raises OSError: it may have been done, or not
        """
        return False

    def presign_upload(
        self, key: ImageKey, *, max_bytes: int, lifetime: int, mimetype: str | None = None, redirect: str | None = None
    ) -> UploadTarget:
        """A request by which somebody without credentials can store one blob.  No I/O.

        :param key: what it is stored as, in place of what is there
        :param max_bytes: how many bytes it may have
        :param lifetime: for how many seconds the request can be made, as often as one likes
        :param mimetype: the type that it has to be declared to have; by default
            ``application/octet-stream``, which no browser runs
        :param redirect: where a browser that has sent a form is to go afterwards, if the store can tell it to
        :raises DirectUploadNotSupportedError: the store cannot be written to by others
        :raises StoreError: there are no credentials to sign with
        """
        cls = type(self)
        msg = f"{cls.__module__}.{cls.__qualname__} cannot be written to by others: it does not have presign_upload()"
        raise DirectUploadNotSupportedError(errno.EOPNOTSUPP, msg)

    def is_same_place(self, other: Store) -> bool:
        """Whether what one of the two stores has, the other has too, as far as it can be told without a request.

        By default, whether they are equal.  Nobody moves blobs between two such stores, and a blob without revision
        that was written by way of one of them is not taken for another one that the other is to delete.

        A store that stands for others asks :func:`are_same_place` of each of them; in doubt, the answer is yes.
        """
        return self is other or self == other

    def require_presence(self) -> None:
        """The directory, bucket or container itself is there, as far as the store can tell; by default it cannot.

        Asked once before many blobs are read, so that a mistyped name or a volume that is not mounted is one error, and
        not one for each blob.

        :raises StoreError: it is known not to be there
        """

    def parts(self) -> tuple[Store, ...]:
        """The stores that have together what this one has, where it stands for several; empty for a single one."""
        return self.replicas()

    def replicas(self) -> tuple[Store, ...]:
        """The stores of which each is to have every blob, where this one stands for several; empty for a single one.

        A blob that one of them has is found by way of this one, so nothing can tell by it whether the others have it.
        """
        return ()

    def targets(self) -> tuple[Store, ...]:
        """The stores that are written when this one is, where it stands for others; empty for a single one.

        Where one of them takes no revision, a new picture takes the place of the former one there.  Transactions ask
        for it, so as to bring that one back when they are rolled back, and not to delete the new one in its stead.
        """
        return self.replicas()

    # --- to use ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The store that ``url`` describes; see :mod:`sqlalchemy_imageattach.stores.by_url` for the schemes.

        ::

            Store.from_url("file:///var/local/images?base_url=https://images.example.com/")

        :raises InvalidTypeError: it is no string
        :raises InvalidValueError: its scheme is not known, a part of it is missing, wrong or too much, or it describes
            a store of another class than the one that was asked
        """
        store: Store = pkgutil.resolve_name(_FROM_URL)(url)
        if not isinstance(store, cls):
            msg = f"expected the URL of a {cls.__name__}, got that of a {type(store).__name__}; use Store.from_url()"
            raise InvalidValueError(msg)
        return store

    def store(self, image: ImageLike, file: IO[bytes]) -> None:
        """Store ``file`` as the blob of ``image``.

        :param image: the image whose blob it is to be
        :param file: what :func:`~sqlalchemy_imageattach.file.binary_file` takes
        :raises InvalidTypeError: ``image`` is no image, or ``file`` is no binary file
        :raises OSError: the store could not do it; nothing new is there
        """
        self.put(key_of(image), binary_file(file), reproducible=not image.original)

    def open(self, image: ImageLike, use_seek: bool = False) -> IO[bytes]:
        """A binary file with the blob of ``image``, usable in a ``with`` statement and a ``for`` loop.

        ::

            with store.open(image) as source, open("copy.jpg", "wb") as target:
                shutil.copyfileobj(source, target)

        :param image: the image whose blob to read
        :param use_seek: whether the file must have ``seek()`` and ``tell()``; if the store's has not, it is copied
        :raises OSError: there is no such blob, or the store cannot be reached
        :raises InvalidTypeError: ``image`` is no image
        """
        return self.get(key_of(image), use_seek=use_seek)

    def delete(self, image: ImageLike) -> None:
        """Delete the blob of ``image`` here and now, whatever becomes of its row; it is no error if there is none.

        Rows are not asked: to remove an image in step with the transaction, remove it from its image set.

        :raises InvalidTypeError: ``image`` is no image
        """
        self.delete_key(key_of(image))

    def locate(self, image: ImageLike) -> str:
        """The URL of the blob of ``image``, without I/O.

        A URL without a revision gets a ``_ts`` query with the time of creation, so that caches notice a new picture.

        :raises InvalidTypeError: ``image`` is no image
        """
        key = self.own_key(key_of(image))
        url = self.url_of(key)
        if key.revision is not None:
            return url
        created_at: datetime | None = image.created_at
        if created_at is None:
            return url
        return f"{url}{'&' if '?' in url else '?'}_ts={created_at.strftime('%Y%m%d%H%M%S%f')}"

    # --- the same by key: for the parts of this package that have a key rather than an image --------------------------

    def own_key(self, key: ImageKey) -> ImageKey:
        """``key`` as this store sees it: without its revision if the store does not take one."""
        return key if self.accepts_revision or key.revision is None else replace(key, revision=None)

    def put(self, key: ImageKey, file: IO[bytes], *, reproducible: bool) -> None:
        """:meth:`store` by key."""
        key = self.own_key(key)
        self.put_file(file, *_identifiers(key), reproducible, **_revision(key))

    def get(self, key: ImageKey, *, use_seek: bool = False) -> IO[bytes]:
        """:meth:`open` by key."""
        key = self.own_key(key)
        return completed(self.get_file(*_identifiers(key), **_revision(key)), use_seek=use_seek)

    def url_of(self, key: ImageKey) -> str:
        """:meth:`locate` by key, without a time."""
        key = self.own_key(key)
        return self.get_url(*_identifiers(key), **_revision(key))

    def delete_key(self, key: ImageKey) -> bool | None:
        """:meth:`delete` by key.  **The only way by which blobs are deleted in this package.**

        :return: whether there was such a blob, or ``None`` where the store cannot tell
        """
        key = self.own_key(key)
        return self.delete_file(*_identifiers(key), **_revision(key))

    def _not_implemented(self, method: Callable[..., object]) -> NotImplementedError:
        cls = type(self)
        return NotImplementedError(f"{cls.__module__}.{cls.__qualname__} has to implement {method.__name__}()")


def _takes_revision(method: object) -> bool:
    try:
        parameters = inspect.signature(cast("Any", method)).parameters.values()
    except (TypeError, ValueError):  # compiled methods need not have a signature
        return False
    return any(p.name == "revision" or p.kind is p.VAR_KEYWORD for p in parameters)


def _identifiers(key: ImageKey) -> tuple[str, int, int, int, str]:
    return key.object_type, key.object_id, key.width, key.height, key.mimetype


def _revision(key: ImageKey) -> dict[str, Any]:
    # a key without a revision is not told so: then stores that take none are called as 1.x called them
    return {} if key.revision is None else {"revision": key.revision}
