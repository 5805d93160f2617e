from __future__ import annotations

import io
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import (
    BlobExistsError,
    BlobNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    StoreError,
)
from sqlalchemy_imageattach.key import ImageKey, new_revision
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.overlay import MARK, OverlayStore
from sqlalchemy_imageattach.testing import FaultyStore
from tests.onex import FourMethodStore

OLD = ImageKey("user-picture", 1234, 640, 480, "image/jpeg")
NEW = replace(OLD, revision="Xk3v9QpLm2w")
each_key = pytest.mark.parametrize("key", [OLD, NEW], ids=["without revision", "with revision"])


class ReadOnly(MemoryStore):
    """Fails the test that writes to it."""

    sealed = False

    def put_file(self, *args: Any, revision: str | None = None) -> None:
        assert not self.sealed
        super().put_file(*args, revision=revision)

    def delete_file(self, *args: Any, revision: str | None = None) -> bool | None:
        assert not self.sealed
        return super().delete_file(*args, revision=revision)


def put(store: Store, key: ImageKey, blob: bytes = b"a picture") -> None:
    store.put(key, io.BytesIO(blob), reproducible=False)


def read(store: Store, key: ImageKey) -> bytes:
    with store.get(key) as file:
        return file.read()


def url_of(store: Store, key: ImageKey) -> str:
    return store.get_url(
        "user-picture", 1234, 640, 480, "image/jpeg", **({"revision": key.revision} if key.revision else {})
    )


