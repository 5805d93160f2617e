"""Sizes on demand of every kind of image class: many pictures of one owner, keys of other types, tables of 1.x."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from sqlalchemy_imageattach.entity import (
    Image,
    LegacyImage,
    MultipleImageSet,
    SingleImageSet,
    image_attachment,
)
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.variants import OnDemand
from tests.onex import FourMethodStore
from tests.statements import statements

from ..entity.support import color_of, picture, size_of
from ..serving.doors import DOORS, Door

SECRET = "the secret of these tests, which all may know"


class Base(DeclarativeBase):
    pass


class Album(Base):
    __tablename__ = "album"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(default="an album")
    photos: Mapped[MultipleImageSet[Photo]] = image_attachment(uselist=True)
    cover: Mapped[SingleImageSet[Cover]] = image_attachment()
    old: Mapped[SingleImageSet[OldCover]] = image_attachment()


class Photo(Base, Image):
    __tablename__ = "photo"
    album_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("album.id"), primary_key=True)
    title: Mapped[str] = mapped_column(primary_key=True)


class Cover(Base, Image):
    """With a key of its own."""

    __tablename__ = "cover"
    id: Mapped[int] = mapped_column(primary_key=True)
    album_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("album.id"))
    width = mapped_column("width", Image.width.column.type, nullable=False)
    height = mapped_column("height", Image.height.column.type, nullable=False)
    mimetype = mapped_column("mimetype", Image.mimetype.column.type, nullable=False)


class OldCover(Base, LegacyImage):
    __tablename__ = "old_cover"
    album_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("album.id"), primary_key=True)


@pytest.fixture(params=DOORS, ids=str)
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = create_engine(f"sqlite:///{tmp_path / 'albums.db'}", connect_args={"timeout": 60})
    Base.metadata.create_all(engine)
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        yield session
    engine.dispose()


@pytest.fixture
def endpoint(session: Session) -> Iterator[OnDemand]:
    sessions = sessionmaker(session.get_bind(), info=session.info)
    with closing(OnDemand(sessions, SECRET, [Photo, Cover, OldCover], base_url="/sized/")) as endpoint:
        yield endpoint


def ask(door: Door, endpoint: OnDemand, url: str) -> bytes:
    reply = door.ask(endpoint, url.removeprefix("/sized/"))
    assert reply.status == 200
    return reply.body


def test_each_of_many_pictures_has_sizes_of_its_own(session: Session, endpoint: OnDemand, door: Door) -> None:
    session.add(album := Album())
    titles = {'día de "sol"/\0'[:-1]: "red", "2": "blue"}
    for title, color in titles.items():
        album.photos.get_image_set(title=title).from_blob(picture(120, 80, color))
    session.commit()
    for title, color in titles.items():
        body = ask(door, endpoint, album.photos.get_image_set(title=title).url(width=30))
        assert size_of(body) == (30, 20)
        assert color_of(body) == color_of(picture(1, 1, color))


def test_a_class_with_a_key_of_its_own(session: Session, endpoint: OnDemand, door: Door) -> None:
    session.add(album := Album())
    album.cover.from_blob(picture(120, 80))
    session.commit()
    url = album.cover.url(width=30)
    body = ask(door, endpoint, url)
    session.expire_all()
    assert album.cover.find_thumbnail(width=30).make_blob() == body
    # a process that does not know where it is finds it, and makes none
    endpoint._memory.__init__()  # type: ignore[misc]
    with statements(session.get_bind()) as sent:  # type: ignore[arg-type]
        assert ask(door, endpoint, url) == body
    assert not [statement for statement in sent if statement.startswith(("INSERT", "UPDATE"))]


@pytest.mark.parametrize("make", [MemoryStore, FourMethodStore])
def test_a_table_of_1x(session: Session, endpoint: OnDemand, door: Door, make: Any) -> None:
    session.info["image_store"] = store = make()
    endpoint.sessions = sessionmaker(session.get_bind(), info={"image_store": store})
    session.add(album := Album())
    album.old.from_blob(picture(120, 80, "red"))
    session.commit()
    url = album.old.url(width=30)
    first = door.ask(endpoint, url.removeprefix("/sized/"))
    assert (first.status, first.headers["cache-control"]) == (200, "no-cache")
    assert size_of(first.body) == (30, 20)
    session.expire_all()
    album.old.from_blob(picture(120, 80, "blue"))
    session.commit()
    # its URL is that of the picture, whatever that is
    assert album.old.url(width=30) == url
    assert color_of(ask(door, endpoint, url)) == color_of(picture(1, 1, "blue"))
