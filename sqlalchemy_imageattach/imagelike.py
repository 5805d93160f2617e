"""What a store needs to know of an image, and the key of its blob."""

from __future__ import annotations

from typing import Any, Protocol

from .errors import InvalidTypeError
from .key import ImageKey

__all__ = ["ImageLike", "key_of", "revision_of"]


class ImageLike(Protocol):
    """What a store needs to know of an image."""

    @property
    def object_type(self) -> str: ...
    @property
    def object_id(self) -> int: ...
    @property
    def width(self) -> Any: ...
    @property
    def height(self) -> Any: ...
    @property
    def mimetype(self) -> Any: ...
    @property
    def original(self) -> Any: ...
    @property
    def created_at(self) -> Any: ...


_NO_IMAGE: Any = object()


def key_of(image: ImageLike) -> ImageKey:
    """The key of an image's blob.

    :raises InvalidTypeError: ``image`` is no image
    """
    object_type = _NO_IMAGE if isinstance(image, type) else getattr(image, "object_type", _NO_IMAGE)
    if object_type is _NO_IMAGE:
        raise InvalidTypeError(f"expected an image (an instance of a subclass of Image), got {image!r}")
    return ImageKey(
        object_type,
        image.object_id,
        image.width,
        image.height,
        image.mimetype,
        revision_of(image),
    )


def revision_of(image: Any) -> Any:
    """The token of the image's blob, if its class has such a column; one of the application's by this name is none."""
    owns = getattr(type(image), "owns_column", None)
    return getattr(image, "revision", None) if owns is None or owns("revision") else None
