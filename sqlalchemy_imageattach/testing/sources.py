"""Files to store that are as difficult as real ones can be, and what they hold."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["ONE_MD5", "Source", "noise"]

_NOISE = random.Random(0).randbytes(1_000_003)

_COLLIDING = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a"
    "085125e8f7cdc99fd91dbdf280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)

#: Two contents of one length and one MD5 digest, which Wang, Feng, Lai and Yu found in 2004.
ONE_MD5 = (_COLLIDING, bytes(byte ^ (0x80 if at % 64 in {19, 45, 59} else 0) for at, byte in enumerate(_COLLIDING)))


class Source:
    """A file with nothing but ``read()``: it cannot be rewound, has no length, and gives little at a time.

    >>> source = Source(b"a picture", piece=4)
    >>> source.read(100), source.read(2), source.read()
    (b'a pi', b'ct', b'ure')

    :param content: what it holds
    :param piece: the most bytes that ``read(size)`` gives
    :param interrupted_at: before which byte ``interruption`` is called, once
    :param interruption: what may raise an error, or wait
    """

    def __init__(
        self,
        content: bytes,
        piece: int = 100_003,
        *,
        interrupted_at: int = 0,
        interruption: Callable[[], object] | None = None,
    ) -> None:
        self._content = content
        self._piece = piece
        self._position = 0
        self._interrupted_at = interrupted_at
        self._interruption = interruption

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes: all that are left if no ``size`` is given; nothing at the end."""
        whole = size is None or size < 0
        end = len(self._content) if size is None or size < 0 else self._position + min(size, self._piece)
        if self._interruption is not None and (whole or self._position >= self._interrupted_at):
            interruption, self._interruption = self._interruption, None
            interruption()
        elif self._interruption is not None:
            end = min(end, self._interrupted_at)
        part = self._content[self._position : end]
        self._position += len(part)
        return part


def noise(size: int, start: int = 0) -> bytes:
    """``size`` bytes of which no two parts are alike, so that it shows if some are lost, doubled or mixed up.

    >>> len(noise(3_000_000)), noise(10) == noise(10), noise(10) == noise(10, start=1)
    (3000000, True, False)
    """
    start %= len(_NOISE)
    return (_NOISE * ((start + size) // len(_NOISE) + 1))[start : start + size]
