"""Files: what is accepted as one, and proxies that complete a file-like object.

What callers hand in can be an open file, a pipe, an HTTP response or an upload object of a web framework, and nobody
promises that it will still be readable when the transaction is flushed.  So it is looked at once, by
:func:`binary_file`, and copied once, into a :class:`Spool`:

    >>> upload = io.BytesIO(b"a picture")
    >>> spool = Spool.read_from(binary_file(upload))
    >>> upload.close()
    >>> spool.byte_size
    9
"""

from __future__ import annotations

import codecs
import inspect
import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, Self, cast

from .arguments import wrong_type, wrong_value
from .errors import InvalidValueError
from .spool import (
    COPY_CHUNK,
    SPOOL_IN_MEMORY,
    Spool,
    copy_chunks,
    describe_file,
    is_seekable,
    read_chunks,
    refuse_chunk,
)

__all__ = [
    "COPY_CHUNK",
    "SPOOL_IN_MEMORY",
    "FileProxy",
    "ReusableFileProxy",
    "SeekableFileProxy",
    "Spool",
    "binary_file",
    "completed",
    "copy_chunks",
    "is_blank_upload",
    "is_seekable",
    "read_chunks",
]

# --- what is accepted as a file --------------------------------------------------------------------------------------


#: Files of Python itself, which are nobody's upload objects.
_PLAIN_FILES = frozenset({io.BytesIO, io.BufferedReader, io.BufferedRandom, io.FileIO, tempfile.SpooledTemporaryFile})

#: How many upload objects may be within one another.  A ``Mock`` has another one for ever.
_DEEPEST = 8


def binary_file(source: object) -> IO[bytes]:
    """The binary file that ``source`` is or, if it is an upload object of a web framework, the one within.

    An upload object is rewound to its start, since the framework or a validator may have read from it; any other file
    is left at its current position.  Known by their shape, without an import, are those of Starlette and FastAPI,
    Werkzeug and Flask, Django, and others with a readable ``file`` or ``stream`` beside a ``filename`` or ``chunks()``.

        >>> binary_file("holiday.jpg")
        Traceback (most recent call last):
          ...
        sqlalchemy_imageattach.errors.InvalidTypeError: expected a binary file, got a path ('holiday.jpg'); open it ...

    :param source: a file opened in binary mode, or an upload object
    :raises InvalidTypeError: it is no file, or one opened in text mode, or one that can only be awaited
    :raises InvalidValueError: it is closed, or opened for writing only
    """
    _refuse_lookalikes(source)
    file = source
    for _ in range(_DEEPEST):
        if (inner := _file_of_upload(file)) is None:
            break
        file = inner
    _check_readable(file)
    if file is not source and is_seekable(file):
        cast("IO[bytes]", file).seek(0)
    return cast("IO[bytes]", file)


def is_blank_upload(source: object) -> bool:
    """Whether it is what browsers send for a field of a form in which no file was chosen: one without name and bytes.

        >>> from werkzeug.datastructures import FileStorage
        >>> is_blank_upload(FileStorage(io.BytesIO(), filename=""))
        True
        >>> is_blank_upload(FileStorage(io.BytesIO(), filename="empty.jpg"))
        False

    :param source: anything
    """
    file: Any = _file_of_upload(source)
    if file is None or getattr(source, "filename", None) or not is_seekable(file) or getattr(file, "closed", False):
        return False
    file.seek(0)
    is_empty = not file.read(1)
    file.seek(0)
    return is_empty


def _file_of_upload(source: object) -> object | None:
    if type(source) in _PLAIN_FILES:
        return None
    candidates = (getattr(source, name, None) for name in ("file", "stream"))
    inner = next((c for c in candidates if c is not source and callable(getattr(c, "read", None))), None)
    if inner is None:
        return None
    # that alone would not do: the wrapper that tempfile.NamedTemporaryFile() gives has a `file` too
    return inner if hasattr(source, "filename") or callable(getattr(source, "chunks", None)) else None


def _refuse_lookalikes(source: object) -> None:
    if isinstance(source, str | os.PathLike):
        came = f"a path ({os.fspath(source)!r})"
        raise wrong_type("", source, "a binary file", "open it in binary mode: open(path, 'rb')", got=came)
    if isinstance(source, bytes | bytearray | memoryview):
        came = f"{len(source)} bytes ({type(source).__name__})"
        raise wrong_type("", source, "a binary file", "use from_blob() for these", got=came)
    if isinstance(source, type):
        raise wrong_type("", source, "a binary file", got=f"the class {source.__name__}")


def _check_readable(file: object) -> None:
    name = describe_file(file)
    read = getattr(file, "read", None)
    if not callable(read):
        raise wrong_type("", file, "a binary file (something to read() bytes from)", got=name)
    if inspect.iscoroutinefunction(read):
        came, advice = f"{name}, whose read() is async", "use from_blob(await file.read())"
        raise wrong_type("", file, "a file with a plain read()", advice, got=came)
    if getattr(file, "closed", False) is True:
        advice = "attach the picture before closing its file"
        raise wrong_value("", file, "an open file", advice, got=f"{name}, which is closed")
    if _is_text(file):
        came, advice = f"{name}, opened in text mode", "open it with open(path, 'rb')"
        raise wrong_type("", file, "a file opened in binary mode", advice, got=came)
    if callable(readable := getattr(file, "readable", None)) and not readable():
        came, advice = f"{name}, opened for writing only", "open it with open(path, 'rb')"
        raise wrong_value("", file, "a file opened for reading", advice, got=came)


