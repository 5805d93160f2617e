"""FastAPI: dependencies, and what an API tells of a picture.  The rest is that of Starlette.

::

    class UserOut(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        name: str
        picture: Picture                      # None while there is none

    @app.get("/users/{user_id}")
    def show(user_id: int, session: OpenSession) -> UserOut: ...

It needs FastAPI.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from pydantic import BaseModel, BeforeValidator, Field

from ..context import get_current_store
from ..entity import BaseImageSet, Image
from ..store import Store
from ..uploads import Uploads, find_uploads
from .starlette import StoreMiddleware, images_lifespan, mount_images, mount_uploads, refuse_images

__all__ = [
    "CurrentStore",
    "CurrentUploads",
    "ImageOut",
    "Picture",
    "PictureOut",
    "StoreMiddleware",
    "images_lifespan",
    "mount_images",
    "mount_uploads",
    "refuse_images",
]

#: A parameter of an endpoint: the current store.
CurrentStore = Annotated[Store, Depends(get_current_store)]


def _uploads() -> Uploads:
    return find_uploads()


#: A parameter of an endpoint: the uploads of the process.
CurrentUploads = Annotated[Uploads, Depends(_uploads)]


class ImageOut(BaseModel):
    """One image, by its URL; neither its checksum nor its revision nor anything else of its row."""

    url: str
    width: int
    height: int
    mimetype: str

    @classmethod
    def of(cls, image: Image) -> ImageOut:
        """What is told of ``image``.  No statement, and no request to the store."""
        return cls(url=image.locate(), width=image.width, height=image.height, mimetype=image.mimetype)


class PictureOut(BaseModel):
    """A picture in all its sizes."""

    original: ImageOut
    thumbnails: list[ImageOut] = Field(default_factory=list, description="from the smallest to the largest")

    @classmethod
    def of(cls, picture: BaseImageSet[Any]) -> PictureOut:
        """What is told of ``picture``.

        :raises NoOriginalError: there is none
        """
        thumbnails = sorted((image for image in picture if not image.original), key=lambda image: image.width)
        return cls(original=ImageOut.of(picture.require_original()), thumbnails=[*map(ImageOut.of, thumbnails)])


def _picture(value: object) -> object:
    if not isinstance(value, BaseImageSet):
        return value
    return PictureOut.of(value) if value else None


#: The type of a field of a model: an image set as :class:`PictureOut`, or ``None`` while it is empty.
Picture = Annotated[PictureOut | None, BeforeValidator(_picture)]
