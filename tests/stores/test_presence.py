"""Stores whose place itself is not there: one error, before a blob is missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlalchemy_imageattach.context import current_store, store_context
from sqlalchemy_imageattach.errors import BlobNotFoundError, StoreError
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore, HttpExposedFileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.overlay import OverlayStore
from sqlalchemy_imageattach.testing import FaultyStore
from tests.onex import FourMethodStore


def stores_over(path: Path) -> list[Store]:
    """Stores that need the directory ``path``."""
    directory = FileSystemStore(path, "http://x/")
    return [
        directory,
        HttpExposedFileSystemStore(path, "x"),
        MirrorStore(directory, MemoryStore()),
        MirrorStore(MemoryStore(), directory),
        OverlayStore(MemoryStore(), directory),
        FaultyStore(directory),
    ]


def test_a_directory_that_is_not_there_is_told_whatever_stands_before_it(tmp_path: Path) -> None:
    for store in stores_over(tmp_path / "missing"):
        with pytest.raises(StoreError, match="no such directory: '.*missing'; is its volume mounted") as caught:
            store.require_presence()
        assert not isinstance(caught.value, BlobNotFoundError)
        with store_context(store), pytest.raises(StoreError, match="no such directory"):
            current_store.require_presence()


def test_what_is_there_or_cannot_be_told_is_no_error(tmp_path: Path) -> None:
    for store in (*stores_over(tmp_path), MemoryStore(), FourMethodStore()):
        store.require_presence()
    # an overriding store may have nothing yet
    OverlayStore(FileSystemStore(tmp_path / "new", "http://x/"), MemoryStore()).require_presence()


def test_only_a_store_that_stands_for_several_has_replicas() -> None:
    first, second = MemoryStore(), MemoryStore()
    mirror = MirrorStore(first, second)
    for several in (mirror, FaultyStore(mirror)):
        assert several.replicas() == (first, second)
        with store_context(several):
            assert current_store.replicas() == (first, second)
    for store in (first, OverlayStore(first, second), FourMethodStore()):
        assert store.replicas() == ()