@pytest.fixture(params=["memory", "files", "one pipe after the other"])
def overriding(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore("memory://over/")
    if request.param == "files":
        return FileSystemStore(tmp_path, "http://over.test/", fsync=False)
    return Unseekable("memory://over/")


class Unseekable(MemoryStore):
    """Its files give one byte at a time and cannot be rewound, as those of a network may."""

    def get_file(self, *args: Any, revision: str | None = None) -> Any:
        return OneByOne(super().get_file(*args, revision=revision).read())


class OneByOne:
    def __init__(self, blob: bytes) -> None:
        self.left = blob

    def read(self, size: int = -1) -> bytes:
        part, self.left = self.left[:1], self.left[1:]
        return part


@pytest.fixture
def underlying() -> ReadOnly:
    """A store with one picture of each kind, that nobody may change."""
    store = ReadOnly("memory://under/")
    put(store, OLD, b"old")
    put(store, NEW, b"new")
    store.sealed = True
    return store


@pytest.fixture
def overlay(overriding: Store, underlying: ReadOnly) -> OverlayStore:
    return OverlayStore(overriding, underlying)


@each_key
def test_what_is_not_overridden_is_read_from_below(key: ImageKey, overlay: OverlayStore) -> None:
    assert read(overlay, key) == read(overlay.underlying, key)
    assert overlay.has_key(key)
    assert "under" in url_of(overlay, key)


def test_a_picture_that_is_replaced_is_read_from_above(overlay: OverlayStore) -> None:
    put(overlay, OLD, b"replaced")
    assert read(overlay, OLD) == b"replaced"
    assert read(overlay.underlying, OLD) == b"old"
    assert "over" in url_of(overlay, OLD)


@pytest.mark.parametrize("blob", [b"", b"x", MARK[:-1], MARK + b"x", MARK + MARK, b"\xff\xd8" + bytes(3_000)])
def test_any_content_but_the_mark_itself_is_read_as_it_was(blob: bytes, overlay: OverlayStore) -> None:
    key = replace(NEW, revision=new_revision())
    put(overlay, key, blob)
    assert read(overlay, key) == blob
    with overlay.get(key, use_seek=True) as file:
        assert file.read(1) == blob[:1]
        file.seek(0)
        assert file.read() == blob


@each_key
def test_a_picture_that_is_deleted_is_gone_above_and_stays_below(key: ImageKey, overlay: OverlayStore) -> None:
    assert overlay.delete_key(key) is True
    assert not overlay.has_key(key)
    with pytest.raises(BlobNotFoundError, match="is deleted in this overlay"):
        overlay.get(key)
    assert "over" in url_of(overlay, key)
    assert overlay.delete_key(key) is False
    assert read(overlay.underlying, key) in {b"old", b"new"}


def test_a_picture_that_is_replaced_and_deleted_does_not_come_back(overlay: OverlayStore) -> None:
    put(overlay, OLD, b"replaced")
    assert overlay.delete_key(OLD) is True
    with pytest.raises(BlobNotFoundError):
        overlay.get(OLD)


def test_a_picture_that_is_deleted_can_be_stored_anew(overlay: OverlayStore) -> None:
    overlay.delete_key(OLD)
    put(overlay, OLD, b"again")
    assert read(overlay, OLD) == b"again"
    assert overlay.delete_key(OLD) is True
    assert not overlay.has_key(OLD)


def test_what_was_only_ever_above_leaves_no_mark(overlay: OverlayStore, overriding: Store) -> None:
    key = replace(NEW, revision=new_revision())
    put(overlay, key)
    assert overlay.delete_key(key) is True
    assert list(overriding.list_blobs()) == []
    assert overlay.delete_key(key) is False
    put(overlay, key)  # as when a transaction is tried again
    assert read(overlay, key) == b"a picture"


def test_the_same_revision_is_in_both_when_it_was_copied_and_is_deleted_all_the_same(overlay: OverlayStore) -> None:
    put(overlay.overriding, NEW, b"new")
    assert overlay.delete_key(NEW) is True
    with pytest.raises(BlobNotFoundError):
        overlay.get(NEW)


def test_a_blob_with_a_revision_is_not_overwritten(overlay: OverlayStore) -> None:
    key = replace(NEW, revision=new_revision())
    put(overlay, key)
    with pytest.raises(BlobExistsError):
        put(overlay, key, b"another")
    assert read(overlay, key) == b"a picture"


def test_neither_has_it(overlay: OverlayStore) -> None:
    key = replace(NEW, object_id=99)
    with pytest.raises(BlobNotFoundError):
        overlay.get(key)
    assert not overlay.has_key(key)
    assert overlay.delete_key(key) is False


def test_a_list_has_what_can_be_read_and_nothing_twice(overlay: OverlayStore) -> None:
    above = replace(NEW, revision=new_revision())
    deleted = replace(OLD, object_id=77)
    overlay.underlying.sealed = False  # type: ignore[attr-defined]
    put(overlay.underlying, deleted)
    overlay.underlying.sealed = True  # type: ignore[attr-defined]
    put(overlay, above, b"above")
    put(overlay, OLD, b"replaced")
    put(overlay, replace(above, object_id=5), MARK[:-1] + b"x")  # as long as a mark
    overlay.delete_key(deleted)
    listed = [(blob.key, blob.byte_size) for blob in overlay.list_blobs()]
    assert len(listed) == len(set(listed))
    assert set(listed) == {(above, 5), (OLD, 8), (NEW, 3), (replace(above, object_id=5), len(MARK))}
    assert list(overlay.list_blobs("item-picture/")) == []


def test_unfinished_writes_are_those_above(tmp_path: Path) -> None:
    above, below = (FileSystemStore(tmp_path / name, f"http://{name}.test/") for name in ("above", "below"))
    for name in ("above", "below"):
        (tmp_path / name / "user-picture/1/1").mkdir(parents=True)
        (tmp_path / name / "user-picture/1/1/.1001.2x3.jpe.0123456789abcdef.tmp").write_bytes(b"half")
    overlay = OverlayStore(above, below)
    [blob] = overlay.list_blobs()
    assert blob.is_temporary
    assert overlay.discard_temporary(blob)
    assert list(overlay.list_blobs()) == []
    assert len(list(below.list_blobs())) == 1


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_failure_above_is_raised_and_not_taken_for_an_absence(underlying: ReadOnly) -> None:
    above = FaultyStore(MemoryStore())
    overlay = OverlayStore(above, underlying)
    above.fail("get", error=StoreError("unreachable"))
    for operate in (read, url_of, OverlayStore.has_key, OverlayStore.delete_key):
        with pytest.raises(StoreError, match="unreachable"):
            operate(overlay, OLD)
    above.heal()
    assert read(overlay, OLD) == b"old"


def test_a_deletion_whose_mark_cannot_be_stored_raises_and_the_picture_stays(underlying: ReadOnly) -> None:
    above = FaultyStore(MemoryStore())
    overlay = OverlayStore(above, underlying)
    above.fail("put", error=StoreError("full"))
    with pytest.raises(StoreError, match="full"):
        overlay.delete_key(NEW)
    assert read(overlay, NEW) == b"new"


def test_a_file_that_breaks_while_it_is_looked_at_is_closed() -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            msg = "broke"
            raise StoreError(msg)

    file = Breaking(b"")

    class Above(MemoryStore):
        def get_file(self, *args: Any, revision: str | None = None) -> Any:
            return file

    with pytest.raises(StoreError, match="broke"):
        OverlayStore(Above(), MemoryStore()).get(OLD)
    assert file.closed


def test_closing_what_was_read_closes_the_file_below_it() -> None:
    class Pipe(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return 0

    pipe = Pipe()

    class Above(MemoryStore):
        def get_file(self, *args: Any, revision: str | None = None) -> Any:
            return pipe

    with OverlayStore(Above(), MemoryStore()).get(OLD) as file:
        assert not pipe.closed
        assert not file.seekable()
    assert pipe.closed


# --- stores of 1.x, and how often is asked ---------------------------------------------------------------------------


@pytest.mark.parametrize("above", [True, False], ids=["above", "below"])
def test_a_store_of_1_x_can_be_above_and_below(above: bool) -> None:
    one_x, other = FourMethodStore(), MemoryStore()
    put(one_x if not above else other, OLD, b"below")
    overlay = OverlayStore(one_x, other) if above else OverlayStore(other, one_x)
    assert overlay.accepts_revision
    assert read(overlay, OLD) == b"below"
    put(overlay, OLD, b"above")
    assert read(overlay, OLD) == b"above"
    assert overlay.delete_key(OLD) is True
    with pytest.raises(BlobNotFoundError):
        overlay.get(OLD)
    assert not OverlayStore(FourMethodStore(), FourMethodStore()).accepts_revision


class Picture:
    object_type, object_id, width, height, mimetype, original = "user-picture", 1234, 640, 480, "image/jpeg", True
    created_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    revision: str | None = None


def test_urls_are_those_that_the_store_itself_gives_with_its_query() -> None:
    one_x, other = FourMethodStore(), MemoryStore("memory://over/")
    put(one_x, OLD)
    picture = Picture()
    picture.revision = "Xk3v9QpLm2w"
    assert OverlayStore(other, one_x).locate(picture) == one_x.locate(picture)
    assert "_ts=" in one_x.locate(picture)
    put(other, NEW)
    assert OverlayStore(other, one_x).locate(picture) == other.locate(picture)


def test_where_a_blob_with_a_revision_is_is_asked_once(underlying: ReadOnly) -> None:
    above = FaultyStore(MemoryStore())
    overlay = OverlayStore(above, underlying)
    for _ in range(3):
        assert "under" in url_of(overlay, NEW)
    assert above.count("get") == 1
    stored = replace(NEW, revision="stored-by-this-one")
    put(overlay, stored)
    assert "under" not in url_of(overlay, stored)
    assert above.count("get") == 1
    for _ in range(3):
        url_of(overlay, OLD)
    assert above.count("get") == 4
    overlay.delete_key(NEW)
    assert "under" not in url_of(overlay, NEW)


def test_the_url_of_a_picture_without_revision_changes_when_it_is_replaced(overlay: OverlayStore) -> None:
    assert "under" in url_of(overlay, OLD)
    put(overlay, OLD)
    assert "over" in url_of(overlay, OLD)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlalchemy_imageattach.stores.overlay._REMEMBERED", 3)
    overlay = OverlayStore(MemoryStore(), MemoryStore())
    for number in range(20):
        overlay.get_url("user-picture", number, 1, 1, "image/png", revision="x")
    assert len(overlay._in_overriding) <= 3


def test_an_overlay_of_overlays_works(underlying: ReadOnly) -> None:
    middle = OverlayStore(MemoryStore(), underlying)
    put(middle, OLD, b"middle")
    top = OverlayStore(MemoryStore(), middle)
    assert read(top, OLD) == b"middle"
    assert read(top, NEW) == b"new"
    top.delete_key(NEW)
    assert not top.has_key(NEW)
    assert read(middle, NEW) == b"new"


def test_an_overlay_can_be_pickled(tmp_path: Path) -> None:
    above, below = (FileSystemStore(tmp_path / name, f"http://{name}.test/") for name in ("above", "below"))
    put(below, OLD)
    assert read(pickle.loads(pickle.dumps(OverlayStore(above, below))), OLD) == b"a picture"


def test_what_is_no_pair_of_stores_is_refused() -> None:
    store = MemoryStore()
    with pytest.raises(InvalidTypeError, match="overriding: expected a store, got str"):
        OverlayStore("memory:", store)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="underlying: expected a store, got NoneType"):
        OverlayStore(store, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="expected two stores, got .* twice"):
        OverlayStore(store, store)
