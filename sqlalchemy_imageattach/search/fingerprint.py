"""Perceptual hashes: 64 bits that change little when a picture does.

:func:`dhash64` compares each of 64 spots with the one to its right.  Pictures that were resized, compressed anew, or
made brighter keep nearly all of their bits; of those that were cropped or mirrored, few are the same: embeddings find
these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from PIL import Image
from sqlalchemy import BigInteger, ColumnElement, Integer, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from ..arguments import check_type, wrong_value
from .execution import attend
from .sqlite import HAMMING

__all__ = ["HammingDistance", "HashMeasure", "dhash64", "hamming_distance"]

_BITS: Final = 64


def dhash64(picture: Image.Image) -> int:
    """The hash of a picture, as a signed integer, as databases have them.

    >>> dhash64(Image.linear_gradient("L")), dhash64(Image.linear_gradient("L").rotate(90))
    (0, -1)
    """
    pixels = picture.convert("L").resize((9, 8), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            spot = 9 * row + column
            bits = bits << 1 | (pixels[spot] < pixels[spot + 1])
    return bits - (bits >> _BITS - 1 << _BITS)


def hamming_distance(first: int, second: int) -> int:
    """How many of their 64 bits differ.

    >>> hamming_distance(0, -1)
    64
    """
    return ((first ^ second) & (1 << _BITS) - 1).bit_count()


class HashMeasure:
    """:func:`dhash64`, as an index keeps it."""

    name = "dhash64"
    version = "1"
    column: tuple[str, TypeEngine[Any]] = ("dhash", BigInteger())

    def prepare(self, picture: Image.Image) -> Any:
        return dhash64(picture)

    def finish(self, prepared: Sequence[Any]) -> Sequence[Any]:
        return prepared


class HammingDistance(FunctionElement[int]):
    """How many bits of two columns, or of a column and a number, differ, as SQL."""

    inherit_cache = True
    name = "hamming_distance"
    type = Integer()

    @classmethod
    def of(cls, first: ColumnElement[int], second: Any) -> HammingDistance:
        """
        :param first: a column
        :param second: another one, or a hash
        """
        if not isinstance(second, ColumnElement):
            number = check_type("hash", second, int)
            if not -(2**63) <= number < 2**63:
                raise wrong_value("hash", number, "a signed integer of 64 bits")
            second = bindparam(None, number, type_=BigInteger(), unique=True)
        return cls(first, second)


def _both(element: HammingDistance, compiler: SQLCompiler, options: Any) -> tuple[str, str]:
    first, second = (compiler.process(each, **options) for each in element.clauses)
    return first, second


@compiles(HammingDistance)
def _anywhere(element: HammingDistance, compiler: SQLCompiler, **options: Any) -> str:
    return "hamming_distance({}, {})".format(*_both(element, compiler, options))


@compiles(HammingDistance, "sqlite")
def _in_sqlite(element: HammingDistance, compiler: SQLCompiler, **options: Any) -> str:
    attend(compiler)
    return f"{HAMMING}" + "({}, {})".format(*_both(element, compiler, options))


@compiles(HammingDistance, "postgresql")
def _in_postgresql(element: HammingDistance, compiler: SQLCompiler, **options: Any) -> str:
    first, second = _both(element, compiler, options)
    return f"CAST(bit_count(CAST(CAST({first} AS BIGINT) # CAST({second} AS BIGINT) AS BIT(64))) AS INTEGER)"


@compiles(HammingDistance, "mysql", "mariadb")
def _in_mariadb(element: HammingDistance, compiler: SQLCompiler, **options: Any) -> str:
    return "BIT_COUNT({} ^ {})".format(*_both(element, compiler, options))
