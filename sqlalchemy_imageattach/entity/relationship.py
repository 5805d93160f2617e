"""``image_attachment()``: the relationship between an owner and its images."""

from __future__ import annotations

import re
import sys
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.orm import Mapped, Mapper, Relationship, relationship

from ..errors import InvalidTypeError
from .assigning import accept_files
from .collection import ImageList
from .image import Image
from .imageset import SingleImageSet
from .locks import note_removed
from .multiple import MultipleImageSet, discriminator_names

__all__ = ["ImageAttachment", "image_attachment"]

_T = TypeVar("_T")

_DATACLASS_OPTIONS = frozenset({"init", "repr", "default", "default_factory", "compare", "kw_only", "hash"})


class ImageAttachment(Relationship[_T]):
    """A :class:`~sqlalchemy.orm.Relationship` to an image class whose collections are image sets."""

    inherit_cache = True

    def declarative_scan(
        self,
        decl_scan: Any,
        registry: Any,
        cls: type[Any],
        originating_module: str | None,
        key: str,
        mapped_container: type[Mapped[Any]] | None,
        annotation: Any,
        extracted_mapped_annotation: Any,
        is_dataclass_field: bool,
    ) -> None:
        if isinstance(extracted_mapped_annotation, str) and originating_module is not None:
            extracted_mapped_annotation = _evaluated(extracted_mapped_annotation, originating_module)
        super().declarative_scan(
            decl_scan,
            registry,
            cls,
            originating_module,
            key,
            mapped_container,
            annotation,
            extracted_mapped_annotation,
            is_dataclass_field,
        )

    def do_init(self) -> None:
        if self.collection_class is None:
            self.collection_class = SingleImageSet
        if self.lazy in {"dynamic", "noload", "write_only"}:
            raise InvalidTypeError(
                f"{self}: expected a lazy= that loads image sets, such as 'select', got {self.lazy!r}: leave it out;"
                " for queries there are filter(), filter_by() and order_by() of each image set"
            )
        super().do_init()
        if not issubclass(self.mapper.class_, Image):
            raise InvalidTypeError(f"{self}: expected a class with the Image mixin, got {self.mapper.class_.__name__}")
        if not self.uselist:
            name = self.mapper.class_.__name__
            raise InvalidTypeError(
                f"{self}: expected a set of images, got a single one: annotate it as Mapped[SingleImageSet[{name!r}]],"
                f" or not at all, and have the foreign key in {name}"
            )
        if not isinstance(self.collection_class, type) or not issubclass(
            self.collection_class, SingleImageSet | MultipleImageSet
        ):
            msg = f"{self}: expected SingleImageSet or MultipleImageSet as its collection, got {self.collection_class}"
            raise InvalidTypeError(msg)
        if issubclass(self.collection_class, MultipleImageSet) and not discriminator_names(self):
            raise InvalidTypeError(
                f"{self}: for several pictures of one owner, {self.mapper.class_.__name__} needs a primary key column"
                " besides those of its owner, its size and its type, to tell the pictures apart"
            )


def _evaluated(annotation: str, module: str) -> Any:
    """``annotation`` with its collection class, which SQLAlchemy does not look for where there is no ``Mapped[…]``.

    So are those of SQLModel, as strings too if the image class is not there yet.
    """
    parts = _GENERIC.fullmatch(annotation)
    if parts is None:
        return annotation
    first, *rest = parts["collection"].split(".")
    found: Any = getattr(sys.modules.get(module), first, None)
    for name in rest:
        found = getattr(found, name, None)
    is_set = isinstance(found, type) and issubclass(found, ImageList)
    return found[parts["item"]] if is_set else annotation


_GENERIC = re.compile(r"""\s*(?P<collection>[\w.]+)\s*\[\s*["']?(?P<item>[\w.]+)["']?\s*\]\s*""")


@event.listens_for(Mapper, "mapper_configured")
def _keep_owners_alive(mapper: Mapper[Any], cls: type[Any]) -> None:
    for attachment in mapper.relationships:
        if isinstance(attachment, ImageAttachment):
            accept_files(mapper, attachment.key)  # each class of a hierarchy has an attribute of its own
        if isinstance(attachment, ImageAttachment) and attachment.parent is mapper:
            event.listen(attachment.class_attribute, "init_collection", _keep_owner_alive, propagate=True)
            event.listen(attachment.class_attribute, "remove", _removed, propagate=True)


def _removed(_owner: Any, image: Any, _initiator: object) -> None:
    note_removed(image)


def _keep_owner_alive(owner: Any, image_set: Any, adapter: Any) -> None:
    # SQLAlchemy refers to the owner weakly.  In `session.get(User, 1).picture.from_file(file)` nobody else refers to it
    # at all, and without it the picture would never be flushed.
    image_set._owner = owner


def image_attachment(*args: Any, **kwargs: Any) -> ImageAttachment[Any]:
    """A relationship to the images of a picture, or of several pictures.

    It takes what :func:`~sqlalchemy.orm.relationship` takes.  Unless stated otherwise, images that leave their set,
    or whose owner is deleted, are deleted as well.  In either style of declaration::

        class User(Base):
            picture: Mapped[SingleImageSet["UserPicture"]] = image_attachment()
            photos: Mapped[MultipleImageSet["UserPhoto"]] = image_attachment()

        class User(Base):
            picture = image_attachment("UserPicture")
            photos = image_attachment("UserPhoto", uselist=True)

    In a :class:`~sqlalchemy.orm.MappedAsDataclass` it is not a parameter of the constructor, unless ``init=True``, or
    an option that only parameters have, such as ``default_factory``, says so.

    :param args: the positional arguments of :func:`~sqlalchemy.orm.relationship`, e.g. the image class or its name
    :param kwargs: its keyword arguments
    :param uselist: whether the owner has several pictures (a :class:`MultipleImageSet`) or one.  The image class then
       needs further primary key columns to tell them apart.
    :raises InvalidTypeError: when the mapping is configured, if the class is no image class or cannot hold several
       pictures
    """
    if kwargs.pop("uselist", False):
        kwargs.setdefault("collection_class", MultipleImageSet)
    if not kwargs.get("viewonly"):
        kwargs.setdefault("cascade", "all, delete-orphan")
    if "back_populates" not in kwargs and "backref" not in kwargs:
        # a plain `user = relationship(User)` in the image class sets the same columns, and never to something else
        kwargs.setdefault("overlaps", "__*")
    options = {name: kwargs.pop(name) for name in _DATACLASS_OPTIONS & kwargs.keys()}
    is_parameter = options.keys() & {"init", "default", "default_factory", "kw_only"}
    as_field = relationship(**(options if is_parameter else {**options, "init": False}))
    attachment: ImageAttachment[Any] = ImageAttachment(*args, attribute_options=as_field._attribute_options, **kwargs)
    attachment._has_dataclass_arguments = bool(options)  # our own init=False is no error outside of dataclasses
    return attachment
