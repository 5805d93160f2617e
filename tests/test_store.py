# The classes here are wrong in many ways, as those of users may be.
# mypy: disable-error-code="override, assignment, comparison-overlap"
from __future__ import annotations

import datetime
import functools
import io
import os
import tempfile
from pathlib import Path
from typing import IO, Any

import pytest

from sqlalchemy_imageattach.errors import BlobNotFoundError, ImageAttachError, InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.file import SPOOL_IN_MEMORY, FileProxy, SeekableFileProxy
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import ListingNotSupportedError, Store, key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore, HttpExposedFileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore

PARTS = ("user-picture", 1234, 640, 480, "image/jpeg")
KEY = ImageKey(*PARTS, "Xk3v9QpLm2w")
PICTURE = b"a picture\nin two lines"


class Picture:
    """What a store needs to know of an image; nothing of the ORM."""

    def __init__(self, **changes: Any) -> None:
        self.object_type = "user-picture"
        self.object_id = 1234
        self.width = 640
        self.height = 480
        self.mimetype = "image/jpeg"
        self.revision: str | None = "Xk3v9QpLm2w"
        self.original = True
        self.created_at: datetime.datetime | None = datetime.datetime(2026, 11, 21, 10, 30, 5, 123)
        self.__dict__.update(changes)

    # what Image promises for its class
    object_type: Any = None


class OldStore(Store):
    """As stores were written for 1.x: positional arguments, no revision."""

    def __init__(self, url: str = "old:///") -> None:
        self.blobs: dict[Any, bytes] = {}
        self.reproducible: dict[Any, bool] = {}
        self.url = url

    def put_file(self, file, object_type, object_id, width, height, mimetype, reproducible):
        self.blobs[object_type, object_id, width, height, mimetype] = file.read()
        self.reproducible[object_type, object_id, width, height, mimetype] = reproducible

    def get_file(self, object_type, object_id, width, height, mimetype):
        try:
            return io.BytesIO(self.blobs[object_type, object_id, width, height, mimetype])
        except KeyError:
            raise OSError from None

    def get_url(self, object_type, object_id, width, height, mimetype):
        return f"{self.url}{object_type}/{object_id}/{width}x{height}"

    def delete_file(self, object_type, object_id, width, height, mimetype):
        self.blobs.pop((object_type, object_id, width, height, mimetype), None)


# --- a store written for 1.x -----------------------------------------------------------------------------------------


def test_a_store_of_1x_works_as_it_is() -> None:
    store, image = OldStore(), Picture()
    store.store(image, io.BytesIO(PICTURE))
    assert store.blobs == {PARTS: PICTURE}
    with store.open(image) as file:
        assert file.read() == PICTURE
    assert store.locate(image) == "old:///user-picture/1234/640x480?_ts=20261121103005000123"
    store.delete(image)
    assert store.blobs == {}
    store.delete(image)


def test_a_store_of_1x_works_by_key_too() -> None:
    store = OldStore()
    store.put(KEY, io.BytesIO(PICTURE), reproducible=True)
    assert store.get(KEY).read() == PICTURE
    assert store.delete_key(KEY) is None
    with pytest.raises(OSError):
        store.get(KEY)


def test_a_store_of_1x_sees_no_revision() -> None:
    store = OldStore()
    assert not store.accepts_revision
    assert store.own_key(KEY) == ImageKey(*PARTS)
    assert MemoryStore().own_key(KEY) is KEY


@pytest.mark.parametrize("original", [True, False])
def test_thumbnails_are_reproducible_and_originals_are_not(original: bool) -> None:
    store = OldStore()
    store.store(Picture(original=original), io.BytesIO(PICTURE))
    assert store.reproducible == {PARTS: not original}


# --- who takes a revision --------------------------------------------------------------------------------------------


class WithRevision(OldStore):
    def put_file(self, *args, revision=None):
        pass

    def get_file(self, *args, revision=None):
        pass

    def get_url(self, *args, revision=None):
        pass

    def delete_file(self, *args, revision=None):
        pass


class WithKeywords(Store):
    def put_file(self, *args: Any, **kwargs: Any) -> None: ...
    def get_file(self, *args: Any, **kwargs: Any) -> Any: ...
    def get_url(self, *args: Any, **kwargs: Any) -> Any: ...
    def delete_file(self, *args: Any, **kwargs: Any) -> Any: ...


class HalfWay(OldStore):
    def put_file(self, *args, revision=None):
        pass


class Inheriting(WithRevision):
    pass


class BackAgain(WithRevision):
    def get_url(self, *args):
        pass


