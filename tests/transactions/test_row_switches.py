"""A picture that takes the place of another one is written by an UPDATE: nothing of the former one is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, String, create_engine, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.variants import Variant

from .helpers import SMALL, picture


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "switch_person"
    id: Mapped[int] = mapped_column(primary_key=True)
    portrait: Mapped[SingleImageSet[Portrait]] = image_attachment()


class Portrait(Base, Image):
    __tablename__ = "switch_portrait"
    person_id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
    caption: Mapped[str | None] = mapped_column(String(50))
    mood: Mapped[str] = mapped_column(String(50), default="calm")
    number: Mapped[str] = mapped_column(String(50), default=lambda: "made")
    shelf: Mapped[str] = mapped_column(String(50), server_default="it's free")
    letters: Mapped[str] = mapped_column(String(50), default=func.upper("abc"))
    words: Mapped[str] = mapped_column(String(50), server_default=text("'two words'"))
    image_variants = {"square": Variant(width=12, height=12, fit="fill")}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


FILLED = {
    "caption": "me",
    "mood": "merry",
    "number": "1",
    "shelf": "top",
    "letters": "x",
    "words": "y",
}


def test_a_new_picture_of_the_same_size_has_nothing_of_the_former_one(engine: Engine) -> None:
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        session.add(person := Person(id=1))
        person.portrait.from_blob(picture("red", SMALL), extra_kwargs=FILLED)
        person.portrait.focal_point = (1.0, 1.0)
        session.commit()
        former = person.portrait.original
        assert former is not None
        color = former.dominant_color
        person.portrait.from_blob(picture("blue", SMALL))
        session.commit()
        session.expire_all()
        found: Any = person.portrait.require_original()
        assert {name: getattr(found, name) for name in FILLED} == {
            "caption": None,
            "mood": "calm",
            "number": "made",
            "shelf": "it's free",
            "letters": "ABC",
            "words": "two words",
        }
        assert person.portrait.focal_point is None
        assert person.portrait.variant("square").is_complete
        assert found.dominant_color != color
        assert found.made_for is None


def test_what_is_given_with_a_new_picture_stays(engine: Engine) -> None:
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        session.add(person := Person(id=1))
        person.portrait.from_blob(picture("red", SMALL))
        session.commit()
        person.portrait.from_blob(picture("blue", SMALL), extra_kwargs=FILLED | {"focal_x": 0.0, "focal_y": 1.0})
        session.commit()
        session.expire_all()
        found: Any = person.portrait.require_original()
        assert {name: getattr(found, name) for name in FILLED} == FILLED
        assert person.portrait.focal_point == (0.0, 1.0)
        assert person.portrait.variant("square").is_complete
