"""What the kernel keeps a child from: each thing is tried, by code that is within the walls and means harm."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.imaging.test_engine import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls are the kernel's")

WITHIN = """
import ctypes, os, socket, sys
import sqlalchemy_imageattach.imaging.engines.pillow
from sqlalchemy_imageattach.imaging.isolation import walls
first, second = socket.socketpair()
built = walls.detach() + walls.confine([])
def attempt(harm):
    try:
        harm()
    except (OSError, ImportError) as error:
        return type(error).__name__
    return "done"
"""


def test_all_walls_stand_here() -> None:
    assert python(f"{WITHIN}\nprint(*built)") == "limits privileges network files calls"


HARMS = [
    "open('/etc/passwd')",
    "open('tests/images/coffee.jpg')",
    "open('README.rst')",
    "open('/proc/self/environ')",
    "open('/tmp/written', 'w')",
    "os.mkdir('/tmp/made')",
    "os.symlink('/etc/passwd', '/tmp/linked')",
    "os.unlink('README.rst')",
    "os.rename('README.rst', 'gone')",
    "os.open('/usr/lib', os.O_RDWR | os.O_TMPFILE)",
    "os.listdir('/tmp')",
    "socket.socket()",
    "socket.socket(socket.AF_UNIX)",
    "socket.create_connection(('127.0.0.1', 5432))",
    "os.execv(sys.executable, [sys.executable, '-c', '0'])",
    "os.posix_spawn(sys.executable, [sys.executable, '-c', '0'], {})",
    "os.kill(os.getppid(), 0)",
    "os.chroot('/')",
]


@pytest.fixture(scope="module")
def attempts() -> dict[str, str]:
    """What each of them comes to, one after the other within one set of walls."""
    harms = ", ".join(f"{harm!r}: lambda: {harm}" for harm in HARMS)
    code = f"""{WITHIN}
import json
for name, harm in {{{harms}}}.items():
    print(json.dumps([name, attempt(harm)]), flush=True)
"""
    return dict(json.loads(line) for line in python(code).splitlines())


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_within_cannot(harm: str, attempts: dict[str, str]) -> None:
    assert attempts[harm] in {"PermissionError", "FileNotFoundError"}


def test_what_it_has_it_can_use_and_libraries_can_be_read() -> None:
    code = f"""{WITHIN}
first.sendall(b"heard")
import colorsys, threading
thread = threading.Thread(target=lambda: print(second.recv(9).decode(), end=" "))
thread.start(); thread.join()
print(len(open(colorsys.__file__).read()) > 0, attempt(lambda: open("/dev/null").read()))
"""
    assert python(code) == "heard True done"


def test_no_core_is_dumped_and_nothing_is_written() -> None:
    code = f"""{WITHIN}
import resource
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_FSIZE))
"""
    assert python(code) == "(0, 0) (0, 0)"


@pytest.mark.parametrize(
    ("work", "status"),
    [
        # within one call of C, which no handler of Python's could interrupt
        ("9 ** 9 ** 9", "SIGPROF"),
        ("bytearray(400_000_000)", "MemoryError"),
        ("ctypes.string_at(0)", "SIGSEGV"),
    ],
)
def test_what_takes_too_much_is_ended(work: str, status: str) -> None:
    code = f"""
import os, signal
pid = os.fork()
if pid == 0:
    {WITHIN.replace(chr(10), chr(10) + "    ")}
    walls.limit(0.2, 100_000_000)
    try:
        {work}
    except MemoryError:
        os._exit(9)
_, status = os.waitpid(pid, 0)
code = os.waitstatus_to_exitcode(status)
print("MemoryError" if code == 9 else signal.Signals(-code).name)
"""
    assert python(code) == status


def test_a_child_gets_no_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy_imageattach.imaging.isolation.pool import _environment

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("MAGICK_MEMORY_LIMIT", "1GiB")
    assert "secret" not in _environment().values()
    assert _environment()["MAGICK_MEMORY_LIMIT"] == os.environ["MAGICK_MEMORY_LIMIT"]
