from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ..entity.support import CountingStore, database
from .models import Base


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def engine() -> Iterator[Engine]:
    with database(Base.metadata) as engine:
        yield engine


@pytest.fixture
def session(engine: Engine, store: CountingStore) -> Iterator[Session]:
    with Session(engine, info={"image_store": store}) as session:
        yield session