class Logging:
    """A mixin that is no store."""

    def put_file(self, *args, **kwargs):
        return super().put_file(*args, **kwargs)  # type: ignore[misc]


class LoggingNew(Logging, WithRevision):
    pass


class LoggingOld(Logging, OldStore):
    pass


class SaysNo(WithKeywords):
    accepts_revision = False


class SaysNoToo(SaysNo):
    pass


class SaysYes(OldStore):
    accepts_revision = True


class ChangesItsMind(SaysNo):
    accepts_revision = True


class Decorated(WithRevision):
    @functools.wraps(WithRevision.get_url)
    def get_url(self, *args: Any, **kwargs: Any) -> Any: ...


class Compiled(WithRevision):
    get_url = dict.pop  # what has no signature to look at


@pytest.mark.parametrize(
    ("store", "accepts"),
    [
        (Store, False),
        (OldStore, False),
        (WithRevision, True),
        (WithKeywords, True),
        (HalfWay, False),
        (Inheriting, True),
        (BackAgain, False),
        (LoggingNew, True),
        (LoggingOld, False),
        (SaysNo, False),
        (SaysNoToo, False),
        (SaysYes, True),
        (ChangesItsMind, True),
        (Decorated, True),
        (Compiled, False),
        (MemoryStore, True),
        (FileSystemStore, True),
        (HttpExposedFileSystemStore, True),
    ],
)
def test_whether_a_store_takes_a_revision_is_known_from_its_class(store: type[Store], accepts: bool) -> None:
    assert store.accepts_revision is accepts


# --- open ------------------------------------------------------------------------------------------------------------


class OnlyRead:
    def __init__(self) -> None:
        self._content = io.BytesIO(PICTURE)
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        return self._content.read(size)

    def close(self) -> None:
        self.closed = True


class OnlyReadAndSeek(OnlyRead):
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()


class Streaming(OnlyRead):
    """A response that can be iterated over, but in pieces of its own."""

    def __enter__(self) -> Streaming:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Any:
        return iter([b"a pic", b"ture"])


