from __future__ import annotations

import asyncio
import codecs
import contextlib
import gzip
import io
import os
import pickle
import tempfile
import warnings
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import django.conf
import flask
import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import (
    InMemoryUploadedFile,
    TemporaryUploadedFile,
)
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser
from werkzeug.datastructures import FileStorage

from sqlalchemy_imageattach import file as file_module
from sqlalchemy_imageattach.errors import ImageAttachError, InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.file import FileProxy, ReusableFileProxy, SeekableFileProxy, binary_file

PICTURE = bytes(range(256)) * 5


class OnlyRead:
    """As little of a file as there can be."""

    def __init__(self, content: bytes, step: int | None = None) -> None:
        self._rest = io.BytesIO(content)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        if self._step is not None:
            size = self._step if size < 0 else min(size, self._step)
        return self._rest.read(size)


class OnlyReadAndSeek(OnlyRead):
    """The least that can be positioned; as old code has it, ``seek()`` returns nothing."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        self._rest.seek(offset, whence)

    def tell(self) -> int:
        return self._rest.tell()


# --- FileProxy -------------------------------------------------------------------------------------------------------


LINES = [b"first\n", b"\n", b"third \x00 line\n", b"no line break"]


@pytest.mark.parametrize("wrapped", [io.BytesIO, OnlyRead, lambda content: OnlyRead(content, step=1)])
class TestFileProxy:
    @pytest.fixture
    def proxy(self, wrapped: Any) -> FileProxy:
        return FileProxy(wrapped(b"".join(LINES)))

    def test_reads_all_there_is(self, proxy: FileProxy) -> None:
        assert proxy.read() == b"".join(LINES)
        assert proxy.read() == b""

    @pytest.mark.parametrize("everything", [-1, None])
    def test_a_negative_size_or_none_reads_to_the_end(self, proxy: FileProxy, everything: int | None) -> None:
        assert proxy.read(2) == b"fi"
        assert proxy.read(everything) == b"".join(LINES)[2:]

    def test_reads_line_by_line(self, proxy: FileProxy) -> None:
        assert [proxy.readline() for _ in range(6)] == [*LINES, b"", b""]

    def test_a_line_can_be_cut(self, proxy: FileProxy) -> None:
        assert [proxy.readline(4), proxy.readline(4), proxy.readline(4)] == [b"firs", b"t\n", b"\n"]

    def test_mixes_lines_and_bytes(self, proxy: FileProxy) -> None:
        assert proxy.readline() == LINES[0]
        assert proxy.read(3) == b"\nth"
        assert list(proxy) == [b"ird \x00 line\n", LINES[3]]

    def test_gives_all_lines(self, proxy: FileProxy) -> None:
        assert proxy.readlines() == LINES

    @pytest.mark.parametrize(("hint", "count"), [(None, 4), (-1, 4), (0, 4), (1, 1), (6, 1), (7, 2), (8, 3), (999, 4)])
    def test_gives_as_many_whole_lines_as_the_hint_asks_for(
        self, proxy: FileProxy, hint: int | None, count: int
    ) -> None:
        assert proxy.readlines(hint) == LINES[:count]

    def test_is_its_own_iterator(self, proxy: FileProxy) -> None:
        assert iter(proxy) is proxy
        assert next(proxy) == LINES[0]
        assert proxy.next() == LINES[1]
        assert list(proxy) == LINES[2:]
        with pytest.raises(StopIteration):
            next(proxy)

    def test_xreadlines_still_works_and_says_what_to_do(self, proxy: FileProxy) -> None:
        with pytest.warns(DeprecationWarning, match="iterate over the file"):
            assert list(proxy.xreadlines()) == LINES

    def test_is_closed_after_the_block(self, proxy: FileProxy) -> None:
        with proxy as entered:
            assert entered is proxy
            assert not proxy.closed
        assert proxy.closed

    def test_is_closed_when_the_block_raises_and_the_error_passes(self, proxy: FileProxy) -> None:
        with pytest.raises(KeyError), proxy:
            raise KeyError
        assert proxy.closed

    def test_closing_twice_is_no_error(self, proxy: FileProxy) -> None:
        proxy.close()
        proxy.close()
        assert proxy.closed

    @pytest.mark.parametrize("operation", ["read", "readline", "readlines", "__next__"])
    def test_cannot_be_read_when_closed(self, proxy: FileProxy, operation: str) -> None:
        proxy.close()
        with pytest.raises(ValueError, match="closed"):
            getattr(proxy, operation)()

    def test_says_what_it_can_do(self, proxy: FileProxy) -> None:
        assert (proxy.readable(), proxy.writable(), proxy.seekable()) == (True, False, False)

    def test_promises_no_position(self, proxy: FileProxy) -> None:
        assert not hasattr(proxy, "seek")
        assert not hasattr(proxy, "tell")

    def test_its_repr_names_what_it_wraps(self, proxy: FileProxy) -> None:
        assert repr(proxy) == f"FileProxy({proxy.wrapped!r})"


@given(st.lists(st.binary(max_size=20)).map(b"\n".join), st.integers(1, 7))
def test_reads_the_same_from_a_file_that_gives_little_at_a_time(content: bytes, step: int) -> None:
    assert list(FileProxy(OnlyRead(content, step))) == list(io.BytesIO(content))


def test_closes_the_wrapped_file() -> None:
    wrapped = io.BytesIO(PICTURE)
    FileProxy(wrapped).close()
    assert wrapped.closed


def test_is_closed_when_the_wrapped_file_is() -> None:
    wrapped = io.BytesIO(PICTURE)
    proxy = FileProxy(wrapped)
    wrapped.close()
    assert proxy.closed


def test_does_not_close_the_wrapped_file_only_because_the_proxy_is_gone() -> None:
    class Closable(OnlyRead):
        closed = False

        def close(self) -> None:
            self.closed = True

    wrapped = Closable(PICTURE)
    proxy = FileProxy(wrapped)
    proxy.readline()
    del proxy
    assert not wrapped.closed


def test_other_attributes_are_those_of_the_wrapped_file(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(PICTURE)
    with FileProxy(path.open("rb")) as proxy:
        assert proxy.name == str(path)
        assert proxy.fileno() > 2
        with pytest.raises(AttributeError):
            proxy.flavour  # noqa: B018


def test_refuses_a_file_that_gives_text_where_it_reads_for_itself() -> None:
    class Text:
        def read(self, size: int) -> str:
            return "a picture"

    with pytest.raises(InvalidTypeError, match="binary mode"):
        FileProxy(Text()).readline()


def test_a_proxy_can_neither_be_half_copied_nor_recurse_for_ever() -> None:
    with pytest.raises(AttributeError):
        FileProxy.__new__(FileProxy).name  # noqa: B018
    with open(os.devnull, "rb") as file, pytest.raises(TypeError):
        pickle.dumps(FileProxy(file))


# --- SeekableFileProxy and ReusableFileProxy -------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [io.BytesIO, OnlyReadAndSeek, lambda content: OnlyReadAndSeek(content, step=1)])
class TestSeekableFileProxy:
    @pytest.fixture(params=[SeekableFileProxy, ReusableFileProxy])
    def proxy(self, request: pytest.FixtureRequest, wrapped: Any) -> SeekableFileProxy:
        return request.param(wrapped(PICTURE))

    def test_tells_the_position_of_what_was_read_and_not_of_what_was_read_ahead(self, proxy: SeekableFileProxy) -> None:
        proxy.read(3)
        assert proxy.tell() == 3
        line = proxy.readline()
        assert proxy.tell() == 3 + len(line)

    @pytest.mark.parametrize(
        ("offset", "whence", "position"),
        [(7, os.SEEK_SET, 7), (-2, os.SEEK_CUR, 3), (4, os.SEEK_CUR, 9), (-6, os.SEEK_END, len(PICTURE) - 6)],
    )
    def test_moves(self, proxy: SeekableFileProxy, offset: int, whence: int, position: int) -> None:
        proxy.read(5)
        assert proxy.seek(offset, whence) == position
        assert proxy.tell() == position
        assert proxy.read() == PICTURE[position:]

    def test_moves_from_the_start_unless_told_otherwise(self, proxy: SeekableFileProxy) -> None:
        proxy.read(5)
        proxy.seek(1)
        assert proxy.tell() == 1

    def test_says_that_it_is_seekable(self, proxy: SeekableFileProxy) -> None:
        assert proxy.seekable()

    def test_a_closed_one_has_no_position(self, proxy: SeekableFileProxy) -> None:
        proxy.close()
        for ask in (proxy.tell, lambda: proxy.seek(0)):
            with pytest.raises(ValueError):
                ask()


class TestReusableFileProxy:
    def test_a_block_leaves_it_open_and_where_it_was(self) -> None:
        proxy = ReusableFileProxy(io.BytesIO(PICTURE))
        proxy.seek(10)
        for _ in range(2):
            with proxy as entered:
                assert entered is proxy
                assert proxy.initial_offset == 10
                assert proxy.read() == PICTURE, "as in 1.x, it is read from the start"
            assert proxy.tell() == 10
        assert not proxy.closed

    def test_a_block_that_raises_leaves_it_where_it_was_too(self) -> None:
        proxy = ReusableFileProxy(io.BytesIO(PICTURE))
        proxy.seek(4)
        with pytest.raises(KeyError), proxy:
            raise KeyError(proxy.read(100))
        assert proxy.tell() == 4

    def test_blocks_can_be_nested(self) -> None:
        proxy = ReusableFileProxy(io.BytesIO(PICTURE))
        with proxy:
            proxy.seek(5)
            with proxy:
                assert proxy.initial_offset == 5
                proxy.seek(9)
            assert proxy.tell() == 5
            assert proxy.initial_offset == 0
        assert proxy.tell() == 0

    def test_outside_of_a_block_there_is_no_initial_offset(self) -> None:
        assert ReusableFileProxy(io.BytesIO(PICTURE)).initial_offset is None

    def test_closing_closes(self) -> None:
        wrapped = io.BytesIO(PICTURE)
        ReusableFileProxy(wrapped).close()
        assert wrapped.closed


def test_the_proxies_are_the_documented_family() -> None:
    assert issubclass(ReusableFileProxy, SeekableFileProxy)
    assert issubclass(SeekableFileProxy, FileProxy)
    assert set(file_module.__all__) <= set(dir(file_module))


# --- binary_file: upload objects -------------------------------------------------------------------------------------


def _multipart() -> tuple[bytes, str]:
    boundary = "limit"
    head = 'Content-Disposition: form-data; name="picture"; filename="me.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = f"--{boundary}\r\n{head}".encode() + PICTURE + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


@contextlib.contextmanager
def _starlette() -> Iterator[Any]:
    body, content_type = _multipart()

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    form = asyncio.run(MultiPartParser(Headers({"content-type": content_type}), stream()).parse())
    upload = form["picture"]
    assert isinstance(upload, UploadFile)
    yield upload
    upload.file.close()


@contextlib.contextmanager
def _flask() -> Iterator[Any]:
    body, content_type = _multipart()
    application = flask.Flask("upload")
    with application.test_request_context("/", method="POST", data=body, content_type=content_type):
        upload = flask.request.files["picture"]
        assert isinstance(upload, FileStorage)
        yield upload


def _configure_django() -> None:
    if not django.conf.settings.configured:
        django.conf.settings.configure()


@contextlib.contextmanager
def _django_in_memory() -> Iterator[Any]:
    _configure_django()
    yield InMemoryUploadedFile(io.BytesIO(PICTURE), "picture", "me.jpg", "image/jpeg", len(PICTURE), None)


@contextlib.contextmanager
def _django_on_disk() -> Iterator[Any]:
    _configure_django()
    with TemporaryUploadedFile("me.jpg", "image/jpeg", len(PICTURE), None) as upload:
        upload.write(PICTURE)
        upload.seek(0)
        yield upload


@contextlib.contextmanager
def _like_cgi_and_bottle() -> Iterator[Any]:
    class Upload:
        filename = "me.jpg"
        file = io.BytesIO(PICTURE)

    yield Upload()


UPLOADS = [_starlette, _flask, _django_in_memory, _django_on_disk, _like_cgi_and_bottle]


@pytest.mark.parametrize("upload", UPLOADS)
def test_an_upload_object_gives_its_file(upload: Any) -> None:
    with upload() as source:
        assert binary_file(source).read() == PICTURE


@pytest.mark.parametrize("upload", UPLOADS)
def test_an_upload_object_is_read_from_its_start_even_if_somebody_looked_into_it(upload: Any) -> None:
    with upload() as source:
        inner: Any = source.stream if hasattr(source, "stream") else source.file
        inner.read(100)
        assert binary_file(source).read() == PICTURE


@pytest.mark.parametrize("upload", UPLOADS)
def test_an_upload_object_can_be_given_twice(upload: Any) -> None:
    with upload() as source:
        assert binary_file(source).read() == binary_file(source).read() == PICTURE


def test_an_upload_object_within_another_is_found() -> None:
    outer = FileStorage(io.BytesIO(PICTURE), "me.jpg")
    assert binary_file(FileStorage(outer, "me.jpg")).read() == PICTURE  # type: ignore[arg-type]


def test_uploads_within_one_another_without_an_end_are_looked_into_only_so_far() -> None:
    """As Mock objects are, which have everything they are asked for."""
    asked = []

    class Endless:
        filename = "me.jpg"
        read = io.BytesIO(PICTURE).read

        @property
        def file(self) -> Endless:
            asked.append(self)
            assert len(asked) < 1000
            return Endless()

    assert binary_file(Endless()).read() == PICTURE


def test_an_upload_that_cannot_be_positioned_is_read_from_where_it_is() -> None:
    upload = FileStorage(OnlyRead(PICTURE), "me.jpg")  # type: ignore[arg-type]
    assert binary_file(upload).read() == PICTURE


def test_a_closed_upload_is_refused() -> None:
    with _flask() as upload:
        upload.close()
        with pytest.raises(InvalidValueError, match="closed"):
            binary_file(upload)


def test_an_upload_of_text_is_refused() -> None:
    _configure_django()
    with pytest.raises(InvalidTypeError, match="text mode"):
        binary_file(ContentFile("a picture"))


# --- binary_file: files ----------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.jpg"
    path.write_bytes(PICTURE)
    return path


def test_a_file_is_taken_as_it_is_where_it_is(picture: Path) -> None:
    with picture.open("rb") as file:
        file.seek(5)
        assert binary_file(file) is file
        assert file.tell() == 5


def test_a_temporary_file_is_no_upload_and_stays_where_it_is() -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(PICTURE)
        file.seek(5)
        assert binary_file(file).read() == PICTURE[5:]


@pytest.mark.parametrize("roll_over", [False, True])
def test_a_spooled_temporary_file_is_taken(roll_over: bool) -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(PICTURE)
        if roll_over:
            file.rollover()
        file.seek(5)
        assert binary_file(file).read() == PICTURE[5:]


def test_a_pipe_is_taken() -> None:
    reading, writing = os.pipe()
    os.write(writing, PICTURE)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert binary_file(pipe).read() == PICTURE


def test_a_compressed_file_is_taken() -> None:
    with gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(PICTURE)), filename="me.jpg.gz") as file:
        assert binary_file(file).read() == PICTURE


def test_nothing_is_read_from_a_file_that_has_only_read() -> None:
    class Generated:
        def __init__(self) -> None:
            self.chunks = iter([b"first", b"second"])

        def read(self, size: int = -1) -> bytes:
            return next(self.chunks, b"")

    assert binary_file(Generated()).read() == b"first"


def test_proxies_are_files_too() -> None:
    proxy: Any = FileProxy(OnlyRead(PICTURE))
    assert binary_file(proxy) is proxy


class AsyncOnly:
    async def read(self, size: int = -1) -> bytes:
        return PICTURE


REFUSED = [
    pytest.param("holiday.jpg", InvalidTypeError, r"path \('holiday.jpg'\).*open\(path, 'rb'\)", id="path"),
    pytest.param(Path("holiday.jpg"), InvalidTypeError, r"path \('holiday.jpg'\)", id="Path"),
    pytest.param(PICTURE, InvalidTypeError, r"1280 bytes .*from_blob\(\)", id="bytes"),
    pytest.param(bytearray(PICTURE), InvalidTypeError, r"bytearray.*from_blob\(\)", id="bytearray"),
    pytest.param(memoryview(PICTURE), InvalidTypeError, r"from_blob\(\)", id="memoryview"),
    pytest.param(None, InvalidTypeError, "got NoneType", id="None"),
    pytest.param(42, InvalidTypeError, "got int", id="int"),
    pytest.param([PICTURE], InvalidTypeError, "got list", id="list"),
    pytest.param(io.BytesIO, InvalidTypeError, "the class BytesIO", id="class"),
    pytest.param(io.StringIO("text"), InvalidTypeError, "StringIO.*text mode.*'rb'", id="text"),
    pytest.param(codecs.getreader("utf-8")(io.BytesIO(PICTURE)), InvalidTypeError, "text mode", id="codecs"),
    pytest.param(AsyncOnly(), InvalidTypeError, r"async.*from_blob\(await", id="async"),
]


@pytest.mark.parametrize(("source", "error", "message"), REFUSED)
def test_what_is_no_binary_file_is_refused_with_the_way_out(
    source: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        binary_file(source)
    assert isinstance(caught.value, ImageAttachError)


def test_a_file_in_text_mode_is_refused_by_its_name(picture: Path) -> None:
    with picture.open(encoding="latin-1") as file, pytest.raises(InvalidTypeError, match=r"picture\.jpg.*text mode"):
        binary_file(file)


@pytest.mark.parametrize("wrapper", [tempfile.NamedTemporaryFile, tempfile.SpooledTemporaryFile])
def test_a_temporary_file_in_text_mode_is_refused(wrapper: Any) -> None:
    with wrapper(mode="w+") as file, pytest.raises(InvalidTypeError, match="text mode"):
        binary_file(file)


def test_a_closed_file_is_refused(picture: Path) -> None:
    file = picture.open("rb")
    file.close()
    with pytest.raises(InvalidValueError, match=r"picture\.jpg.*closed"):
        binary_file(file)


def test_a_file_opened_for_writing_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "new.jpg").open("wb") as file, pytest.raises(InvalidValueError, match="writing only"):
        binary_file(file)


def test_an_async_file_is_refused_without_leaving_a_coroutine_behind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidTypeError):
            binary_file(AsyncOnly())


def test_a_file_with_an_encoding_that_gives_bytes_is_binary() -> None:
    class Odd(io.BytesIO):
        encoding = "none"

    assert binary_file(Odd(PICTURE)).read() == PICTURE
