"""Server processes: found, started on free ports, waited for, and never left behind."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.needs import unavailable

__all__ = ["LOOPBACK", "ServerProcess", "free_ports", "program"]

LOOPBACK = "127.0.0.1"

_PR_SET_PDEATHSIG = 1


def program(name: str, package: str) -> str:
    """The path of a program that a PyPI package brings."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        unavailable(f"no {name} here, the server that these tests need: pip install {package}")
    return found


def free_ports(count: int, below: int = 65536) -> list[int]:
    """Ports that nobody listens to; all of them are different."""
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            held.append(socket.socket())
            held[-1].bind((LOOPBACK, 0))
            port = held[-1].getsockname()[1]
            if port < below:
                ports.append(port)
    finally:
        for each in held:
            each.close()
    return ports


class ServerProcess:
    """A running server.  It ends with :meth:`kill`, with the interpreter, or with the death of the interpreter.

    :param command: the program and its arguments
    :param directory: where it runs and where its output goes, to ``log``
    :param ready: asked again and again until it no longer raises: then the server works
    """

    #: How long a server may take to start on a machine that is busy with other things; it is up in about a second.
    PATIENCE = 90.0

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        ready: Callable[[], object],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = directory / "log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        atexit.register(self.kill)
        try:
            self._wait(ready)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Afterwards the server is gone.  What it has not written is lost, and nobody needs it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        atexit.unregister(self.kill)

    def _wait(self, ready: Callable[[], object]) -> None:
        end = time.monotonic() + self.PATIENCE
        while True:
            try:
                ready()
            except Exception as error:
                gone = self._process.poll() is not None
                if gone or time.monotonic() > end:
                    tail = self.log.read_text(errors="replace")[-3000:]
                    msg = f"{self._process.args!r} {'ended' if gone else 'does not answer'}: {error}\n{tail}"
                    raise RuntimeError(msg) from error
                time.sleep(0.05)
            else:
                return


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
