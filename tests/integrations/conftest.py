from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from sqlalchemy_imageattach.context import set_default_store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.uploads import Uploads, set_default_uploads

from .models import Base


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileSystemStore]:
    """That of the process, as panels need it that make their own sessions."""
    store = FileSystemStore(tmp_path / "images", "/images/", fsync=False)
    set_default_store(store)
    set_default_uploads(Uploads("a secret of these tests, of more than 32 bytes", store, endpoint="/uploads"))
    yield store
    set_default_uploads(None)
    set_default_store(None)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/products.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()
