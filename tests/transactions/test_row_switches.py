"""A picture that takes the place of another one is written by an UPDATE: nothing of the former one is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, ForeignKey, String, create_engine, func, inspect, null, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, validates

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import ImageIdentityError
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.variants import Variant

from .helpers import SMALL, picture


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "switch_person"
    id: Mapped[int] = mapped_column(primary_key=True)
    portrait: Mapped[SingleImageSet[Portrait]] = image_attachment()
    titled: Mapped[SingleImageSet[Titled]] = image_attachment()
    plain: Mapped[SingleImageSet[Plain]] = image_attachment()
    posters: Mapped[SingleImageSet[Poster]] = image_attachment()


class Portrait(Base, Image):
    __tablename__ = "switch_portrait"
    person_id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
    caption: Mapped[str | None] = mapped_column(String(50))
    mood: Mapped[str] = mapped_column(String(50), default="calm")
    number: Mapped[str] = mapped_column(String(50), default=lambda: "made")
    shelf: Mapped[str] = mapped_column(String(50), server_default="it's free")
    letters: Mapped[str] = mapped_column(String(50), default=func.upper("abc"))
    words: Mapped[str] = mapped_column(String(50), server_default=text("'two words'"))
    notes: Mapped[Any] = mapped_column(JSON, nullable=True)
    marks: Mapped[Any] = mapped_column(MutableDict.as_mutable(JSON), nullable=True)
    path: Mapped[str] = mapped_column(String(50), server_default="a :b \\c")
    kind: Mapped[str] = mapped_column(String(50), default=lambda of: of.get_current_parameters()["mimetype"])

    @validates("caption", "path")
    def _strip(self, _name: str, value: str) -> str:
        return value.strip()

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
    "notes": ["n"],
    "marks": {"m": 1},
    "path": "p",
    "kind": "k",
}
#: what an INSERT writes where nothing is given
UNFILLED = {
    "caption": None,
    "mood": "calm",
    "number": "made",
    "shelf": "it's free",
    "letters": "ABC",
    "words": "two words",
    "notes": None,
    "marks": None,
    "path": "a :b \\c",
    "kind": "image/png",
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
        session.flush()
        # below an AsyncSession nothing could be loaded
        assert not inspect(person.portrait.require_original()).expired_attributes
        session.commit()
        session.expire_all()
        found: Any = person.portrait.require_original()
        assert {name: getattr(found, name) for name in FILLED} == UNFILLED
        assert session.scalars(select(Portrait).where(Portrait.original, Portrait.notes.is_(null()))).all() == [found]
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


def test_none_is_nothing_given_as_in_an_insert(engine: Engine) -> None:
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        for identity in (1, 2):
            session.add(person := Person(id=identity))
            if identity == 2:
                person.portrait.from_blob(picture("red", SMALL), extra_kwargs=FILLED)
                session.commit()
            person.portrait.from_blob(
                picture("blue", SMALL), extra_kwargs=dict.fromkeys(FILLED.keys() - {"caption", "path"})
            )
            session.commit()
        session.expire_all()
        inserted, switched = session.scalars(select(Portrait).where(Portrait.original).order_by(Portrait.person_id))
        for name in FILLED:
            assert getattr(switched, name) == getattr(inserted, name) == UNFILLED[name], name
        # None is JSON's null where it is given
        assert not session.scalars(select(Portrait).where(Portrait.original, Portrait.notes.is_(null()))).all()


class Titled(Base, Image):
    __tablename__ = "switch_titled"
    person_id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
    title: Mapped[str] = mapped_column(String(50))


def test_what_must_be_given_is_missed_as_in_an_insert(engine: Engine) -> None:
    with Session(engine, info={"image_store": (store := MemoryStore())}) as session:
        session.add(person := Person(id=1))
        person.titled.from_blob(picture("red", SMALL), extra_kwargs={"title": "first"})
        session.commit()
        person.titled.from_blob(picture("blue", SMALL))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        found: Any = person.titled.require_original()
        assert found.title == "first"
        assert store.open(found).read() == picture("red", SMALL)


def test_another_attempt_leaves_nothing_of_the_former_picture_either(engine: Engine) -> None:
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        session.add(person := Person(id=1))
        person.portrait.from_blob(picture("red", SMALL), extra_kwargs=FILLED)
        session.commit()
        image = person.portrait.from_blob(picture("blue", SMALL))
        session.flush()
        session.rollback()
        person.portrait.remove(person.portrait.require_original())
        person.portrait.append(image)
        session.commit()
        session.expire_all()
        found: Any = person.portrait.require_original()
        assert {name: getattr(found, name) for name in FILLED} == UNFILLED
        assert session.scalars(select(Portrait).where(Portrait.original, Portrait.notes.is_(null()))).all() == [found]


class Medium(Base):
    __tablename__ = "switch_medium"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    slug: Mapped[str] = mapped_column(String(20), unique=True)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "medium"}


class Poster(Medium, Image):
    __tablename__ = "switch_poster"
    id: Mapped[int] = mapped_column(ForeignKey(Medium.id), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey(Person.id))
    width: Mapped[int] = mapped_column()
    height: Mapped[int] = mapped_column()
    mimetype: Mapped[str] = mapped_column(String(255))
    variant: Mapped[str] = mapped_column(String(64), default="")
    __mapper_args__ = {"polymorphic_identity": "poster"}


def test_an_error_of_the_database_is_not_taken_for_a_lost_owner_where_the_base_makes_the_key(engine: Engine) -> None:
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        for identity in (1, 2):
            session.add(person := Person(id=identity))
            person.posters.from_blob(picture("red", SMALL), extra_kwargs={"slug": "one"})
            if identity == 1:
                session.commit()
        with pytest.raises(IntegrityError) as caught:
            session.commit()
        assert not isinstance(caught.value, ImageIdentityError)


class Plain(Base, Image):
    __tablename__ = "switch_plain"
    person_id: Mapped[int] = mapped_column(ForeignKey(Person.id), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "plain"}


class Fancy(Plain):
    glitter: Mapped[str | None] = mapped_column(String(50))
    shine: Mapped[str | None] = mapped_column(String(50), server_default="none")
    __mapper_args__ = {"polymorphic_identity": "fancy"}


def test_columns_of_another_class_of_the_table_have_nothing_of_the_former_picture(engine: Engine) -> None:
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        session.add(person := Person(id=1))
        former = person.plain.from_blob(picture("red", SMALL))
        session.commit()
        session.execute(update(Plain.__table__).values(kind="fancy", glitter="much", shine="bright"))  # type: ignore[arg-type]
        session.commit()
        session.expunge(former)
        session.expire(person)
        assert isinstance(person.plain.require_original(), Fancy)
        person.plain.from_blob(picture("blue", SMALL))
        session.commit()
        columns = Plain.__table__.c
        found = session.execute(select(columns.kind, columns.glitter, columns.shine)).one()
        assert tuple(found) == ("plain", None, "none")
