"""Blobs on their way to S3 and back, in constant memory.

Up: a blob of less than :data:`PART_SIZE` bytes in one request, a longer one by multipart, one part after the other.
So at most one part of each blob that is being stored is in memory, and the longest blob has 10,000 parts (78 GiB).
What changes on its way is refused.  Down: as it is read.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import IO, Any

from ...blobpart import BlobPart, BlobStat
from ...errors import BlobExistsError, StoreError
from ...file import COPY_CHUNK, read_chunks
from .errors import S3Object, s3_errors, status_of, was_refused

__all__ = [
    "PART_SIZE",
    "S3Reader",
    "content_type_of",
    "copy",
    "open_part",
    "put_if_absent",
    "upload",
]

#: The bytes of a part.  All but the last one have as many, which some services want.
PART_SIZE = 8 * 2**20

_NOT_IMPLEMENTED = 501

_log = logging.getLogger("sqlalchemy_imageattach.stores.s3")


def upload(client: Any, s3_object: S3Object, file: IO[bytes], headers: Mapping[str, Any], *, fresh: bool) -> None:
    """Afterwards the object has the rest of ``file`` and ``headers``; if this raises, it is as it was before.

    The latter as far as the service can still be reached: an upload that broke is aborted, and an object that may have
    been stored, although the answer got lost, is deleted if it is ``fresh``.

    :param headers: parameters of boto3, such as ``ContentType``
    :param fresh: whether there cannot have been such an object before
    :raises StoreError: the service could not do it; errors of ``file`` pass as they are
    """
    parts = _parts(file)
    first = next(parts)
    if len(first) == PART_SIZE:
        _upload_parts(client, s3_object, chain([first], parts), headers, fresh=fresh)
        return
    with _withdrawn(client, s3_object, fresh=fresh), s3_errors("store", s3_object):
        client.put_object(Bucket=s3_object.bucket, Key=s3_object.name, **_body(client, first), **headers)


def _upload_parts(
    client: Any, s3_object: S3Object, parts: Iterator[bytearray], headers: Mapping[str, Any], *, fresh: bool
) -> None:
    target = {"Bucket": s3_object.bucket, "Key": s3_object.name}
    with s3_errors("store", s3_object):
        target["UploadId"] = client.create_multipart_upload(**target, **headers)["UploadId"]
    try:
        done = [_upload_part(client, s3_object, target, number, part) for number, part in enumerate(parts, 1)]
        with _withdrawn(client, s3_object, fresh=fresh), s3_errors("store", s3_object):
            client.complete_multipart_upload(**target, MultipartUpload={"Parts": done})
    except BaseException:
        _try_to("abort the upload of", s3_object, lambda: client.abort_multipart_upload(**target))
        raise


def _upload_part(
    client: Any, s3_object: S3Object, target: Mapping[str, Any], number: int, part: bytearray
) -> dict[str, Any]:
    with s3_errors("store", s3_object):
        answer = client.upload_part(**target, PartNumber=number, **_body(client, part))
    # with checksums, S3 wants to hear them again when the parts are put together
    checksums = {name: value for name, value in answer.items() if name.startswith("Checksum") and value}
    checksums.pop("ChecksumType", None)
    return {"PartNumber": number, "ETag": answer["ETag"], **checksums}


def _body(client: Any, blob: bytearray) -> dict[str, Any]:
    # its signature covers the body too, but not every service looks; MD5 is what all have always checked
    if client.meta.config.request_checksum_calculation != "when_required":
        return {"Body": blob}
    digest = hashlib.md5(blob, usedforsecurity=False).digest()
    return {"Body": blob, "ContentMD5": base64.b64encode(digest).decode()}


def _parts(file: IO[bytes]) -> Iterator[bytearray]:
    """What ``file`` holds in parts of exactly :data:`PART_SIZE` bytes, and a last one of less; at least one."""
    buffer = bytearray()
    full = 0
    for chunk in read_chunks(file):
        room = PART_SIZE - len(buffer)
        buffer += chunk[:room]
        if len(buffer) == PART_SIZE:
            yield buffer
            full += 1
            buffer = bytearray(chunk[room:])
    # nothing follows a last part that is full: an empty part is none
    if buffer or not full:
        yield buffer


@contextmanager
def _withdrawn(client: Any, s3_object: S3Object, *, fresh: bool) -> Iterator[None]:
    """Within is the request that makes the object; if nobody knows whether it did, it is deleted."""
    try:
        yield
    except BaseException as error:
        if fresh and not was_refused(error) and status_of(error) != _NOT_IMPLEMENTED:
            _try_to("delete", s3_object, lambda: client.delete_object(Bucket=s3_object.bucket, Key=s3_object.name))
        raise


def _try_to(doing: str, s3_object: S3Object, tidy_up: Callable[[], object]) -> None:
    try:
        tidy_up()
    except Exception as error:
        # the first error is the one to raise, and the sweeper finds what is left
        _log.warning("cannot %s %s, which could not be stored: %s", doing, s3_object, error)


def open_part(client: Any, s3_object: S3Object, start: int, length: int | None) -> BlobPart:
    """A part of an object, by one request for it; by one more where it begins at the end of the object, or later.

    :raises BlobNotFoundError: there is no such object
    :raises StoreError: the service refuses, or cannot be reached
    """
    wanted = {"Bucket": s3_object.bucket, "Key": s3_object.name}
    asked = {} if start == 0 and length is None else {"Range": _range(start, length)}
    try:
        with s3_errors("read", s3_object):
            answer = client.get_object(**wanted, **asked)
    except StoreError as error:
        if status_of(error) != 416:
            raise
        with s3_errors("read", s3_object):
            answer = client.head_object(**wanted)
        return BlobPart(io.BytesIO(), BlobStat(answer["ContentLength"], answer["LastModified"]))
    # bytes 200-1023/146515
    size = int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else answer["ContentLength"]
    return BlobPart(S3Reader.of_answer(answer, s3_object), BlobStat(size, answer["LastModified"]))


def _range(start: int, length: int | None) -> str:
    return f"bytes={start}-{'' if length is None else start + length - 1}"


class S3Reader(io.RawIOBase):
    """The body of an answer as a file.

    Closing it before its end closes the connection; at its end the connection can be used again.

    :param body: what boto3 gives
    :param s3_object: what it is the content of, for messages
    :param content_type: what S3 says that it is
    :raises StoreError: by its methods: the connection broke, or the server stopped sending
    """

    def __init__(self, body: Any, s3_object: S3Object, content_type: str | None = None) -> None:
        self._body = body
        self._s3_object = s3_object
        self.content_type = content_type

    @classmethod
    def of_answer(cls, answer: Mapping[str, Any], s3_object: S3Object) -> io.BufferedReader:
        """The same with all methods that files have, of what boto3's ``get_object()`` gives."""
        reader = cls(answer["Body"], s3_object, answer.get("ContentType"))
        return io.BufferedReader(reader, COPY_CHUNK)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with s3_errors("read", self._s3_object):
            part = self._body.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


