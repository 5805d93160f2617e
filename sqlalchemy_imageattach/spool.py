"""Copying: the one way to do it, and :class:`Spool`, a private copy of a stream that stays as it is.

>>> upload = io.BytesIO(b"a picture")
>>> spool = Spool.read_from(upload)
>>> upload.close()
>>> with spool.open() as first, spool.open() as second:
...     first.read(), second.read(1)
(b'a picture', b'a')
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, NoReturn, Protocol, Self, cast

from .arguments import check_range, check_type
from .errors import InvalidTypeError, PolicyViolationError, TemporaryFileError

__all__ = [
    "COPY_CHUNK",
    "SPOOL_IN_MEMORY",
    "Readable",
    "Spool",
    "Writable",
    "copy_chunks",
    "describe_file",
    "is_seekable",
    "read_chunks",
    "refuse_chunk",
]

#: How many bytes are read and written at a time.  More in one ``write()`` is much slower on some kernels.
COPY_CHUNK = 256 * 1024

#: A :class:`Spool` of up to this many bytes is kept in memory, a longer one in a temporary file.
SPOOL_IN_MEMORY = 8 * 2**20


class Readable(Protocol):
    """All that is asked of a source."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """All that is asked of a target."""

    def write(self, data: bytes, /) -> int | None: ...


def read_chunks(source: Readable) -> Iterator[bytes]:
    """Gives what ``source`` holds from its current position to its end, in pieces of at most :data:`COPY_CHUNK` bytes.

    A source may give less than it is asked for, or more; it ends when it gives nothing.

    :param source: anything whose ``read(size)`` returns bytes
    :raises InvalidTypeError: ``read()`` returned something else
    """
    while True:
        chunk = source.read(COPY_CHUNK)
        if not isinstance(chunk, bytes | bytearray | memoryview):
            refuse_chunk(source, chunk)
        if not len(chunk):
            return
        # a bytearray could change under the reader's hands
        blob = chunk if isinstance(chunk, bytes) else bytes(chunk)
        for start in range(0, len(blob), COPY_CHUNK):
            yield blob[start : start + COPY_CHUNK]


def copy_chunks(source: Readable, target: Writable) -> int:
    """Copies what ``source`` holds from its current position to its end into ``target``, in constant memory.

        >>> copy_chunks(io.BytesIO(b"a picture"), io.BytesIO())
        9

    :param source: anything whose ``read(size)`` returns bytes
    :param target: anything with ``write(data)``, raw files included, which may take only a part at a time
    :return: the number of bytes copied
    :raises InvalidTypeError: ``source`` does not give bytes
    """
    total = 0
    for chunk in _pieces_of(source) if type(source) is io.BytesIO else read_chunks(source):
        _write_whole(target, chunk)
        total += len(chunk)
    return total


def _pieces_of(source: io.BytesIO) -> Iterator[memoryview]:
    # read from its start, it gives its own memory, which then is not copied at all
    with memoryview(source.read()) as blob:
        for start in range(0, len(blob), COPY_CHUNK):
            yield blob[start : start + COPY_CHUNK]


def is_seekable(file: object) -> bool:
    """Whether ``file`` has ``seek()`` and ``tell()`` that work."""
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if callable(seekable) else hasattr(file, "seek") and hasattr(file, "tell")


def _write_whole(target: Writable, chunk: bytes | memoryview) -> None:
    written = target.write(cast("bytes", chunk))
    while written is not None and written < len(chunk):
        chunk = chunk[written:]
        written = target.write(cast("bytes", chunk))


def refuse_chunk(source: object, chunk: object) -> NoReturn:
    """Raises the error for a ``source`` whose ``read()`` returned ``chunk``, which is not bytes."""
    if inspect.iscoroutine(chunk):
        chunk.close()  # otherwise Python warns that it was never awaited
    hint = {
        str: "open it in binary mode: open(path, 'rb')",
        type(None): "it seems to be in non-blocking mode; make it blocking first",
    }.get(type(chunk), "read it yourself and use from_blob()")
    msg = f"expected read() of {describe_file(source)} to return bytes, got {type(chunk).__name__}; {hint}"
    raise InvalidTypeError(msg)


def describe_file(file: object) -> str:
    """``file`` by its type and, where it has one, its name: for messages."""
    name = getattr(file, "name", None)
    return f"{type(file).__name__} ({name!r})" if isinstance(name, str) and name else type(file).__name__


# --- spooling --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False, repr=False)
class Spool:
    """A private copy of a stream: what becomes of the original afterwards does not matter.

    It is made by :meth:`read_from` or :meth:`of`.  Up to :data:`SPOOL_IN_MEMORY` bytes it is kept in memory, beyond
    that in a temporary file (in :func:`tempfile.gettempdir`, readable by this user alone), which is deleted when
    neither the spool nor a reader of it is in use any more.  No file is kept open in between.

    :param byte_size: the number of bytes
    :param checksum: their SHA-256 digest in hexadecimal
    """

    byte_size: int
    checksum: str
    _blob: bytes | None = None
    _path: str | None = None

    def __post_init__(self) -> None:
        if self._path is not None:
            weakref.finalize(self, _delete_own, self._path, os.getpid())

    @classmethod
    def of(cls, blob: bytes) -> Self:
        """A spool that shares the memory of ``blob``; a ``bytearray`` or ``memoryview``, which can change, is copied.

            >>> Spool.of(b"a picture").byte_size
            9

        :raises InvalidTypeError: ``blob`` is not bytes
        """
        if not isinstance(blob, bytes | bytearray | memoryview):
            hint = "; use read_from() for a file" if hasattr(blob, "read") else ""
            raise InvalidTypeError(f"expected bytes, got {type(blob).__name__}{hint}")
        blob = bytes(blob)
        return cls(len(blob), hashlib.sha256(blob).hexdigest(), blob)

    @classmethod
    def read_from(cls, source: Readable, limit: int | None = None) -> Self:
        """A copy of what ``source`` holds from its current position to its end, made in constant memory.

        Where ``source`` can be positioned, it is afterwards where it was before.  If it raises, so does this, and
        nothing is left behind.

        :param source: a binary file, or anything else whose ``read(size)`` returns bytes
        :param limit: the most bytes to accept; ``None`` for no limit
        :raises TemporaryFileError: it is long, and the temporary directory has no room for it
        :raises PolicyViolationError: there are more than ``limit`` bytes; reading stopped there
        :raises InvalidTypeError: ``source`` does not give bytes
        """
        _check_limit(limit)
        if type(source) is io.BytesIO and (rest := _rest_of(source)) <= SPOOL_IN_MEMORY:
            _refuse_more_than(limit, rest)
            position, blob = source.tell(), source.read()  # which shares its memory if it is read from its start
            source.seek(position)
            return cls.of(blob)
        with _position_kept(source):
            meter = _Meter(read_chunks(source), limit)
            memory = _in_memory(meter, SPOOL_IN_MEMORY)
            if memory.tell() <= SPOOL_IN_MEMORY:
                return cls(meter.byte_size, meter.digest.hexdigest(), memory.getvalue())
            memory.seek(0)
            path = _temporary_file(chain(read_chunks(memory), meter))
            return cls(meter.byte_size, meter.digest.hexdigest(), None, path)

    def open(self) -> BinaryIO:
        """A new file to read the copy from, at its start and independent of all others; the caller closes it."""
        if self._path is None:
            return io.BytesIO(self._blob or b"")
        return io.BufferedReader(_SpoolFile(self._path, self), COPY_CHUNK)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(byte_size={self.byte_size!r}, checksum={self.checksum!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        msg = "a Spool cannot be pickled: it is bound to this process; commit first, or pickle the bytes themselves"
        raise InvalidTypeError(msg)


class _SpoolFile(io.FileIO):
    """Keeps its spool, and with it the temporary file, for as long as somebody reads from it."""

    def __init__(self, path: str, spool: Spool) -> None:
        super().__init__(path, "rb")
        self._spool = spool


class _Meter(Iterator[bytes]):
    """Passes chunks on while it counts, digests and limits them."""

    def __init__(self, chunks: Iterator[bytes], limit: int | None) -> None:
        self._chunks = chunks
        self._limit = limit
        self.digest = hashlib.sha256()
        self.byte_size = 0

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.byte_size += len(chunk)
        _refuse_more_than(self._limit, self.byte_size)
        self.digest.update(chunk)
        return chunk


def _rest_of(source: io.BytesIO) -> int:
    position = source.tell()
    try:
        return source.seek(0, os.SEEK_END) - position
    finally:
        source.seek(position)


def _refuse_more_than(limit: int | None, byte_size: int) -> None:
    if limit is not None and byte_size > limit:
        msg = f"expected a file of at most {limit:,} bytes, got a longer one; give a smaller file"
        advice = "max_bytes of the image class's ImagePolicy is the limit."
        raise PolicyViolationError(msg, code="too_many_bytes", advice=advice, limit=limit)


def _in_memory(chunks: Iterable[bytes], limit: int) -> io.BytesIO:
    """Takes chunks until they have passed ``limit`` bytes, or there are no more."""
    memory = io.BytesIO()  # a list of chunks, joined, takes 30 times as long: each chunk is memory new to the process
    for chunk in chunks:
        memory.write(chunk)
        if memory.tell() > limit:
            break
    return memory


def _temporary_file(chunks: Iterable[bytes]) -> str:
    with temporary_errors():
        descriptor, path = tempfile.mkstemp(prefix="imageattach-", suffix=".spool")
    try:
        with io.FileIO(descriptor, "wb") as file:
            for chunk in chunks:
                with temporary_errors():  # and not round the reading, whose errors are the source's
                    _write_whole(file, chunk)
    except BaseException:
        _delete_own(path, os.getpid())
        raise
    return path


@contextmanager
def temporary_errors() -> Iterator[None]:
    """Whatever the temporary directory refuses is a :exc:`TemporaryFileError`."""
    try:
        yield
    except OSError as error:
        msg = (
            f"cannot write to the temporary directory: {error.strerror or error}; make room in it, or let TMPDIR name"
            " another one"
        )
        raise TemporaryFileError(error.errno, msg) from error


def _delete_own(path: str, owner: int) -> None:
    # a forked child runs the same finalizers, but the file is still its parent's
    if os.getpid() == owner:
        with suppress(OSError):
            os.unlink(path)


@contextmanager
def _position_kept(source: Any) -> Iterator[None]:
    if not is_seekable(source):
        yield
        return
    position = source.tell()
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the first error is the one to hear of
            source.seek(position)
        raise
    source.seek(position)


def _check_limit(limit: int | None) -> None:
    if limit is not None:
        check_type("limit", limit, int, "a number of bytes or None")
        check_range("limit", limit, "a number of bytes, 0 or more", 0)
