"""Which endpoint makes pictures of a class when they are first asked for: what URLs on demand are made by.

The endpoints are in :mod:`sqlalchemy_imageattach.variants.on_demand`, which stands above; they say here that they
exist.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..arguments import wrong_value
from ..errors import NoEndpointError
from ..imaging import Rendition

__all__ = ["UrlMaker", "find_url_maker", "forget", "note", "url_maker_of"]


class UrlMaker(Protocol):
    """Makes URLs by which renditions of originals are had, without a statement and without I/O."""

    @property
    def base_url(self) -> str: ...

    def url_of(
        self, original: Any, rendition: Rendition, *, negotiated: bool = False, expires_in: float | None = None
    ) -> str: ...


_makers: dict[type[Any], UrlMaker] = {}


def note(maker: UrlMaker, classes: list[type[Any]]) -> None:
    """From now on ``maker`` gives the URLs of these classes.

    :raises InvalidValueError: another one does, unless they are equal; or the URLs of the two could be confused
    """
    for cls in classes:
        if _makers.get(cls, maker) != maker:
            expected = "classes whose pictures no other endpoint makes"
            advice = f"{_makers[cls]!r} makes them; close() it first, or leave the class out"
            raise wrong_value("classes", cls, expected, advice, got=cls.__name__)
    for other in _makers.values():
        one, two = sorted((maker.base_url, other.base_url), key=len)
        if other != maker and two.startswith(one):
            expected = "one that contains no other, and is in no other"
            raise wrong_value("base_url", maker.base_url, expected, f"there is {other.base_url!r}")
    _makers.update(dict.fromkeys(classes, maker))


def forget(maker: UrlMaker) -> None:
    """Afterwards ``maker`` gives no URLs any more."""
    for cls in [cls for cls, known in _makers.items() if known is maker]:
        del _makers[cls]


def find_url_maker(cls: type[Any]) -> UrlMaker | None:
    """What gives the URLs of a class, or of one that it inherits from; ``None`` if nothing does."""
    return next((_makers[base] for base in cls.__mro__ if base in _makers), None)


def url_maker_of(cls: type[Any]) -> UrlMaker:
    """The same.

    :raises NoEndpointError: nothing does
    """
    maker = find_url_maker(cls)
    if maker is None:
        msg = (
            f"nothing makes pictures of {cls.__name__} on demand: make an OnDemand of it, or OnDemandUrls where only"
            " URLs are needed"
        )
        raise NoEndpointError(msg)
    return maker