def copy(client: Any, source: S3Object, target: S3Object, checksum: str, headers: Mapping[str, Any]) -> bool | None:
    """Afterwards ``target`` has the content of ``source`` and ``headers``, which no byte of it passed here for.

    There cannot have been a ``target`` before: it is deleted if the service does not say that it has what is meant.

    :param checksum: the SHA-256 digest of the content that is meant, in hexadecimal
    :param headers: parameters of boto3, such as ``ContentType``
    :return: whether it was done; not so if ``source`` is gone or has another content now, or may not be read; ``None``
        if the service does not tell what it has copied
    :raises StoreError: the service could not do it, or there may be a ``target`` with another content
    """
    try:
        with _withdrawn(client, target, fresh=True), s3_errors("copy", target):
            answer = client.copy_object(
                Bucket=target.bucket,
                Key=target.name,
                CopySource={"Bucket": source.bucket, "Key": source.name},
                ChecksumAlgorithm="SHA256",
                MetadataDirective="REPLACE",
                **headers,
            )
            if answer["ResponseMetadata"].get("RetryAttempts"):
                # the digest is that of the last copy, and an earlier request may be carried out after it
                msg = f"{source} was copied more than once, so it is not known what {target} has: try it again"
                raise StoreError(errno.EAGAIN, msg)
    except StoreError as error:
        if was_refused(error):
            return False
        if status_of(error) == _NOT_IMPLEMENTED:
            return None
        raise
    told = answer["CopyObjectResult"].get("ChecksumSHA256")
    if told == base64.b64encode(bytes.fromhex(checksum)).decode():
        return True
    # if this fails, so does the whole: a request to delete that comes late would take what is stored there instead
    try:
        with s3_errors("delete", target):
            client.delete_object(Bucket=target.bucket, Key=target.name)
    except StoreError as error:
        if not was_refused(error):  # then it does not come late either, and what was read is stored over it
            raise
    return None if told is None else False


def put_if_absent(client: Any, s3_object: S3Object, blob: bytes, headers: Mapping[str, Any]) -> None:
    """Afterwards the object has ``blob``; where there is one already, it stays as it is.

    :raises BlobExistsError: there is one
    :raises StoreError: the service could not do it
    """
    try:
        with s3_errors("store", s3_object):
            client.put_object(
                Bucket=s3_object.bucket,
                Key=s3_object.name,
                IfNoneMatch="*",
                **_body(client, bytearray(blob)),
                **headers,
            )
    except StoreError as error:
        # 409: somebody else is about to store one at this moment
        if status_of(error) in {409, 412}:
            msg = f"{s3_object} is stored already, and is not overwritten"
            raise BlobExistsError(errno.EEXIST, msg) from error
        raise


def content_type_of(file: object) -> str | None:
    """The type of what is read, if that is read from S3."""
    raw = getattr(file, "raw", None)
    return raw.content_type if isinstance(raw, S3Reader) else None
