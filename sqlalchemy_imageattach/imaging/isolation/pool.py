"""The parent's side: children that wait for work, and what becomes of those that do not come back."""

from __future__ import annotations

import atexit
import json
import multiprocessing.spawn
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO, Final

from ...errors import EngineUnavailableError, RejectedImageError, TooCostlyError, UnreadableImageError
from ..reader import Guarded
from ..sniffing import SNIFF_BYTES, sniff
from .messages import Task, receive_result, send_task

__all__ = ["run"]

#: Pictures after which a child is replaced: what a library leaks goes with it.
_MOST_TASKS: Final = 200
#: Seconds that a child may take to start.
_START: Final = 60.0
#: How much of a picture is copied at once: what the processor's own memory holds takes half as long.
_CHUNK: Final = 2**17
#: What a child gets of the environment: where libraries are, and how ImageMagick is set up; no secrets.
_ENVIRONMENT: Final = ("HOME", "LANG", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "SYSTEMROOT", "XDG_CONFIG_HOME")
_PREFIXES: Final = ("DYLD_", "LC_", "MAGICK_")
#: How a child ends whose picture makes no sense, rather than too much of it.
_CRASHES: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE}) if os.name == "posix" else frozenset()
_PROGRAM: Final = """\
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
from {package}.worker import run_from_command_line
run_from_command_line(sys.argv[1:])
"""


def run(task: Task, source: Guarded) -> list[bytes]:
    """What a child makes of the task, or why it does not.

    :raises TooCostlyError: it took more time or memory than it may
    :raises UnreadableImageError: the picture is damaged
    :raises EngineUnavailableError: no child can be started here
    """
    if os.name != "posix":
        msg = "engines in child processes need a POSIX system; to do without, pass ImagePolicy(isolate=False)"
        raise EngineUnavailableError(msg)
    with _descriptor_of(source) as file:
        blobs = _pool.run(task, file.fileno())
    for blob, order in zip(blobs, task.orders or (), strict=True):
        if sniff(blob[:SNIFF_BYTES]) != order.target.mimetype:
            msg = f"the {task.info.mimetype} made its decoder give no {order.target.mimetype}; give an intact file"
            raise UnreadableImageError(msg)
    return blobs


