from __future__ import annotations

import errno
import io
import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_imageattach.errors import (
    BlobExistsError,
    BlobNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    StoreAccessDeniedError,
    StoreError,
    UnknownHostError,
)
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.serving.wsgi import StaticServerMiddleware
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores import fs
from sqlalchemy_imageattach.stores.fs import (
    BaseFileSystemStore,
    FileSystemStore,
    HttpExposedFileSystemStore,
    guess_extension,
)

from ..test_paths import put_in_place
from .support import PARTS, PICTURE, files_in, new_key, run_child, without_privileges

URL = "https://images.example.com/"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def store(root: Path) -> FileSystemStore:
    return FileSystemStore(root, URL)


def _put(store: Store, key: ImageKey, content: bytes = PICTURE) -> None:
    store.put(key, io.BytesIO(content), reproducible=False)


class Slow:
    """A source that waits in its middle until it is told to go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._answers = iter([PICTURE, None, PICTURE, b""])

    def read(self, size: int = -1) -> bytes:
        answer = next(self._answers)
        if answer is not None:
            return answer
        self.reached.set()
        assert self.go_on.wait(60)
        return self.read(size)


# --- where the files are ---------------------------------------------------------------------------------------------


def test_files_lie_where_the_manual_of_1x_says(store: FileSystemStore, root: Path) -> None:
    _put(store, ImageKey(*PARTS))
    assert files_in(root) == ["user-picture/234/1/1234.640x480.jpe"]
    assert (root / "user-picture/234/1/1234.640x480.jpe").read_bytes() == PICTURE


def test_files_written_by_1x_are_read_and_deleted_in_place(store: FileSystemStore, root: Path) -> None:
    path = root / "user-picture/234/1/1234.640x480.jpe"
    path.parent.mkdir(parents=True)
    path.write_bytes(PICTURE)
    with store.get(ImageKey(*PARTS)) as file:
        assert file.read() == PICTURE
    assert store.delete_key(ImageKey(*PARTS)) is True
    assert files_in(root) == []


def test_a_revision_stands_before_the_extension(store: FileSystemStore, root: Path) -> None:
    _put(store, ImageKey(*PARTS, "Xk3v9QpLm2w"))
    assert files_in(root) == ["user-picture/234/1/1234.640x480.Xk3v9QpLm2w.jpe"]


def test_nothing_is_made_before_something_is_stored(root: Path) -> None:
    store = FileSystemStore(root, URL)
    with pytest.raises(BlobNotFoundError):
        store.get(new_key())
    assert store.delete_key(new_key()) is False
    assert not root.exists()


def test_a_later_chdir_does_not_move_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileSystemStore("images", URL)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    _put(store, new_key())
    assert store.path == str(tmp_path / "images")
    assert len(files_in(tmp_path / "images")) == 1


@given(
    object_type=st.text(max_size=20) | st.sampled_from(["..", "a/../..", "/etc", "a//b", "C:", "~root", "a\0b", "."]),
    object_id=st.integers(),
    revision=st.none() | st.text(max_size=20),
    mimetype=st.text(max_size=20) | st.sampled_from(["image/..", "image/png", "image/../../x"]),
)
def test_no_key_leads_out(object_type: str, object_id: int, revision: str | None, mimetype: str) -> None:
    store = FileSystemStore("/nowhere/images", URL)
    try:
        key = ImageKey(object_type, object_id, 1, 1, mimetype, revision)
    except InvalidValueError:
        return
    path = store.path_of(key)
    assert path == os.path.normpath(path)
    assert path.startswith("/nowhere/images/")
    assert not os.path.basename(path).startswith(".")


@pytest.mark.parametrize(("mimetype", "extension"), [("image/jpeg", ".jpe"), ("image/png", ".png")])
def test_extensions_can_be_asked_for(mimetype: str, extension: str) -> None:
    assert guess_extension(mimetype) == extension


# --- symbolic links --------------------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    return outside


def _link_directory(root: Path, target: Path) -> None:
    root.mkdir()
    (root / "user-picture").symlink_to(target, target_is_directory=True)


def test_a_link_that_leads_out_is_refused(root: Path, store: FileSystemStore, outside: Path) -> None:
    _link_directory(root, outside)
    for operation in (
        lambda: _put(store, new_key()),
        lambda: store.get(new_key()),
        lambda: store.delete_key(new_key()),
    ):
        with pytest.raises(StoreAccessDeniedError, match="follow_symlinks=True"):
            operation()
    assert files_in(outside) == []


def test_a_neighbour_with_a_longer_name_is_outside_too(root: Path, store: FileSystemStore, tmp_path: Path) -> None:
    (tmp_path / "images-private").mkdir()
    _link_directory(root, tmp_path / "images-private")
    with pytest.raises(StoreAccessDeniedError):
        _put(store, new_key())


def test_a_link_that_leads_out_is_followed_if_it_is_meant(root: Path, outside: Path) -> None:
    _link_directory(root, outside)
    store, key = FileSystemStore(root, URL, follow_symlinks=True), new_key()
    _put(store, key)
    with store.get(key) as file:
        assert file.read() == PICTURE
    assert len(files_in(outside)) == 1


def test_a_link_that_stays_within_is_followed(root: Path, store: FileSystemStore) -> None:
    (root / "moved").mkdir(parents=True)
    (root / "user-picture").symlink_to(root / "moved", target_is_directory=True)
    key = new_key()
    _put(store, key)
    with store.get(key) as file:
        assert file.read() == PICTURE


def test_the_directory_itself_can_be_a_link(root: Path, store: FileSystemStore, outside: Path) -> None:
    root.symlink_to(outside, target_is_directory=True)
    key = new_key()
    _put(store, key)
    with store.get(key) as file:
        assert file.read() == PICTURE
    assert len(files_in(outside)) == 1


def test_a_blob_that_is_a_link_out_is_not_read(root: Path, store: FileSystemStore, outside: Path) -> None:
    (outside / "secret").write_bytes(b"secret")
    key = new_key()
    path = root / key.file_path()
    path.parent.mkdir(parents=True)
    path.symlink_to(outside / "secret")
    with pytest.raises(StoreAccessDeniedError):
        store.get(key)


def test_a_link_that_leads_in_circles_is_a_store_error(root: Path, store: FileSystemStore) -> None:
    key = new_key()
    path = root / key.file_path()
    path.parent.mkdir(parents=True)
    path.symlink_to(path)
    with pytest.raises(StoreError):
        store.get(key)


# --- whole or not at all ---------------------------------------------------------------------------------------------


def test_until_it_is_complete_there_is_only_a_temporary_file_beside(root: Path, store: FileSystemStore) -> None:
    key, source = new_key(), Slow()
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(store.put, key, source, reproducible=False)  # type: ignore[arg-type]
        assert source.reached.wait(60)
        [temporary] = files_in(root)
        with pytest.raises(BlobNotFoundError):
            store.get(key)
        source.go_on.set()
        putting.result()
    assert files_in(root) == [key.file_path()]
    directory, name = os.path.split(key.file_path())
    assert os.path.dirname(temporary) == directory
    assert os.path.basename(temporary).startswith(f".{name}.")
    assert temporary.endswith(".tmp")


@pytest.mark.parametrize("revision", [None, "Xk3v9QpLm2w"])
def test_a_full_disk_leaves_nothing(root: Path, revision: str | None) -> None:
    script = """
        import io, resource, sys
        from sqlalchemy_imageattach.errors import StoreError
        from sqlalchemy_imageattach.key import ImageKey
        from sqlalchemy_imageattach.stores.fs import FileSystemStore

        store = FileSystemStore(sys.argv[1], "https://images.example.com/")
        key = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", sys.argv[2] or None)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))  # in the middle of the second chunk
        try:
            store.put(key, io.BytesIO(bytes(10**6)), reproducible=False)
        except StoreError as error:
            print(error.errno, key.file_path() in str(error), sys.argv[1] in str(error))
    """
    result = run_child(script, root, revision or "")
    assert result.stdout.split() == [str(errno.EFBIG), "True", "False"], result.stderr
    assert files_in(root) == []


def test_a_full_disk_leaves_the_blob_that_was_to_be_replaced(root: Path, store: FileSystemStore) -> None:
    key = ImageKey(*PARTS)
    _put(store, key)
    script = """
        import io, resource, sys
        from sqlalchemy_imageattach.key import ImageKey
        from sqlalchemy_imageattach.stores.fs import FileSystemStore

        store = FileSystemStore(sys.argv[1], "https://images.example.com/")
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        try:
            key = ImageKey("user-picture", 1234, 640, 480, "image/jpeg")
            store.put(key, io.BytesIO(bytes(10**6)), reproducible=True)
        except OSError as error:
            print(type(error).__name__)
    """
    assert run_child(script, root).stdout.split() == ["StoreError"]
    assert files_in(root) == [key.file_path()]
    with store.get(key) as file:
        assert file.read() == PICTURE


def test_a_process_that_is_killed_leaves_no_blob(root: Path, store: FileSystemStore) -> None:
    script = """
        import sys, time
        from sqlalchemy_imageattach.key import ImageKey
        from sqlalchemy_imageattach.stores.fs import FileSystemStore

        class Endless:
            def read(self, size):
                print("reading", flush=True)
                return bytes(1000)

        key = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2w")
        FileSystemStore(sys.argv[1], "https://images.example.com/").put(key, Endless(), reproducible=False)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(3):
            assert child.stdout.readline() == "reading\n"
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
    [left] = files_in(root)
    assert left.endswith(".tmp")
    key = ImageKey(*PARTS, "Xk3v9QpLm2w")
    with pytest.raises(BlobNotFoundError):
        store.get(key)
    _put(store, key)  # what is left is in nobody's way
    assert len(files_in(root)) == 2


