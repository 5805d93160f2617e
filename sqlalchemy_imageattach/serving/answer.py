"""What is answered: a status, headers, and where the bytes are."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO

from ..errors import StoreError

__all__ = ["CHUNK", "Answer", "Body", "message", "status_line"]

#: How many bytes are read and sent at a time, unless a door is told otherwise.
CHUNK = 65536

_LINES = {status.value: f"{status.value} {status.phrase.upper()}" for status in HTTPStatus}

Headers = list[tuple[str, str]]


class Body:
    """Bytes to send, read from a file as they are needed.

    :param file: positioned at the first byte to send; it is closed with the body
    :param length: how many bytes to send; ``None`` for all that there are, where nobody knows how many that is
    :param is_whole: whether the file is sent from its beginning to its end
    """

    __slots__ = ("file", "is_whole", "length")

    def __init__(self, file: IO[bytes], length: int | None, *, is_whole: bool = False) -> None:
        self.file = file
        self.length = length
        self.is_whole = is_whole

    def blocks(self, size: int = CHUNK) -> Iterator[bytes]:
        """The bytes in blocks of ``size``, the last one of fewer.

        :raises StoreError: there are fewer than were announced.  So the connection has to be closed, by which the
            client notices
        """
        # past the buffers that files of stores have: each of many clients would fill one
        read = getattr(self.file, "read1", self.file.read)
        rest = self.length
        while rest is None or rest > 0:
            block = read(size if rest is None else min(size, rest))
            if not block:
                break
            if rest is not None:
                rest -= len(block)
            yield block
        if rest:
            msg = f"expected {self.length} bytes to send, got {self.length - rest}: the file ends early"  # type: ignore[operator]
            raise StoreError(msg)

    @property
    def is_plain_file(self) -> bool:
        """Whether it is a whole file of the file system, which servers can send in ways of their own."""
        return self.is_whole and isinstance(getattr(self.file, "raw", self.file), io.FileIO)

    def close(self) -> None:
        with suppress(OSError):  # all was sent, or nobody waits for it
            self.file.close()


@dataclass(slots=True)
class Answer:
    """The answer to one request.

    :param status: e.g. 200
    :param headers: names and values
    :param body: what to send; for ``HEAD``, nothing of it is sent
    """

    status: int
    headers: Headers
    body: Body | bytes = b""

    def close(self) -> None:
        """Nothing more of it is needed."""
        if isinstance(self.body, Body):
            self.body.close()


def message(status: int, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """A line of text that says what a status means.

    >>> message(404).body
    b'NOT FOUND\\n'
    """
    text = f"{status_line(status)[4:]}\n".encode()
    own = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(text))),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return Answer(status, [*own, *headers], text)


def status_line(status: int) -> str:
    """The status as servers write it, e.g. ``"404 NOT FOUND"``."""
    return _LINES[status]
