"""The store that keeps blobs in a bucket."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import IO, Any

from ...blobpart import BlobPart, BlobStat
from ...errors import BlobExistsError, BlobNotFoundError, StoreAccessDeniedError, StoreError
from ...key import ImageKey
from ...store import Store, StoredBlob
from ...storewrapper import StoreWrapper
from ...uploadtarget import UploadTarget
from ..bucket import (
    DEFAULT_MAX_AGE,
    DEFAULT_MAX_RETRY,
    DEFAULT_URL_LIFETIME,
    checked_base_url,
    checked_bucket,
    checked_lifetime,
    checked_number,
    checked_prefix,
    of_first_found,
    quoted,
    upload_fields,
)
from ..keyed import KeyedStore
from .addresses import bucket_url, service_of
from .client import Connection, LazyClient
from .errors import S3Object, s3_errors
from .headers import ObjectHeaders
from .listing import abort_upload, list_objects, list_uploads
from .transfer import S3Reader, copy, open_part, put_if_absent, upload

__all__ = ["S3Store"]

_log = logging.getLogger("sqlalchemy_imageattach.stores.s3")


class S3Store(KeyedStore):
    """Keeps blobs in a bucket.  Threads and forked processes can share it; it can be pickled, secrets included.

    ::

        S3Store("pictures")                                             # credentials and region of the machine
        S3Store("pictures", public=False, url_lifetime=600)             # for a private bucket
        S3Store("pictures", public_base_url="https://d1.cloudfront.net")
        S3Store("pictures", endpoint_url="https://minio.example.com", access_key="…", secret_key="…")

    :param bucket: the bucket's name; it has to exist
    :param access_key: the access key, if it is not to be found as usual
    :param secret_key: the secret key that belongs to it
    :param max_age: for how many seconds caches may keep a blob.  Blobs with a revision are declared ``immutable`` too
    :param prefix: what the names of all objects start with, so that a bucket can have several stores
    :param public_base_url: what URLs start with in place of the bucket's own URL, such as that of a CDN
    :param region: the bucket's region; by default that of the environment or the profile
    :param max_retry: how many times a request that failed is made again, with pauses that grow
    :param endpoint_url: the service, if it is not AWS
    :param session: a :class:`boto3.session.Session` to make the client with
    :param client: an S3 client of boto3 to use as it is, with its own retries and timeouts
    :param acl: the canned ACL of new objects; by default none is sent, since most buckets refuse them today
    :param storage_class: the storage class of new objects, such as ``"INTELLIGENT_TIERING"``
    :param reproducible_storage_class: the same for blobs that can be made again, as thumbnails can; in 1.x it was
        ``"REDUCED_REDUNDANCY"``, which costs more than the standard class now
    :param server_side_encryption: ``"AES256"``, ``"aws:kms"`` …; by default as the bucket is set up
    :param sse_kms_key_id: the key for ``"aws:kms"``
    :param addressing_style: ``"virtual"`` or ``"path"``: whether the bucket's name goes into the host or the path;
        by default into the host on AWS, if it has no dots, and into the path elsewhere
    :param request_checksum_calculation: ``"when_supported"`` has boto3 add a CRC-32 behind the body, which many
        S3-compatible services refuse, or keep within the blob or in its headers.  The default, ``"when_required"``,
        sends the MD5 of the body, which all of them check
    :param url_lifetime: for how many seconds signed URLs can be used, 3600 by default and 604800 at most; those signed
        with temporary credentials end with these
    :param public: whether URLs are to be plain rather than signed; it grants nothing
    :param connect_timeout: the seconds that connecting may take
    :param read_timeout: the seconds without a byte after which a request has failed
    :param ca_bundle: the path of a file with the certificates to trust, if the service's is not publicly known
    :param profile: the profile of ``~/.aws`` that has the credentials, and the region if none is given
    :param session_token: the token that belongs to temporary keys
    :raises MissingExtraError: boto3 is not installed
    :raises InvalidValueError: a parameter has a value that cannot be used, or that contradicts another one
    :raises InvalidTypeError: a parameter has another type than it must have
    """

    def __init__(
        self,
        bucket: str,
        access_key: str | None = None,
        secret_key: str | None = None,
        max_age: int = DEFAULT_MAX_AGE,
        prefix: str = "",
        public_base_url: str | None = None,
        region: str | None = None,
        max_retry: int = DEFAULT_MAX_RETRY,
        *,
        endpoint_url: str | None = None,
        session: Any = None,
        client: Any = None,
        acl: str | None = None,
        storage_class: str | None = None,
        reproducible_storage_class: str | None = None,
        server_side_encryption: str | None = None,
        sse_kms_key_id: str | None = None,
        addressing_style: str | None = None,
        request_checksum_calculation: str = "when_required",
        url_lifetime: int | None = None,
        public: bool = True,
        connect_timeout: float = 5,
        read_timeout: float = 30,
        ca_bundle: str | None = None,
        profile: str | None = None,
        session_token: str | None = None,
    ) -> None:
        self.bucket = checked_bucket(bucket)
        self.access_key = access_key
        self.secret_key = secret_key
        self.max_age = checked_number("max_age", max_age, "seconds, 0 or more", 0)
        self.prefix = checked_prefix(prefix)
        self.public_base_url = checked_base_url(public_base_url)
        self.region = region
        self.max_retry = max_retry
        self.acl = acl
        self.storage_class = storage_class
        self.reproducible_storage_class = reproducible_storage_class
        self.server_side_encryption = server_side_encryption
        self.sse_kms_key_id = sse_kms_key_id
        self.public = public
        _ = self._headers  # they check what they are made of
        self.url_lifetime = checked_lifetime(url_lifetime, DEFAULT_URL_LIFETIME, is_plain=self._is_plain)
        connection = Connection(
            access_key=access_key,
            secret_key=secret_key,
            session_token=session_token,
            profile=profile,
            region=region,
            endpoint_url=endpoint_url,
            max_retry=max_retry,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            addressing_style=addressing_style,
            request_checksum_calculation=request_checksum_calculation,
            ca_bundle=ca_bundle,
        )
        self._client = LazyClient(connection, session, client)
        self._tells_checksums = True  # of what it copies, until it has not done so once

    @property
    def client(self) -> Any:
        """The boto3 client, for what this class does not do; it is made when it is first asked for."""
        return self._client.get()

    def _put(self, key: ImageKey, file: IO[bytes], reproducible: bool) -> None:
        """Afterwards the blob is there, whole; if this raises, nothing new is, as far as S3 can still be reached.

        At most 8 MiB of it are in memory at a time.  Without a revision it replaces the former one at once.

        :raises StoreError: S3 refuses or cannot be reached; errors of ``file`` itself pass as they are
        """
        self._upload(key, file, key.mimetype, reproducible=reproducible)

    def _get(self, key: ImageKey) -> IO[bytes]:
        """A file that reads the blob from the connection.  Close it, as by ``with``.

        :raises BlobNotFoundError: there is no such blob
        :raises StoreAccessDeniedError: it may not be read; or, without ``s3:ListBucket``, there is no such blob
        :raises StoreError: S3 cannot be reached; the file raises it too if the connection breaks
        """
        return of_first_found(self._objects(key), self._open)

    def _open(self, blob: S3Object) -> IO[bytes]:
        with s3_errors("read", blob):
            answer = self.client.get_object(Bucket=blob.bucket, Key=blob.name)
        return S3Reader.of_answer(answer, blob)

    def _get_part(self, key: ImageKey, start: int, length: int | None) -> BlobPart:
        """By a request for just these bytes."""
        return of_first_found(self._objects(key), lambda blob: open_part(self.client, blob, start, length))

    def _stat(self, key: ImageKey) -> BlobStat:
        head = of_first_found(self._objects(key), self._head_of)
        return BlobStat(head["ContentLength"], head["LastModified"])

    def _url(self, key: ImageKey) -> str:
        """The blob's URL, without a request, whether or not it is there; one of 1.x is taken to have the name of today.

        :raises StoreError: it is to be signed, and there are no credentials to sign it with
        """
        name = key.object_name(self.prefix)
        url = f"{self._base_url}/{quoted(name)}"
        if self._is_plain:
            return url
        return self._client.sign(self.bucket, name, url, self.url_lifetime)

    def _delete(self, key: ImageKey) -> None:
        """Afterwards the blob is not there.  S3 does not tell whether it was.

        :raises StoreError: it cannot be deleted
        """
        # that of today comes last: were one left, it would come to light
        for blob in reversed(self._objects(key)):
            self._remove(blob)

    def _remove(self, blob: S3Object) -> None:
        # one by one: services of years ago want a Content-MD5 of a list, which boto3 no longer makes
        with s3_errors("delete", blob):
            self.client.delete_object(Bucket=blob.bucket, Key=blob.name)

    def put_once(self, key: ImageKey, file: IO[bytes]) -> None:
        """Afterwards the blob is there; of several who try at once, one can, where the service knows ``If-None-Match``.

        AWS does, and most others by now.  It is meant for little: the blob is held in memory.

        :raises BlobExistsError: there is one already; it stays as it is
        :raises StoreError: S3 refuses or cannot be reached
        """
        if self.has_key(key):  # also for services that do not know it
            msg = f"{key.object_name()} is stored already, and is not overwritten"
            raise BlobExistsError(errno.EEXIST, msg)
        headers = self._headers.of(key, key.mimetype, reproducible=False)
        put_if_absent(self.client, self._objects(key)[0], file.read(), headers)

    def copy_from(self, other: Store, source: ImageKey, target: ImageKey, *, checksum: str, reproducible: bool) -> bool:
        """Have the service copy it, if the other store is on the same one and these credentials may read there.

        The service is asked for the SHA-256 of what it has copied, in the same request.  AWS tells it.  One that does
        not is not asked again by this store.  A blob without revision is never copied: until that digest is known, it
        might be another one that stands where the former picture was.

        :return: whether it was done; not so either if it is gone, or has another content than ``checksum``
        :raises StoreError: S3 cannot be reached, or was asked more than once, so that an earlier copy may still be made
        """
        while isinstance(other, StoreWrapper):
            other = other.wrapped
        if not self._tells_checksums or target.revision is None or not isinstance(other, S3Store):
            return False
        if service_of(self.client.meta) != service_of(other.client.meta):
            return False
        headers = self._headers.of(target, target.mimetype, reproducible=reproducible)
        done = copy(self.client, other._objects(source)[0], self._objects(target)[0], checksum, headers)
        if done is None:
            self._tells_checksums = False
        return bool(done)

    def presign_upload(
        self, key: ImageKey, *, max_bytes: int, lifetime: int, mimetype: str | None = None, redirect: str | None = None
    ) -> UploadTarget:
        """A form that S3 takes the file by, if it is neither empty nor longer than ``max_bytes``.

        :raises StoreError: there are no credentials to sign with
        """
        fields = upload_fields(mimetype, redirect)
        name = key.object_name(self.prefix)
        signed = self._client.sign_form(self.bucket, name, fields, (1, max_bytes), lifetime)
        return UploadTarget(self._bucket_url, "POST", signed, limits_size=True, limits_type=True)

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        """All objects below the store's prefix, and the unfinished uploads of blobs, where these can be listed.

        A thousand of them are in memory at a time.

        :param prefix: only what has a name that starts so, e.g. ``"user-picture/"``
        :raises StoreError: S3 refuses, cannot be reached, or failed in the middle: the list is not complete
        """
        yield from list_objects(self.client, self._whole_bucket, self._root, prefix)
        yield from list_uploads(self.client, self._whole_bucket, self._root, prefix)

    def discard_temporary(self, blob: StoredBlob) -> bool:
        """Afterwards the parts of an unfinished upload are gone.

        :return: whether they were there
        :raises InvalidValueError: it is no unfinished upload that :meth:`list_blobs` gave
        :raises StoreError: it cannot be aborted
        """
        return abort_upload(self.client, self._whole_bucket, self._root, blob)

    def has_key(self, key: ImageKey) -> bool:
        """Whether there is a blob, by a request that does not read it.

        :raises StoreError: S3 refuses to tell, or cannot be reached
        """
        return self._head(key) is not None

    def require_presence(self) -> None:
        """The bucket or container is there; who may not list it is not told.

        :raises StoreError: it is not, or cannot be reached
        """
        with suppress(StoreAccessDeniedError):
            next(self.list_blobs(), None)

    def is_same_place(self, other: Store) -> bool:
        """Whether both have the same bucket of the same service, and the same prefix."""
        if not isinstance(other, S3Store):
            return super().is_same_place(other)
        if (self.bucket, self.prefix) != (other.bucket, other.prefix):
            return False
        try:
            return service_of(self.client.meta) == service_of(other.client.meta)
        except StoreError:  # no such profile, no such region: in doubt, nothing is to be deleted
            return True

    def _head(self, key: ImageKey) -> dict[str, Any] | None:
        try:
            return of_first_found(self._objects(self.own_key(key)), self._head_of)
        except BlobNotFoundError:
            return None

    def _head_of(self, blob: S3Object) -> dict[str, Any]:
        with s3_errors("read", blob):
            answer: dict[str, Any] = self.client.head_object(Bucket=blob.bucket, Key=blob.name)
        return answer

    def _upload(self, key: ImageKey, file: IO[bytes], content_type: str, *, reproducible: bool) -> None:
        blob, *old = self._objects(key)
        headers = self._headers.of(key, content_type, reproducible=reproducible)
        upload(self.client, blob, file, headers, fresh=key.revision is not None)
        for each in old:
            try:
                self._remove(each)
            except StoreError as error:  # it is hidden in any case
                _log.warning("cannot delete %s, which has been replaced: %s", each, error)

    def _objects(self, key: ImageKey) -> list[S3Object]:
        """What a blob may be called.  **The only way from a key to an object's name** to ask S3 for."""
        return [S3Object(self.bucket, self._client.endpoint, name) for name in key.object_names(self.prefix)]

    @property
    def _whole_bucket(self) -> S3Object:
        return S3Object(self.bucket, self._client.endpoint)

    @property
    def _headers(self) -> ObjectHeaders:
        return ObjectHeaders(
            max_age=self.max_age,
            is_public=self._is_plain,
            acl=self.acl,
            storage_class=self.storage_class,
            reproducible_storage_class=self.reproducible_storage_class,
            server_side_encryption=self.server_side_encryption,
            sse_kms_key_id=self.sse_kms_key_id,
        )

    @property
    def _root(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    @property
    def _is_plain(self) -> bool:
        return self.public or self.public_base_url is not None

    @cached_property
    def _base_url(self) -> str:
        return self._bucket_url if self.public_base_url is None else self.public_base_url

    @property
    def _bucket_url(self) -> str:
        meta = self.client.meta
        return bucket_url(meta.endpoint_url, self.bucket, (meta.config.s3 or {}).get("addressing_style"))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_base_url"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.bucket!r}, prefix={self.prefix!r})"
