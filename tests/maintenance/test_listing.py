"""What checking and sweeping stand upon: names that lead back to keys, and stores that list what they have."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sqlalchemy_imageattach.context import current_store, store_context
from sqlalchemy_imageattach.errors import (
    ImageAttachError,
    InvalidValueError,
    StoreAccessDeniedError,
    StoreError,
)
from sqlalchemy_imageattach.key import EXTENSIONS, ImageKey, new_revision
from sqlalchemy_imageattach.store import Store, StoredBlob
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore

# no dot at the end, which keys with a revision refuse, as Windows drops it
SEGMENTS = st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,7}[a-z0-9_-])?", fullmatch=True)
OBJECT_TYPES = st.lists(st.one_of(SEGMENTS, st.sampled_from(["1", "12", "a b", "写真"])), min_size=1, max_size=4).map(
    "/".join
)
REVISIONS = st.one_of(st.none(), st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
KEYS = st.builds(
    ImageKey,
    OBJECT_TYPES,
    st.one_of(st.integers(-5, 5000), st.integers(-(2**130), 2**130)),
    st.integers(0, 100_000),
    st.integers(0, 100_000),
    st.sampled_from(sorted(EXTENSIONS)),
    REVISIONS,
)
PREFIXES = st.sampled_from(["", "images", "a/b", "a/b/", "1/2/3"])
NAMES = st.lists(
    st.sampled_from(
        ["user-picture", "1", "0", "01", "-1", "²", "٣", "640x480", "1.640x480", ".jpe", "x", "..", "", "\n"]
    ),
    max_size=8,
).map("/".join)
SUFFIXES = st.sampled_from(["", ".jpe", ".rev.jpe", ".a.b.c", ".", "..jpe", ".JPE", ".jpe\n", ".rev.", "x"])

# --- names -----------------------------------------------------------------------------------------------------------


@given(KEYS, PREFIXES)
def test_a_name_leads_back_to_its_key(key, prefix) -> None:
    assert ImageKey.parse_file_path(key.file_path()) == key
    assert ImageKey.parse_object_name(key.object_name(prefix), prefix) == key


@given(KEYS, NAMES, SUFFIXES, PREFIXES)
def test_a_name_that_leads_to_a_key_is_that_keys_name(key, name, suffix, prefix) -> None:
    for text in (
        name + suffix,
        f"{key.object_type}/{name}{suffix}",
        key.file_path() + suffix,
        key.object_name(prefix) + suffix,
    ):
        found = ImageKey.parse_file_path(text)
        assert found is None or found.file_path() == text
        found = ImageKey.parse_object_name(text, prefix)
        assert found is None or found.object_name(prefix) == text


@given(KEYS, st.integers(0, 200), st.characters())
def test_a_name_with_one_character_changed_leads_to_another_key_or_to_none(key, position, character) -> None:
    path = key.file_path()
    position %= len(path)
    changed = path[:position] + character + path[position + 1 :]
    assume(changed != path)
    assert ImageKey.parse_file_path(changed) != key


@pytest.mark.parametrize(
    "path",
    [
        "",
        "README",
        "user-picture/1/0/notes.txt",
        "user-picture/1/0/1.640x480",
        "user-picture/1/0/2.640x480.jpe",
        "user-picture/01/0/1.640x480.jpe",
        "user-picture/1/0/01.640x480.jpe",
        "user-picture/1/0/1.0640x480.jpe",
        "user-picture/1/0/+1.640x480.jpe",
        "user-picture/1/0/1.640x480.jpe/",
        "/user-picture/1/0/1.640x480.jpe",
        "../user-picture/1/0/1.640x480.jpe",
        "1/0/1.640x480.jpe",
        "user-picture/1/0/.1.640x480.jpe.0123456789abcdef.tmp",
        "user-picture/١/0/١.640x480.jpe",
        "user-picture/1/0/1.640x480.jpe\n",
        "user-picture/1/0/1.640x480.r e v.jpe",
        f"user-picture/1/0/1.{'9' * 5000}x480.jpe",
    ],
)
def test_what_is_no_name_of_a_key_leads_to_none(path) -> None:
    assert ImageKey.parse_file_path(path) is None


def test_another_prefix_leads_to_none() -> None:
    name = ImageKey("user-picture", 1, 2, 3, "image/png").object_name("images")
    assert ImageKey.parse_object_name(name, "image") is None
    assert ImageKey.parse_object_name("elsewhere/" + name, "images") is None


# --- lists -----------------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "files": lambda path: FileSystemStore(path / "images", "/", fsync=False),
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return KINDS[request.param](tmp_path)


def put(store: Store, key: ImageKey, blob: bytes = b"blob") -> ImageKey:
    store.put(key, io.BytesIO(blob), reproducible=False)
    return key


def test_a_list_has_each_blob_once_with_its_key_length_and_time(store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)  # file systems count coarsely
    keys = {put(store, ImageKey("a/b", n * 500, 1, n, "image/png", new_revision()), b"x" * n) for n in range(1, 9)}
    blobs = list(store.list_blobs())
    assert len(blobs) == 8
    assert {blob.key for blob in blobs} == keys
    for blob in blobs:
        assert blob.key is not None
        assert blob.byte_size == blob.key.height
        assert blob.name == blob.key.file_path()
        assert not blob.is_temporary
        assert before <= blob.modified_at <= datetime.now(UTC) + timedelta(seconds=1)


def test_an_empty_store_has_an_empty_list(store) -> None:
    assert list(store.list_blobs()) == []


def test_a_prefix_leaves_out_other_names(store) -> None:
    keys = [put(store, ImageKey(kind, 7, 1, 1, "image/png", "r")) for kind in ("a", "ab", "a/b", "b")]
    for prefix, count in (("", 4), ("a", 3), ("a/", 2), ("a/b/", 1), ("ab/7", 1), ("c", 0), ("/a", 0), ("../", 0)):
        assert len(list(store.list_blobs(prefix))) == count, prefix
    assert [blob.key for blob in store.list_blobs(keys[2].file_path())] == [keys[2]]


def test_blobs_may_go_while_they_are_listed(store) -> None:
    keys = [put(store, ImageKey("a", n, 1, 1, "image/png", "r")) for n in range(20)]
    listing = store.list_blobs()
    first = next(listing)
    for key in keys:
        store.delete_key(key)
    assert first.key in keys
    assert all(blob.key in keys for blob in listing)


def test_the_current_store_lists_what_the_store_behind_it_has(store) -> None:
    key = put(store, ImageKey("a", 1, 1, 1, "image/png", "r"))
    with store_context(store):
        assert [blob.key for blob in current_store.list_blobs()] == [key]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> FileSystemStore:
    return FileSystemStore(tmp_path / "images", "/", fsync=False)


def test_what_is_no_blob_is_listed_without_a_key(files, tmp_path) -> None:
    put(files, ImageKey("a", 1, 1, 1, "image/png", "r"))
    root = tmp_path / "images"
    (root / "README").write_text("hello")
    (root / "a" / "1" / "0" / "1.1x1.r.png~").write_text("backup")
    (root / "link.png").symlink_to("README")
    os.mkfifo(root / "pipe")
    with open(os.fsencode(root) + b"/caf\xe9.png", "wb") as file:
        file.write(b"latin-1")
    foreign = {blob.name for blob in files.list_blobs() if blob.key is None}
    assert foreign == {"README", "a/1/0/1.1x1.r.png~", "link.png", "pipe", "caf\\xe9.png"}


def test_a_link_to_a_blob_is_no_blob_by_itself(files, tmp_path) -> None:
    key = put(files, ImageKey("a", 1, 1, 1, "image/png", "r"))
    link = ImageKey("a", 2, 1, 1, "image/png", "r")
    path = Path(files.path_of(link))
    path.parent.mkdir(parents=True)
    path.symlink_to(files.path_of(key))
    assert {blob.name: blob.key for blob in files.list_blobs()} == {key.file_path(): key, link.file_path(): None}


def test_a_link_to_a_directory_of_the_store_is_refused(files, tmp_path) -> None:
    put(files, ImageKey("a", 1, 1, 1, "image/png", "r"))
    (tmp_path / "images" / "b").symlink_to("a")
    with pytest.raises(StoreError, match="'b' gives another name to blobs"):
        list(files.list_blobs())
    (tmp_path / "images" / "b").unlink()
    (tmp_path / "images" / "a" / "loop").symlink_to("..")
    with pytest.raises(StoreError, match="'a/loop' gives another name to blobs"):
        list(files.list_blobs())


def test_links_out_of_the_store_are_followed_only_where_the_store_does(tmp_path) -> None:
    (tmp_path / "disk2").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a").symlink_to(tmp_path / "disk2")
    following = FileSystemStore(tmp_path / "images", "/", fsync=False, follow_symlinks=True)
    key = put(following, ImageKey("a", 1, 1, 1, "image/png", "r"))
    assert [blob.key for blob in following.list_blobs()] == [key]
    strict = FileSystemStore(tmp_path / "images", "/", fsync=False)
    assert [(blob.name, blob.key) for blob in strict.list_blobs()] == [("a", None)]
    (tmp_path / "images" / "b").symlink_to(tmp_path / "disk2")
    with pytest.raises(StoreError, match="gives another name to blobs"):
        list(following.list_blobs())


def test_a_dangling_link_is_listed_without_a_key(files, tmp_path) -> None:
    put(files, ImageKey("a", 1, 1, 1, "image/png", "r"))
    (tmp_path / "images" / "gone").symlink_to("nowhere")
    assert ("gone", None) in [(blob.name, blob.key) for blob in files.list_blobs()]


def test_a_directory_that_cannot_be_read_is_no_empty_directory(files, monkeypatch) -> None:
    put(files, ImageKey("a", 1, 1, 1, "image/png", "r"))
    scandir = os.scandir

    def denied(path: str) -> object:  # root may read everything, so the permissions themselves would not do
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", denied)
    with pytest.raises(StoreAccessDeniedError, match="check the owner and the mode"):
        list(files.list_blobs())


def test_an_unfinished_write_is_listed_as_temporary(files, tmp_path) -> None:
    seen: list[StoredBlob] = []

    class Source(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            seen.extend(files.list_blobs())
            return super().read(size)

    put(files, key := ImageKey("a", 1, 1, 1, "image/png", "r"))
    files.put(ImageKey("a", 1, 2, 2, "image/png", "r"), Source(b"blob"), reproducible=False)
    assert {blob.key for blob in seen if not blob.is_temporary} == {key}
    assert [blob.key for blob in seen if blob.is_temporary] == [None] * (len(seen) // 2)


def test_only_what_is_temporary_can_be_discarded_as_such(files, tmp_path) -> None:
    put(files, key := ImageKey("a", 1, 1, 1, "image/png", "r"))
    path = Path(files.path_of(key))
    temporary = path.parent / f".{path.name}.0123456789abcdef.tmp"
    temporary.write_bytes(b"half")
    [blob] = [blob for blob in files.list_blobs() if blob.is_temporary]
    assert files.discard_temporary(blob)
    assert not files.discard_temporary(blob)
    [blob] = files.list_blobs()
    with pytest.raises(InvalidValueError, match="expected a temporary file"):
        files.discard_temporary(blob)
    for name in ("README", "../x", key.file_path(), "../a/1/0/.1.1x1.r.png.0123456789abcdef.tmp", "/etc/passwd"):
        with pytest.raises(ImageAttachError, match="expected a temporary file"):
            files.discard_temporary(StoredBlob(name, 1, datetime.now(UTC), None, is_temporary=True))
    assert path.exists()


def test_times_that_make_no_sense_count_as_new(files) -> None:
    put(files, key := ImageKey("a", 1, 1, 1, "image/png", "r"))
    os.utime(files.path_of(key), (2**40, 2**40))
    [blob] = files.list_blobs()
    assert blob.modified_at > datetime.now(UTC)
