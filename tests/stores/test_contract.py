"""What every store that takes a revision promises."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore, HttpExposedFileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import FaultyStore

from .support import PARTS, PICTURE, new_key

KINDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "files": lambda path: FileSystemStore(path / "images", "https://images.example.com/"),
    "files without fsync": lambda path: FileSystemStore(path / "images", "https://images.example.com/", fsync=False),
    "exposed files": lambda path: HttpExposedFileSystemStore(
        path / "images", host_url_getter=lambda: "https://example.com/"
    ),
    "wrapped": lambda _: FaultyStore(MemoryStore()),
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return KINDS[request.param](tmp_path)


def _put(store: Store, key: ImageKey, content: bytes) -> None:
    store.put(key, io.BytesIO(content), reproducible=False)


def _get(store: Store, key: ImageKey) -> bytes:
    with store.get(key) as file:
        return file.read()


def _has(store: Store, key: ImageKey) -> bool:
    try:
        store.get(key).close()
    except BlobNotFoundError:
        return False
    return True


class Source:
    """Has nothing but ``read()``, and can fail."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def read(self, size: int = -1) -> Any:
        answer = self._answers.pop(0) if self._answers else b""
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.mark.parametrize("content", [b"", b"x", PICTURE], ids=["empty", "short", "long"])
def test_what_was_put_can_be_got(store: Store, content: bytes) -> None:
    key = new_key()
    _put(store, key, content)
    assert _get(store, key) == content


def test_blobs_of_all_keys_are_kept_apart(store: Store) -> None:
    keys = [
        new_key(*PARTS),
        new_key(*PARTS),
        ImageKey(*PARTS),
        new_key("comics/cover", *PARTS[1:]),
        new_key(PARTS[0], 5678, *PARTS[2:]),
        new_key(PARTS[0], -1, *PARTS[2:]),
        new_key(PARTS[0], 2**128 - 1, *PARTS[2:]),
        new_key(*PARTS[:2], 641, 480, "image/jpeg"),
        new_key(*PARTS[:2], 640, 481, "image/jpeg"),
        new_key(*PARTS[:4], "image/png"),
        new_key(*PARTS[:4], "image/x-portable-pixmap"),
    ]
    for number, key in enumerate(keys):
        _put(store, key, b"%d" % number)
    assert [_get(store, key) for key in keys] == [b"%d" % number for number in range(len(keys))]
    assert len({store.get_url(*PARTS, revision=key.revision) for key in keys[:3]}) == 3  # type: ignore[call-arg]


def test_is_put_from_the_current_position_of_the_file(store: Store) -> None:
    key, file = new_key(), io.BytesIO(PICTURE)
    file.seek(100)
    store.put(key, file, reproducible=True)
    assert _get(store, key) == PICTURE[100:]


def test_is_put_from_a_file_that_gives_little_at_a_time(store: Store) -> None:
    key = new_key()
    store.put(key, Source(b"a", b" pict", b"ure"), reproducible=True)  # type: ignore[arg-type]
    assert _get(store, key) == b"a picture"


def test_the_file_that_was_put_stays_open(store: Store) -> None:
    file = io.BytesIO(PICTURE)
    store.put(new_key(), file, reproducible=False)
    assert not file.closed


def test_each_reader_reads_for_itself(store: Store) -> None:
    key = new_key()
    _put(store, key, PICTURE)
    with store.get(key, use_seek=True) as one, store.get(key, use_seek=True) as other:
        one.seek(10)
        assert other.read() == PICTURE
        assert one.read() == PICTURE[10:]


def test_a_reader_cannot_change_the_blob(store: Store) -> None:
    key = new_key()
    _put(store, key, PICTURE)
    with store.get(key) as file:
        try:
            file.write(b"changed")
        except io.UnsupportedOperation:
            assert not file.writable()
    assert _get(store, key) == PICTURE


def test_a_reader_reads_to_the_end_although_the_blob_is_deleted(store: Store) -> None:
    key = new_key()
    _put(store, key, PICTURE)
    with store.get(key) as file:
        start = file.read(10)
        store.delete_key(key)
        assert start + file.read() == PICTURE


def test_a_blob_with_a_revision_is_never_overwritten(store: Store) -> None:
    key = new_key()
    _put(store, key, PICTURE)
    with pytest.raises(BlobExistsError, match="new revision"):
        _put(store, key, b"another")
    assert _get(store, key) == PICTURE


def test_a_blob_without_a_revision_is_replaced(store: Store) -> None:
    key = ImageKey(*PARTS)
    _put(store, key, b"a longer picture")
    _put(store, key, b"another")
    assert _get(store, key) == b"another"


def test_a_reader_of_the_replaced_one_reads_that_one_to_the_end(store: Store) -> None:
    key = ImageKey(*PARTS)
    _put(store, key, PICTURE)
    with store.get(key) as file:
        start = file.read(10)
        _put(store, key, b"another")
        assert start + file.read() == PICTURE


def test_what_was_deleted_is_gone_and_can_be_put_again(store: Store) -> None:
    key = new_key()
    _put(store, key, PICTURE)
    store.delete_key(key)
    assert not _has(store, key)
    _put(store, key, b"another")
    assert _get(store, key) == b"another"


def test_deleting_tells_whether_there_was_a_blob(store: Store) -> None:
    key = new_key()
    assert store.delete_key(key) is False
    _put(store, key, PICTURE)
    assert store.delete_key(key) is True
    assert store.delete_key(key) is False


