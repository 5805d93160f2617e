"""What an API tells of a user: the picture and its thumbnails by their URLs, and nothing else of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field

from sqlalchemy_imageattach.entity import Image


class ImageOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    url: Annotated[str, BeforeValidator(lambda locate: locate()), Field(validation_alias="locate")]
    width: int
    height: int
    mimetype: str


def thumbnails_of(images: Iterable[Image]) -> list[Any]:
    return sorted((image for image in images if not image.original), key=lambda image: image.width)


Thumbnails = Annotated[list[ImageOut], BeforeValidator(thumbnails_of)]


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    original: ImageOut | None = Field(validation_alias=AliasPath("picture", "original"))
    thumbnails: Thumbnails = Field(validation_alias="picture")