def test_an_interrupt_leaves_nothing(root: Path) -> None:
    script = """
        import os, signal, sys
        from sqlalchemy_imageattach.key import ImageKey
        from sqlalchemy_imageattach.stores.fs import FileSystemStore

        # a shell that started the tests in the background has made its children ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)

        class Source:
            def __init__(self):
                self.pieces = [bytes(1000), b""]

            def read(self, size):
                os.kill(os.getpid(), signal.SIGINT)
                return self.pieces.pop(0)

        key = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2w")
        try:
            FileSystemStore(sys.argv[1], "https://images.example.com/").put(key, Source(), reproducible=False)
        except KeyboardInterrupt:
            print("interrupted")
    """
    result = run_child(script, root)
    assert result.stdout.split() == ["interrupted"], result.stderr
    assert files_in(root) == []


# A system call that fails just there cannot be had from a real disk at will, so it is made to fail.


@pytest.mark.parametrize("call", ["fsync", "link", "unlink"])
def test_a_failure_at_any_step_leaves_nothing(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)
    failures = iter([True])

    def fail_once(*args: Any, **kwargs: Any) -> Any:
        if next(failures, False):
            raise OSError(errno.EIO, "the disk has a scratch")
        return real(*args, **kwargs)

    _put(store, new_key())  # so that the directories are there
    before = files_in(root)
    monkeypatch.setattr(os, call, fail_once)
    with pytest.raises(StoreError, match="the disk has a scratch") as caught:
        _put(store, new_key())
    assert caught.value.errno == errno.EIO
    assert files_in(root) == before


