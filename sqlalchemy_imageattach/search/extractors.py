"""From pictures to vectors: what an extractor is, and those that come along.

An extractor has three methods, so anything can be one::

    class Brightness:
        def describe(self) -> ExtractorInfo:
            return ExtractorInfo("brightness", "1", 2)

        def prepare(self, picture: Image.Image) -> Any:
            return np.asarray(picture.convert("L").resize((8, 8))).mean()

        def extract(self, prepared: Sequence[Any]) -> ArrayLike:
            return [[mean, 255 - mean] for mean in prepared]

``prepare()`` is called for one picture at a time, while its pixels are there, and gives the little that has to be kept
of it; ``extract()`` is called for a batch.  The vectors need not be of unit length; they are made so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from ..arguments import check_range, check_type, wrong_type
from ..errors import VectorDimensionError
from .vectors import Floats, unit_rows, unit_vector

__all__ = [
    "ColourHistogram",
    "Extractor",
    "ExtractorInfo",
    "JoinedExtractor",
    "TextExtractor",
    "TinyExtractor",
    "check_extractor",
    "extract_unit_vectors",
]

_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class ExtractorInfo:
    """What an extractor is.

    :param name: up to 100 characters; it stands beside each vector
    :param version: up to 100 characters; vectors of two versions are never compared, so give it a new one whenever the
        same picture gives another vector
    :param dimension: how many numbers a vector has
    :raises InvalidTypeError: one has the wrong type
    :raises InvalidValueError: a text is empty or too long, or the dimension is less than 1
    """

    name: str
    version: str
    dimension: int

    def __post_init__(self) -> None:
        for name in ("name", "version"):
            text = check_type(name, getattr(self, name), str)
            check_range(f"length of the {name}", len(text), f"1 to {_LONGEST_NAME} characters", 1, _LONGEST_NAME)
        check_range("dimension", check_type("dimension", self.dimension, int), "1 or more", 1)


@runtime_checkable
class Extractor(Protocol):
    """What makes vectors of pictures."""

    def describe(self) -> ExtractorInfo:
        """What it is; always the same, and without loading a model."""

    def prepare(self, picture: Image.Image) -> Any:
        """What has to be kept of a picture, in red, green and blue."""

    def extract(self, prepared: Sequence[Any]) -> ArrayLike:
        """One row of numbers for each."""


@runtime_checkable
class TextExtractor(Extractor, Protocol):
    """An :class:`Extractor` whose model knows words as well, so that ``"a red bicycle"`` finds pictures.

    No such model comes along; where an application brings one, texts can stand wherever a picture to search by can.
    """

    def extract_text(self, texts: Sequence[str]) -> ArrayLike:
        """One row of numbers for each, comparable with those of pictures."""


def check_extractor(extractor: object) -> Extractor:
    """``extractor``, which is one.

    :raises InvalidTypeError: it is none
    """
    if isinstance(extractor, type) or not isinstance(extractor, Extractor):
        raise wrong_type("extractor", extractor, "an object with describe(), prepare() and extract()")
    check_type("describe()", extractor.describe(), ExtractorInfo)
    return extractor


def extract_unit_vectors(extractor: Extractor, prepared: Sequence[Any]) -> Floats:
    """The vectors of a batch, each of unit length.

    :raises VectorDimensionError: the extractor gives other numbers of rows or columns than it says
    """
    rows = np.asarray(extractor.extract(prepared), dtype=np.float32)
    info = extractor.describe()
    if rows.shape != (len(prepared), info.dimension):
        raise VectorDimensionError(
            f"the extractor {info.name!r} says that it has {info.dimension:,} dimensions: expected an array of the"
            f" shape {(len(prepared), info.dimension)} of so many pictures, got {rows.shape}; correct its describe()"
        )
    if not np.isfinite(rows).all():
        unit_vector(rows[~np.isfinite(rows).all(axis=1)][0])  # says so
    return unit_rows(rows)


class TinyExtractor:
    """Sixteen patches of colour: 48 numbers, without a model.  For the tests of an application.

    The same picture always gives the same vector, and pictures of like colours are near to each other.

    >>> red, dark_red, blue = (Image.new("RGB", (8, 8), name) for name in ("red", "darkred", "blue"))
    >>> tiny = TinyExtractor()
    >>> vectors = extract_unit_vectors(tiny, [tiny.prepare(picture) for picture in (red, dark_red, blue)])
    >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])
    True
    """

    def describe(self) -> ExtractorInfo:
        return ExtractorInfo("tiny", "1", 48)

    def prepare(self, picture: Image.Image) -> Any:
        return np.asarray(picture.convert("RGB").resize((4, 4), Image.Resampling.BOX), np.float32).ravel()

    def extract(self, prepared: Sequence[Any]) -> ArrayLike:
        return np.stack(prepared).astype(np.float32) - 127.5


class ColourHistogram:
    """How much of which colour is in the picture: 128 numbers, by hue, saturation and brightness.  No model."""

    _BINS: Final = (8, 4, 4)

    def describe(self) -> ExtractorInfo:
        return ExtractorInfo("colours", "1", int(np.prod(self._BINS)))

    def prepare(self, picture: Image.Image) -> Any:
        pixels = np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BOX).convert("HSV"), np.int64)
        hue, saturation, value = (pixels[..., i].ravel() * bins // 256 for i, bins in enumerate(self._BINS))
        numbers = (hue * self._BINS[1] + saturation) * self._BINS[2] + value
        return np.bincount(numbers, minlength=int(np.prod(self._BINS)))

    def extract(self, prepared: Sequence[Any]) -> ArrayLike:
        return np.sqrt(np.stack(prepared).astype(np.float32))  # so that what is everywhere does not hide the rest


class JoinedExtractor:
    """Two extractors as one: distances are the means of theirs, by their weights.

    >>> JoinedExtractor(TinyExtractor(), ColourHistogram(), weight=0.5).describe()
    ExtractorInfo(name='tiny+0.5*colours', version='1+1', dimension=176)

    :param first: an extractor
    :param second: another one
    :param weight: that of the second beside the first, which has 1
    :raises InvalidTypeError: one is no extractor, or the weight is no number
    :raises InvalidValueError: the weight is not above 0
    """

    def __init__(self, first: Extractor, second: Extractor, *, weight: float = 0.5) -> None:
        self._first, self._second = check_extractor(first), check_extractor(second)
        check_range("weight", check_type("weight", weight, (int, float)), "a number above 0, up to 1,000", 1e-6, 1000)
        self._weight = weight

    def describe(self) -> ExtractorInfo:
        first, second = self._first.describe(), self._second.describe()
        return ExtractorInfo(
            f"{first.name}+{self._weight:g}*{second.name}",
            f"{first.version}+{second.version}",
            first.dimension + second.dimension,
        )

    def prepare(self, picture: Image.Image) -> Any:
        return self._first.prepare(picture), self._second.prepare(picture)

    def extract(self, prepared: Sequence[Any]) -> ArrayLike:
        first = extract_unit_vectors(self._first, [pair[0] for pair in prepared])
        second = extract_unit_vectors(self._second, [pair[1] for pair in prepared])
        return np.hstack([first, second * np.float32(self._weight**0.5)])
