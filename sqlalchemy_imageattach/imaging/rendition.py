"""What picture is wanted: pure arithmetic, no bytes.

A :class:`Rendition` says what is wanted of a picture, without knowing the picture.  Its :meth:`~Rendition.target` says
what that comes to for one picture, from the size and the type of the source alone::

    >>> Rendition(width=150).target(640, 480, "image/jpeg")
    Target(width=150, height=113, mimetype='image/jpeg', box=(0.0, 0.0, 640.0, 480.0))

So it is known beforehand, without reading a byte, which row and which key a thumbnail will have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypedDict

from ..arguments import check_choice, check_range, check_type, wrong_type
from ..errors import InvalidTypeError, InvalidValueError, PolicyViolationError
from ..imagetypes import TYPES, by_mimetype, by_name
from .filters import FILTERS, KERNELS
from .fitting import Fit, Fitting, check_pixels

__all__ = [
    "SAME_AS_ORIGINAL",
    "VECTOR_TYPES",
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

#: The :meth:`variant <Rendition.variant>` of a picture that has the size and the type of its original, and yet is not
#: the original: it carries no metadata.
SAME_AS_ORIGINAL: Final[str] = "remade"

_WRITTEN: Final = {row.mimetype: row.writing for row in TYPES if row.writing is not None}
_MOVING: Final = frozenset(name for name, writing in _WRITTEN.items() if writing.moves)
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
class Rendition(Fitting):
    """A picture that is wanted: its size, how it fits, and how it is encoded.

    Exactly one of these says the size: ``ratio``, or ``width`` and/or ``height``.

    :param ratio: times the sides of the source, e.g. ``0.5``
    :param width: pixels, 1 or more
    :param height: pixels, 1 or more
    :param fit: ``"contain"``, ``"cover"`` or ``"fill"`` ; the last two need width and height
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

    format: str | None = None
    quality: int | None = None
    filter: str = "undefined"
    animated: bool = False

    def __post_init__(self) -> None:
        Fitting.__post_init__(self)  # super() would mean the class as it was before it had slots
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
            check_pixels(f"{name} of the source", side)
        if not isinstance(mimetype, str):
            raise InvalidTypeError(f"mimetype of the source: expected a str such as 'image/jpeg', got {mimetype!r}")
        made = self.mimetype(mimetype)
        size = self.size_of(width, height)
        if max(size) > (longest := _WRITTEN[made].longest_side):
            msg = (
                f"expected at most {longest:,} pixels a side, which is what {made} holds, got"
                f" {size[0]:,}×{size[1]:,}; ask for a smaller picture or for another format"
            )
            if max(self.width or 0, self.height or 0) > longest or (self.ratio or 0) > 1:
                raise InvalidValueError(msg)
            raise PolicyViolationError(msg, code="result_too_large", limit=longest, found=max(size), mimetype=made)
        return Target(*size, made, self.box_of(size, width, height))

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
