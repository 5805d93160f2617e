"""Many sizes of one picture: each made from the smallest one that is still good enough for it.

A picture of at least :data:`HEADROOM` times the size wanted gives a result that cannot be told from one made of the
original, and costs a fraction.  After JPEG, photographs lose less than 0.05 dB by it.  A JPEG that is decoded smaller
loses more, where the decoder's own filter shows: 0.18 on the average of those that are just large enough, and 1.1 at
the most.  The guide's page on performance has what other choices cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from PIL import Image

from ..filters import KERNELS
from ..rendition import Order
from .resize import Box, resized

__all__ = ["ENOUGH", "HEADROOM", "Plan", "View", "plan", "resampled", "turned"]

#: How much larger, in both directions, the picture has to be that another one is made from.
HEADROOM: Final = 1.5
#: The same but for whole pixels, which must not stop 1920 from serving 1280, nor a quarter of 11,500 from serving 1920.
ENOUGH: Final = HEADROOM - 0.02
#: The same for what has been resampled already, once or twice, since each time leaves its traces; but for large ones.
_ONCE, _TWICE = 1.98, 2.4
#: Pixels up to which it costs little to make them of more.
_CHEAP: Final = 600_000

_Resampling = Image.Resampling
_KERNELS: Final[dict[str, Image.Resampling]] = {
    "point": _Resampling.NEAREST,
    "box": _Resampling.BOX,
    "triangle": _Resampling.BILINEAR,
    "hamming": _Resampling.HAMMING,
    "cubic": _Resampling.BICUBIC,
    "lanczos": _Resampling.LANCZOS,
}
_Transpose = Image.Transpose
_TURNS: Final = {
    2: _Transpose.FLIP_LEFT_RIGHT,
    3: _Transpose.ROTATE_180,
    4: _Transpose.FLIP_TOP_BOTTOM,
    5: _Transpose.TRANSPOSE,
    6: _Transpose.ROTATE_270,
    7: _Transpose.TRANSVERSE,
    8: _Transpose.ROTATE_90,
}


class Plan(NamedTuple):
    """An order in the coordinates of the stored picture, which may lie on its side.

    :param size: pixels to make
    :param box: the part of the stored source that they show
    :param kernel: how to resample
    """

    size: tuple[int, int]
    box: Box
    kernel: Image.Resampling

    @property
    def scale(self) -> float:
        """How many pixels there are to make for each pixel of the source, in the direction where there are more."""
        left, top, right, bottom = self.box
        return max(self.size[0] / (right - left), self.size[1] / (bottom - top))


@dataclass(frozen=True, slots=True)
class View:
    """Pixels that show a part of the source.

    :param image: the pixels
    :param box: the part of the stored source that they show
    :param scale: how many pixels there are for each pixel of the source, across and down
    :param generation: how many times it was resampled
    """

    image: Image.Image
    box: Box
    scale: tuple[float, float]
    generation: int = 0

    def resized(self, wanted: Plan) -> View:
        """The pixels that a plan asks for, made from these."""
        across, down = self.scale
        left, top, right, bottom = wanted.box
        box = (
            max(0.0, (left - self.box[0]) * across),
            max(0.0, (top - self.box[1]) * down),
            min(float(self.image.width), (right - self.box[0]) * across),
            min(float(self.image.height), (bottom - self.box[1]) * down),
        )
        image = resized(self.image, wanted.size, wanted.kernel, box)
        scale = (wanted.size[0] / (right - left), wanted.size[1] / (bottom - top))
        return View(image, wanted.box, scale, self.generation + 1)

    def serves(self, wanted: Plan) -> bool:
        """Whether the plan can be made from these pixels without a visible loss."""
        within = all(mine <= other + 1e-6 for mine, other in zip(self.box[:2], wanted.box[:2], strict=True)) and all(
            mine >= other - 1e-6 for mine, other in zip(self.box[2:], wanted.box[2:], strict=True)
        )
        return within and min(self.scale) >= self._enough_for(wanted) * wanted.scale

    def _enough_for(self, wanted: Plan) -> float:
        if self.generation >= 2:
            return _TWICE
        return ENOUGH if not self.generation or math.prod(wanted.size) > _CHEAP else _ONCE


def plan(order: Order, stored: tuple[int, int], orientation: int) -> Plan:
    """The order in the coordinates of a stored picture of this size, which the orientation makes stand upright."""
    target = order.target
    size = (target.height, target.width) if orientation >= 5 else (target.width, target.height)
    kernel = _KERNELS[KERNELS[order.rendition.filter]]
    return Plan(size, _stored_box(target.box, stored, orientation), kernel)


def _stored_box(box: Box, stored: tuple[int, int], orientation: int) -> Box:
    left, top, right, bottom = box
    width, height = stored
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
    if orientation in {2, 3, 7, 8}:
        left, right = width - right, width - left
    if orientation in {3, 4, 6, 7}:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def resampled(source: View, plans: Sequence[Plan]) -> Iterator[tuple[int, Image.Image]]:
    """The pixels of each plan with its number, the largest first."""
    views = [source]
    for number, wanted in sorted(enumerate(plans), key=lambda item: item[1].scale, reverse=True):
        # the latest is the smallest; point sampling has to see the pixels of the source themselves
        good = (view for view in reversed(views) if view.serves(wanted)) if wanted.kernel else iter(())
        view = next(good, source).resized(wanted)
        if wanted.kernel == _Resampling.LANCZOS:
            views.append(view)
        yield number, view.image


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image, standing upright."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
