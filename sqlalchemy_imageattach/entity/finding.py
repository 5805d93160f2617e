"""Which thumbnail is wanted, and whether it is there.

A thumbnail is told by its size, its type and its *variant*, which says what part of the original it shows and how it
was made (:meth:`Rendition.variant() <sqlalchemy_imageattach.imaging.Rendition.variant>`).  All three are reckoned from
the row of the original, so what is there is found without a statement and without I/O.

Tables without the column say size and type alone.  A row of theirs is taken for what is most probable, the whole
picture or its middle.  Who asks for anything else in the same place gets an error, and never a wrong picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy.exc import NoResultFound

from ..errors import InvalidTypeError
from ..imaging import SAME_AS_ORIGINAL, Rendition
from ..imaging.rendition import rendition_of
from ..store import revision_of
from .collection import ImageT, PictureSet
from .identity import has_own_column, mapper_of, size_and_type, variant_of
from .image import Image

__all__ = ["Upright", "Wanted", "find", "find_declared", "frames_of", "met"]


class Upright(NamedTuple):
    """What renditions are reckoned from: an original, standing upright."""

    width: int
    height: int
    mimetype: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a rendition comes to for one picture."""

    rendition: Rendition
    upright: Upright
    width: int
    height: int
    mimetype: str
    variant: str

    @staticmethod
    @lru_cache(maxsize=8192)
    def of(rendition: Rendition, upright: Upright, *, moves: bool) -> Wanted:
        target = rendition.target(*upright)
        return Wanted(rendition, upright, *size_and_type(target), rendition.variant(*upright, moves=moves))

    @property
    def identity(self) -> tuple[int, int, str, str]:
        return self.width, self.height, self.mimetype, self.variant

    def is_met_by(self, image: Image) -> bool:
        """Whether ``image``, which is not the original, is the picture that is wanted."""
        if image.original or image.mimetype != self.mimetype:
            return False
        known = variant_of(image)
        if (image.width, image.height) != (self.width, self.height):
            of_1x = revision_of(image) is None and known in {None, ""} and self.variant == ""
            return of_1x and self.rendition.is_size_of_1x(image.size, *self.upright[:2])
        return known == self.variant if known is not None else self.variant in self._assumed()

    def _assumed(self) -> set[str]:
        """What an image of this size and type is taken for whose row does not say what it is."""
        width, height, mimetype, _ = self.identity
        middle = Rendition(width=width, height=height, fit="fill", format=mimetype)
        found = {middle.variant(*self.upright)}
        for whole in (Rendition(width=width, format=mimetype), Rendition(height=height, format=mimetype)):
            if size_and_type(whole.target(*self.upright))[:2] == (width, height):
                found.add(whole.variant(*self.upright))
        return found


def find(
    image_set: PictureSet[ImageT], width: int | None, height: int | None, format: str | None, variant: str | None
) -> ImageT:
    """The image of that size; a thumbnail rather than the original, and a whole one rather than a part."""
    if width is None and height is None:
        raise InvalidTypeError("find_thumbnail() needs a width, a height, or both")
    wanted = rendition_of({"width": width, "height": height, "format": format})  # says what is wrong with them
    mimetype = None if format is None else wanted.mimetype("image/png")
    found = [
        image
        for image in image_set
        if width in {None, image.width}
        and height in {None, image.height}
        and mimetype in {None, image.mimetype}
        and (variant is None or (variant == variant_of(image) and not image.original))
    ]
    if not found:
        also = "" if variant is None else f", variant={variant!r}"
        msg = f"no image with width={width}, height={height}, format={format}{also}: generate_thumbnail() makes one"
        raise NoResultFound(msg)
    if len(found) == 1:  # nearly always, and for each picture of a page
        return found[0]
    plain = {None, "", SAME_AS_ORIGINAL}
    return min(
        found,
        key=lambda image: (
            image.original,
            (variant := variant_of(image)) not in plain,
            image.width,
            image.height,
            image.mimetype,
            variant or "",
        ),
    )


def find_declared(
    image_set: PictureSet[ImageT], renditions: Sequence[Rendition], original: ImageT | None = None
) -> dict[tuple[int, int, str, str], tuple[Wanted, ImageT | None]]:
    """What ``renditions`` come to, each once, with their images as far as the rows alone can tell.

    :param original: that of the set, where it is known already: to look for it takes as long as all the rest
    """
    original = original or image_set.require_original()
    upright, moves = Upright(*size_and_type(original)), frames_of(original) != 1
    wanted = {(each := Wanted.of(rendition, upright, moves=moves)).identity: each for rendition in renditions}
    there = {(*size_and_type(image), variant_of(image)): image for image in image_set if not image.original}
    return {
        identity: (each, there[identity] if identity in there else met(image_set, each))
        for identity, each in wanted.items()
    }


def frames_of(original: Image) -> int | None:
    """How many frames it has, if its row says so."""
    return original.frames if has_own_column(mapper_of(type(original)), "frames") else None


def met(image_set: PictureSet[ImageT], wanted: Wanted) -> ImageT | None:
    """The image of the set that is the one wanted."""
    found = [image for image in image_set if wanted.is_met_by(image)]
    # one of just this size rather than one that 1.x has made of about this size
    return min(found, key=lambda image: image.size != (wanted.width, wanted.height), default=None)
