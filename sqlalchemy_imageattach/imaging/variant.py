"""What is declared of a class's pictures: :class:`Variant`, a value that stands for several renditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal, get_args

from ..arguments import check_choice, check_type, wrong_type, wrong_value
from .fitting import Fit
from .rendition import Rendition

__all__ = ["Make", "Variant", "check_declaration"]

Make = Literal["now", "later", "on demand"]

_MIDDLE: Final = (0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a picture looks like in one place of the pages: its sizes, its shape, its formats, and when it is made.

    ::

        class ProductPhoto(Base, Image):
            image_variants = {
                "card": Variant(widths=(320, 640, 960), formats=("avif", "webp", "jpeg")),
                "avatar": Variant(width=96, height=96, fit="fill", densities=(1, 2)),
                "hero": Variant(widths=(960, 1440, 1920), aspect=(16, 9), make="later"),
            }

    The size is said either by ``widths``, among which browsers choose by the space that there is, or by ``width``,
    ``height`` or both, for what has one size on the page.  Nothing is ever larger than the original.

        >>> avatar = Variant(width=96, height=96, fit="fill", densities=(1, 2), formats=("webp",))
        >>> [(each.width, each.height, each.format) for each in avatar.renditions()]
        [(96, 96, 'webp'), (192, 192, 'webp')]

    :param widths: pixels, one or more
    :param width: pixels, on the page
    :param height: pixels, on the page
    :param aspect: the shape that it is cut to, e.g. ``(16, 9)``; with ``width`` or ``height``, it says the other one
    :param fit: how ``width`` and ``height`` are filled, as
        :class:`~sqlalchemy_imageattach.imaging.Rendition` says; ``"fill"`` with an ``aspect``, else ``"contain"``
    :param densities: for ``width`` and ``height``: pixels of screens for each pixel of the page
    :param formats: as :class:`~sqlalchemy_imageattach.imaging.Rendition` has them, the best first: a browser takes the
        first that it knows.  By default one, which suits the original
    :param quality: 1 to 100, for the lossy formats
    :param filter: the resampling filter
    :param animated: whether moving pictures keep moving, in formats that can
    :param focal_point: what cutting keeps in view, instead of the picture's own
    :param make: ``"now"``, with the attaching and in its transaction; ``"later"``, by a job after the outermost commit;
        or ``"on demand"``, when something asks for it first
    :raises InvalidValueError: no size, sizes that contradict each other, or a value that is out of its range
    :raises InvalidTypeError: a value has the wrong type, or an option is misspelt
    """

    widths: tuple[int, ...] = ()
    width: int | None = None
    height: int | None = None
    aspect: tuple[int, int] | None = None
    fit: Fit | None = None
    densities: tuple[float, ...] = (1,)
    formats: tuple[str, ...] = ()
    quality: int | None = None
    filter: str = "undefined"
    animated: bool = False
    focal_point: tuple[float, float] | None = None
    make: Make = "now"

    def __post_init__(self) -> None:
        for name in ("widths", "densities", "formats"):
            value = getattr(self, name)
            if not isinstance(value, tuple):
                raise wrong_type(name, value, "a tuple", f"write {name}=(…,)")
        check_choice("make", self.make, get_args(Make))
        self._check_size()
        self._check_aspect()
        for density in self.densities:
            check_type("densities", density, (int, float), "numbers such as 1 or 2")
            if not 0 < density <= 16:
                raise wrong_value("densities", density, "numbers above 0 and up to 16")
        if not self.densities or (self.widths and self.densities != (1,)):
            advice = "widths are chosen by the browser, which knows the screen; leave densities out"
            raise wrong_value("densities", self.densities, "one number or more, beside width or height", advice)
        if len(set(self.formats)) < len(self.formats):
            raise wrong_value("formats", self.formats, "each format once")
        self.renditions()  # which say what is wrong with the rest

    def _check_size(self) -> None:
        if bool(self.widths) == (self.width is not None or self.height is not None):
            raise wrong_value(
                "", None, "either widths=(…,), or width, height or both", got="both" if self.widths else "no size"
            )

    def _check_aspect(self) -> None:
        if self.aspect is None:
            return
        if not isinstance(self.aspect, tuple) or len(self.aspect) != 2:
            raise wrong_type("aspect", self.aspect, "a pair such as (16, 9)")
        for side in self.aspect:
            if check_type("aspect", side, int, "a pair of integers such as (16, 9)") < 1:
                raise wrong_value("aspect", self.aspect, "a pair of integers of 1 or more, such as (16, 9)")
        if self.fit not in {None, "fill"}:
            raise wrong_value("fit", self.fit, "'fill' with an aspect, or nothing", "an aspect is what is cut to")
        if self.width is not None and self.height is not None and self.height != self._height_of(self.width):
            raise wrong_value(
                "aspect",
                self.aspect,
                f"the shape of width={self.width} and height={self.height}",
                "leave the aspect or one of the two out",
            )

    def _height_of(self, width: int) -> int:
        assert self.aspect is not None
        return max(1, round(Fraction(width * self.aspect[1], self.aspect[0])))

    @property
    def sizes(self) -> tuple[tuple[int | None, int | None], ...]:
        """Width and height of each size, in pixels of the screen; ``None`` where the shape of the picture says it."""
        if self.widths:
            return tuple((width, self._height_of(width) if self.aspect else None) for width in self.widths)
        width, height = self.width, self.height
        if self.aspect is not None and width is None:
            assert height is not None
            width = max(1, round(Fraction(height * self.aspect[0], self.aspect[1])))
        elif self.aspect is not None and height is None:
            assert width is not None
            height = self._height_of(width)
        return tuple((_times(width, density), _times(height, density)) for density in self.densities)

    def renditions(self, focal_point: tuple[float, float] | None = None) -> tuple[Rendition, ...]:
        """What it stands for: each size in each format, the first format first.

        :param focal_point: the picture's own
        """
        return _renditions(self, focal_point)


@lru_cache(maxsize=1024)
def _renditions(variant: Variant, focal_point: tuple[float, float] | None) -> tuple[Rendition, ...]:
    return tuple(
        Rendition(
            width=width,
            height=height,
            fit=variant.fit or ("fill" if variant.aspect else "contain"),
            focal_point=variant.focal_point or focal_point or _MIDDLE,
            upscale=False,
            format=name,
            quality=variant.quality,
            filter=variant.filter,
            animated=variant.animated,
        )
        for name in (variant.formats or (None,))
        for width, height in variant.sizes
    )


def _times(side: int | None, density: float) -> int | None:
    if side is None:
        return None
    check_type("width and height", side, int, "int (pixels, 1 or more)")
    return max(1, round(side * density)) if side > 0 else side


def check_declaration(name: str, declared: object) -> Mapping[str, Variant]:
    """What a class declares, if it can be.

    :param name: of the class
    :raises InvalidTypeError: it is no mapping of names to variants
    :raises InvalidValueError: a name is none
    """
    if not isinstance(declared, Mapping):
        raise wrong_type(f"{name}.image_variants", declared, "a mapping of names to Variant")
    for key, value in declared.items():
        if not isinstance(key, str) or not key or len(key) > 64:
            raise wrong_value(f"{name}.image_variants", key, "names of 1 to 64 characters")
        if not isinstance(value, Variant):
            raise wrong_type(f"{name}.image_variants[{key!r}]", value, "a Variant")
    return declared
