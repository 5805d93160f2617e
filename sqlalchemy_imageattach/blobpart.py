"""What a store says of a blob, and a part of one: what ranges of HTTP are answered by.

>>> part = part_of(io.BytesIO(b"a picture"), 2, 4)
>>> part.file.read(), part.stat.byte_size
(b'pict', 9)
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

from .key import ImageKey
from .spool import is_seekable

__all__ = ["BlobPart", "BlobStat", "Limited", "StoredBlob", "part_of", "stat_of"]

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What a store says of a blob without giving it.

    :param byte_size: its length in bytes; ``None`` where it takes reading to know it
    :param modified_at: when it was written, by the store's clock, with a time zone; ``None`` where that is not known
    """

    byte_size: int | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BlobPart:
    """Bytes of a blob.

    :param file: a binary file with them, to be closed after use
    :param stat: what there is to say of the whole blob
    """

    file: IO[bytes]
    stat: BlobStat


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What a store says of one thing that it has.

    :param name: where it is in the store: its path or name, relative to the store's directory or prefix
    :param byte_size: its length in bytes
    :param modified_at: when it was written, by the store's clock, with a time zone
    :param key: the key by which the store has it; ``None`` if it is nothing that the store wrote as a blob
    :param is_temporary: whether it is part of an unfinished write; then ``key`` is ``None``
    """

    name: str
    byte_size: int
    modified_at: datetime
    key: ImageKey | None
    is_temporary: bool = False


class Limited(io.RawIOBase):
    """The next bytes of a file, as a file.

    :param file: positioned at the first of them; it is closed with this one
    :param length: how many there are at most
    """

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file = file
        self._rest = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._file.read(min(len(buffer), self._rest)) if self._rest else b""
        buffer[: len(part)] = part
        self._rest -= len(part)
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def part_of(file: IO[bytes], start: int, length: int | None) -> BlobPart:
    """The part of a file with a whole blob; the file is closed if this raises.

    :param start: the first byte
    :param length: how many bytes at most; ``None`` for all that follow
    """
    try:
        found = stat_of(file)
        _skip(file, start)
    except BaseException:
        file.close()
        raise
    return BlobPart(file if length is None else io.BufferedReader(Limited(file, length), _CHUNK), found)


def stat_of(file: IO[bytes]) -> BlobStat:
    """What a file at its beginning tells of the blob that it holds."""
    fileno: Callable[[], int] | None = getattr(file, "fileno", None)
    if fileno is not None:
        try:
            status = os.fstat(fileno())
        except OSError:  # io.UnsupportedOperation is one
            pass
        else:
            if stat.S_ISREG(status.st_mode):
                return BlobStat(status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
    if not is_seekable(file):
        return BlobStat()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return BlobStat(file.tell() if size is None else size)


def _skip(file: IO[bytes], count: int) -> None:
    if count and is_seekable(file):
        file.seek(count)
        return
    while count > 0 and (block := file.read(min(count, _CHUNK))):
        count -= len(block)
