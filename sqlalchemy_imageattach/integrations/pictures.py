"""What the admin panels have in common: which attributes are pictures, and how one is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup
from sqlalchemy import inspect
from sqlalchemy.orm import RelationshipProperty

from ..entity import BaseImageSet, Image, ImageAttachment, MultipleImageSet

__all__ = ["accept_of", "attachments_of", "is_attachment", "is_single", "smallest_of", "thumbnail"]


def is_attachment(prop: object) -> bool:
    """Whether the property of a mapper is made by ``image_attachment()``."""
    return isinstance(prop, ImageAttachment)


def is_single(prop: RelationshipProperty[Any]) -> bool:
    """Whether it is one picture, which one field can change."""
    return is_attachment(prop) and not (
        isinstance(prop.collection_class, type) and issubclass(prop.collection_class, MultipleImageSet)
    )


def attachments_of(model: type[Any]) -> dict[str, RelationshipProperty[Any]]:
    """Those of a mapped class, by their names."""
    return {prop.key: prop for prop in inspect(model).relationships if is_attachment(prop)}


def accept_of(image_class: type[Image]) -> str:
    """The ``accept`` of a file input for its pictures."""
    return ",".join(sorted(image_class.image_policy.allowed_types))


def smallest_of(images: Iterable[Image]) -> Image | None:
    """The image to show small: the smallest one that is not less than 64 pixels wide, or else the largest."""
    ranked = sorted(images, key=lambda image: image.width * image.height)
    return next((image for image in ranked if image.width >= 64), ranked[-1] if ranked else None)


def thumbnail(picture: object, height: str = "3rem") -> Markup:
    """The ``<img>`` of a picture for a list, or those of several; nothing while there is none.

    :param picture: an image set
    :param height: as CSS has it
    """
    parts: Iterable[Any] = picture.image_sets if isinstance(picture, MultipleImageSet) else [picture]
    shown = [smallest_of(part) for part in parts if isinstance(part, BaseImageSet)]
    style = f"height: {height}; width: auto"
    return Markup(" ").join(image.html(alt="", style=style, loading="lazy") for image in shown if image is not None)
