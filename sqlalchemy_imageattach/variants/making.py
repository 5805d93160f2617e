"""Finds or makes one picture that is wished for, with a session of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..entity import BaseImageSet, Image
from ..entity.declared import focal_point_of
from ..entity.finding import Upright, Wanted
from ..entity.identity import has_own_column, mapper_of, primary_key_names, set_identity_names, set_value, size_and_type
from ..errors import ImageAttachError
from ..imaging import Rendition
from ..key import ImageKey
from ..store import Store, key_of
from .eager import find_image_set

__all__ = ["NoPictureError", "Place", "Wish", "find", "make"]


class NoPictureError(ImageAttachError, LookupError):
    """The original is not there, or not any more."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One picture, whether it is made or not.

    :param image_class: its class
    :param identity: the primary key, without what tells the images of one picture apart
    :param revision: that of the original's blob
    :param rendition: what is to be made of it
    """

    image_class: type[Image]
    identity: tuple[Any, ...]
    revision: str | None
    rendition: Rendition


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob is."""

    store: Store
    key: ImageKey


def find(session: Session, wish: Wish, store: Store | None) -> Place | None:
    """Where the picture is, by one statement where the key of the table tells the images of one picture apart.

    :return: ``None`` if it is not made yet, or it takes more than rows to tell
    :raises NoPictureError: there is no such original
    """
    images = _images_of(session, wish)
    original = _original_of(images, wish)
    if original is None:
        raise NoPictureError(f"there is no original for {wish}")
    if wish.revision is None:
        return None  # of a picture of 1.x the file has to say how it lies
    if "width" not in primary_key_names(mapper_of(wish.image_class)):
        image_set = find_image_set(session, original)
        images = [] if image_set is None else list(image_set)
    frames = original.frames if has_own_column(mapper_of(type(original)), "frames") else None
    wanted = Wanted.of(wish.rendition, Upright(*size_and_type(original)), moves=frames != 1)
    found = next((image for image in images if wanted.is_met_by(image)), None)
    return None if found is None else _place(found, store)


def make(session: Session, wish: Wish, store: Store | None) -> Place:
    """Where the picture is, after it was made and committed if it was not there.

    Other transactions that want the same wait, in whichever process, and then find it.

    :raises NoPictureError: there is no such original
    :raises RejectedImageError: it cannot be decoded, or the policy of the class refuses what is wanted
    :raises VariantConflictError: the table has no room for it
    """
    original = _original_of(_images_of(session, wish), wish)
    image_set = None if original is None else find_image_set(session, original)
    if image_set is None or original is None:
        raise NoPictureError(f"there is no original for {wish}")
    target = wish.rendition.target(*size_and_type(original))
    wish.image_class.image_policy.check_pixels(target.width, target.height)
    before = {id(image) for image in image_set}
    [image] = image_set.thumbnails([wish.rendition], store)
    if id(image) not in before:
        _note_name(image_set, image, wish.rendition)
    place = _place(image, store)
    session.commit()
    return place


def _images_of(session: Session, wish: Wish) -> list[Image]:
    names = set_identity_names(mapper_of(wish.image_class))
    identity = dict(zip(names, wish.identity, strict=True))
    return list(session.scalars(select(wish.image_class).filter_by(**identity)))


def _original_of(images: Iterable[Image], wish: Wish) -> Image | None:
    for image in images:
        revision = image.revision if has_own_column(mapper_of(type(image)), "revision") else None
        if image.original and revision == wish.revision:
            return image
    return None


def _place(image: Image, store: Store | None) -> Place:
    return Place(image._find_store(store), key_of(image))


def _note_name(image_set: BaseImageSet[Any], image: Image, rendition: Rendition) -> None:
    """The row says for which declared variant it was made, so that it is kept in step with the declaration."""
    if not has_own_column(mapper_of(type(image)), "made_for"):
        return
    focal_point = focal_point_of(image_set.require_original())
    for name, variant in image_set.image_class.image_variants.items():
        if rendition in variant.renditions(focal_point):
            set_value(image, "made_for", name)
            return
