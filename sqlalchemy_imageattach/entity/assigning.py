"""Assigning to the attribute of an image set, as forms, factories and admin panels do.

``user.picture = upload`` attaches, as ``user.picture.from_file(upload)`` does; ``user.picture = None`` clears; a list
of images is what it is to SQLAlchemy; and what browsers send for a field in which no file was chosen changes nothing.
Anything else is refused.  So ``User(picture=upload)`` works as well.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import InstanceState, Mapper, attributes
from sqlalchemy.orm.base import LoaderCallableStatus
from sqlalchemy.util import duck_type_collection

from ..arguments import wrong_type
from ..file import binary_file, is_blank_upload
from .image import Image
from .imageset import BaseImageSet

__all__ = ["accept_files"]

# it got an underscore in 2.1
_Collection: Any = getattr(attributes, "_CollectionAttributeImpl", None) or getattr(
    attributes, "CollectionAttributeImpl", None
)


def accept_files(mapper: Mapper[Any], key: str) -> None:
    """From now on the attribute ``key`` of the class of ``mapper`` takes files."""
    implementation = mapper.class_manager[key].impl
    if type(implementation) is _Collection:
        implementation.__class__ = _ImageSetAttribute


class _ImageSetAttribute(_Collection):  # type: ignore[misc]
    __slots__ = ()

    def set(self, state: InstanceState[Any], dict_: Any, value: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(value, LoaderCallableStatus):  # of a dataclass, whose parameter was not given
            super().set(state, dict_, value, *args, **kwargs)
            return
        if isinstance(value, list | tuple | set | frozenset) or duck_type_collection(value) is not None:
            for each in value:
                if not isinstance(each, Image):
                    raise wrong_type(self.key, each, "images in a list", "assign a file itself, not a list of files")
            super().set(state, dict_, value, *args, **kwargs)
            return
        if is_blank_upload(value):
            return
        image_set = getattr(state.obj(), self.key)
        if value is None:
            image_set.clear()
        elif isinstance(image_set, BaseImageSet):
            image_set.from_file(value)
        else:
            binary_file(value)  # says what is wrong with it
            raise wrong_type(
                self.key,
                value,
                "a list of images, or None",
                f"it has several pictures: {self.key}.get_image_set(…).from_file(file) attaches to one of them",
            )
