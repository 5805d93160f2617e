"""Attaching what a URL names: a user's picture, in step with the transaction."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import (
    InvalidTypeError,
    RemoteAddressError,
    RemoteStatusError,
    RemoteTooLongError,
    UnreadableImageError,
)
from sqlalchemy_imageattach.imaging import ImagePolicy
from sqlalchemy_imageattach.remote import FetchPolicy
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.dataset.models import png

from .servers import Server, ok, server

INSIDE = FetchPolicy(allow_private=True)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[SingleImageSet[Picture]] = image_attachment()


class Picture(Base, Image):
    __tablename__ = "picture"
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    image_policy = ImagePolicy(max_bytes=5000)


@pytest.fixture
def web() -> Iterator[Server]:
    answers: Any = {
        "/1.png": ok(png(1), "Content-Type: text/html"),
        "/page": ok(b"<html></html>", "Content-Type: image/png"),
        "/long": ok(bytes(6000)),
        "/none": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    }
    with server(answers) as running:
        yield running


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        yield session
    engine.dispose()


def test_a_picture_is_attached_by_its_url(session: Session, web: Server) -> None:
    user = User()
    session.add(user)
    image = user.picture.from_url(f"{web.url}/1.png", fetching=INSIDE)
    session.commit()
    assert (image.mimetype, user.picture.make_blob()) == ("image/png", png(1)), "the bytes are believed, not the server"


@pytest.mark.parametrize(
    ("path", "error"),
    [("/page", UnreadableImageError), ("/long", RemoteTooLongError), ("/none", RemoteStatusError)],
)
def test_what_is_no_picture_leaves_the_set_as_it_was(session: Session, web: Server, path: str, error: Any) -> None:
    user = User()
    session.add(user)
    user.picture.from_blob(png(7))
    session.commit()
    with pytest.raises(error):
        user.picture.from_url(f"{web.url}{path}", fetching=INSIDE)
    session.commit()
    assert user.picture.make_blob() == png(7)


def test_a_stranger_names_nothing_inside(session: Session, web: Server) -> None:
    user = User()
    with pytest.raises(RemoteAddressError):
        user.picture.from_url(f"{web.url}/1.png", store=MemoryStore())
    with pytest.raises(InvalidTypeError, match=r"expected a URL \(str\)"):
        user.picture.from_url(None, store=MemoryStore())  # type: ignore[arg-type]
    assert web.connections == 0


@pytest.mark.asyncio
async def test_it_can_be_awaited(web: Server) -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, info={"image_store": MemoryStore()}) as session:
        user = User()
        session.add(user)
        await user.picture.afrom_url(f"{web.url}/1.png", fetching=INSIDE)
        await session.commit()
        await session.refresh(user, ["picture"])
        assert await user.picture.amake_blob() == png(1)
    await engine.dispose()


def test_without_the_extra_it_is_said_what_to_install() -> None:
    script = (
        "import sys; sys.modules['httpcore'] = None\n"
        "import sqlalchemy_imageattach.entity\n"
        "try:\n    import sqlalchemy_imageattach.remote\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.startswith("MissingExtraError")
    assert "SQLAlchemy-ImageAttach[remote]" in said
