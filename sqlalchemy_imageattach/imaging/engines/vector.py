"""How large a picture without pixels of its own is rendered, before it is resized like any other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..info import ImageInfo
from ..raster.resample import HEADROOM, plan
from ..rendition import Order

__all__ = ["rendered_size"]

#: However small the part of it that is wanted: pixels, and pixels a side.
_MOST_PIXELS, _LONGEST_SIDE = 32_000_000, 16_000
#: And at least, since renderers smooth the edges of small pictures badly: pixels of its longer side.
_LEAST_SIDE = 512


def rendered_size(info: ImageInfo, orders: Sequence[Order]) -> tuple[int, int]:
    """Width and height in pixels that are good enough for all of the orders.

    :param info: of the picture
    :param orders: what is made from it; none to look whether it can be rendered at all
    """
    size = info.width, info.height
    side = max(size)
    wanted = HEADROOM * max((plan(order, size, 1).scale for order in orders), default=0.0)
    scale = min(max(wanted, _LEAST_SIDE / side), math.sqrt(_MOST_PIXELS / math.prod(size)), _LONGEST_SIDE / side)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
