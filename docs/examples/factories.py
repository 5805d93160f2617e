"""Users for tests, with pictures and without, made by factory_boy."""

from __future__ import annotations

import io

import factory.alchemy
import PIL.Image

from models import User


def portrait(size: tuple[int, int] = (60, 80), color: str = "teal") -> io.BytesIO:
    """A small picture, made anew each time: a file is read only once."""
    file = io.BytesIO()
    PIL.Image.new("RGB", size, color).save(file, "PNG")
    file.seek(0)
    return file


class UserFactory(factory.alchemy.SQLAlchemyModelFactory):
    class Meta:
        model = User
        sqlalchemy_session_persistence = "flush"

    class Params:
        with_picture = factory.Trait(picture=factory.LazyFunction(portrait))

    name = factory.Sequence("user {}".format)
