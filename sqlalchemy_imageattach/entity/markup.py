"""``<picture>`` elements for pages, of what is there already: no statement, no store access."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic

from markupsafe import Markup

from ..arguments import check_choice, wrong_type, wrong_value
from ..imaging import Rendition
from ..imaging.placeholder import css_of
from ..store import Store
from .collection import ImageT, PictureSet
from .declared import VariantImages, find, focal_point_of
from .demand import find_url_maker
from .finding import Upright, Wanted
from .identity import has_own_column, mapper_of, size_and_type, variant_of
from .image import Image

__all__ = ["OnDemand", "picture"]

#: Gives the URL of a rendition of an original that is not made yet.
OnDemand = Callable[[Any, Rendition], str]

_NAME: Final = re.compile(r"[A-Za-z@:_][A-Za-z0-9@:_.-]*")
_OURS: Final = frozenset({"src", "srcset", "sizes", "width", "height", "alt", "loading", "decoding", "fetchpriority"})


@dataclass(frozen=True, slots=True)
class _Choice:
    """One file that a browser may choose."""

    url: str
    width: int
    height: int
    mimetype: str


@dataclass(frozen=True, slots=True)
class Picture(Generic[ImageT]):
    """What is needed to write one element."""

    image_set: PictureSet[ImageT]
    original: ImageT
    variant: VariantImages[ImageT]
    store: Store | None
    on_demand: OnDemand | None
    use_original: bool

    def choices(self) -> list[_Choice]:
        """The files by formats in their declared order, the smallest first; failing that, what is there instead."""
        found = [self._choice(image) for image in self.variant]
        if self.on_demand is not None and self.variant.missing:
            found += [self._demanded(rendition) for rendition in self.variant.missing]
        if not found and (instead := self._instead()) is not None:
            found = [self._choice(instead)]
        formats = dict.fromkeys(choice.mimetype for choice in self._declared())
        places = {mimetype: place for place, mimetype in enumerate(formats)}
        return sorted(found, key=lambda each: (places.get(each.mimetype, len(places)), each.width))

    def _declared(self) -> list[Wanted]:
        upright = Upright(*size_and_type(self.original))
        renditions = self.variant.declaration.renditions(focal_point_of(self.original))
        return [Wanted.of(rendition, upright, moves=True) for rendition in renditions]

    def _instead(self) -> ImageT | None:
        """A thumbnail of the whole picture that is large enough, or the largest; the original last."""
        largest = max(wanted.width for wanted in self._declared())
        whole = [image for image in self.image_set if not image.original and not variant_of(image)]
        if whole:
            return min(whole, key=lambda image: (image.width < largest, abs(image.width - largest)))
        return self.original if self.use_original else None

    def _choice(self, image: ImageT) -> _Choice:
        return _Choice(image.locate(self.store), image.width, image.height, image.mimetype)

    def _demanded(self, rendition: Rendition) -> _Choice:
        wanted = Wanted.of(rendition, Upright(*size_and_type(self.original)), moves=True)
        assert self.on_demand is not None
        return _Choice(self.on_demand(self.original, rendition), wanted.width, wanted.height, wanted.mimetype)


def picture(
    image_set: PictureSet[ImageT],
    name: str,
    *,
    alt: str,
    sizes: str | None,
    loading: str | None,
    decoding: str | None,
    fetchpriority: str | None,
    placeholder: bool,
    use_original: bool,
    on_demand: OnDemand | None,
    store: Store | None,
    attributes: Mapping[str, Any],
) -> Markup:
    """The element for a declared variant of the picture; empty if there is no picture, or nothing that may be shown."""
    if not isinstance(alt, str):
        raise wrong_type("alt", alt, "str: what the picture shows", "for mere decoration, say alt=''")
    for key, value, known in (
        ("loading", loading, ("lazy", "eager")),
        ("decoding", decoding, ("async", "sync", "auto")),
        ("fetchpriority", fetchpriority, ("high", "low", "auto")),
    ):
        if value is not None:
            check_choice(key, value, known)
    own = {_attribute_name(key): value for key, value in attributes.items()}
    variant = find(image_set, name)
    original = image_set.original
    if original is None:
        return Markup()
    if on_demand is None and (maker := find_url_maker(image_set.image_class)) is not None:
        on_demand = maker.url_of
    choices = Picture(image_set, original, variant, store, on_demand, use_original).choices()
    if not choices:
        return Markup()
    declaration = variant.declaration
    by_format: dict[str, list[_Choice]] = {}
    for choice in choices:
        by_format.setdefault(choice.mimetype, []).append(choice)
    *others, last = by_format.values()
    shown = _shown(last, declaration.width or declaration.height, declaration.densities)
    fluid = bool(declaration.widths)
    sizes = (sizes or "100vw") if fluid else None
    style = str(own.pop("style", "") or "")
    css = _css(original) if placeholder else ""
    image: dict[str, Any] = {
        "src": shown.url,
        "srcset": _srcset(last, shown, fluid=fluid) if len(last) > 1 else None,
        "sizes": sizes if len(last) > 1 else None,
        "width": shown.width,
        "height": shown.height,
        "alt": alt,
        "loading": loading,
        "decoding": decoding,
        "fetchpriority": fetchpriority,
        "style": ";".join(filter(None, (css, style.rstrip("; ")))) or None,
        **own,
    }
    sources = "".join(
        _tag(
            "source",
            {
                "type": some[0].mimetype,
                "srcset": _srcset(
                    some, _shown(some, declaration.width or declaration.height, declaration.densities), fluid=fluid
                ),
                "sizes": sizes,
            },
        )
        for some in others
    )
    return Markup(f"<picture>{sources}{_tag('img', image)}</picture>")


def _shown(choices: Sequence[_Choice], fixed: int | None, densities: Sequence[float]) -> _Choice:
    """The one that gives the element its size: of fixed ones that of density 1, of others the largest."""
    if fixed is None or 1 not in densities:
        return choices[-1]
    return choices[min(sorted(densities).index(1), len(choices) - 1)]


def _srcset(choices: Sequence[_Choice], shown: _Choice, *, fluid: bool) -> str:
    if fluid:
        return ", ".join(f"{_in_srcset(each.url)} {each.width}w" for each in choices)
    return ", ".join(f"{_in_srcset(each.url)} {each.width / shown.width:g}x" for each in choices)


def _in_srcset(url: str) -> str:
    # both end a URL there
    return url.replace(" ", "%20").replace(",", "%2C")


def _css(original: Image) -> str:
    mapper = mapper_of(type(original))
    color, thumbhash = (
        getattr(original, name) if has_own_column(mapper, name) else None for name in ("dominant_color", "thumbhash")
    )
    return css_of(color, thumbhash)


def _attribute_name(name: str) -> str:
    found = name.rstrip("_").replace("_", "-")
    if not _NAME.fullmatch(found):
        raise wrong_value("attribute", name, "a name that HTML has, such as class_ or data_id")
    if found.lower() in _OURS:
        raise wrong_value("attribute", name, "another name", "this one is set by what the picture has")
    return found


def _tag(name: str, attributes: Mapping[str, Any]) -> str:
    parts = [name]
    for key, value in attributes.items():
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            parts.append(f'{key}="{html.escape(str(value))}"')
    return f"<{' '.join(parts)}>"
