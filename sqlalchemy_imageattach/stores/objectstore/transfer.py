"""Blobs on their way to an object store and back by obstore, in constant memory, and what its errors mean."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Self

from ...blobpart import BlobPart, BlobStat
from ...errors import BlobNotFoundError, StoreAccessDeniedError, StoreError
from ...file import COPY_CHUNK, read_chunks

if TYPE_CHECKING:
    from obstore import Attributes

__all__ = [
    "PART_SIZE",
    "ObjectReader",
    "StoredObject",
    "object_errors",
    "open_part",
    "stat_of_object",
    "upload",
]

#: The bytes of a part of a long blob: the least that all services take is 5 MiB.
PART_SIZE = 8 * 2**20

_log = logging.getLogger("sqlalchemy_imageattach.stores.objectstore")

# obstore's threads do not survive a fork, and a request of the child would wait for them for ever
_used_by: int | None = None

# by these it is certain that nothing was stored
_NOTHING_DONE = {errno.EACCES, errno.ECONNREFUSED, errno.ENOENT}

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<\n]+)")
_MESSAGE = re.compile(r"<Message>([^<\n]+)")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|(?:bucket|container) does not exist", re.IGNORECASE)
_FULL = re.compile(r"\bQuotaExceeded|\bInsufficientStorage")
_TIMEOUT = re.compile(r"timed out|TimedOut")
_UNREACHED = re.compile(r"error sending request|error decoding response body")
_OS_ERROR = re.compile(r"\(os error (\d+)\)|\bcode: (\d+),")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What is asked for: an object of a store of obstore, or the whole store.

    :param store: the store
    :param name: the name of the object
    """

    store: Any
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} in {self.store}" if self.name else str(self.store)


@contextmanager
def object_errors(doing: str, stored: StoredObject) -> Iterator[None]:
    """Within, what obstore raises becomes the :exc:`StoreError` that says it best.

    The reading of a source must not be within: what it raises is the caller's.

    :raises StoreError: besides, if this process was forked by one that had made requests
    """
    _check_process()
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        translated = _translate(doing, stored, error)
        if translated is None:
            raise
        raise translated from error


def upload(stored: StoredObject, file: IO[bytes], attributes: Attributes | None, *, fresh: bool) -> None:
    """Afterwards the object has the rest of ``file``; if this raises, it is as it was before.

    The latter as far as the service can still be reached: an upload that broke is aborted, and an object that may have
    been stored, although the answer got lost, is deleted if it is ``fresh``.

    :param attributes: the type of the object and so on
    :param fresh: whether there cannot have been such an object before
    :raises StoreError: the service could not do it; errors of ``file`` pass as they are
    """
    import obstore

    chunks = read_chunks(file)
    first = bytearray()
    for chunk in chunks:
        first += chunk
        if len(first) >= PART_SIZE:
            break
    source = _Source(chain([first], chunks))
    is_long = len(first) >= PART_SIZE
    try:
        with object_errors("store", stored):
            obstore.put(
                stored.store,
                stored.name,
                source if is_long else bytes(first),
                attributes=attributes,
                use_multipart=is_long,
                chunk_size=PART_SIZE,
                max_concurrency=1,
            )
    except BaseException as error:
        if source.error is not None:
            raise source.error from None
        if fresh and not (isinstance(error, StoreError) and error.errno in _NOTHING_DONE):
            _withdraw(stored)
        raise


def stat_of_object(stored: StoredObject) -> BlobStat:
    """What the service says of an object.

    :raises BlobNotFoundError: there is no such object
    :raises StoreError: the service refuses, or cannot be reached
    """
    import obstore

    with object_errors("read", stored):
        meta = obstore.head(stored.store, stored.name)
    return BlobStat(meta["size"], meta["last_modified"])