def _is_text(file: Any) -> bool:
    if isinstance(file, io.TextIOBase | codecs.StreamReader | codecs.StreamReaderWriter):
        return True
    # read(0) only where there is a reason to: not every source knows what to do with it
    return getattr(file, "encoding", None) is not None and isinstance(file.read(0), str)


# --- proxies ---------------------------------------------------------------------------------------------------------


class FileProxy:
    """Completes a file-like object: whatever has ``read()`` can be used in ``with``, ``for`` and line by line.

    Other attributes are those of the wrapped object.  Closing it closes the wrapped object, if that can be closed;
    doing so twice is no error.

        >>> with FileProxy(io.BytesIO(b"first\\nsecond\\n")) as file:
        ...     file.readline(), list(file)
        (b'first\\n', [b'second\\n'])

    :param wrapped: the object to read from
    """

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        complete = hasattr(wrapped, "readline")
        self._lines = wrapped if complete else io.BufferedReader(_Raw(wrapped), COPY_CHUNK)
        self._closed = False

    def read(self, size: int | None = -1) -> bytes:
        """At most ``size`` bytes, or all there are up to the end; nothing at the end."""
        return cast("bytes", self._file.read(-1 if size is None else size))

    def readline(self, size: int | None = None) -> bytes:
        """The next line with its line break, but at most ``size`` bytes of it; nothing at the end."""
        return cast("bytes", self._file.readline() if size is None else self._file.readline(size))

    def readlines(self, sizehint: int | None = None) -> list[bytes]:
        """The remaining lines, or as many whole ones as make up ``sizehint`` bytes."""
        lines: list[bytes] = []
        enough = sizehint if sizehint is not None and sizehint > 0 else float("inf")
        total = 0
        while total < enough and (line := self.readline()):
            lines.append(line)
            total += len(line)
        return lines

    def xreadlines(self) -> Iterator[bytes]:
        """The same as ``iter(file)``.

        .. deprecated:: 1.0
           Iterate over the file itself.
        """
        warnings.warn("xreadlines() is deprecated; iterate over the file itself", DeprecationWarning, stacklevel=2)
        return iter(self)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    next = __next__

    def close(self) -> None:
        """Afterwards the file is closed, and so is the wrapped one."""
        self._closed = True
        if callable(close := getattr(self.wrapped, "close", None)):
            close()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._closed or bool(getattr(self.wrapped, "closed", False))

    def readable(self) -> bool:
        """Whether it can be read from: always."""
        return True

    def writable(self) -> bool:
        """Whether it can be written to: never."""
        return False

    def seekable(self) -> bool:
        """Whether it has ``seek()`` and ``tell()``."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        # seek and tell are what distinguishes SeekableFileProxy; the others would recurse on a half-made copy
        if name in {"seek", "tell", "wrapped"} or name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.wrapped, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.wrapped!r})"

    @property
    def _file(self) -> Any:
        if self._closed:
            msg = f"expected an open file, got a closed {type(self).__name__}; read it before closing it"
            raise InvalidValueError(msg)
        return self._lines


class SeekableFileProxy(FileProxy):
    """A :class:`FileProxy` that can be positioned, for objects that can.

    :param wrapped: the object to read from, with ``seek()`` and ``tell()``
    """

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to ``offset`` bytes from the start, the current position or the end, as ``whence`` says.

        :return: the new position from the start
        """
        moved = self._file.seek(offset, whence)
        return self.tell() if moved is None else int(moved)

    def tell(self) -> int:
        """The current position, in bytes from the start."""
        return int(self._file.tell())

    def seekable(self) -> bool:
        """Whether it has ``seek()`` and ``tell()``."""
        return True


class ReusableFileProxy(SeekableFileProxy):
    """A :class:`SeekableFileProxy` that a ``with`` block reads from the start and leaves open where it was.

    :param wrapped: the object to read from, with ``seek()`` and ``tell()``
    """

    def __init__(self, wrapped: Any) -> None:
        super().__init__(wrapped)
        self._offsets: list[int] = []

    @property
    def initial_offset(self) -> int | None:
        """The position at which the innermost ``with`` block was entered; ``None`` outside of one."""
        return self._offsets[-1] if self._offsets else None

    def __enter__(self) -> Self:
        self._offsets.append(self.tell())
        self.seek(0)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seek(self._offsets.pop())


class _Raw(io.RawIOBase):
    """What :class:`io.BufferedReader` wants, for an object that has only ``read()``.  Closing it is the proxy's job."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._source.read(len(buffer))
        if not isinstance(chunk, bytes | bytearray | memoryview):
            refuse_chunk(self._source, chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def seekable(self) -> bool:
        return is_seekable(self._source)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        moved = self._source.seek(offset, whence)
        return self.tell() if moved is None else int(moved)

    def tell(self) -> int:
        return int(self._source.tell())


# What a file that open() returns can do at least.
_PROMISED = ("read", "readline", "readlines", "close", "__enter__", "__exit__", "__iter__", "__next__")


def completed(file: IO[bytes], *, use_seek: bool) -> IO[bytes]:
    """What a store's ``get_file()`` gave, with all that ``Store.open()`` promises of a file."""
    if use_seek and not is_seekable(file):
        file = _seekable_copy(file)
    if all(hasattr(file, name) for name in _PROMISED):
        return file
    return cast("IO[bytes]", SeekableFileProxy(file) if use_seek else FileProxy(file))


def _seekable_copy(file: IO[bytes]) -> IO[bytes]:
    try:
        return Spool.read_from(file).open()
    finally:
        if callable(close := getattr(file, "close", None)):
            close()
