from __future__ import annotations

import contextlib
import copy
import errno
import gc
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_imageattach import spool as spool_module
from sqlalchemy_imageattach.errors import (
    InvalidTypeError,
    InvalidValueError,
    PolicyViolationError,
    TemporaryFileError,
)
from sqlalchemy_imageattach.spool import COPY_CHUNK, SPOOL_IN_MEMORY, Spool, copy_chunks, is_seekable, read_chunks

SMALL = b"a picture"
LARGE = b"0123456789abcdef" * (SPOOL_IN_MEMORY // 16) + b"and a bit"


class Source:
    """A file of which nothing but ``read()`` is known, and that can be told to misbehave."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[int] = []

    def read(self, size: int = -1) -> Any:
        self.asked.append(size)
        answer = self._answers.pop(0) if self._answers else b""
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which temporary files are made."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def _read(spool: Spool) -> bytes:
    with spool.open() as file:
        return file.read()


# --- copying ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, COPY_CHUNK - 1, COPY_CHUNK, COPY_CHUNK + 1, 3 * COPY_CHUNK])
def test_copies_all_of_it_and_says_how_much(size: int) -> None:
    content = os.urandom(size)
    target = io.BytesIO()
    assert copy_chunks(io.BytesIO(content), target) == size
    assert target.getvalue() == content


def test_copies_from_the_current_position() -> None:
    source, target = io.BytesIO(SMALL), io.BytesIO()
    source.seek(2)
    copy_chunks(source, target)
    assert target.getvalue() == SMALL[2:]


def test_goes_on_after_a_short_read() -> None:
    target = io.BytesIO()
    assert copy_chunks(Source(b"a", b" pict", b"ure"), target) == 9
    assert target.getvalue() == SMALL


def test_cuts_what_a_source_gives_unasked_so_that_no_write_is_huge() -> None:
    source = Source(LARGE)
    chunks = list(read_chunks(source))
    assert b"".join(chunks) == LARGE
    assert max(map(len, chunks)) == COPY_CHUNK
    assert set(source.asked) == {COPY_CHUNK}


def test_writes_the_rest_when_a_raw_file_takes_only_a_part() -> None:
    class Reluctant(io.RawIOBase):
        taken = b""

        def write(self, data: Any) -> int:
            self.taken += data[:3]
            return min(3, len(data))

    target = Reluctant()
    assert copy_chunks(io.BytesIO(SMALL), target) == 9
    assert target.taken == SMALL


def test_takes_no_answer_from_write_for_a_whole_one() -> None:
    class Silent:
        taken = b""

        def write(self, data: bytes) -> None:
            self.taken += data

    target = Silent()
    copy_chunks(io.BytesIO(SMALL), target)
    assert target.taken == SMALL


def test_copies_buffers_that_the_source_uses_again() -> None:
    class Recycling:
        def __init__(self) -> None:
            self.buffer = bytearray(3)
            self.contents = [b"abc", b"def", b""]

        def read(self, size: int) -> bytearray:
            self.buffer[:] = self.contents.pop(0)
            return self.buffer

    class RecyclingView(Recycling):
        def read(self, size: int) -> Any:
            return memoryview(super().read(size))[: len(self.buffer)] if self.contents[0] else b""

    for source in (Recycling(), RecyclingView()):
        chunks: list[Any] = list(read_chunks(source))  # type: ignore[arg-type]
        assert chunks == [b"abc", b"def"]
        assert {type(chunk) for chunk in chunks} == {bytes}


@pytest.mark.parametrize(
    ("answer", "message"),
    [("text", "str.*binary mode"), (None, "NoneType.*non-blocking"), (7, "int"), (["a"], "list")],
)
def test_a_source_that_gives_no_bytes_is_refused(answer: Any, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        copy_chunks(Source(b"first", answer), io.BytesIO())


def test_an_awaitable_answer_is_refused_and_not_left_unawaited() -> None:
    class Disguised:
        def read(self, size: int) -> Any:
            async def answer() -> bytes:
                return SMALL

            return answer()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidTypeError, match="coroutine"):
            copy_chunks(Disguised(), io.BytesIO())
        gc.collect()


def test_seekable_is_what_says_so_or_has_the_methods() -> None:
    class Old:
        def seek(self, offset: int) -> None: ...
        def tell(self) -> int:
            return 0

    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert [is_seekable(f) for f in (io.BytesIO(), Old(), pipe, Source())] == [True, True, False, False]


# --- making a spool --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
class TestContent:
    def test_is_that_of_the_source(self, content: bytes) -> None:
        spool = Spool.read_from(io.BytesIO(content))
        assert _read(spool) == content

    def test_is_that_of_a_source_which_gives_little_at_a_time(self, content: bytes) -> None:
        step = COPY_CHUNK // 3
        parts = [content[i : i + step] for i in range(0, len(content), step)]
        assert _read(Spool.read_from(Source(*parts))) == content

    def test_is_measured_and_digested(self, content: bytes) -> None:
        for spool in (Spool.read_from(io.BytesIO(content)), Spool.of(content)):
            assert spool.byte_size == len(content)
            assert spool.checksum == hashlib.sha256(content).hexdigest()

    def test_stays_when_the_source_changes_and_closes(self, content: bytes) -> None:
        source = io.BytesIO(content)
        spool = Spool.read_from(source)
        source.write(b"changed")
        source.close()
        assert _read(spool) == content

    def test_is_read_by_each_reader_for_itself(self, content: bytes) -> None:
        spool = Spool.read_from(io.BytesIO(content))
        with spool.open() as one, spool.open() as other:
            assert one.read(4) == content[:4]
            assert other.read() == content
            assert one.read() == content[4:]
            one.seek(-3, os.SEEK_END) if content else one.seek(0)
            assert one.read() == content[-3:]

    def test_cannot_be_changed_through_a_reader(self, content: bytes) -> None:
        spool = Spool.read_from(io.BytesIO(content))
        with spool.open() as reader, contextlib.suppress(io.UnsupportedOperation):
            reader.write(b"changed")
        assert _read(spool) == content

    def test_can_be_read_by_many_threads_at_once(self, content: bytes) -> None:
        spool = Spool.read_from(io.BytesIO(content))
        results: list[bytes] = []
        threads = [threading.Thread(target=lambda: results.append(_read(spool))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [content] * 8


@given(st.binary(max_size=300), st.integers(1, 50))
def test_content_is_the_same_in_memory_and_in_a_file(content: bytes, step: int) -> None:
    parts = [content[i : i + step] for i in range(0, len(content), step)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "SPOOL_IN_MEMORY", 60)
        spool = Spool.read_from(Source(*parts))
    assert _read(spool) == content
    assert spool.checksum == hashlib.sha256(content).hexdigest()


def test_starts_at_the_current_position_and_puts_it_back() -> None:
    source = io.BytesIO(SMALL)
    source.seek(2)
    assert _read(Spool.read_from(source)) == SMALL[2:]
    assert source.tell() == 2


def test_puts_the_position_back_when_the_limit_is_passed() -> None:
    source = io.BytesIO(SMALL)
    source.seek(2)
    with pytest.raises(PolicyViolationError):
        Spool.read_from(source, limit=3)
    assert source.tell() == 2


def test_the_first_error_is_the_one_to_hear_of() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            self.close()  # now seek() fails too
            msg = "the disk has a scratch"
            raise OSError(msg)

    with pytest.raises(OSError, match="scratch"):
        Spool.read_from(Broken(SMALL))


def test_reads_from_a_pipe() -> None:
    reading, writing = os.pipe()
    os.write(writing, SMALL)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert _read(Spool.read_from(pipe)) == SMALL


def test_bytes_are_shared_and_not_copied() -> None:
    blob = bytes(10 * COPY_CHUNK)
    assert Spool.of(blob)._blob is blob


@pytest.mark.parametrize("changeable", [bytearray, lambda content: memoryview(bytearray(content))])
def test_what_can_change_is_copied(changeable: Any) -> None:
    blob = changeable(SMALL)
    spool = Spool.of(blob)
    blob[0] = 0
    assert _read(spool) == SMALL


@pytest.mark.parametrize(("blob", "message"), [("text", "str"), (io.BytesIO(SMALL), r"read_from\(\)"), (None, "None")])
def test_a_spool_of_no_bytes_is_refused(blob: Any, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        Spool.of(blob)


# --- the limit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [len(SMALL), len(SMALL) + 1, None])
def test_what_is_within_the_limit_is_accepted(limit: int | None) -> None:
    assert Spool.read_from(io.BytesIO(SMALL), limit).byte_size == len(SMALL)


def test_a_limit_of_nothing_accepts_nothing_only() -> None:
    assert Spool.read_from(io.BytesIO(), limit=0).byte_size == 0
    with pytest.raises(PolicyViolationError):
        Spool.read_from(io.BytesIO(b"x"), limit=0)


def test_one_byte_too_many_is_refused_with_the_limit_and_the_way_out() -> None:
    with pytest.raises(PolicyViolationError, match="at most 8 bytes(?s:.*)max_bytes"):
        Spool.read_from(io.BytesIO(SMALL), limit=len(SMALL) - 1)


def test_reading_stops_where_the_limit_is_passed(temporary: Path) -> None:
    source = Source(*[bytes(COPY_CHUNK)] * 1000)
    with pytest.raises(PolicyViolationError):
        Spool.read_from(source, limit=SPOOL_IN_MEMORY + 2 * COPY_CHUNK)
    assert len(source.asked) == SPOOL_IN_MEMORY // COPY_CHUNK + 3
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "error"), [(-1, InvalidValueError), (1.5, InvalidTypeError), (True, InvalidTypeError)]
)
def test_a_limit_that_is_none_is_refused(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="limit"):
        Spool.read_from(io.BytesIO(SMALL), limit)


# --- the temporary file ----------------------------------------------------------------------------------------------


def test_up_to_the_threshold_there_is_no_file(temporary: Path) -> None:
    spool = Spool.read_from(io.BytesIO(LARGE[:SPOOL_IN_MEMORY]))
    assert list(temporary.iterdir()) == []
    assert spool.byte_size == SPOOL_IN_MEMORY


def test_beyond_it_there_is_one_that_is_ours_alone(temporary: Path) -> None:
    spool = Spool.read_from(io.BytesIO(LARGE[: SPOOL_IN_MEMORY + 1]))
    [path] = temporary.iterdir()
    assert path.stat().st_size == spool.byte_size
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_kept_open(temporary: Path) -> None:
    spools = [Spool.read_from(io.BytesIO(LARGE)) for _ in range(2)]
    open_files = {os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if _is_open(n)}
    assert not any(str(temporary) in path for path in open_files)
    assert len(spools) == 2


def _is_open(number: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")


def test_the_file_goes_with_the_spool(temporary: Path) -> None:
    spool = Spool.read_from(io.BytesIO(LARGE))
    assert len(list(temporary.iterdir())) == 1
    del spool
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_the_file_stays_for_as_long_as_it_is_being_read(temporary: Path) -> None:
    reader = Spool.read_from(io.BytesIO(LARGE)).open()
    gc.collect()
    assert len(list(temporary.iterdir())) == 1
    with reader:
        assert reader.read() == LARGE
    del reader
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_it_is_no_error_if_somebody_else_has_deleted_the_file(temporary: Path) -> None:
    spool = Spool.read_from(io.BytesIO(LARGE))
    for path in temporary.iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError):
        spool.open()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del spool
        gc.collect()


@pytest.mark.parametrize("error", [OSError("the disk has a scratch"), KeyboardInterrupt(), RuntimeError("else")])
def test_a_source_that_fails_is_heard_of_and_leaves_no_file(temporary: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        Spool.read_from(Source(LARGE, error))
    assert caught.value is error
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("answer", ["text", None])
def test_a_source_that_turns_bad_leaves_no_file(temporary: Path, answer: Any) -> None:
    with pytest.raises(InvalidTypeError):
        Spool.read_from(Source(LARGE, LARGE, answer))
    assert list(temporary.iterdir()) == []


def _run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)],
        text=True,
        capture_output=True,
        check=False,
    )


def test_a_full_disk_is_an_oserror_and_leaves_no_file(temporary: Path) -> None:
    script = """
        import io, resource, sys, tempfile
        from sqlalchemy_imageattach.spool import SPOOL_IN_MEMORY, Spool

        tempfile.tempdir = sys.argv[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            Spool.read_from(io.BytesIO(bytes(SPOOL_IN_MEMORY + 1)))
        except OSError as error:
            print(type(error).__name__, error.errno)
    """
    result = _run(script, temporary)
    assert result.stdout.split() == ["TemporaryFileError", "27"], result.stderr  # EFBIG
    assert list(temporary.iterdir()) == []


def test_the_file_goes_when_the_process_ends(temporary: Path) -> None:
    script = """
        import io, os, sys, tempfile
        from sqlalchemy_imageattach.spool import SPOOL_IN_MEMORY, Spool

        tempfile.tempdir = sys.argv[1]
        spool = Spool.read_from(io.BytesIO(bytes(SPOOL_IN_MEMORY + 1)))
        print(len(os.listdir(sys.argv[1])))
    """
    result = _run(script, temporary)
    assert result.stdout.split() == ["1"], result.stderr
    assert list(temporary.iterdir()) == []


def test_a_forked_child_that_ends_does_not_take_the_file_of_its_parent(temporary: Path) -> None:
    script = """
        import io, os, sys, tempfile
        from sqlalchemy_imageattach.spool import SPOOL_IN_MEMORY, Spool

        tempfile.tempdir = sys.argv[1]
        spool = Spool.read_from(io.BytesIO(bytes(SPOOL_IN_MEMORY + 1)))
        child = os.fork()
        if child == 0:
            sys.exit()  # runs what is to be run at exit
        os.waitpid(child, 0)
        with spool.open() as file:
            print(len(file.read()) == spool.byte_size)
    """
    result = _run(script, temporary)
    assert result.stdout.split() == ["True"], result.stderr
    assert list(temporary.iterdir()) == []


def test_500_megabytes_take_less_than_64_megabytes_of_memory(temporary: Path, tmp_path: Path) -> None:
    sparse = tmp_path / "original"
    with sparse.open("wb") as file:
        file.truncate(500 * 10**6)
    script = """
        import json, sys, tempfile
        from sqlalchemy_imageattach.spool import Spool, copy_chunks

        def peak():  # in MiB; not ru_maxrss, which a child inherits from its parent
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))

        class Sink:
            def write(self, data):
                return len(data)

        tempfile.tempdir = sys.argv[2]
        before = peak()
        with open(sys.argv[1], "rb") as source:
            spool = Spool.read_from(source)
        with spool.open() as reader:
            size = copy_chunks(reader, Sink())
        print(json.dumps([before, peak(), size]))
    """
    result = _run(script, sparse, temporary)
    assert result.returncode == 0, result.stderr
    before, after, size = json.loads(result.stdout)
    assert size == 500 * 10**6
    assert after - before < 64
    assert list(temporary.iterdir()) == []


# --- as a value ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_cannot_be_pickled_and_says_why(content: bytes) -> None:
    with pytest.raises(TypeError, match="cannot be pickled.*commit"):
        pickle.dumps(Spool.read_from(io.BytesIO(content)))


def test_a_copy_is_the_spool_itself() -> None:
    spool = Spool.read_from(io.BytesIO(LARGE))
    assert copy.copy(spool) is spool
    assert copy.deepcopy([spool])[0] is spool


def test_cannot_be_changed() -> None:
    spool = Spool.of(SMALL)
    with pytest.raises(AttributeError):
        spool.byte_size = 3  # type: ignore[misc]


def test_its_repr_does_not_show_the_picture() -> None:
    spool = Spool.of(SMALL)
    assert repr(spool) == f"Spool(byte_size=9, checksum={spool.checksum!r})"


def test_a_temporary_directory_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(TemporaryFileError, match="cannot write to the temporary directory: No such file or directory"):
        Spool.read_from(io.BytesIO(LARGE + bytes(SPOOL_IN_MEMORY)))


def test_what_the_source_raises_is_not_taken_for_a_full_directory() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > SPOOL_IN_MEMORY:
                raise OSError(errno.ENOSPC, "the source is full of holes")
            return super().read(size)

    with pytest.raises(OSError, match="full of holes") as caught:
        Spool.read_from(Broken(LARGE + bytes(SPOOL_IN_MEMORY)))
    assert not isinstance(caught.value, TemporaryFileError)


@pytest.mark.parametrize("position", [0, 3])
def test_a_file_in_memory_is_read_from_its_position_and_left_there(position: int) -> None:
    source = io.BytesIO(b"not a picture")
    source.seek(position)
    spool = Spool.read_from(source)
    source.write(b"X")  # what becomes of the source does not matter
    with spool.open() as file:
        assert file.read() == b"not a picture"[position:]
    assert source.tell() == position + 1
    with pytest.raises(PolicyViolationError, match="at most 2 bytes"):
        Spool.read_from(io.BytesIO(b"abc"), limit=2)
