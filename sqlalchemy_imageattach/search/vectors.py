"""Vectors as they are stored: of unit length, as 32-bit numbers with their lowest byte first.

Only directions are compared, so nothing is lost by the length; and the cosine distance of two of them is one minus
their product, from 0 (the same direction) by 1 (nothing in common) to 2 (the opposite).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import wrong_type, wrong_value
from ..errors import VectorDimensionError

__all__ = ["STORED", "Floats", "check_dimension", "from_bytes", "to_bytes", "unit_rows", "unit_vector"]

Floats = NDArray[np.float32]

#: As a number is stored.
STORED: Final = np.dtype("<f4")


def unit_vector(value: ArrayLike, dimension: int | None = None) -> Floats:
    """``value`` at unit length.

    >>> unit_vector([3, 4]).tolist()
    [0.6000000238418579, 0.800000011920929]

    :param value: a row of numbers
    :param dimension: how many of them there have to be
    :raises VectorDimensionError: there are more or fewer
    :raises InvalidTypeError: it is no row of numbers
    :raises InvalidValueError: they are all zero, or one is not finite: then there is no direction
    """
    try:
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise wrong_type("vector", value, "a row of numbers") from None
    if vector.ndim != 1:
        raise wrong_type("vector", value, "a row of numbers", got=f"an array of the shape {vector.shape}")
    if dimension is not None:
        check_dimension(len(vector), dimension)
    length = np.linalg.norm(vector)
    if not (np.isfinite(length) and length > 0):
        raise wrong_value("vector", value, "finite numbers that are not all zero", got=f"a length of {length}")
    return (vector / length).astype(np.float32)


def unit_rows(rows: NDArray[Any]) -> Floats:
    """Each row at unit length; rows of zeros become the direction in which all numbers are equal."""
    rows = np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 0, rows / np.where(lengths > 0, lengths, 1), rows.shape[1] ** -0.5).astype(np.float32)


def check_dimension(found: int, expected: int) -> None:
    """They are the same.

    :raises VectorDimensionError: they are not
    """
    if found != expected:
        raise VectorDimensionError(
            f"expected a vector of {expected:,} dimensions, got one of {found:,}; compare only what one extractor has"
            " made, and give another extractor a table of its own"
        )


def to_bytes(vector: Floats) -> bytes:
    """As it is stored where the database has no type for it."""
    return vector.astype(STORED).tobytes()


def from_bytes(blob: bytes) -> Floats:
    """What :func:`to_bytes` was given."""
    return np.frombuffer(blob, STORED)
