"""Blobs that 1.x called by the table of types of its machine are found, replaced, deleted, listed and migrated."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
import obstore.store
import pytest

from sqlalchemy_imageattach.errors import BlobNotFoundError
from sqlalchemy_imageattach.key import UNKNOWN_TYPE, ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.objectstore import ObjectStore
from sqlalchemy_imageattach.stores.overlay import OverlayStore

OLD = [
    ("image/tiff", ".tif"),
    ("image/webp", "None"),
    ("image/psd", "None"),
    ("image/jpeg", ".jpeg"),
    ("image/bmp", "None"),
]
each_old_name = pytest.mark.parametrize(("mimetype", "ending"), OLD, ids=["-".join(old) for old in OLD])


class Place:
    """A store, and the place behind it as 1.x saw it."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        directory.mkdir()
        if kind == "files":
            self.store: Store = FileSystemStore(directory, "https://images.example.com/")
        else:
            backend = obstore.store.LocalStore(str(directory))
            self.store = ObjectStore(backend, prefix="images", public_base_url="https://images.example.com")

    def path(self, ending: str) -> Path:
        name = "user-picture/1/0/1.60x40" if self.kind == "files" else "images/user-picture/1/60x40"
        return self.directory / f"{name}{ending}"

    def write(self, ending: str) -> None:
        self.path(ending).parent.mkdir(parents=True, exist_ok=True)
        self.path(ending).write_bytes(b"of 1.x")

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.rglob("*") if path.is_file())


@pytest.fixture(params=["files", "objects"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path / "images")


def _key(mimetype: str, **parts: Any) -> ImageKey:
    return ImageKey("user-picture", 1, 60, 40, mimetype, **parts)


def _read(store: Store, key: ImageKey) -> bytes:
    with store.get(key) as file:
        return file.read()


WRAPPED: dict[str, Callable[[Store], Store]] = {
    "itself": lambda store: store,
    "first of a mirror": lambda store: MirrorStore(store, MemoryStore()),
    "second of a mirror": lambda store: MirrorStore(MemoryStore(), store),
    "under an overlay": lambda store: OverlayStore(MemoryStore(), store),
    "over an overlay": lambda store: OverlayStore(store, MemoryStore()),
}


@each_old_name
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_it_is_read_and_known_to_be_there(place: Place, mimetype: str, ending: str, wrapped: str) -> None:
    place.write(ending)
    store = WRAPPED[wrapped](place.store)
    assert _read(store, _key(mimetype)) == b"of 1.x"
    assert store.has_key(_key(mimetype))
    assert not store.has_key(_key(mimetype, revision="Xk3v9QpLm2w"))
    assert not store.has_key(ImageKey("user-picture", 1, 60, 41, mimetype))


@each_old_name
def test_it_is_deleted_and_not_there_afterwards(place: Place, mimetype: str, ending: str) -> None:
    place.write(ending)
    place.store.delete_key(_key(mimetype))
    assert not place.path(ending).exists()
    with pytest.raises(BlobNotFoundError):
        place.store.get(_key(mimetype))


@each_old_name
def test_it_is_replaced_and_no_twin_comes_to_light_later(place: Place, mimetype: str, ending: str) -> None:
    place.write(ending)
    place.store.put(_key(mimetype), io.BytesIO(b"of 2.0"), reproducible=False)
    assert _read(place.store, _key(mimetype)) == b"of 2.0"
    assert len(place.names()) == 1
    assert place.names() != [place.path(ending).name]
    place.store.delete_key(_key(mimetype))
    assert not place.store.has_key(_key(mimetype))


def test_a_replacement_that_fails_leaves_it(place: Place) -> None:
    class Broken(io.BytesIO):
        def read(self, *args: Any) -> bytes:
            raise InterruptedError

    place.write(".tif")
    with pytest.raises(OSError):
        place.store.put(_key("image/tiff"), Broken(), reproducible=False)
    assert _read(place.store, _key("image/tiff")) == b"of 1.x"


@each_old_name
def test_it_is_listed_as_a_blob_by_whose_key_it_is_found(place: Place, mimetype: str, ending: str) -> None:
    place.write(ending)
    [blob] = place.store.list_blobs()
    assert blob.key == _key(UNKNOWN_TYPE if ending == "None" else mimetype)
    assert not blob.is_temporary
    assert place.path(ending).as_posix().endswith(blob.name)
    assert _read(place.store, blob.key) == b"of 1.x"
    place.store.delete_key(blob.key)
    assert place.names() == []


@each_old_name
def test_a_new_blob_has_the_new_name(place: Place, mimetype: str, ending: str) -> None:
    for revision in (None, "Xk3v9QpLm2w"):
        place.store.put(_key(mimetype, revision=revision), io.BytesIO(b"of 2.0"), reproducible=False)
    assert not any(name.endswith((".tif", "None", ".jpeg")) for name in place.names())
    assert {blob.key for blob in place.store.list_blobs()} == {_key(mimetype), _key(mimetype, revision="Xk3v9QpLm2w")}


@each_old_name
def test_a_directory_looks_for_the_url_and_others_take_the_name_of_today(
    place: Place, mimetype: str, ending: str
) -> None:
    expected = place.store.url_of(_key(mimetype))
    place.write(ending)
    url = place.store.url_of(_key(mimetype))
    assert url.endswith(f"60x40{ending}") if place.kind == "files" else url == expected
    assert place.store.url_of(_key(mimetype, revision="Xk3v9QpLm2w")).endswith(quote(_key(mimetype).extension))


def test_pictures_of_other_sizes_owners_and_types_stay(place: Place) -> None:
    others = [
        _key("image/png"),
        ImageKey("user-picture", 2, 60, 40, "image/webp"),
        ImageKey("cover", 1, 60, 40, "image/webp"),
    ]
    for key in others:
        place.store.put(key, io.BytesIO(b"another"), reproducible=False)
    place.write("None")
    place.store.delete_key(_key("image/webp"))
    assert [place.store.has_key(key) for key in others] == [True, True, True]
