"""How the tests of an application that attaches images can look.  Run them with pytest."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import Base, User, UserPicture
from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.errors import StoreError
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import FaultyStore


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One database for all tests, with its tables."""
    engine = create_engine("sqlite://")

    # Python's driver for SQLite would otherwise begin transactions too late for savepoints
    @event.listens_for(engine, "connect")
    def leave_it_to_sqlalchemy(connection: object, record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store() -> FaultyStore:
    """A store of its own for each test, which fails when it is told to."""
    return FaultyStore(MemoryStore())


@pytest.fixture
def session(engine: Engine, store: FaultyStore) -> Iterator[Session]:
    """A session that the application may commit and roll back as it likes; the test leaves no trace."""
    with engine.connect() as connection, connection.begin() as outer:
        info = {SESSION_STORE_KEY: store}
        with Session(connection, join_transaction_mode="create_savepoint", info=info) as session:
            yield session
        outer.rollback()


@pytest.fixture
def portrait() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 80), "teal").save(file, "JPEG")
    return file.getvalue()


def test_a_committed_portrait_is_in_the_store(session: Session, store: FaultyStore, portrait: bytes) -> None:
    user = User(name="Ada")
    session.add(user)
    user.picture.from_blob(portrait)
    session.commit()
    assert user.picture.make_blob() == portrait
    assert len(store.blobs) == 1


def test_nothing_is_left_of_a_portrait_whose_user_is_refused(
    session: Session, store: FaultyStore, portrait: bytes
) -> None:
    user = User(name=None)  # the column takes no NULL
    session.add(user)
    user.picture.from_blob(portrait)
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    assert store.blobs == {}


def test_no_row_is_stored_while_the_store_is_full(session: Session, store: FaultyStore, portrait: bytes) -> None:
    store.fail("put", error=StoreError("no space left"))
    user = User(name="Ada")
    session.add(user)
    user.picture.from_blob(portrait)
    with pytest.raises(StoreError, match="no space left"):
        session.commit()
    session.rollback()
    assert session.query(UserPicture).count() == 0
    store.heal()
    session.add(user)  # the file still waits in the object
    session.commit()
    assert user.picture.make_blob() == portrait