class Giving(OldStore):
    """Gives one and the same file."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self.file = file

    def get_file(self, *args: Any) -> Any:
        return self.file


@pytest.mark.parametrize("kind", [io.BytesIO, OnlyRead, OnlyReadAndSeek, Streaming])
@pytest.mark.parametrize("use_seek", [True, False])
def test_what_is_opened_can_be_read_in_every_documented_way(kind: Any, use_seek: bool) -> None:
    def opened() -> IO[bytes]:
        return Giving(kind(PICTURE) if kind is io.BytesIO else kind()).open(Picture(), use_seek=use_seek)

    lines = PICTURE.splitlines(keepends=True)
    with opened() as file:
        assert file.read(3) + file.read() == PICTURE
    assert file.closed
    with opened() as file:
        assert [file.readline(), file.readline()] == lines
    with opened() as file:
        assert file.readlines() == lines
    with opened() as file:
        assert list(file) == lines
    with opened() as file:
        assert next(file) == lines[0]


@pytest.mark.parametrize("kind", [io.BytesIO, OnlyRead, OnlyReadAndSeek, Streaming])
def test_what_is_opened_for_seeking_can_be_positioned(kind: Any) -> None:
    store = Giving(kind(PICTURE) if kind is io.BytesIO else kind())
    with store.open(Picture(), use_seek=True) as file:
        assert file.read(5) == PICTURE[:5]
        assert file.tell() == 5
        file.seek(2)
        assert file.read() == PICTURE[2:]


def test_a_complete_file_is_given_as_it_is() -> None:
    file = io.BytesIO(PICTURE)
    assert Giving(file).open(Picture()) is file
    assert Giving(file).open(Picture(), use_seek=True) is file


def test_what_is_not_complete_is_completed_and_not_copied() -> None:
    file = OnlyReadAndSeek()
    assert type(Giving(file).open(Picture())) is FileProxy
    assert type(Giving(file).open(Picture(), use_seek=True)) is SeekableFileProxy


def test_the_file_that_was_copied_is_closed() -> None:
    file = OnlyRead()
    Giving(file).open(Picture(), use_seek=True).close()
    assert file.closed


def test_a_file_that_fails_while_it_is_copied_is_closed_and_its_error_passes() -> None:
    class Failing(OnlyRead):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "the line is cut")

    file = Failing()
    with pytest.raises(OSError, match="the line is cut"):
        Giving(file).open(Picture(), use_seek=True)
    assert file.closed


def test_a_long_copy_does_not_stay_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Long(OnlyRead):
        def __init__(self) -> None:
            super().__init__()
            self._content = io.BytesIO(bytes(SPOOL_IN_MEMORY + 1))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Giving(Long()).open(Picture(), use_seek=True) as file:
        assert len(file.read()) == SPOOL_IN_MEMORY + 1
        assert [path.stat().st_size for path in tmp_path.iterdir()] == [SPOOL_IN_MEMORY + 1]


# --- locate ----------------------------------------------------------------------------------------------------------


def test_a_url_with_a_revision_needs_no_timestamp() -> None:
    assert MemoryStore().locate(Picture()) == "memory:///user-picture/234/1/1234.640x480.Xk3v9QpLm2w.jpe"


def test_a_url_without_a_revision_has_one() -> None:
    url = MemoryStore().locate(Picture(revision=None))
    assert url == "memory:///user-picture/234/1/1234.640x480.jpe?_ts=20261121103005000123"


def test_the_timestamp_is_added_to_a_query_that_is_there_already() -> None:
    url = OldStore("old:///?path=").locate(Picture())
    assert url == "old:///?path=user-picture/1234/640x480&_ts=20261121103005000123"


def test_the_timestamp_changes_with_the_time_of_creation() -> None:
    one, other = (Picture(created_at=datetime.datetime(2026, 1, 1, microsecond=micro)) for micro in (1, 2))
    assert OldStore().locate(one) != OldStore().locate(other)


def test_an_image_that_does_not_know_its_time_of_creation_has_a_plain_url() -> None:
    assert OldStore().locate(Picture(created_at=None)) == "old:///user-picture/1234/640x480"


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [None, "picture.jpg", 42, Picture, object()])
@pytest.mark.parametrize("operation", ["open", "delete", "locate", "store"])
def test_what_is_no_image_is_refused(operation: str, wrong: Any) -> None:
    arguments = (io.BytesIO(PICTURE),) if operation == "store" else ()
    with pytest.raises(InvalidTypeError):
        getattr(MemoryStore(), operation)(wrong, *arguments)


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (None, InvalidTypeError),
        ("picture.jpg", InvalidTypeError),
        (PICTURE, InvalidTypeError),
        (io.StringIO("text"), InvalidTypeError),
    ],
)
def test_what_is_no_binary_file_is_refused_and_nothing_is_stored(file: Any, error: type[ImageAttachError]) -> None:
    store = OldStore()
    with pytest.raises(error):
        store.store(Picture(), file)
    assert store.blobs == {}


def test_a_closed_file_is_refused() -> None:
    file = io.BytesIO(PICTURE)
    file.close()
    with pytest.raises(InvalidValueError, match="closed"):
        OldStore().store(Picture(), file)


def test_an_image_that_cannot_have_a_key_is_refused() -> None:
    with pytest.raises(InvalidValueError):
        MemoryStore().store(Picture(object_type="../etc"), io.BytesIO(PICTURE))
    with pytest.raises(InvalidTypeError):
        MemoryStore().store(Picture(width=None), io.BytesIO(PICTURE))


def test_an_image_of_1x_has_a_key_without_a_revision() -> None:
    image = Picture()
    del image.revision
    assert key_of(image) == ImageKey(*PARTS)


def test_an_error_within_an_image_is_not_taken_for_a_wrong_argument() -> None:
    class Broken(Picture):
        @property
        def mimetype(self) -> str:
            return self.missing  # type: ignore[attr-defined]

        @mimetype.setter
        def mimetype(self, value: str) -> None: ...

    with pytest.raises(AttributeError, match="missing"):
        key_of(Broken())


def test_a_store_without_its_methods_says_which_one_is_missing() -> None:
    class Empty(Store):
        pass

    store = Empty()
    for operation, missing in [
        (lambda: store.store(Picture(), io.BytesIO(PICTURE)), "put_file"),
        (lambda: store.open(Picture()), "get_file"),
        (lambda: store.locate(Picture()), "get_url"),
        (lambda: store.delete(Picture()), "delete_file"),
    ]:
        with pytest.raises(NotImplementedError, match=rf"Empty has to implement {missing}\(\)"):
            operation()


def test_a_store_that_cannot_list_says_so_by_a_store_error() -> None:
    with pytest.raises(ListingNotSupportedError, match="OldStore"):
        OldStore().list_blobs()


def test_a_missing_blob_is_an_oserror() -> None:
    with pytest.raises(OSError) as caught:
        MemoryStore().open(Picture())
    assert isinstance(caught.value, BlobNotFoundError)


def test_a_class_of_images_is_no_image() -> None:
    class Picture:
        object_type = "picture"

    with pytest.raises(InvalidTypeError, match="instance of a subclass of Image"):
        key_of(Picture)  # type: ignore[arg-type]
