from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sqlalchemy_imageattach.errors import (
    BlobExistsError,
    BlobNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    StoreError,
)
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import ListingNotSupportedError, Store
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.testing import FaultyStore

OLD = ImageKey("user-picture", 1234, 640, 480, "image/jpeg")
NEW = replace(OLD, revision="Xk3v9QpLm2w")
each_key = pytest.mark.parametrize("key", [OLD, NEW], ids=["without revision", "with revision"])
DOWN = StoreError("down")


def put(store: Store, key: ImageKey, blob: bytes = b"a picture") -> None:
    store.put(key, io.BytesIO(blob), reproducible=False)


def read(store: Store, key: ImageKey) -> bytes:
    with store.get(key) as file:
        return file.read()


@pytest.fixture
def first() -> FaultyStore:
    return FaultyStore(MemoryStore("memory://first/"))


@pytest.fixture
def second() -> FaultyStore:
    return FaultyStore(MemoryStore("memory://second/"))


@pytest.fixture
def mirror(first: FaultyStore, second: FaultyStore) -> MirrorStore:
    return MirrorStore(first, second)


class Pipe(io.RawIOBase):
    """A source that cannot be rewound."""

    def __init__(self, blob: bytes) -> None:
        self.left = blob

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part = self.left[: min(len(buffer), 7)]
        buffer[: len(part)] = part
        self.left = self.left[len(part) :]
        return len(part)


