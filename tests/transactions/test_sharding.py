"""Sessions of several databases, by SQLAlchemy's recipe for horizontal sharding."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, create_engine, select
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, object_session, relationship

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import ConcurrentReplacementError, InvalidTypeError
from sqlalchemy_imageattach.maintenance import check
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.pictures import picture

CONTINENTS = ("europe", "asia")


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    continent: Mapped[str]
    picture: Mapped[SingleImageSet[UserPicture]] = image_attachment(back_populates="user")


class UserPicture(Base, Image):
    __tablename__ = "user_picture"
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)
    user: Mapped[User] = relationship(back_populates="picture")


class Shards:
    """Two databases, in which there are users of the same keys, and a store for all."""

    def __init__(self, engines: dict[str, Engine]) -> None:
        self.engines = engines
        self.store = MemoryStore()

    def session(self) -> ShardedSession:
        """One of all shards."""
        return ShardedSession(
            shards=dict(self.engines),
            shard_chooser=self._choose,
            identity_chooser=lambda *_, lazy_loaded_from, **__: self._tokens(lazy_loaded_from),
            execute_chooser=lambda context: self._tokens(context.lazy_loaded_from),
            info={"image_store": self.store},
        )

    def alone(self, continent: str) -> Session:
        """A usual session of one of them."""
        return Session(self.engines[continent], info={"image_store": self.store})

    def assert_in_step(self) -> None:
        """Each row has its blob, and no blob is nobody's."""
        keys = set()
        for continent in CONTINENTS:
            with self.alone(continent) as session:
                keys |= {key_of(image) for image in session.scalars(select(UserPicture))}
        assert keys == set(self.store.blobs)

    def _choose(self, mapper: Any, instance: Any, clause: Any = None) -> str:
        owner = instance if isinstance(instance, User) else getattr(instance, "user", None)
        if owner is None:
            raise NotImplementedError  # as the recipe does: nothing can be sent to nowhere
        return owner.continent

    def _tokens(self, lazy_loaded_from: Any) -> list[str]:
        return list(CONTINENTS) if lazy_loaded_from is None else [lazy_loaded_from.identity_token]


@pytest.fixture
def shards(tmp_path: Any) -> Iterator[Shards]:
    engines = {name: create_engine(f"sqlite:///{tmp_path}/{name}.db") for name in CONTINENTS}
    for engine in engines.values():
        Base.metadata.create_all(engine)
    shards = Shards(engines)
    with shards.session() as session:
        for continent in CONTINENTS:
            session.add(user := User(id=1, continent=continent))
            user.picture.from_blob(picture(60, 40))
        session.commit()
    yield shards
    for engine in engines.values():
        engine.dispose()


def users(session: Session) -> dict[str, User]:
    found = {user.continent: user for user in session.scalars(select(User)).all()}
    assert list(found) == list(CONTINENTS)
    return found


def with_thumbnail(step: Callable[[User], object]) -> Callable[[User], object]:
    """The same for a picture that has a stored thumbnail."""

    def run(user: User) -> None:
        user.picture.thumbnail(width=10)
        step(user)

    return run


STEPS: dict[str, tuple[Callable[[User], object], int]] = {
    "a thumbnail": (lambda user: user.picture.thumbnail(width=10), 2),
    "thumbnails": (lambda user: user.picture.thumbnails([{"width": 10}, {"width": 12}]), 3),
    "a generated one": (lambda user: user.picture.generate_thumbnail(width=10), 2),
    "another picture": (lambda user: user.picture.from_blob(picture(60, 40, "blue")), 1),
    "one of another size": (lambda user: user.picture.from_blob(picture(30, 20)), 1),
    "an assignment": (lambda user: setattr(user, "picture", io.BytesIO(picture(30, 20))), 1),
    "another picture than that with a thumbnail": (
        with_thumbnail(lambda user: user.picture.from_blob(picture(9, 9))),
        1,
    ),
    "nothing in place of one with a thumbnail": (with_thumbnail(lambda user: user.picture.clear()), 0),
    "nothing": (lambda user: user.picture.clear(), 0),
    "what is read": (lambda user: user.picture.make_blob(), 1),
    "no user": (lambda user: object_session(user).delete(user), 0),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("name", STEPS)
def test_every_operation_reaches_its_shard(shards: Shards, name: str) -> None:
    step, left = STEPS[name]
    with shards.session() as session:
        for user in users(session).values():
            step(user)
        session.flush()
        session.rollback()
        assert len(shards.store) == 2
        for user in users(session).values():
            step(user)
        session.commit()
    assert len(shards.store) == 2 * left
    shards.assert_in_step()


@pytest.mark.parametrize("other", CONTINENTS)
def test_pictures_of_one_key_in_two_shards_are_two_pictures(shards: Shards, other: str) -> None:
    """Each is claimed in its own database: that the one is as it was says nothing of the other."""
    with shards.session() as session:
        found = users(session)
        for user in found.values():
            list(user.picture)
        with shards.alone(other) as rival:
            rival.get_one(User, 1).picture.from_blob(picture(60, 40, "green"))
            rival.commit()
        for user in found.values():
            user.picture.from_blob(picture(60, 40, "blue"))
        with pytest.raises(ConcurrentReplacementError):
            session.commit()
    shards.assert_in_step()
    with shards.alone(other) as rival:
        assert rival.get_one(User, 1).picture.make_blob() == picture(60, 40, "green")


def test_a_blob_that_is_gone_since_its_row_is_no_longer_true_is_a_conflict(shards: Shards) -> None:
    with shards.session() as session:
        user = users(session)["asia"]
        list(user.picture)
        with shards.alone("asia") as rival:
            rival.get_one(User, 1).picture.from_blob(picture(30, 20))
            rival.commit()
        with pytest.raises(ConcurrentReplacementError):
            user.picture.make_blob()


def test_what_reads_all_rows_wants_one_database_at_a_time(shards: Shards) -> None:
    with shards.session() as session, pytest.raises(InvalidTypeError, match="a Session of each of them"):
        check(session, Base, shards.store)
