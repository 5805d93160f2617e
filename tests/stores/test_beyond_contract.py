"""What the stores here promise beyond the contract of all stores, which test_contract.py lets loose on them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import (
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


def test_has_a_repr(store: Store) -> None:
    assert type(store).__name__ in repr(store)
