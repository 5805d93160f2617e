"""What picture is wanted, and the geometry of it: pure arithmetic, no bytes.

A :class:`Rendition` says what is wanted of a picture, without knowing the picture.  Its :meth:`~Rendition.target` says
what that comes to for one picture, from the size and the type of the source alone::

    >>> Rendition(width=150).target(640, 480, "image/jpeg")
    Target(width=150, height=113, mimetype='image/jpeg', box=(0.0, 0.0, 640.0, 480.0))

So it is known beforehand, without reading a byte, which row and which key a thumbnail will have.  **This module has the
only rounding rule of the package**: sides are rounded half up, and are at least one pixel.  Every engine makes exactly
this size, whatever its own library would have rounded to.

The three ways to fit a box have the names that the field uses, which are not all those of CSS:

==============  ==============================================  =====================================
``fit``         the result                                      CSS
==============  ==============================================  =====================================
``"contain"``   fits inside the box, ratio kept                 ``object-fit: contain``, without bars
``"cover"``     the smallest that covers the box, ratio kept,   ``object-fit: cover``, before it is
                nothing cut off: one side exceeds the box       clipped to the box
``"fill"``      is exactly the box, cut around the focal point  ``object-fit: cover``, clipped, with
                                                                ``object-position`` as focal point
==============  ==============================================  =====================================
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypedDict, get_args

from ..arguments import check_choice, check_range, check_type, wrong_type, wrong_value
from ..errors import InvalidTypeError, InvalidValueError, PolicyViolationError
from ..imagetypes import TYPES, by_mimetype, by_name

__all__ = [
    "FILTERS",
    "KERNELS",
    "SAME_AS_ORIGINAL",
    "VECTOR_TYPES",
    "Fit",
    "Order",
    "PassingRendition",
    "Rendition",
    "RenditionDetails",
    "RenditionOptions",
    "Target",
    "rendition_of",
    "renditions_of",
]

#: The types without pixels of their own: thumbnails of them are PNG.
VECTOR_TYPES: Final = frozenset(row.mimetype for row in TYPES if row.vector)

Fit = Literal["contain", "cover", "fill"]

#: The names of the resampling filters that :attr:`Rendition.filter` takes: those of Wand and ImageMagick.
FILTERS: Final = frozenset(
    """
    undefined point box triangle hermite hanning hamming blackman gaussian quadratic cubic catrom mitchell jinc sinc
    sincfast kaiser welsh parzen bohman bartlett lagrange lanczos lanczossharp lanczos2 lanczos2sharp robidoux
    robidouxsharp cosine spline lanczosradius cubicspline magickernelsharp2013 magickernelsharp2021
    """.split()  # noqa: SIM905
)

Kernel = Literal["point", "box", "triangle", "hamming", "cubic", "lanczos"]

#: What each filter comes to: the nearest relative that there is.  All the others are windowed sincs, as Lanczos is.
KERNELS: Final[Mapping[str, Kernel]] = {
    **dict.fromkeys(FILTERS, "lanczos"),
    **dict.fromkeys(
        """
        hermite gaussian quadratic cubic catrom mitchell parzen robidoux robidouxsharp spline cubicspline
        """.split(),  # noqa: SIM905
        "cubic",
    ),
    "point": "point",
    "box": "box",
    "triangle": "triangle",
    "hamming": "hamming",
}

#: The :meth:`variant <Rendition.variant>` of a picture that has the size and the type of its original, and yet is not
#: the original: it carries no metadata.
SAME_AS_ORIGINAL: Final[str] = "remade"

_WRITTEN: Final = {row.mimetype: row.writing for row in TYPES if row.writing is not None}
_MOVING: Final = frozenset(name for name, writing in _WRITTEN.items() if writing.moves)
#: Far beyond any picture, and yet small enough to reckon with.
#: A whole number above is more likely a number of pixels.
_LIKELY_RATIO = 10
_LARGEST_RATIO, _LARGEST_TARGET = 65_535, 2**31 - 1
#: Parts of a picture that differ by less than a millionth of a pixel are the same: floating point made two of them.
_STEPS: Final = 1_000_000


class RenditionDetails(TypedDict, total=False):
    """The options of a :class:`Rendition` but for its size and its filter, for type checkers."""

    fit: Fit
    focal_point: tuple[float, float]
    upscale: bool
    format: str | None
    quality: int | None
    animated: bool


class RenditionOptions(RenditionDetails, total=False):
    """All options of a :class:`Rendition`, as a mapping: what stands for one in lists of them."""

    ratio: float | None
    width: int | None
    height: int | None
    filter: str


@dataclass(frozen=True, slots=True)
class Target:
    """What a rendition comes to for one picture.

    :param width: pixels, 1 or more
    :param height: pixels, 1 or more
    :param mimetype: the type of the file to make
    :param box: the part of the upright source that is shown: left, top, right and bottom in its pixels, with fractions
    """

    width: int
    height: int
    mimetype: str
    box: tuple[float, float, float, float]

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    @property
    def is_cut_out(self) -> bool:
        """Whether each of its pixels is one of the source: then there is nothing to resample."""
        left, top, right, bottom = self.box
        return (right - left, bottom - top) == (self.width, self.height) and left.is_integer() and top.is_integer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """A picture that is wanted: its size, how it fits, and how it is encoded.

    Exactly one of these says the size: ``ratio``, or ``width`` and/or ``height``.

    :param ratio: times the sides of the source, e.g. ``0.5``
    :param width: pixels, 1 or more
    :param height: pixels, 1 or more
    :param fit: ``"contain"``, ``"cover"`` or ``"fill"`` (see the table above); the last two need width and height
    :param focal_point: where the most important spot of the upright picture is, as fractions from the left and from the
        top, 0 to 1: ``fill`` keeps it as near the middle as it can
    :param upscale: ``False`` never enlarges: the result of ``contain`` and ``cover`` is at most as large as the source,
        that of ``fill`` the largest box of the same shape that the source has pixels for
    :param format: ``"jpeg"``, ``"png"``, ``"webp"``, ``"avif"``, ``"gif"`` or the mimetype of one.  By default the type
        of the source where browsers show it (JPEG, PNG, WebP, AVIF); HEIC becomes WebP; the rest, vectors
        too, becomes PNG; GIF becomes PNG, but stays GIF with ``animated=True``
    :param quality: 1 to 100, for the lossy types; by default JPEG 85, WebP 88 and AVIF 71, and where no side is longer
        than 480 pixels JPEG 80, WebP 90 and AVIF 71, with the colours at full resolution: all of these look alike
    :param filter: the resampling filter, by the name it has in Wand; ``"undefined"`` is Lanczos
    :param animated: ``True`` keeps the frames of an animated GIF, PNG, WebP or AVIF; otherwise the first one stands for
        the picture.  A source that does not move gives a still picture either way
    :raises InvalidValueError: a value is out of its range, or two of them contradict each other
    :raises InvalidTypeError: a value has the wrong type

    >>> Rendition(width=100, height=100, fit="fill", format="webp").target(640, 480, "image/png")
    Target(width=100, height=100, mimetype='image/webp', box=(80.0, 0.0, 560.0, 480.0))
    """

    ratio: float | None = None
    width: int | None = None
    height: int | None = None
    fit: Fit = "contain"
    focal_point: tuple[float, float] = (0.5, 0.5)
    upscale: bool = True
    format: str | None = None
    quality: int | None = None
    filter: str = "undefined"
    animated: bool = False

    def __post_init__(self) -> None:
        _check_size(self.ratio, self.width, self.height)
        check_choice("fit", check_type("fit", self.fit, str, "a str"), get_args(Fit))
        if self.fit != "contain" and (self.width is None or self.height is None):
            raise InvalidValueError(f"fit={self.fit!r} needs a box to fit: expected both width and height")
        _check_focal_point(self.focal_point)
        check_type("upscale", self.upscale, bool, "True or False")
        check_type("animated", self.animated, bool, "True or False")
        if self.quality is not None:
            check_range("quality", check_type("quality", self.quality, int, "an int (1 to 100)"), "1 to 100", 1, 100)
        check_choice("filter", check_type("filter", self.filter, str, "a str"), sorted(FILTERS))
        if isinstance(self.format, str):
            object.__setattr__(self, "format", self.format.lower())
        if self.format is not None:
            check_choice(
                "format", check_type("format", self.format, str, "a str"), (*sorted(by_name), *sorted(_WRITTEN))
            )
            if self.animated and not _WRITTEN[self.mimetype("image/gif")].moves:
                raise InvalidValueError(
                    f"animated=True: {self.format!r} files hold one frame only; expected gif, webp, png or avif,"
                    " or leave animated out"
                )

    def mimetype(self, source: str) -> str:
        """The type of the picture made from a source of the type ``source``.

        >>> Rendition(width=10).mimetype("image/svg+xml")
        'image/png'
        """
        if self.format is not None:
            return by_name[self.format].mimetype if self.format in by_name else self.format
        if self.animated and source == "image/gif":
            return source
        return by_mimetype[source].thumbnail if source in by_mimetype else "image/png"

    def target(self, width: int, height: int, mimetype: str) -> Target:
        """What this rendition comes to for one source.  :func:`~sqlalchemy_imageattach.imaging.render` makes just that.

        :param width: of the upright source, in pixels
        :param height: of the upright source, in pixels
        :param mimetype: of the source
        :raises InvalidValueError: the width, height or ratio asked for is more than a file of the type wanted holds
        :raises PolicyViolationError: the picture is so thin, or so large, that its other side would be
        """
        for name, side in (("width", width), ("height", height)):
            _check_pixels(f"{name} of the source", side)
        if not isinstance(mimetype, str):
            raise InvalidTypeError(f"mimetype of the source: expected a str such as 'image/jpeg', got {mimetype!r}")
        made = self.mimetype(mimetype)
        size = self._size(width, height)
        if max(size) > (longest := _WRITTEN[made].longest_side):
            msg = (
                f"expected at most {longest:,} pixels a side, which is what {made} holds, got"
                f" {size[0]:,}×{size[1]:,}; ask for a smaller picture or for another format"
            )
            if max(self.width or 0, self.height or 0) > longest or (self.ratio or 0) > 1:
                raise InvalidValueError(msg)
            raise PolicyViolationError(msg, code="result_too_large", limit=longest, found=max(size), mimetype=made)
        return Target(*size, made, self._box(size, width, height))

    def variant(self, width: int, height: int, mimetype: str, *, moves: bool = True) -> str:
        """What tells this picture of one source from others of the same size and type.

        It is empty where size and type say all: the whole picture, with the defaults.  Otherwise it is a short digest,
        the same for all renditions that come to the same picture, on every machine and in every release::

            >>> Rendition(width=300, height=300, fit="fill").variant(900, 600, "image/jpeg")
            '59fd8e01ae5fa7dbf421'
            >>> Rendition(width=300, height=200, fit="fill").variant(900, 600, "image/jpeg")
            ''

        :param width: of the upright source, in pixels
        :param height: of the upright source, in pixels
        :param mimetype: of the source
        :param moves: whether the source has several frames
        :raises InvalidValueError: as :meth:`target` does
        """
        target = self.target(width, height, mimetype)
        details: dict[str, object] = {}
        if target.box != (0.0, 0.0, float(width), float(height)):
            details["box"] = [round(side * _STEPS) for side in target.box]
        usual = _WRITTEN[target.mimetype].quality_of(target.width, target.height)
        if self.quality is not None and usual not in {None, self.quality}:
            details["quality"] = self.quality
        if KERNELS[self.filter] != "lanczos" and (mimetype in VECTOR_TYPES or not target.is_cut_out):
            details["filter"] = KERNELS[self.filter]
        if self.animated and moves and {mimetype, target.mimetype} <= _MOVING:
            details["animated"] = True
        if not details:
            is_same = (target.width, target.height, target.mimetype) == (width, height, mimetype)
            return SAME_AS_ORIGINAL if is_same else ""
        text = json.dumps(details, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def is_size_of_1x(self, size: tuple[int, int], width: int, height: int) -> bool:
        """Whether version 1.x may have made a picture of this ``size`` for it: it cut fractions off, and did not round.

            >>> Rendition(width=150).is_size_of_1x((150, 112), 640, 480)  # exactly 112.5
            True

        :param size: width and height of the picture, in pixels
        :param width: of the source, in pixels
        :param height: of the source, in pixels
        """
        if self.fit != "contain" or (self.width is not None and self.height is not None):
            return False
        if self.ratio is not None:
            exact = Fraction(self.ratio) * width, Fraction(self.ratio) * height
        elif self.width is not None:
            exact = Fraction(self.width), Fraction(height * self.width, width)
        else:
            assert self.height is not None
            exact = Fraction(width * self.height, height), Fraction(self.height)
        if not self.upscale and exact[0] > width:
            return False
        given = {0: self.width, 1: self.height}
        # it reckoned with floating point, where a whole number may come out a little below itself
        return all(
            side == given[index] if given[index] is not None else -1 <= side - exact[index] <= Fraction(1, 2)
            for index, side in enumerate(size)
        )

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if self.ratio is not None:
            ratio = Fraction(self.ratio)
            size = _half_up(width * ratio), _half_up(height * ratio)
        elif self.height is None:
            assert self.width is not None
            size = self.width, _half_up(Fraction(height * self.width, width))
        elif self.width is None:
            size = _half_up(Fraction(width * self.height, height)), self.height
        else:
            return self._size_in_box(self.width, self.height, width, height)
        return size if self.upscale or size[0] <= width and size[1] <= height else (width, height)

    def _size_in_box(self, box_width: int, box_height: int, width: int, height: int) -> tuple[int, int]:
        by_width, by_height = Fraction(box_width, width), Fraction(box_height, height)
        if self.fit == "fill":
            scale = max(by_width, by_height)
            if self.upscale or scale <= 1:
                return box_width, box_height
            return min(width, _half_up(box_width / scale)), min(height, _half_up(box_height / scale))
        scale = (min if self.fit == "contain" else max)(by_width, by_height)
        if not self.upscale and scale > 1:
            return width, height
        return _half_up(width * scale), _half_up(height * scale)

    def _box(self, size: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
        if self.fit != "fill":
            return 0.0, 0.0, float(width), float(height)
        scale = max(Fraction(size[0], width), Fraction(size[1], height))
        left, right = _span(float(size[0] / scale), width, self.focal_point[0])
        top, bottom = _span(float(size[1] / scale), height, self.focal_point[1])
        return left, top, right, bottom


class PassingRendition(Rendition):
    """A picture that is read at once and never kept: as a PNG it is not compressed, which would take most of the time.

    Its pixels are those of the :class:`Rendition` with the same options.
    """

    __slots__ = ()


class Order(NamedTuple):
    """One picture to make of one source.

    :param rendition: how
    :param target: how large, of what type and from which part of the source
    """

    rendition: Rendition
    target: Target


def _half_up(value: Fraction) -> int:
    return max(1, math.floor(value + Fraction(1, 2)))


def _span(length: float, whole: int, focus: float) -> tuple[float, float]:
    length = min(length, float(whole))
    start = min(max(focus * whole - length / 2, 0.0), whole - length)
    return start, min(start + length, float(whole))


def renditions_of(values: Iterable[Rendition | RenditionOptions]) -> list[Rendition]:
    """``values`` with mappings of options made into renditions.

    >>> renditions_of([Rendition(width=10), {"width": 10}])[0] == renditions_of([{"width": 10}])[0]
    True

    :raises InvalidTypeError: one is neither, or a mapping has another name than those of the options
    """
    if isinstance(values, Mapping | str) or not isinstance(values, Iterable):
        raise wrong_type("", values, "several renditions, such as [{'width': 150}]")
    return [rendition_of(value) for value in values]


def rendition_of(value: Any) -> Rendition:
    """``value``, which is a rendition or a mapping of its options, as a rendition.

    :raises InvalidTypeError: it is neither, or a mapping has another name than those of the options
    """
    if isinstance(value, Rendition):
        return value
    if not isinstance(value, Mapping):
        msg = f"expected a Rendition or a mapping of its parameters such as {{'width': 150}}, got {value!r}"
        raise InvalidTypeError(msg)
    if not _NAMES.issuperset(value):
        unknown = [name for name in value if name not in _NAMES]
        names = ", ".join(field.name for field in fields(Rendition))
        msg = f"expected some of the parameters {names}, got {', '.join(map(repr, unknown))}"
        raise InvalidTypeError(msg)
    # within a pair, lru_cache takes True for 1, which it is not
    return Rendition(**value) if "focal_point" in value else _made_of(**value)


_NAMES: Final = frozenset(field.name for field in fields(Rendition))


@lru_cache(maxsize=1024, typed=True)
def _hashable_made_of(**options: Any) -> Rendition:
    return Rendition(**options)


def _made_of(**options: Any) -> Rendition:
    """A page asks for the same one for each of its pictures."""
    try:
        return _hashable_made_of(**options)
    except TypeError:  # a wrong type too, which is said anew
        return Rendition(**options)


def _check_size(ratio: object, width: object, height: object) -> None:
    for name, side in (("width", width), ("height", height)):
        if side is not None:
            _check_pixels(name, side)
    if ratio is None:
        if width is None and height is None:
            msg = "expected ratio, width or height, got none of them; say how large the picture is to be"
            raise InvalidValueError(msg)
        return
    ratio = check_type("ratio", ratio, (int, float), "a number such as 0.5")
    if not 0 < ratio <= _LARGEST_RATIO:
        raise wrong_value("ratio", ratio, f"a finite number above 0 and up to {_LARGEST_RATIO:,}, such as 0.5")
    if isinstance(ratio, int) and ratio > _LIKELY_RATIO and width is None and height is None:
        msg = f"ratio: expected times the sides, such as 0.5, got {ratio}; did you mean width={ratio}?"
        raise InvalidValueError(msg)
    if width is not None or height is not None:
        raise InvalidValueError("expected either ratio or width and height, got both; leave one out")


def _check_pixels(name: str, value: object) -> None:
    number = check_type(name, value, int, "an int (pixels, 1 or more)")
    check_range(name, number, f"pixels, 1 or more, up to {_LARGEST_TARGET:,}", 1, _LARGEST_TARGET)


def _check_focal_point(point: object) -> None:
    if not isinstance(point, tuple) or len(point) != 2:
        msg = f"focal_point: expected two fractions such as (0.5, 0.25), from the left and from the top, got {point!r}"
        raise InvalidTypeError(msg)
    for fraction in point:
        number = check_type("focal_point", fraction, (int, float), "numbers from 0 to 1")
        check_range("focal_point", number, "fractions of the picture, 0 to 1", 0, 1)
