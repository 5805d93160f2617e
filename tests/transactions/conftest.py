"""The three databases, each with empty tables for each test, and sessions that are closed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.testing import FaultyStore

from .helpers import new_store
from .models import Base

DATABASES = ("sqlite", "postgresql", "mariadb")

MakeSession = Callable[..., Session]


def sqlite_engine(path: Path, **options: Any) -> Engine:
    """An engine of a SQLite file whose transactions and savepoints are real, by the recipe of SQLAlchemy's manual."""
    engine = create_engine(f"sqlite:///{path}", **options)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver is to begin nothing by itself
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = OFF")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def server_engine(url: URL, **options: Any) -> Engine:
    """An engine of a server in which nobody waits for ever for a lock."""
    if url.get_backend_name() == "postgresql":
        return create_engine(url, connect_args={"options": "-c lock_timeout=10s"}, **options)
    return create_engine(url, connect_args={"init_command": "SET innodb_lock_wait_timeout = 10"}, **options)


@pytest.fixture(scope="module")
def engines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Engine]]:
    """Gives the engine of a database by its name; made, with its tables, when it is first asked for."""
    made: dict[str, Engine] = {}

    def get(name: str) -> Engine:
        if name not in made:
            if name == "sqlite":
                made[name] = sqlite_engine(tmp_path_factory.mktemp("transactions") / "test.db")
            else:
                made[name] = server_engine(request.getfixturevalue(f"{name}_url"))
            Base.metadata.create_all(made[name])
        return made[name]

    yield get
    for engine in made.values():
        Base.metadata.drop_all(engine)  # the scratch database is that of all tests
        engine.dispose()


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, engines: Callable[[str], Engine]) -> Iterator[Engine]:
    """Each of the three databases, with empty tables."""
    engine = engines(request.param)
    yield engine
    empty(engine)


@pytest.fixture
def sqlite(engines: Callable[[str], Engine]) -> Iterator[Engine]:
    """SQLite alone, for what no database has a part in."""
    engine = engines("sqlite")
    yield engine
    empty(engine)


@pytest.fixture(params=[name for name in DATABASES if name != "sqlite"])
def server(request: pytest.FixtureRequest, engines: Callable[[str], Engine]) -> Iterator[Engine]:
    """Each database whose transactions wait for the rows of one another, with empty tables."""
    engine = engines(request.param)
    yield engine
    empty(engine)


@pytest.fixture
def postgresql(engines: Callable[[str], Engine]) -> Iterator[Engine]:
    engine = engines("postgresql")
    yield engine
    empty(engine)


@pytest.fixture
def mariadb(engines: Callable[[str], Engine]) -> Iterator[Engine]:
    engine = engines("mariadb")
    yield engine
    empty(engine)


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    """The current store, in memory; it fails when it is told to."""
    store = new_store()
    with store_context(store):
        yield store


@pytest.fixture
def open_session(request: pytest.FixtureRequest) -> Iterator[MakeSession]:
    """Opens sessions that are closed at the end, so that a test that fails leaves no locks behind."""
    opened: list[Session] = []

    def make(bind: Any, **options: Any) -> Session:
        opened.append(Session(bind, **options))
        return opened[-1]

    yield make
    for session in opened:
        session.close()
