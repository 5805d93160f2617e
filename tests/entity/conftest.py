from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import store_context

from .models import Base
from .support import CountingStore, database


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def context(store: CountingStore) -> Iterator[CountingStore]:
    """``store`` is the current one."""
    with store_context(store):
        yield store


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A database with the tables of :mod:`models`."""
    with database(Base.metadata) as engine:
        yield engine


@pytest.fixture
def session(engine: Engine, context: CountingStore) -> Iterator[Session]:
    """A session on it, within the store context."""
    with Session(engine) as session:
        yield session
