"""Classes of SQLModel, by the library itself: declared as its manual has it, without settings for us."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import Field, Relationship, Session, SQLModel, select

from sqlalchemy_imageattach.entity import Image, MultipleImageSet, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import InvalidTypeError
from sqlalchemy_imageattach.maintenance import check, sweep
from sqlalchemy_imageattach.stores.memory import MemoryStore

from .support import CountingStore, database, picture


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    picture: SingleImageSet[HeroPicture] = Relationship(sa_relationship=image_attachment("HeroPicture"))
    photos: MultipleImageSet[HeroPhoto] = Relationship(sa_relationship=image_attachment("HeroPhoto"))


class HeroPicture(SQLModel, Image, table=True):
    hero_id: int | None = Field(default=None, primary_key=True, foreign_key="hero.id")
    note: str | None = None


class HeroPhoto(SQLModel, Image, table=True):
    hero_id: int | None = Field(default=None, primary_key=True, foreign_key="hero.id")
    place: int = Field(primary_key=True)


class HeroRead(SQLModel):
    id: int
    name: str
    picture_url: str | None = None


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def session(store: CountingStore) -> Iterator[Session]:
    with database(SQLModel.metadata) as engine, Session(engine, info={"image_store": store}) as session:
        yield session


@pytest.fixture
def hero(session: Session) -> Hero:
    hero = Hero(name="Deadpond")
    hero.picture.from_blob(picture(), extra_kwargs={"note": "in front of a door"})
    session.add(hero)
    session.commit()
    return hero


def test_a_picture_is_attached_replaced_and_cleared(session: Session, store: CountingStore, hero: Hero) -> None:
    assert hero.picture.make_blob() == picture()
    assert hero.picture.require_original().note == "in front of a door"
    hero.picture.from_blob(picture(color="blue"))  # of the same size
    session.commit()
    anyhow: Any = hero
    anyhow.picture = io.BytesIO(picture(90, 50))
    session.commit()
    assert hero.picture.size == (90, 50)
    assert len(store) == 1
    anyhow.picture = None
    session.commit()
    assert not hero.picture
    assert not store.blobs


def test_it_is_as_it_was_after_a_rollback(session: Session, store: CountingStore, hero: Hero) -> None:
    hero.picture.from_blob(picture(color="blue"))
    hero.picture.thumbnail(width=20)
    session.flush()
    session.rollback()
    assert hero.picture.make_blob() == picture()
    assert len(store) == len(hero.picture) == 1


def test_thumbnails_are_made_once_and_found(session: Session, store: CountingStore, hero: Hero) -> None:
    made = hero.picture.thumbnail(width=30)
    session.commit()
    assert hero.picture.thumbnail(width=30) is made
    assert hero.picture.find_thumbnail(width=30) is made
    assert made.size == (30, 20)
    assert len(store) == 2
    assert 'width="30"' in made.html(alt="Deadpond")


def test_rows_are_queried_by_all_columns(session: Session, hero: Hero) -> None:
    hero.picture.thumbnail(width=30)
    session.commit()
    found = session.exec(select(HeroPicture).where(HeroPicture.original, HeroPicture.size == (60, 40))).one()
    assert found is hero.picture.original
    assert hero.picture.filter_by(original=False).one().width == 30


def test_a_read_model_is_made_of_an_owner(hero: Hero) -> None:
    read = HeroRead.model_validate(hero, update={"picture_url": hero.picture.locate()})
    assert read.model_dump() == {"id": 1, "name": "Deadpond", "picture_url": hero.picture.locate()}
    assert "picture" not in hero.model_dump()


def test_a_constructor_takes_a_file(session: Session) -> None:
    make: Any = Hero
    hero = make(name="Rusty-Man", picture=io.BytesIO(picture()))
    session.add(hero)
    session.commit()
    assert hero.picture.make_blob() == picture()
    with pytest.raises(InvalidTypeError, match="expected"):
        make(name="Spider-Boy", picture="spider.png")


def test_an_owner_has_several_pictures(session: Session, hero: Hero) -> None:
    for place, color in enumerate(("red", "blue")):
        hero.photos.get_image_set(place=place).from_blob(picture(color=color))
    session.commit()
    assert [photos.make_blob() for photos in hero.photos.image_sets] == [picture(color="red"), picture(color="blue")]


def test_maintenance_knows_the_classes_of_sqlmodel(session: Session, store: CountingStore, hero: Hero) -> None:
    with check(session, SQLModel, store) as report:
        assert list(report) == []
    with check(session, SQLModel, MemoryStore()) as report:
        assert [problem.kind.value for problem in report] == ["missing blob"]
    with sweep(session, SQLModel, store, dry_run=False) as swept:
        assert list(swept) == []
    assert hero.picture.make_blob() == picture()