@pytest.mark.parametrize("is_new", [True, False])
def test_a_directory_that_cannot_be_synchronised_leaves_nothing(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    real = os.fsync

    def fail_for_directories(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "the disk has a scratch")
        real(descriptor)

    if not is_new:
        _put(store, new_key())
    before = files_in(root)
    monkeypatch.setattr(os, "fsync", fail_for_directories)
    with pytest.raises(StoreError):
        _put(store, new_key())
    assert files_in(root) == before


def test_a_file_system_that_cannot_synchronise_directories_is_good_enough(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def refuse_for_directories(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not for directories")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_for_directories)
    _put(store, new_key())
    assert len(files_in(root)) == 1


def test_a_file_system_without_hard_links_is_good_enough(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EPERM, "no such thing here")

    monkeypatch.setattr(os, "link", refuse)
    key = new_key()
    _put(store, key)
    with pytest.raises(BlobExistsError):
        _put(store, key, b"another")
    assert files_in(root) == [key.file_path()]
    with store.get(key) as file:
        assert file.read() == PICTURE


# --- on the disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def synchronised(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What ``fsync()`` was called for, by path, and what was linked or renamed in between."""
    seen: list[str] = []
    real_fsync, real_link, real_replace = os.fsync, os.link, os.replace

    def fsync(descriptor: int) -> None:
        seen.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_fsync(descriptor)

    def link(*args: Any) -> None:
        seen.append("in place")
        real_link(*args)

    def replace(*args: Any) -> None:
        seen.append("in place")
        real_replace(*args)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "replace", replace)
    return seen  # type: ignore[return-value]


@pytest.mark.parametrize("revision", [None, "Xk3v9QpLm2w"])
def test_the_file_is_synchronised_before_and_its_directory_after_it_is_put_in_place(
    root: Path, store: FileSystemStore, synchronised: list[str], revision: str | None
) -> None:
    key = ImageKey(*PARTS, revision)
    (root / key.file_path()).parent.mkdir(parents=True)
    _put(store, key)
    file, in_place, directory = synchronised
    assert file.endswith(".tmp")
    assert in_place == "in place"
    assert directory == str((root / key.file_path()).parent)


def test_the_entries_of_new_directories_are_synchronised_once(
    root: Path, store: FileSystemStore, synchronised: list[str]
) -> None:
    _put(store, new_key())
    parents = [str(root.parent), str(root), str(root / "user-picture"), str(root / "user-picture/234")]
    assert synchronised[:4] == parents
    synchronised.clear()
    _put(store, new_key())
    assert not set(parents) & set(synchronised)


def test_without_fsync_nothing_is_synchronised(root: Path, synchronised: list[str]) -> None:
    _put(FileSystemStore(root, URL, fsync=False), new_key())
    assert synchronised == ["in place"]


# --- permissions -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    former = os.umask(request.param)
    yield request.param
    os.umask(former)


def _modes(root: Path, key: ImageKey) -> tuple[int, int]:
    path = root / key.file_path()
    return stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)


def test_permissions_are_those_of_the_umask(root: Path, store: FileSystemStore, umask: int) -> None:
    key = new_key()
    _put(store, key)
    assert _modes(root, key) == (0o666 & ~umask, 0o777 & ~umask)


def test_permissions_can_be_narrower(root: Path, umask: int) -> None:
    key = new_key()
    _put(FileSystemStore(root, URL, file_mode=0o640, directory_mode=0o750), key)
    assert _modes(root, key) == (0o640 & ~umask, 0o750 & ~umask)


@pytest.fixture
def closed_directory() -> Iterator[Path]:
    """A directory in which only root may write; not in ``tmp_path``, which only root may enter."""
    import shutil
    import tempfile

    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o555)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


