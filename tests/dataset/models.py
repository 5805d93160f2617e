from __future__ import annotations

import io

from PIL import Image as Pillow
from sqlalchemy.orm import DeclarativeBase

from sqlalchemy_imageattach.dataset import LabelledImage, Picture
from sqlalchemy_imageattach.spool import Spool


class Base(DeclarativeBase):
    pass


class Fruit(Base, LabelledImage):
    __tablename__ = "fruit"


def png(number: int, side: int = 8) -> bytes:
    """A picture that no other number gives."""
    file = io.BytesIO()
    colour = (number % 256, number // 256 % 256, number // 65536 % 256)
    Pillow.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


def picture(number: int) -> Picture:
    return Picture(Spool.of(png(number)), "image/png", (8, 8))
