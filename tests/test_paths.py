"""Opening what others may have put where a file should be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sqlalchemy_imageattach.paths import open_descriptor, open_file


def put_in_place(path: Path, kind: str) -> None:
    """Put something at ``path`` that is no file, and that nobody has opened at its other end."""
    match kind:
        case "named pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                directory = os.open(path.parent, os.O_RDONLY)
                server.bind(f"/proc/self/fd/{directory}/{path.name}")  # a socket's path must not be long
                os.close(directory)
        case "device":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_opened_as_usual(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpe"
    path.write_bytes(b"a picture")
    with open_file(path) as file:
        assert (file.read(), file.name) == (b"a picture", str(path))
        assert not os.get_inheritable(file.fileno())
    descriptor, status = open_descriptor(path)
    os.close(descriptor)
    assert status.st_size == 9
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "none")


@pytest.mark.parametrize("kind", ["named pipe", "socket", "device", "directory"])
def test_what_is_no_file_is_refused_at_once_and_left_closed(tmp_path: Path, kind: str) -> None:
    put_in_place(tmp_path / "x", kind)
    before = open_descriptors()
    for opener in (open_file, open_descriptor):
        with pytest.raises(IsADirectoryError if kind == "directory" else OSError):
            opener(tmp_path / "x")
    assert open_descriptors() == before


def test_a_named_pipe_that_somebody_writes_to_is_refused_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        with pytest.raises(OSError, match="named pipe or a device, and no file"):
            open_file(tmp_path / "pipe")
    finally:
        os.close(writer)


HOLDER = """
import fcntl, os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
signal.sigwait({signal.SIGIO})
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
"""


def test_a_lease_of_another_program_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpe"
    path.write_bytes(b"a picture")
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with open_file(path) as file:
            assert file.read() == b"a picture"
    assert holder.returncode == 0
