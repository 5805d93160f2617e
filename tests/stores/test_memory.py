"""What is particular to the store in memory; what it shares with all others is in ``test_contract.py``."""

from __future__ import annotations

import io
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import InvalidTypeError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.stores.memory import MemoryStore

from .support import PARTS, PICTURE, new_key


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def _put(store: MemoryStore, key: ImageKey, content: bytes = PICTURE) -> None:
    store.put(key, io.BytesIO(content), reproducible=False)


def test_shows_what_it_has(store: MemoryStore) -> None:
    one, other = new_key(), ImageKey(*PARTS)
    _put(store, one, b"one")
    _put(store, other, b"other")
    assert store.blobs == {one: b"one", other: b"other"}
    assert len(store) == 2
    assert one in store
    assert new_key() not in store
    assert "something else" not in store


def test_what_it_shows_is_a_snapshot(store: MemoryStore) -> None:
    snapshot = store.blobs
    _put(store, new_key())
    assert snapshot == {}
    store.blobs.clear()
    assert len(store) == 1


def test_an_empty_store_is_still_a_store(store: MemoryStore) -> None:
    assert len(store) == 0
    assert store


def test_stores_share_nothing() -> None:
    one, other = MemoryStore(), MemoryStore()
    _put(one, new_key())
    assert len(other) == 0


@pytest.mark.parametrize("base_url", ["https://example.com/all", "https://example.com/all/"])
def test_urls_begin_as_they_are_told_to(base_url: str) -> None:
    url = MemoryStore(base_url).get_url("café", *PARTS[1:], revision="r")
    assert url == "https://example.com/all/caf%C3%A9/234/1/1234.640x480.r.jpe"


@pytest.mark.parametrize("base_url", [None, b"memory:///", 42])
def test_a_base_url_that_is_no_string_is_refused(base_url: Any) -> None:
    with pytest.raises(InvalidTypeError, match="base_url"):
        MemoryStore(base_url)


def test_its_repr_does_not_show_the_pictures(store: MemoryStore) -> None:
    _put(store, new_key())
    assert repr(store) == "<MemoryStore of 1 blobs>"
