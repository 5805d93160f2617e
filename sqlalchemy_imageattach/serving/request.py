"""What a client asks, as both doors see it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

__all__ = ["Asked", "Request"]


class Request(ABC):
    """One request: the same to an endpoint, by whichever door it came.

    :ivar method: e.g. ``"GET"``
    :ivar path: what follows the path at which the endpoint is mounted, percent-decoded, without a leading slash;
        ``None`` if it is no UTF-8
    :ivar raw: the ``environ`` of WSGI or the ``scope`` of ASGI: for an ``authorise`` hook, which finds there what the
        application's own middlewares have left, such as the session
    """

    __slots__ = ("method", "path", "raw")

    method: str
    path: str | None
    raw: Any

    @abstractmethod
    def header(self, name: str) -> str | None:
        """The value of a header, by its name in any case; ``None`` if it is not there."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.path!r}>"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which picture is asked for: what an ``authorise`` hook decides about.

    :param image_class: the image class; ``None`` where an endpoint was not told which classes there are
    :param identity: whose picture it is.  Of a URL on demand, the primary key, without width, height, mimetype and
        variant.  Of a blob, its ``object_id`` alone, which is the key where that is one integer
    :param variant: what of it: a :class:`~sqlalchemy_imageattach.imaging.Rendition` of a URL on demand, or the
        :class:`~sqlalchemy_imageattach.key.ImageKey` of a blob
    """

    image_class: type[Any] | None
    identity: tuple[Any, ...]
    variant: Any
