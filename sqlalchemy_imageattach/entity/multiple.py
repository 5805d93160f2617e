"""Several pictures of one owner: a set of image sets.

::

    class Post(Base):
        photos: Mapped[MultipleImageSet["PostPhoto"]] = image_attachment()

    class PostPhoto(Base, Image):
        post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
        order_index: Mapped[int] = mapped_column(primary_key=True)

    for photo in post.photos.image_sets:
        photo.find_thumbnail(width=300).locate()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, cast

from sqlalchemy.orm import Mapper, Query, RelationshipProperty, collections

from ..errors import InvalidTypeError, InvalidValueError
from .collection import BaseImageQuery, ImageList, ImageT
from .identity import mapper_of, primary_key_names, require_type_of_column, set_identity_names, set_value
from .imageset import BaseImageSet
from .readback import usual_form
from .transactions.pending import blob_state

__all__ = ["ImageSubset", "MultipleImageSet", "discriminator_names"]


class _SeveralPicturesError(InvalidTypeError, AttributeError):
    """What only one picture can do was asked of a set of several."""


class MultipleImageSet(BaseImageQuery[ImageT], ImageList[ImageT]):  # type: ignore[misc]  # see above
    """The pictures of their owner: a set of image sets.

    As a list it holds the images of all pictures in all sizes; :attr:`image_sets` tells the pictures apart.
    """

    def get_image_set(self, **pk: Any) -> ImageSubset[ImageT]:
        """The picture with these values of the columns that tell pictures apart, be there such images or not.

        ::

            post.photos.get_image_set(order_index=1).from_file(file)

        The whole :attr:`~sqlalchemy_imageattach.entity.Image.identity_map` of one of its images will do as well.

        :param pk: the values by the names of those attributes.  Some of them are enough where only one of the pictures
            that are there has these values
        :raises InvalidTypeError: a name is missing or is none of the primary key's, or a value is not of the type of
            its column
        :raises InvalidValueError: the values are those of a picture of another owner
        """
        return ImageSubset(self, **pk)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(BaseImageSet, name):
            raise _SeveralPicturesError(
                f"{name}: expected one picture, got a set of several: choose one of them, as in"
                f" get_image_set({'=…, '.join(self._discriminator_names)}=…).{name}"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def image_sets(self) -> Sequence[ImageSubset[ImageT]]:
        """The pictures that there are, ordered by the values that tell them apart (enumerations as declared)."""
        names = self._discriminator_names
        found = {tuple(getattr(image, name) for name in names): None for image in self}
        ranked = sorted(found, key=lambda values: [_rank(value) for value in values])
        return [ImageSubset(self, **dict(zip(names, values, strict=True))) for values in ranked]

    @property
    def _discriminator_names(self) -> Sequence[str]:
        return discriminator_names(self._attachment)


class ImageSubset(BaseImageSet[ImageT]):
    """One picture of a :class:`MultipleImageSet`: a view of it, which stays up to date.

    :param _query: the set that it is a part of
    :param identity_map: the values that tell the picture from the others
    :raises InvalidTypeError: a name is missing or is none of the primary key's, or a value is not of the type of its
        column
    :raises InvalidValueError: the values are those of a picture of another owner
    """

    def __init__(self, _query: MultipleImageSet[ImageT], **identity_map: Any) -> None:
        mapper = _query._attachment.mapper
        identity_map = _chosen(_query, identity_map)
        for name, value in identity_map.items():
            require_type_of_column(mapper, name, value)
        identity_map = {name: usual_form(mapper, name, value) for name, value in identity_map.items()}
        # not the collection itself, which is another one after each commit
        self._holder, self._attribute = _query.owner, _query._attachment.key
        self._identity_map = identity_map

    def __iter__(self) -> Iterator[ImageT]:
        items = self._identity_map.items()
        return (image for image in self._whole if all(getattr(image, name) == value for name, value in items))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, image: object) -> bool:
        return any(image is mine for mine in self)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ImageSubset) and self._whole is other._whole and self._identity_map == other._identity_map
        )

    __hash__ = None  # type: ignore[assignment]  # equal while the values are, and values may be anything

    def __repr__(self) -> str:
        return f"<ImageSubset {self._identity_map!r}: {list(self)!r}>"

    def append(self, image: ImageT, /) -> None:
        """Add ``image``, whose columns get the values that tell this picture from others."""
        for name, value in self._identity_map.items():
            set_value(image, name, value)
        blob_state(image).discriminators = tuple(self._identity_map)
        self._whole.append(image)

    def remove(self, image: ImageT, /) -> None:
        """Remove ``image``; its blob goes when the transaction has committed."""
        self._whole.remove(image)

    @property
    def query(self) -> Query[ImageT]:
        return super().query.filter_by(**self._identity_map)

    @property
    def _whole(self) -> MultipleImageSet[ImageT]:
        return cast("MultipleImageSet[ImageT]", getattr(self._holder, self._attribute))

    @property
    def _adapter(self) -> collections.CollectionAdapter | None:
        return self._whole._adapter

    @property
    def _discriminators(self) -> Mapping[str, Any]:
        return self._identity_map


def _chosen(whole: MultipleImageSet[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all that tells pictures apart, of what may be the identity of an image, or part of that."""
    mapper, expected = whole._attachment.mapper, whole._discriminator_names
    chosen = {name: given[name] for name in expected if name in given}
    if chosen and len(chosen) < len(expected):
        alike = [image for image in whole if all(getattr(image, name) == value for name, value in chosen.items())]
        found = {tuple(getattr(image, name) for name in expected) for image in alike}
        if len(found) == 1:
            chosen = dict(zip(expected, *found, strict=True))
    if len(chosen) < len(expected) or not given.keys() <= {*expected, *primary_key_names(mapper)}:
        raise InvalidTypeError(
            f"expected values for {', '.join(expected)}, got {', '.join(given) or 'none'}: these columns"
            f" tell the pictures of {type(whole.owner).__name__}.{whole._attachment.key} apart"
        )
    if whole._attachment.secondary is None and given.keys() - set(expected):
        _require_owner(whole, {name: value for name, value in given.items() if name not in expected})
    return chosen


def _require_owner(whole: MultipleImageSet[Any], given: Mapping[str, Any]) -> None:
    owner, mapper = whole.owner, whole._attachment.mapper
    for local, remote in whole._attachment.local_remote_pairs or ():
        name = mapper.get_property_by_column(remote).key
        own = getattr(owner, mapper_of(type(owner)).get_property_by_column(local).key)
        if name in given and own is not None and given[name] != own:
            msg = f"{name}: expected {own!r}, as {owner!r} has, got {given[name]!r}, which is of another owner"
            raise InvalidValueError(msg)


def _rank(value: Any) -> Any:
    # members of most enumerations cannot be compared
    return value if isinstance(value, int | str) or not isinstance(value, Enum) else list(type(value)).index(value)


def discriminator_names(attachment: RelationshipProperty[Any]) -> Sequence[str]:
    """The attributes that tell the pictures of one owner apart: the set's identity but for what refers to the owner."""
    mapper: Mapper[Any] = attachment.mapper
    pairs = attachment.local_remote_pairs if attachment.secondary is None else None
    to_owner = {mapper.get_property_by_column(remote).key for _, remote in pairs or ()}
    return [name for name in set_identity_names(mapper) if name not in to_owner]
