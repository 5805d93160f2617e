"""How large a picture becomes, and which part of it is shown.

**This module has the only rounding rule of the package**: sides are rounded half up, and are at least one pixel.  Every
engine makes exactly this size, whatever its own library would have rounded to.

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

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, get_args

from ..arguments import check_choice, check_range, check_type, wrong_value
from ..errors import InvalidTypeError, InvalidValueError

__all__ = ["Fit", "Fitting", "check_pixels"]

Fit = Literal["contain", "cover", "fill"]

#: A whole number above is more likely a number of pixels.
_LIKELY_RATIO: Final = 10
#: Far beyond any picture, and yet small enough to reckon with.
_LARGEST_RATIO: Final = 65_535
_LARGEST_SIDE: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What a :class:`~.rendition.Rendition` says of the size, and of the part that is shown; it has the parameters."""

    ratio: float | None = None
    width: int | None = None
    height: int | None = None
    fit: Fit = "contain"
    focal_point: tuple[float, float] = (0.5, 0.5)
    upscale: bool = True

    def __post_init__(self) -> None:
        _check_size(self.ratio, self.width, self.height)
        check_choice("fit", check_type("fit", self.fit, str, "a str"), get_args(Fit))
        if self.fit != "contain" and (self.width is None or self.height is None):
            raise InvalidValueError(f"fit={self.fit!r} needs a box to fit: expected both width and height")
        _check_focal_point(self.focal_point)
        check_type("upscale", self.upscale, bool, "True or False")

    def is_size_of_1x(self, size: tuple[int, int], width: int, height: int) -> bool:
        """Whether version 1.x may have made a picture of this ``size`` for it: it cut fractions off, and did not round.

            >>> from sqlalchemy_imageattach.imaging import Rendition
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

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """The size of the picture that is made of a source of this size, all in pixels."""
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

    def box_of(self, size: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
        """The part of such a source that is shown: left, top, right and bottom, with fractions."""
        if self.fit != "fill":
            return 0.0, 0.0, float(width), float(height)
        scale = max(Fraction(size[0], width), Fraction(size[1], height))
        left, right = _span(float(size[0] / scale), width, self.focal_point[0])
        top, bottom = _span(float(size[1] / scale), height, self.focal_point[1])
        return left, top, right, bottom


def _half_up(value: Fraction) -> int:
    return max(1, math.floor(value + Fraction(1, 2)))


def _span(length: float, whole: int, focus: float) -> tuple[float, float]:
    length = min(length, float(whole))
    start = min(max(focus * whole - length / 2, 0.0), whole - length)
    return start, min(start + length, float(whole))


def _check_size(ratio: object, width: object, height: object) -> None:
    for name, side in (("width", width), ("height", height)):
        if side is not None:
            check_pixels(name, side)
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


def check_pixels(name: str, value: object) -> None:
    """``value`` is a number of pixels of a side.

    :raises InvalidTypeError: it is no integer
    :raises InvalidValueError: it is out of range
    """
    number = check_type(name, value, int, "an int (pixels, 1 or more)")
    check_range(name, number, f"pixels, 1 or more, up to {_LARGEST_SIDE:,}", 1, _LARGEST_SIDE)


def _check_focal_point(point: object) -> None:
    if not isinstance(point, tuple) or len(point) != 2:
        msg = f"focal_point: expected two fractions such as (0.5, 0.25), from the left and from the top, got {point!r}"
        raise InvalidTypeError(msg)
    for fraction in point:
        number = check_type("focal_point", fraction, (int, float), "numbers from 0 to 1")
        check_range("focal_point", number, "fractions of the picture, 0 to 1", 0, 1)