def test_a_directory_that_cannot_be_written_to_is_access_denied(closed_directory: Path) -> None:
    store, key = FileSystemStore(closed_directory, URL), new_key()
    with without_privileges(), pytest.raises(StoreAccessDeniedError, match="mode of the store's directories") as caught:
        _put(store, key)
    assert isinstance(caught.value, PermissionError)
    assert key.file_path() in str(caught.value)
    assert str(closed_directory) not in str(caught.value)


def test_a_blob_that_cannot_be_read_or_deleted_is_access_denied(closed_directory: Path) -> None:
    store, key = FileSystemStore(closed_directory, URL, file_mode=0, directory_mode=0o555), new_key()
    directory = closed_directory / os.path.dirname(key.file_path())
    directory.mkdir(parents=True)
    path = closed_directory / key.file_path()
    path.write_bytes(PICTURE)
    path.chmod(0)
    directory.chmod(0o555)
    with without_privileges():
        with pytest.raises(StoreAccessDeniedError):
            store.get(key)
        with pytest.raises(StoreAccessDeniedError):
            store.delete_key(key)
    assert path.exists()
    directory.chmod(0o755)


def test_a_directory_in_the_place_of_a_blob_is_a_store_error(root: Path, store: FileSystemStore) -> None:
    key = new_key()
    (root / key.file_path()).mkdir(parents=True)
    with pytest.raises(StoreError):
        store.get(key)
    with pytest.raises(StoreError):
        store.delete_key(key)
    with pytest.raises(BlobExistsError):
        _put(store, key)