@each_key
def test_both_have_what_is_stored_and_neither_what_is_deleted(
    key: ImageKey, mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    put(mirror, key)
    assert read(first, key) == read(second, key) == read(mirror, key) == b"a picture"
    assert mirror.delete_key(key) is True
    assert key not in first.blobs
    assert key not in second.blobs
    assert mirror.delete_key(key) is False
    with pytest.raises(BlobNotFoundError):
        mirror.get(key)


def test_a_source_is_copied_if_it_cannot_be_rewound(
    mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    mirror.put(NEW, Pipe(b"a picture from a pipe"), reproducible=False)  # type: ignore[arg-type]
    assert read(first, NEW) == read(second, NEW) == b"a picture from a pipe"


def test_both_get_the_rest_of_the_file(mirror: MirrorStore, first: FaultyStore, second: FaultyStore) -> None:
    file = io.BytesIO(b"read already, the rest")
    file.seek(14)
    mirror.put(NEW, file, reproducible=False)
    assert read(first, NEW) == read(second, NEW) == b"the rest"


@each_key
def test_the_first_that_has_it_is_read(
    key: ImageKey, mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    put(second, key, b"second")
    assert read(mirror, key) == b"second"
    assert mirror.has_key(key)
    put(first, key, b"first")
    assert read(mirror, key) == b"first"
    assert mirror.has_key(key)
    assert mirror.get_url("user-picture", 1234, 640, 480, "image/jpeg", revision=key.revision).startswith(
        "memory://first/"
    )


def test_while_the_first_is_down_the_second_is_read(
    mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    put(mirror, NEW)
    first.fail("get", error=DOWN)
    assert read(mirror, NEW) == b"a picture"
    assert mirror.has_key(NEW)


@pytest.mark.parametrize("down", ["first", "second"])
def test_what_may_be_in_the_store_that_is_down_is_not_called_missing(
    down: str, mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    (first if down == "first" else second).fail("get", error=DOWN)
    with pytest.raises(StoreError, match="down"):
        mirror.get(NEW)
    with pytest.raises(StoreError, match="down"):
        mirror.has_key(NEW)


# --- when one write fails --------------------------------------------------------------------------------------------


@each_key
@pytest.mark.parametrize("when", ["before", "midway"])
def test_if_the_first_fails_the_second_is_not_touched(
    key: ImageKey, when, mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    first.fail("put", when=when, error=DOWN)
    with pytest.raises(StoreError, match="down"):
        put(mirror, key)
    assert second.calls == []
    assert not first.blobs


@pytest.mark.parametrize("when", ["before", "midway"])
@pytest.mark.parametrize("error", [DOWN, KeyboardInterrupt()], ids=["error", "interrupt"])
def test_if_the_second_fails_neither_has_it(
    error: BaseException, when, mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    second.fail("put", when=when, error=error)
    with pytest.raises(type(error)):
        put(mirror, NEW)
    assert not first.blobs
    assert not second.blobs


def test_if_the_second_fails_a_blob_without_revision_stays_in_the_first(
    mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    put(mirror, OLD, b"former")
    second.fail("put", error=DOWN)
    with pytest.raises(StoreError, match="down"):
        put(mirror, OLD, b"latter")
    assert read(first, OLD) == b"latter"
    assert read(second, OLD) == b"former"


def test_if_the_first_cannot_take_it_back_that_is_logged_and_the_first_error_raised(
    mirror: MirrorStore, first: FaultyStore, second: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    second.fail("put", error=DOWN)
    first.fail("delete", error=StoreError("down as well"))
    with pytest.raises(StoreError, match="^down$"):
        put(mirror, NEW)
    assert "in the first store only; the sweeper finds it: down as well" in caplog.text
    assert NEW in first.blobs


def test_what_somebody_else_stored_is_not_taken_back(
    mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    class Forgiving(MemoryStore):
        """Overwrites, as S3 does."""

        def put_file(self, file, *args, revision=None):
            self._blobs[NEW] = file.read()

    forgiving = Forgiving()
    mirror = MirrorStore(forgiving, second)
    put(mirror, NEW)
    with pytest.raises(BlobExistsError):
        put(mirror, NEW)
    assert read(forgiving, NEW) == b"a picture"


def test_if_the_second_is_optional_its_failures_are_logged(
    first: FaultyStore, second: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = MirrorStore(first, second, require_both=False)
    second.fail("put", error=DOWN)
    second.fail("delete", error=DOWN)
    put(mirror, NEW)
    assert read(mirror, NEW) == b"a picture"
    assert "is in the first store only; migrate it again: down" in caplog.text
    assert mirror.delete_key(NEW) is True
    assert "is still in the second store; the sweeper finds it: down" in caplog.text
    assert not first.blobs


def test_if_the_second_is_optional_the_first_is_not(first: FaultyStore, second: FaultyStore) -> None:
    mirror = MirrorStore(first, second, require_both=False)
    first.fail("put", error=DOWN)
    first.fail("delete", error=DOWN)
    with pytest.raises(StoreError, match="down"):
        put(mirror, NEW)
    with pytest.raises(StoreError, match="down"):
        mirror.delete_key(NEW)


def test_if_the_second_is_optional_an_interrupt_is_none(first: FaultyStore, second: FaultyStore) -> None:
    second.fail("put", error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        put(MirrorStore(first, second, require_both=False), NEW)
    assert not first.blobs


@pytest.mark.parametrize("down", ["first", "second"])
def test_deleting_is_tried_in_both_whatever_happens(
    down: str, mirror: MirrorStore, first: FaultyStore, second: FaultyStore
) -> None:
    put(mirror, NEW)
    broken, other = (first, second) if down == "first" else (second, first)
    broken.fail("delete", error=DOWN)
    with pytest.raises(StoreError, match="down"):
        mirror.delete_key(NEW)
    assert NEW not in other.blobs
    assert read(mirror, NEW) == b"a picture"
    broken.heal()
    assert mirror.delete_key(NEW) is True
    assert not mirror.has_key(NEW)


def test_whether_there_was_a_blob_is_not_told_where_a_store_cannot_tell() -> None:
    class Silent(MemoryStore):
        def delete_file(self, *args, revision=None):
            super().delete_file(*args, revision=revision)

    mirror = MirrorStore(Silent(), MemoryStore())
    assert mirror.delete_key(NEW) is None
    put(mirror, NEW)
    assert mirror.delete_key(NEW) is True


def test_there_and_back_again_loses_nothing() -> None:
    """The four steps of the module's documentation, and the way back."""
    old, new = MemoryStore("memory://old/"), MemoryStore("memory://new/")
    keys = [replace(NEW, object_id=number) for number in range(6)]
    put(old, keys[0])
    forth = MirrorStore(old, new)
    put(forth, keys[1])
    for key in old.blobs:  # the migration
        if key not in new:
            put(new, key, read(old, key))
    back = MirrorStore(new, old)
    put(back, keys[2])
    back.delete_key(keys[1])
    put(forth, keys[3])  # the way back: the old one missed nothing
    assert set(old.blobs) == set(new.blobs) == {keys[0], keys[2], keys[3]}


# --- the rest --------------------------------------------------------------------------------------------------------


class OfOneX(MemoryStore):
    accepts_revision = False


def test_each_store_gets_the_revision_if_it_takes_one() -> None:
    one_x, other = OfOneX("memory://one/"), MemoryStore("memory://other/")
    for mirror in (MirrorStore(one_x, other), MirrorStore(other, one_x)):
        assert mirror.accepts_revision
        put(mirror, NEW)
        assert set(one_x.blobs) == {OLD}
        assert set(other.blobs) == {NEW}
        assert read(mirror, NEW) == b"a picture"
        mirror.delete_key(NEW)
        assert not one_x.blobs
        assert not other.blobs
    assert not MirrorStore(one_x, OfOneX()).accepts_revision


def test_a_url_has_a_time_if_the_first_takes_no_revision() -> None:
    class Picture:
        object_type, object_id, width, height, mimetype, original = "user-picture", 1234, 640, 480, "image/jpeg", True
        created_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        revision = "Xk3v9QpLm2w"

    one_x, other = OfOneX("memory://one/"), MemoryStore("memory://other/")
    assert "_ts=" in MirrorStore(one_x, other).locate(Picture())
    assert MirrorStore(one_x, other).get_url("a", 1, 2, 3, "image/png", revision="x") == one_x.get_url(
        "a", 1, 2, 3, "image/png"
    )
    assert "_ts=" not in MirrorStore(other, one_x).locate(Picture())


def test_a_mirror_does_not_list(mirror: MirrorStore) -> None:
    with pytest.raises(ListingNotSupportedError, match="check or sweep its stores"):
        mirror.list_blobs()


def test_what_is_no_pair_of_stores_is_refused() -> None:
    store = MemoryStore()
    with pytest.raises(InvalidTypeError, match="first: expected a store, got str"):
        MirrorStore("memory:", store)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="second: expected a store, got NoneType"):
        MirrorStore(store, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="expected two stores, got .* twice"):
        MirrorStore(store, store)