def open_part(stored: StoredObject, start: int, length: int | None) -> BlobPart:
    """A part of an object, by one request for it; by one more where it begins at the end of the object, or later.

    :raises BlobNotFoundError: there is no such object
    :raises StoreError: the service refuses, or cannot be reached
    """
    import obstore

    options: Any = {"range": {"offset": start} if length is None else (start, start + length)}
    try:
        with object_errors("read", stored):
            result = obstore.get(stored.store, stored.name, options=options if start or length is not None else None)
    except BlobNotFoundError:
        raise
    except StoreError:
        # what is said of a range that is not there differs among services
        stat = stat_of_object(stored) if start else None
        if stat is None or start < (stat.byte_size or 0):
            raise
        return BlobPart(io.BytesIO(), stat)
    meta = result.meta
    return BlobPart(
        io.BufferedReader(ObjectReader(result, stored), COPY_CHUNK), BlobStat(meta["size"], meta["last_modified"])
    )


class ObjectReader(io.RawIOBase):
    """The body of an answer as a file.

    :param result: what obstore's ``get()`` gives
    :param stored: what it is the content of, for messages
    :raises StoreError: by its methods: the connection broke, or the server stopped sending
    """

    def __init__(self, result: Any, stored: StoredObject) -> None:
        self._chunks: Iterator[Any] | None = iter(result.stream(min_chunk_size=COPY_CHUNK))
        self._stored = stored
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and self._chunks is not None:
            with object_errors("read", self._stored):
                chunk = next(self._chunks, None)
            if chunk is None:
                self._chunks = None
                return 0
            self._rest = memoryview(chunk)
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)

    def close(self) -> None:
        # the connection closes when nobody has the stream any more
        self._chunks = None
        self._rest = memoryview(b"")
        super().close()


class _Source:
    """The chunks of a file, and what was raised while they were read."""

    def __init__(self, chunks: Iterator[bytes | bytearray]) -> None:
        self._chunks = chunks
        self.error: BaseException | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes | bytearray:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


def _withdraw(stored: StoredObject) -> None:
    import obstore

    try:
        with object_errors("delete", stored):
            obstore.delete(stored.store, stored.name)
    except FileNotFoundError:
        pass
    except Exception as error:
        # the first error is the one to raise, and the sweeper finds what is left
        _log.warning("cannot delete %s, which could not be stored: %s", stored, error)


def _check_process() -> None:
    global _used_by
    if _used_by is None:
        _used_by = os.getpid()
    elif _used_by != os.getpid():
        msg = (
            "this process was forked by one that had used an object store already, whose connections it cannot use;"
            " start processes by 'spawn' or 'forkserver', or use no object store before the fork"
        )
        raise StoreError(errno.ENOTSUP, msg)


def _translate(doing: str, stored: StoredObject, error: Exception) -> StoreError | None:
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    if not isinstance(error, BaseError | OSError | ValueError):
        return None
    text = str(error)
    status = _found(_STATUS, text)
    cannot = f"cannot {doing} {stored}: "
    is_missing = isinstance(error, FileNotFoundError)
    if _NO_BUCKET.search(text) or (doing in {"store", "list"} and (is_missing or status == "404")):
        return StoreError(errno.ENOENT, f"{cannot}there is no such bucket or container; create it, or check its name")
    if is_missing:
        return BlobNotFoundError(errno.ENOENT, f"no such blob: {stored}")
    said = _said(text, status)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in {"401", "403"}:
        hint = f"access denied: check which credentials are in use, and what they may do ({said})"
        return StoreAccessDeniedError(errno.EACCES, cannot + hint)
    if _FULL.search(text) or status == "507":
        return StoreError(errno.ENOSPC, f"{cannot}there is no space left ({said})")
    if _TIMEOUT.search(text) or status == "408":
        hint = f"the service did not answer in time; check the network, or raise the timeouts ({said})"
        return StoreError(errno.ETIMEDOUT, cannot + hint)
    code = _found(_OS_ERROR, text)
    if _UNREACHED.search(text):
        said = f"the service cannot be reached, or broke off; check its address and the network ({said})"
    return StoreError(int(code) if code else errno.EIO, cannot + said)


def _said(text: str, status: str) -> str:
    """The part of obstore's message, or of the answer in it, that people need."""
    code, message = _found(_CODE, text), _found(_MESSAGE, text)
    if status and (code or message):
        return f"the service answered {status} {code}: {message}"
    return text.partition("\n")[0]


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return next(filter(None, match.groups()), "") if match else ""
