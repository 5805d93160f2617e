"""Images attached to mapped objects.

Two declarations attach a picture to a class: a class of images, and a relationship to it::

    class User(Base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        picture: Mapped[SingleImageSet["UserPicture"]] = image_attachment()

    class UserPicture(Base, Image):
        __tablename__ = "user_picture"
        user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)

Then pictures are attached, resized, found and removed through the owner, in step with the session's transaction::

    with store_context(store), Session(engine) as session:
        user = User()
        with open("portrait.jpg", "rb") as file:
            user.picture.from_file(file)
        user.picture.generate_thumbnail(width=150)
        session.add(user)
        session.commit()
        user.picture.find_thumbnail(width=150).locate()

Below an :class:`~sqlalchemy.ext.asyncio.AsyncSession`, use the awaitable twins of the methods that do I/O
(``afrom_file``, ``athumbnail``, ``amake_blob`` …); flushing and committing never block the event loop.
"""

from __future__ import annotations

from ..imaging import VECTOR_TYPES
from . import listeners as _events  # registers the listeners
from .collection import BaseImageQuery
from .conflicts import is_conflict
from .declared import VariantImages
from .image import Image, LegacyImage
from .imageset import BaseImageSet, SingleImageSet
from .multiple import ImageSubset, MultipleImageSet
from .relationship import ImageAttachment, image_attachment

__all__ = [
    "VECTOR_TYPES",
    "BaseImageQuery",
    "BaseImageSet",
    "Image",
    "ImageAttachment",
    "ImageSet",
    "ImageSubset",
    "LegacyImage",
    "MultipleImageSet",
    "SingleImageSet",
    "VariantImages",
    "image_attachment",
    "is_conflict",
]

#: The name of :class:`SingleImageSet` before 1.0.
#:
#: .. deprecated:: 1.0
#:    Use :class:`SingleImageSet`.
ImageSet = SingleImageSet

del _events