@pytest.mark.parametrize("kind", ["named pipe", "socket", "device"])
def test_what_would_keep_a_reader_waiting_is_a_store_error(root: Path, kind: str) -> None:
    store, key = FileSystemStore(root, URL, follow_symlinks=True), new_key()
    path = root / key.file_path()
    path.parent.mkdir(parents=True)
    put_in_place(path, kind)
    reads = (store.get, store.has_key, store.get_part, store.stat_key)
    for read in reads:
        with pytest.raises(StoreError, match=f"cannot read {re.escape(key.file_path())}: "):
            read(key)
    with pytest.raises(BlobExistsError):
        _put(store, key)
    [listed] = store.list_blobs()
    assert listed.key is None, "so its row has no blob, and nothing sweeps it"
    store.delete_key(key)
    _put(store, key)


def test_a_file_in_the_place_of_a_directory_is_a_store_error(root: Path, store: FileSystemStore) -> None:
    root.mkdir()
    (root / "user-picture").write_bytes(b"")
    with pytest.raises(StoreError):
        _put(store, new_key())
    assert files_in(root) == ["user-picture"]


def test_a_name_too_long_for_the_file_system_is_a_store_error(root: Path, store: FileSystemStore) -> None:
    with pytest.raises(StoreError) as caught:
        _put(store, new_key("x" * 300, *PARTS[1:]))
    assert caught.value.errno == errno.ENAMETOOLONG


def test_a_name_that_is_just_short_enough_is_stored(root: Path, store: FileSystemStore) -> None:
    key = ImageKey("user-picture", 10**200, 640, 480, "image/jpeg", "x" * 36)
    assert len(os.path.basename(key.file_path())) == 250
    _put(store, key)
    assert files_in(root) == [key.file_path()]


# --- several writers -------------------------------------------------------------------------------------------------


def test_writers_that_need_the_same_new_directories_do_not_disturb_each_other(store: FileSystemStore) -> None:
    count = 8
    meeting = threading.Barrier(count, timeout=60)

    def put(number: int) -> None:
        for round_ in range(10):
            meeting.wait()  # all of them make the same directories at the same time
            _put(store, new_key("user-picture", round_, *PARTS[2:]), b"%d" % number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(put, range(count)))
    assert len(files_in(store.path)) == 10 * count


