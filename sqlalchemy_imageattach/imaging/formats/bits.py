"""Numbers of some bits each, as the headers of video codecs hold them."""

from __future__ import annotations

from typing import Final

from ..reader import refuse_damaged

__all__ = ["Bits"]

#: What a number of a length of its own may have: of longer ones each codec makes something else.
_MOST_BITS: Final = 31


class Bits:
    """Numbers of some bits each, one after the other.

    :param data: what holds them, the highest bit of each byte first
    :param what: what is refused when it ends too early, e.g. ``"an AVIF"``
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)
        self._what = what

    def take(self, count: int) -> int:
        """The next number, of this many bits.

        :raises UnreadableImageError: there are not so many left
        """
        if count > self._left:
            refuse_damaged(f"{self._what} whose sequence header is cut off")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def variable(self) -> int:
        """The next number, which says its own length (Exp-Golomb).

        :raises UnreadableImageError: it has more than 31 bits
        """
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _MOST_BITS:
                refuse_damaged(f"{self._what} whose sequence header has a number of more than {_MOST_BITS} bits")
        return (1 << zeros) - 1 + self.take(zeros)
