"""The store that keeps blobs by a store of obstore."""

from __future__ import annotations

import errno
import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from ...blobpart import BlobPart, BlobStat
from ...errors import BlobExistsError, BlobNotFoundError, InvalidValueError, StoreAccessDeniedError, StoreError
from ...file import COPY_CHUNK
from ...key import ImageKey
from ...store import Store, StoredBlob
from ...uploadtarget import UploadTarget
from ..bucket import (
    DEFAULT_MAX_AGE,
    DEFAULT_URL_LIFETIME,
    checked_base_url,
    checked_lifetime,
    checked_number,
    checked_prefix,
    of_first_found,
    quoted,
    upload_fields,
)
from ..keyed import KeyedStore
from .backends import checked_backend
from .forms import ServiceAccount, form_url
from .transfer import ObjectReader, StoredObject, object_errors, open_part, stat_of_object, upload

if TYPE_CHECKING:
    from obstore import Attributes
    from obstore.store import ObjectStore as AnyObjectStore

__all__ = ["ObjectStore"]

_log = logging.getLogger("sqlalchemy_imageattach.stores.objectstore")

# how many objects the services tell at a time
_PAGE = 1000


class ObjectStore(KeyedStore):
    """Keeps blobs by a store of obstore.

    :param backend: the bucket or container, as :func:`google_bucket` and :func:`azure_container` make it: a
        ``GCSStore``, ``AzureStore``, ``S3Store``, ``HTTPStore``, ``LocalStore`` or ``MemoryStore`` of obstore
    :param prefix: what the names of all objects start with, so that a bucket can have several stores
    :param public_base_url: what plain URLs start with, in place of signed ones: the URL of what ``backend`` has
    :param url_lifetime: for how many seconds signed URLs can be used, 3600 by default and 604800 at most
    :param max_age: for how many seconds caches may keep a blob.  Blobs with a revision are declared ``immutable`` too
    :raises MissingExtraError: obstore is not installed
    :raises InvalidTypeError: ``backend`` is none of obstore's, or a parameter has another type than it must have
    :raises InvalidValueError: a parameter has a value that cannot be used; or there is no ``public_base_url``, and
        nothing can be signed for ``backend``
    """

    def __init__(
        self,
        backend: AnyObjectStore,
        *,
        prefix: str = "",
        public_base_url: str | None = None,
        url_lifetime: int | None = None,
        max_age: int = DEFAULT_MAX_AGE,
    ) -> None:
        self.backend = checked_backend(backend)
        self.prefix = checked_prefix(prefix)
        self.public_base_url = checked_base_url(public_base_url)
        is_plain = self.public_base_url is not None
        self.url_lifetime = checked_lifetime(url_lifetime, DEFAULT_URL_LIFETIME, is_plain=is_plain)
        self.max_age = checked_number("max_age", max_age, "seconds, 0 or more", 0)
        self._require_urls()

    def _put(self, key: ImageKey, file: IO[bytes], reproducible: bool) -> None:
        """Afterwards the blob is there, whole; if this raises, nothing new is, as far as the service can be reached.

        Without a revision it replaces the former one at once.

        :raises StoreError: the service refuses or cannot be reached; errors of ``file`` itself pass as they are
        """
        blob, *old = self._objects(key)
        upload(blob, file, self._attributes(key), fresh=key.revision is not None)
        for each in old:
            try:
                self._remove(each)
            except StoreError as error:  # it is hidden in any case
                _log.warning("cannot delete %s, which has been replaced: %s", each, error)

    def _get(self, key: ImageKey) -> IO[bytes]:
        """A file that reads the blob from the connection.  Close it, as by ``with``.

        :raises BlobNotFoundError: there is no such blob
        :raises StoreAccessDeniedError: it may not be read
        :raises StoreError: the service cannot be reached; the file raises it too if the connection breaks
        """
        return of_first_found(self._objects(key), self._open)

    def _open(self, blob: StoredObject) -> IO[bytes]:
        import obstore

        with object_errors("read", blob):
            result = obstore.get(blob.store, blob.name)
        return io.BufferedReader(ObjectReader(result, blob), COPY_CHUNK)

    def _get_part(self, key: ImageKey, start: int, length: int | None) -> BlobPart:
        """By a request for just these bytes."""
        return of_first_found(self._objects(key), lambda blob: open_part(blob, start, length))

    def _stat(self, key: ImageKey) -> BlobStat:
        return of_first_found(self._objects(key), stat_of_object)

    def _url(self, key: ImageKey) -> str:
        """The blob's URL, whether or not it is there; one of 1.x is taken to have the name of today.

        :raises StoreError: it is to be signed, and cannot be
        """
        blob = self._objects(key)[0]
        if self.public_base_url is not None:
            return f"{self.public_base_url}/{quoted(blob.name)}"
        import obstore

        with object_errors("sign a URL of", blob):
            url = obstore.sign(blob.store, "GET", blob.name, timedelta(seconds=self.url_lifetime))
        if "%" in urlsplit(url).path and isinstance(self.backend, obstore.store.AzureStore):
            # Azure wants the plain name signed, and obstore signs the quoted one
            msg = f"cannot sign a URL of {blob}: Azure takes no name that is quoted in URLs; give public_base_url"
            raise StoreError(errno.EINVAL, msg)
        return url

    def _delete(self, key: ImageKey) -> bool | None:
        """Afterwards the blob is not there.

        :return: ``False`` if the service says that it was not there before; not all do, so otherwise ``None``
        :raises StoreError: it cannot be deleted
        """
        # that of today comes last: were one left, it would come to light
        told = [self._remove(blob) for blob in reversed(self._objects(key))]
        return None if None in told else False

    def _remove(self, blob: StoredObject) -> bool | None:
        import obstore

        try:
            with object_errors("delete", blob):
                obstore.delete(blob.store, blob.name)
        except BlobNotFoundError:
            return False
        return None

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        """All objects below the store's prefix, a thousand of them in memory at a time.

        :param prefix: only what has a name that starts so, e.g. ``"user-picture/"``
        :raises StoreError: the service refuses, cannot be reached, or failed in the middle: the list is not complete
        """
        import obstore

        bucket = StoredObject(self.backend)
        root = f"{self.prefix}/" if self.prefix else ""
        # obstore lists by whole segments of names only
        directory = f"{root}{prefix}".rpartition("/")[0]
        with object_errors("list", bucket):
            pages = iter(obstore.list(bucket.store, directory or None, chunk_size=_PAGE))
        while True:
            # only the request: what the caller does with a page is not the service's
            with object_errors("list", bucket):
                page = next(pages, None)
            if page is None:
                return
            for entry in page:
                name = entry["path"].removeprefix(root)
                if name.startswith(prefix):
                    key = ImageKey.parse_object_name(entry["path"], self.prefix)
                    yield StoredBlob(name, entry["size"], entry["last_modified"], key)

    def has_key(self, key: ImageKey) -> bool:
        """Whether there is a blob, by a request that does not read it.

        :raises StoreError: the service refuses to tell, or cannot be reached
        """
        try:
            of_first_found(self._objects(self.own_key(key)), stat_of_object)
        except BlobNotFoundError:
            return False
        return True

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        """Afterwards the blob is there; of several who try at once, one can.

        It is meant for little: the blob is held in memory.

        :raises BlobExistsError: there is one already; it stays as it is
        :raises StoreError: the service refuses or cannot be reached
        """
        import obstore

        msg = f"{key.object_name()} is stored already, and is not overwritten"
        if self.has_key(key):
            raise BlobExistsError(errno.EEXIST, msg)
        blob, attributes = self._objects(key)[0], self._attributes(key)
        try:
            with object_errors("store", blob):
                obstore.put(blob.store, blob.name, file.read(), attributes=attributes, mode="create")
        except StoreError as error:
            if isinstance(error.__cause__, obstore.exceptions.AlreadyExistsError):
                raise BlobExistsError(errno.EEXIST, msg) from error
            raise

    def presign_upload(
        self, key: ImageKey, *, max_bytes: int, lifetime: int, mimetype: str | None = None, redirect: str | None = None
    ) -> UploadTarget:
        """On Google, a form that takes the file if it is neither empty nor longer than ``max_bytes``.

        That takes the key of a service account and the extra ``google-forms``.  Otherwise, and on Azure, it is a URL to
        ``PUT`` to, which says nothing of how long and of which type the file may be: that is found out when the
        application fetches it, and nobody can be led anywhere afterwards.

        :raises DirectUploadNotSupportedError: nothing can be signed for the backend
        :raises StoreError: it cannot be signed
        """
        import obstore
        from obstore.store import AzureStore, GCSStore, S3Store

        if not isinstance(self.backend, AzureStore | GCSStore | S3Store):
            return super().presign_upload(key, max_bytes=max_bytes, lifetime=lifetime)
        blob = self._objects(key)[0]
        if isinstance(self.backend, GCSStore) and (account := ServiceAccount.of(blob)) is not None:
            fields = upload_fields(mimetype, redirect)
            signed = account.sign_form(self.backend.config["bucket"], blob.name, fields, (1, max_bytes), lifetime)
            return UploadTarget(form_url(blob), "POST", signed, limits_size=True, limits_type=True)
        with object_errors("sign a URL of", blob):
            url = obstore.sign(blob.store, "PUT", blob.name, timedelta(seconds=lifetime))
        headers = {"Content-Type": mimetype or "application/octet-stream"}
        if isinstance(self.backend, AzureStore):
            headers |= {"x-ms-blob-type": "BlockBlob"}
        return UploadTarget(url, "PUT", headers=headers)

    def require_presence(self) -> None:
        """The bucket or container is there; who may not list it is not told.

        :raises StoreError: it is not, or cannot be reached
        """
        with suppress(StoreAccessDeniedError):
            next(self.list_blobs(), None)

    def is_same_place(self, other: Store) -> bool:
        """Whether both have the same store of obstore, and the same prefix."""
        if not isinstance(other, ObjectStore):
            return super().is_same_place(other)
        return self.backend == other.backend and self.prefix == other.prefix

    def _objects(self, key: ImageKey) -> list[StoredObject]:
        """What a blob may be called.  **The only way from a key to an object's name** to ask obstore for."""
        return [StoredObject(self.backend, name) for name in key.object_names(self.prefix)]

    def _attributes(self, key: ImageKey) -> Attributes | None:
        from obstore.store import LocalStore

        if isinstance(self.backend, LocalStore):
            return None  # it has nowhere to keep them
        caching = f"{'private' if self.public_base_url is None else 'public'}, max-age={self.max_age}"
        return {
            "Content-Type": key.mimetype,
            "Cache-Control": caching if key.revision is None else f"{caching}, immutable",
        }

    def _require_urls(self) -> None:
        from obstore.store import AzureStore, GCSStore, S3Store

        if self.public_base_url is None and not isinstance(self.backend, AzureStore | GCSStore | S3Store):
            msg = f"nothing can be signed for {self.backend}; give public_base_url, which plain URLs start with"
            raise InvalidValueError(msg)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.backend}, prefix={self.prefix!r})"