def test_deleting_one_leaves_the_others(store: Store) -> None:
    one, other, old = new_key(), new_key(), ImageKey(*PARTS)
    for key in (one, other, old):
        _put(store, key, PICTURE)
    store.delete_key(one)
    assert [_has(store, key) for key in (one, other, old)] == [False, True, True]


def test_a_missing_blob_is_named_by_its_key(store: Store) -> None:
    key = new_key()
    with pytest.raises(BlobNotFoundError) as caught:
        store.get(key)
    assert isinstance(caught.value, FileNotFoundError | StoreError)
    assert key.file_path() in str(caught.value)
    assert "images/user" not in str(caught.value)  # not where it would be on this machine


@pytest.mark.parametrize("error", [OSError(5, "the disk has a scratch"), KeyboardInterrupt(), RuntimeError()])
@pytest.mark.parametrize("beginning", [(), (b"a begin",), (PICTURE, PICTURE)], ids=["at once", "soon", "later"])
def test_a_source_that_fails_is_heard_of_and_stores_nothing(
    store: Store, beginning: tuple[bytes, ...], error: BaseException
) -> None:
    key = new_key()
    with pytest.raises(type(error)) as caught:
        store.put(key, Source(*beginning, error), reproducible=False)  # type: ignore[arg-type]
    assert caught.value is error
    assert not _has(store, key)


@pytest.mark.parametrize("answer", ["text", None])
def test_a_source_that_gives_no_bytes_is_refused_and_stores_nothing(store: Store, answer: Any) -> None:
    key = new_key()
    with pytest.raises(InvalidTypeError):
        store.put(key, Source(b"a begin", answer), reproducible=False)  # type: ignore[arg-type]
    assert not _has(store, key)


def test_a_failed_replacement_leaves_what_was_there(store: Store) -> None:
    key = ImageKey(*PARTS)
    _put(store, key, PICTURE)
    with pytest.raises(OSError):
        store.put(key, Source(b"a begin", OSError()), reproducible=False)  # type: ignore[arg-type]
    assert _get(store, key) == PICTURE


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        (("../../etc", *PARTS[1:]), InvalidValueError),
        (("/etc", *PARTS[1:]), InvalidValueError),
        ((PARTS[0], "1234", *PARTS[2:]), InvalidTypeError),
        ((*PARTS[:4], "image/../../x"), InvalidValueError),
        ((*PARTS[:2], -1, 480, "image/jpeg"), InvalidValueError),
    ],
)
@pytest.mark.parametrize("operation", ["put_file", "get_file", "get_url", "delete_file"])
def test_parts_that_make_no_key_are_refused(
    store: Store, operation: str, parts: tuple[Any, ...], error: type[Exception]
) -> None:
    arguments = (io.BytesIO(PICTURE), *parts, True) if operation == "put_file" else parts
    with pytest.raises(error):
        getattr(store, operation)(*arguments)


@pytest.mark.parametrize("revision", ["../x", "a/b", "", "x" * 65, "ü"])
def test_a_revision_that_is_no_token_is_refused(store: Store, revision: str) -> None:
    with pytest.raises(InvalidValueError, match="revision"):
        store.get_url(*PARTS, revision=revision)  # type: ignore[call-arg]


def test_of_many_who_put_the_same_blob_one_succeeds(store: Store) -> None:
    key, count = new_key(), 8
    meeting = threading.Barrier(count, timeout=60)

    def put(number: int) -> int | None:
        meeting.wait()
        try:
            _put(store, key, b"%d" % number)
        except BlobExistsError:
            return None
        return number

    with ThreadPoolExecutor(count) as pool:
        outcomes = list(pool.map(put, range(count)))
    [winner] = [number for number in outcomes if number is not None]
    assert _get(store, key) == b"%d" % winner


def test_of_many_who_delete_a_blob_one_did(store: Store) -> None:
    key, count = new_key(), 8
    _put(store, key, PICTURE)
    meeting = threading.Barrier(count, timeout=60)

    def delete(_: int) -> bool | None:
        meeting.wait()
        return store.delete_key(key)

    with ThreadPoolExecutor(count) as pool:
        assert sorted(map(str, pool.map(delete, range(count)))) == ["False"] * (count - 1) + ["True"]


def test_readers_see_a_replaced_blob_whole_or_not_at_all(store: Store) -> None:
    key = ImageKey(*PARTS)
    contents = [bytes([number]) * 300_000 for number in range(4)]
    _put(store, key, contents[0])
    done = threading.Event()

    def write(number: int) -> None:
        for _ in range(10):
            _put(store, key, contents[number])

    def read(_: int) -> set[int]:
        seen = set()
        while not done.is_set():
            content = _get(store, key)
            assert content in contents
            seen.add(content[0])
        return seen

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read, number) for number in range(2)]
        for writer in [pool.submit(write, number) for number in range(4)]:
            writer.result()
        done.set()
        assert all(reader.result() for reader in readers)


def test_has_a_repr(store: Store) -> None:
    assert type(store).__name__ in repr(store)


def test_takes_a_revision(store: Store) -> None:
    assert store.accepts_revision


@pytest.mark.parametrize("kind", ["files", "files without fsync"])
def test_a_store_of_files_can_be_sent_to_another_process(tmp_path: Path, kind: str) -> None:
    store = KINDS[kind](tmp_path)
    key = new_key()
    _put(store, key, PICTURE)
    assert _get(pickle.loads(pickle.dumps(store)), key) == PICTURE