def _descriptor_of(source: Guarded) -> IO[bytes]:
    """The picture as a file that has no name: the one copy that is made of it."""
    file = open(os.memfd_create("picture"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()  # noqa: SIM115
    try:
        source.seek(0)
        shutil.copyfileobj(source, file, _CHUNK)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


class _Child:
    """A child process that has started: everything opened is closed, and the process ended, by :meth:`end`."""

    def __init__(self, engine: str, readable: tuple[str, ...]) -> None:
        self.tasks = 0
        self.is_usable = True
        self.walls: list[str] = []
        self._channel, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        command = [
            *(_python(), "-I", "-c", _PROGRAM.format(package=__package__), json.dumps(_path())),
            *(str(theirs.fileno()), str(lifeline), engine, json.dumps(readable)),
        ]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            self._close()
            msg = f"no child process can be started for the {engine} engine ({error})"
            raise EngineUnavailableError(msg) from error
        finally:
            theirs.close()
            os.close(lifeline)
        try:
            self._greet(engine)
        except BaseException:
            self.end()
            raise

    def _greet(self, engine: str) -> None:
        self._channel.settimeout(_START)
        greeting = b""
        with suppress(OSError):
            while not greeting.endswith(b"\n") and (piece := self._channel.recv(4096)):
                greeting += piece
        try:
            said = json.loads(greeting)
        except ValueError:
            said = f"it ended with status {self.end()}"
        if isinstance(said, str):
            raise EngineUnavailableError(f"the child process for the {engine} engine does not start: {said}")
        self.walls = said

    def work(self, task: Task, descriptor: int) -> list[bytes]:
        """What it makes of a task.

        :raises BrokenPipeError: it had ended before
        """
        self.tasks += 1
        self.is_usable = False
        # a limit of CPU time does not end what waits; this does
        deadline = time.monotonic() + 4 * task.seconds + 1
        self._channel.settimeout(None)
        send_task(self._channel, task, descriptor)
        try:
            blobs = receive_result(self._channel, task, deadline)
        except TimeoutError:
            raise _obituary(-signal.SIGPROF, task) from None
        except (EOFError, ConnectionError):
            raise _obituary(self.end(), task) from None
        except TooCostlyError:
            raise
        except RejectedImageError:
            self.is_usable = True
            raise
        self.is_usable = True
        return blobs

    def end(self) -> int:
        """Make sure that nothing of it is left, and tell how it ended."""
        self._close()
        # the kernel ends it now that its lifeline is closed, unless it has ended by itself, and then that counts
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        with suppress(OSError):
            self._process.kill()
        return self._process.wait()

    def forget(self) -> None:
        """After a fork: it is the parent's."""
        self._close()
        self._process.returncode = 0

    def _close(self) -> None:
        self._channel.close()
        # once: the next file that some other thread opens gets the same number
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)


def _obituary(status: int, task: Task) -> RejectedImageError:
    kind = task.info.mimetype
    if -status in _CRASHES:
        return UnreadableImageError(f"the {kind} makes its decoder crash; give an intact file", code="undecodable")
    if -status in {signal.SIGPROF, signal.SIGXCPU}:
        msg = f"the {kind} takes more than {task.seconds:g} seconds to decode; give a simpler picture"
        return TooCostlyError(msg, code="too_slow", limit=task.seconds)
    # an allocation that fails ends most libraries, in one way or another
    megabytes = task.memory // 2**20
    msg = f"the {kind} takes more than {megabytes:,} MiB to decode; give a smaller picture"
    return TooCostlyError(msg, code="too_much_memory", limit=task.memory)


class _Pool:
    """Children by their engine and the fonts that they may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, tuple[str, ...]], list[_Child]] = {}
        self._busy: set[_Child] = set()
        # no more at once than there are processors: more would only take memory
        self._slots = threading.BoundedSemaphore(os.cpu_count() or 1)

    def run(self, task: Task, descriptor: int) -> list[bytes]:
        key = task.engine, (*task.policy.fonts, *_fonts(task.engine))
        with self._slots:
            while True:
                child, is_new = self._take(key)
                try:
                    return child.work(task, descriptor)
                except (BrokenPipeError, ConnectionResetError):
                    # one that has waited too long has gone home; a new one has not
                    if is_new:
                        raise _obituary(child.end(), task) from None
                finally:
                    self._give(key, child)

    def _take(self, key: tuple[str, tuple[str, ...]]) -> tuple[_Child, bool]:
        with self._lock:
            waiting = self._idle.get(key)
            child = waiting.pop() if waiting else None
            if child is not None:
                self._busy.add(child)
                return child, False
        child = _Child(*key)
        with self._lock:
            self._busy.add(child)
        return child, True

    def _give(self, key: tuple[str, tuple[str, ...]], child: _Child) -> None:
        with self._lock:
            self._busy.discard(child)
            if child.is_usable and child.tasks < _MOST_TASKS:
                self._idle.setdefault(key, []).append(child)
                return
        child.end()

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            children = [*self._busy, *(child for waiting in self._idle.values() for child in waiting)]
            self._busy.clear()
            self._idle.clear()
        for child in children:
            child.end()

    def forget(self) -> None:
        """After a fork: they are the parent's."""
        for child in [*self._busy, *(child for waiting in self._idle.values() for child in waiting)]:
            child.forget()


_pool = _Pool()


def _after_fork() -> None:
    global _pool
    # without its lock, which another thread of the parent may have held
    _pool.forget()
    _pool = _Pool()


def _close() -> None:
    _pool.close()


if os.name == "posix":
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_close)


def _fonts(engine: str) -> tuple[str, ...]:
    if engine != "resvg":
        return ()
    from ..engines.resvg import bundled_fonts

    return bundled_fonts()


def _python() -> str:
    """The program that runs Python; where another program has Python within itself, the one beside its library."""
    program = os.fsdecode(multiprocessing.spawn.get_executable() or "")
    if "python" in os.path.basename(program).lower() or "pypy" in os.path.basename(program).lower():
        return program
    return os.path.join(sys.exec_prefix, "bin", "python3")


def _path() -> list[str]:
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    return [*(os.path.abspath(path) for path in sys.path if path), ours]


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key in _ENVIRONMENT or key.startswith(_PREFIXES)}
