"""Reading from a source in small pieces, and telling its failures from those of the picture.

Whatever a :class:`Reader` is asked for, it holds one small window of the file and no more, so that the structure of
a 500 MB file is looked through in constant memory.  What the file promises and does not hold is
an :exc:`~sqlalchemy_imageattach.errors.UnreadableImageError`; an :exc:`OSError` of the source itself passes unchanged.

**One look has one budget**, of steps and of bytes, however its parts are called and nested: each reader has
:data:`STEPS` steps, of a microsecond or two each, and may read each byte twice.  Scanners need not count what they
read, but have to :meth:`~Reader.spend` what they do with numbers that the file chose, and what they search.  A real
file needs some hundred steps; one of the largest allowed, made of the smallest parts that programs write, needs most
of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, NoReturn

from ..errors import InvalidTypeError, InvalidValueError, TooCostlyError, UnreadableImageError

__all__ = [
    "STEPS",
    "Guarded",
    "Reader",
    "check_source",
    "refuse_costly",
    "refuse_damaged",
    "refuse_truncated",
    "refuse_unsafe",
    "rewound",
]

#: How many steps one look may take in a file of the default policy; in larger ones it grows with their bytes.
STEPS: Final = 30_000
#: How many more bytes give one step more, and how many bytes are read in one.
_BYTES_A_STEP: Final = 2048
_READ_A_STEP: Final = 8192
_SMALL: Final = 4 * 2**20

#: Frames are counted in groups of so many.
_COUNTED: Final = 16

_WINDOW = 1024
_CHUNK = 64 * 1024


def refuse_damaged(what: str) -> NoReturn:
    """Refuse a picture that breaks the rules of its format.

    :raises UnreadableImageError: always
    """
    raise UnreadableImageError(f"the image is damaged: {what}; give an intact file", code="damaged")


def refuse_truncated(what: str) -> NoReturn:
    """Refuse a picture that is cut off.

    :raises UnreadableImageError: always
    """
    raise UnreadableImageError(f"the image is cut off: {what}; give the whole file", code="truncated")


def refuse_costly(what: str) -> NoReturn:
    """Refuse a picture that is whole, and would take too long.

    :raises TooCostlyError: always
    """
    msg = f"the image would take too long: it is {what}; save it anew with another program"
    raise TooCostlyError(msg, code="too_complex")


def refuse_unsafe(what: str) -> NoReturn:
    """Refuse a picture that is whole, and holds what it must not.

    :raises UnreadableImageError: always
    """
    raise UnreadableImageError(f"the image is refused: {what}", code="unsafe")


def check_source(source: object) -> None:
    """Accept a source that can be read from and sought in.

    :raises InvalidTypeError: it has no :meth:`read`, cannot seek, or is opened in text mode
    :raises InvalidValueError: it is closed
    """
    if isinstance(source, io.TextIOBase) or not callable(getattr(source, "read", None)):
        msg = f"expected a file opened in binary mode, got {type(source).__name__}; open it with mode 'rb'"
        raise InvalidTypeError(msg)
    if getattr(source, "closed", False) is True:
        raise InvalidValueError("expected an open file, got a closed one; open it again")
    seekable = getattr(source, "seekable", None)
    if not callable(getattr(source, "seek", None)) or (callable(seekable) and not seekable()):
        msg = f"expected a file that can seek, got {type(source).__name__}; copy it into a temporary file first"
        raise InvalidTypeError(msg)


@contextmanager
def rewound(source: BinaryIO) -> Iterator[None]:
    """Within the block, the source stands at its start; afterwards where it was before, also after an error."""
    check_source(source)
    position = source.tell()
    source.seek(0)
    try:
        yield
    finally:
        source.seek(position)


class Reader:
    """Random access to the bytes of a source.

    :param source: what to read from, from its very start
    :param check_pixels: refuses a picture of too much width, height and frames
    """

    def __init__(self, source: BinaryIO | Guarded, check_pixels: Callable[[int, int, int], None] | None = None) -> None:
        self._source = source
        self._check_pixels = check_pixels
        source.seek(0, io.SEEK_END)
        self.size: int = source.tell()
        #: how many steps are left
        self.steps = STEPS + max(0, self.size - 64 * 2**20) // _BYTES_A_STEP
        self._bytes = 2 * self.size + _SMALL
        self._window = b""
        self._start = 0

    def spend(self, steps: int) -> None:
        """Take so many steps from the budget.

        :raises UnreadableImageError: there are not so many left
        """
        self.steps -= steps
        if self.steps < 0:
            msg = "the image is made of more parts than any picture needs; save it anew with another program"
            raise UnreadableImageError(msg, code="too_complex")

    def count(self, width: int, height: int, frames: int) -> None:
        """So many frames have been found so far: why go on counting when they are too many already?

        :raises PolicyViolationError: they are
        """
        if self._check_pixels is not None and frames % _COUNTED == 0:
            self._check_pixels(width, height, frames)

    def at(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset`` on.

        :raises UnreadableImageError: the file ends before
        """
        place = offset - self._start
        data = self._window[place : place + length] if place >= 0 else b""
        if not data or len(data) < length:  # it nearly always is in the window
            data = self._read_at(offset, length)
        self.steps -= 1
        if self.steps < 0:
            self.spend(0)
        return data

    def _read_at(self, offset: int, length: int) -> bytes:
        end = offset + length
        if offset < 0 or end > self.size:
            refuse_truncated(f"expected {end:,} bytes or more, got {self.size:,}")
        if offset < self._start or end > self._start + len(self._window):
            # what is read on from where the last window ended is likely to be read on
            near = 0 <= offset - self._start <= len(self._window) + _WINDOW
            window = min(2 * max(len(self._window), _WINDOW), _CHUNK) if near else _WINDOW
            self._window = self._read(offset, max(length, window))
            self._start = offset
        data = self._window[offset - self._start : end - self._start]
        if len(data) < length:
            refuse_truncated(f"it ended {length - len(data):,} bytes before the size it has")
        return data

    def byte(self, offset: int) -> int:
        """One byte, of which nobody keeps count while it is in the window.

        :raises UnreadableImageError: the file ends before
        """
        place = offset - self._start
        return self._window[place] if 0 <= place < len(self._window) else self.at(offset, 1)[0]

    def view(self, offset: int) -> memoryview:
        """One byte or more from ``offset`` on: what there is at hand.

        :raises UnreadableImageError: the file ends before
        """
        self.at(offset, 1)
        return memoryview(self._window)[offset - self._start :]

    def head(self, length: int) -> bytes:
        """The first bytes: ``length`` of them, or as many as there are."""
        return self.at(0, min(length, self.size))

    def chunks(self, offset: int = 0) -> Iterator[bytes]:
        """All that follows ``offset``, piece by piece."""
        while offset < self.size and (data := self._read(offset, _CHUNK)):
            yield data
            offset += len(data)

    def find(self, byte: bytes, offset: int) -> int:
        """Where the byte occurs first, at ``offset`` or after it; -1 when it does not."""
        while offset < self.size:
            start = offset - self._start
            if not 0 <= start < len(self._window):
                self.at(offset, 1)
                start = offset - self._start
            index = self._window.find(byte, start)
            if index >= 0:
                return self._start + index
            offset = self._start + len(self._window)
        return -1

    def rfind(self, needle: bytes, lowest: int = 0) -> int:
        """Where ``needle`` occurs last, at ``lowest`` or after it; -1 when it does not."""
        end = self.size
        while end > lowest:
            start = max(lowest, end - _CHUNK)
            # one chunk overlaps the next by a needle less one byte, so that none is cut in two
            index = self._read(start, end - start + len(needle) - 1).rfind(needle)
            if index >= 0:
                return start + index
            end = start
        return -1

    def occurrences(self, needle: bytes, start: int, end: int, most: int) -> int:
        """How often ``needle`` stands between two places; more than ``most`` are not counted.

        It must not begin as it ends, so that no two of them overlap.
        """
        found = 0
        while end - start >= len(needle) and found <= most:
            data = self.at(start, min(_CHUNK, end - start))
            place = len(data)
            # from the back, which takes a third of the time of a search from the front where all bytes are alike
            while found <= most and (place := data.rfind(needle, 0, place)) >= 0:
                found += 1
            start += len(data) - len(needle) + 1  # so that none is cut in two
        return found

    def everything(self) -> bytes:
        """The whole file at once, for formats that cannot be looked through otherwise."""
        return self._read(0, self.size)

    def _read(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        self.spend(length // _READ_A_STEP)
        self._bytes -= length
        if self._bytes < 0:
            self.spend(self.steps + 1)
        self._source.seek(offset)
        pieces = []
        while length > 0 and (piece := self._source.read(length)):
            if not isinstance(piece, bytes):
                msg = (
                    f"expected a file opened in binary mode, got {type(piece).__name__} from its read(); use mode 'rb'"
                )
                raise InvalidTypeError(msg)
            pieces.append(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Guarded(io.RawIOBase):
    """A source as decoders see it: it cannot be closed by them, has no file descriptor and remembers its own failure.

    Decoders raise :exc:`OSError` for broken pictures; :attr:`failure` tells whether the source is to blame instead.

    :param source: what to read from
    """

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._guarded = source
        self.failure: Exception | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes from the source, everything that is left with -1."""
        try:
            return self._guarded.read(-1 if size is None else size)
        except Exception as error:
            self.failure = error
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move within the source.

        :raises ValueError: the position lies before the start, which only a broken picture asks for
        """
        if whence == io.SEEK_SET and offset < 0:
            raise ValueError(f"expected a position in the file, got {offset}")
        try:
            return self._guarded.seek(offset, whence)
        except Exception as error:
            # an absurd offset from a broken header is the picture's fault
            if isinstance(error, OSError):
                self.failure = error
            raise

    def tell(self) -> int:
        """The position in the source."""
        return self._guarded.tell()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True