def test_a_directory_that_another_writer_makes_at_that_moment_is_used(
    root: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir
    overtaken: list[str] = []

    def be_overtaken(path: str, mode: int) -> None:
        if os.path.isdir(os.path.dirname(path)) and path not in overtaken:
            overtaken.append(path)
            real(path, mode)
        real(path, mode)

    monkeypatch.setattr(os, "mkdir", be_overtaken)
    key = new_key()
    _put(store, key)
    assert len(overtaken) == 4
    assert files_in(root) == [key.file_path()]


def test_a_writer_copes_with_somebody_who_removes_empty_directories(store: FileSystemStore, root: Path) -> None:
    done = threading.Event()

    def tidy() -> int:
        removed = 0
        while not done.is_set():
            for directory, _, _ in os.walk(root, topdown=False):
                try:
                    os.rmdir(directory)
                    removed += 1
                except OSError:
                    pass  # not empty, which is the point
        return removed

    with ThreadPoolExecutor(1) as pool:
        tidying = pool.submit(tidy)
        try:
            for _ in range(100):
                key = new_key()
                _put(store, key, b"a picture")
                assert store.delete_key(key) is True
        finally:
            done.set()
        assert tidying.result() > 0


def test_processes_that_write_the_same_blob_agree_on_one(root: Path, store: FileSystemStore) -> None:
    script = """
        import io, sys
        from sqlalchemy_imageattach.errors import BlobExistsError
        from sqlalchemy_imageattach.key import ImageKey
        from sqlalchemy_imageattach.stores.fs import FileSystemStore

        store = FileSystemStore(sys.argv[1], "https://images.example.com/")
        print("ready", flush=True)
        sys.stdin.readline()
        won = 0
        for number in range(50):
            try:
                key = ImageKey("user-picture", number, 640, 480, "image/jpeg", "Xk3v9QpLm2w")
                store.put(key, io.BytesIO(sys.argv[2].encode() * 1000), reproducible=False)
                won += 1
            except BlobExistsError:
                pass
        print(won)
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    won = [int(child.communicate()[0]) for child in children]
    assert sum(won) == 50
    contents = []
    for number in range(50):
        with store.get(ImageKey("user-picture", number, 640, 480, "image/jpeg", "Xk3v9QpLm2w")) as file:
            contents.append(file.read())
    assert [contents.count(name * 1000) for name in (b"a", b"b")] == won
    assert len(files_in(root)) == 50


def test_a_long_original_takes_little_memory(root: Path, tmp_path: Path) -> None:
    original = tmp_path / "original"
    with original.open("wb") as file:
        file.truncate(500 * 10**6)
    script = """
        import sys
        from sqlalchemy_imageattach.key import ImageKey
        from sqlalchemy_imageattach.stores.fs import FileSystemStore

        def peak():  # in MiB
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))

        store = FileSystemStore(sys.argv[1], "https://images.example.com/", fsync=False)
        before = peak()
        with open(sys.argv[2], "rb") as source:
            store.put(ImageKey("user-picture", 1, 1, 1, "image/png", "r"), source, reproducible=False)
        print(peak() - before)
    """
    result = run_child(script, root, original)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 8
    [name] = files_in(root)
    assert (root / name).stat().st_size == 500 * 10**6


# --- URLs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base_url", ["https://images.example.com/all", "https://images.example.com/all/"])
def test_urls_are_joined_with_one_slash(root: Path, base_url: str) -> None:
    store = FileSystemStore(root, base_url)
    assert store.get_url(*PARTS, revision="r") == "https://images.example.com/all/user-picture/234/1/1234.640x480.r.jpe"


@pytest.mark.parametrize("base_url", ["/", "", "/images", "//images.example.com", "http://localhost:8000/x?path="])
def test_other_base_urls_are_taken_as_they_are(root: Path, base_url: str) -> None:
    url = FileSystemStore(root, base_url).get_url(*PARTS)
    assert url == f"{base_url.rstrip('/')}/user-picture/234/1/1234.640x480.jpe"


def test_names_are_quoted_in_urls(root: Path) -> None:
    url = FileSystemStore(root, URL).get_url("café prices/50%#1", *PARTS[1:])
    assert url == f"{URL}caf%C3%A9%20prices/50%25%231/234/1/1234.640x480.jpe"


@pytest.mark.parametrize("base_url", ["http://example.com/a b", 'http://example.com/"', "http://e.com/\r\nX: y", "<x>"])
def test_a_base_url_with_characters_that_no_url_has_is_refused(root: Path, base_url: str) -> None:
    with pytest.raises(InvalidValueError, match="base_url"):
        FileSystemStore(root, base_url)


def test_a_store_without_a_base_url_says_what_to_implement(root: Path) -> None:
    class Nameless(BaseFileSystemStore):
        pass

    with pytest.raises(NotImplementedError, match="Nameless has to implement base_url"):
        Nameless(root).get_url(*PARTS)


def test_a_base_url_can_be_computed(root: Path) -> None:
    class PerTenant(BaseFileSystemStore):
        base_url = "https://tenant.example.com/"

    assert PerTenant(root).get_url(*PARTS).startswith("https://tenant.example.com/user-picture/")


# --- HttpExposedFileSystemStore without a request; the rest is tested with a server -----------------------------------


def test_the_prefix_is_the_documented_one(root: Path) -> None:
    store = HttpExposedFileSystemStore(root, host_url_getter=lambda: "https://example.com")
    assert store.get_url(*PARTS) == "https://example.com/__images__/user-picture/234/1/1234.640x480.jpe"


@pytest.mark.parametrize("prefix", ["static/images", "/static/images", "static/images/", "/static/images/"])
@pytest.mark.parametrize("host", ["https://example.com", "https://example.com/"])
def test_prefix_and_host_are_joined_with_one_slash(root: Path, prefix: str, host: str) -> None:
    store = HttpExposedFileSystemStore(root, prefix, lambda: host)
    assert store.base_url == "https://example.com/static/images/"


def test_the_prefix_is_quoted(root: Path) -> None:
    store = HttpExposedFileSystemStore(root, "our images", lambda: "https://example.com")
    assert store.base_url == "https://example.com/our%20images/"


def test_the_getter_is_asked_each_time(root: Path) -> None:
    hosts = iter(["https://one.example.com", "https://two.example.com"])
    store = HttpExposedFileSystemStore(root, host_url_getter=lambda: next(hosts))
    assert [store.base_url[:12], store.base_url[:12]] == ["https://one.", "https://two."]


def test_without_a_host_the_error_names_both_ways(root: Path) -> None:
    store = HttpExposedFileSystemStore(root)
    with pytest.raises(UnknownHostError, match=r"host_url_getter.*wsgi_middleware\(\)") as caught:
        store.get_url(*PARTS)
    assert isinstance(caught.value, RuntimeError)


def test_what_does_not_need_the_host_works_without(root: Path) -> None:
    store, key = HttpExposedFileSystemStore(root), new_key()
    _put(store, key)
    with store.get(key) as file:
        assert file.read() == PICTURE
    assert repr(store) == f"HttpExposedFileSystemStore({str(root)!r}, '__images__')"


@pytest.mark.parametrize(
    ("returned", "error"), [(None, InvalidTypeError), (b"http://x", InvalidTypeError), ("a\r\nb", InvalidValueError)]
)
def test_a_getter_that_returns_no_url_is_refused(root: Path, returned: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="host_url_getter"):
        HttpExposedFileSystemStore(root, host_url_getter=lambda: returned).get_url(*PARTS)


def _host_url() -> str:
    return "https://example.com/"


def test_a_store_with_a_named_getter_can_be_sent_to_another_process(root: Path) -> None:
    store = HttpExposedFileSystemStore(root, "images", _host_url)
    copy = pickle.loads(pickle.dumps(store))
    assert (copy.path, copy.base_url) == (store.path, store.base_url)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (None, InvalidTypeError),
        (42, InvalidTypeError),
        (b"/images", InvalidTypeError),
        ("", InvalidValueError),
        ("a\0b", InvalidValueError),
        (__file__, InvalidValueError),
    ],
)
@pytest.mark.parametrize(
    "kind", [BaseFileSystemStore, lambda path: FileSystemStore(path, URL), HttpExposedFileSystemStore]
)
def test_a_path_of_no_directory_is_refused(kind: Any, path: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="path"):
        kind(path)


def test_a_path_of_bytes_behind_an_object_is_refused() -> None:
    class BytesPath:
        def __fspath__(self) -> bytes:
            return b"/images"

    with pytest.raises(InvalidTypeError, match="str"):
        BaseFileSystemStore(BytesPath())  # type: ignore[arg-type]


@pytest.mark.parametrize("base_url", [None, b"http://x/", 42])
def test_a_base_url_that_is_no_string_is_refused(root: Path, base_url: Any) -> None:
    with pytest.raises(InvalidTypeError, match="base_url"):
        FileSystemStore(root, base_url)


@pytest.mark.parametrize(
    ("prefix", "error"),
    [
        ("", InvalidValueError),
        ("/", InvalidValueError),
        ("a/../b", InvalidValueError),
        ("a//b", InvalidValueError),
        (None, InvalidTypeError),
    ],
)
def test_a_prefix_that_is_no_path_is_refused(root: Path, prefix: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="prefix"):
        HttpExposedFileSystemStore(root, prefix)


def test_a_getter_that_cannot_be_called_is_refused(root: Path) -> None:
    with pytest.raises(InvalidTypeError, match="host_url_getter"):
        HttpExposedFileSystemStore(root, host_url_getter="https://example.com/")  # type: ignore[arg-type]


# --- the module ------------------------------------------------------------------------------------------------------


def test_the_middleware_is_found_where_it_is_documented() -> None:
    assert fs.StaticServerMiddleware is StaticServerMiddleware


def test_storing_needs_no_web_library() -> None:
    script = """
        import sys
        import sqlalchemy_imageattach.stores.fs
        print("werkzeug" in sys.modules)
        import sqlalchemy_imageattach.serving.wsgi
        print("werkzeug" in sys.modules)
        from sqlalchemy_imageattach.entity import *
        from sqlalchemy_imageattach.uploads import Uploads
        print("werkzeug" in sys.modules)
        from sqlalchemy_imageattach.uploads import UploadEndpoint
        print("werkzeug" in sys.modules)
    """
    assert run_child(script).stdout.split() == ["False", "False", "False", "True"]
