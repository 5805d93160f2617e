"""A PostgreSQL of our own, with prepared transactions: most servers are set up without them."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL


def find_programs() -> Path | None:
    """The directory with ``initdb`` and ``pg_ctl``."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if (on_path := shutil.which("initdb")) is not None:
        found.append(Path(on_path))
    return found[-1].parent if found else None


@contextmanager
def readable(installed: Path) -> Iterator[Path]:
    """``installed``, or a copy of it, where the user whom the server runs as could not read it."""
    if os.getuid() != 0 or all(each.stat().st_mode & 0o005 == 0o005 for each in [installed, *installed.parents]):
        yield installed
        return
    with tempfile.TemporaryDirectory(prefix="imageattach-programs-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        copied = Path(directory) / installed.name
        shutil.copytree(installed, copied, symlinks=True)
        copied.chmod(0o755)
        yield copied


@contextmanager
def postgresql_with_prepared_transactions(programs: Path, driver: str) -> Iterator[URL]:
    """The address of the ``postgres`` database of a server that is stopped and deleted afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="imageattach-pg-") as directory:
        user = _unprivileged(directory)
        data = f"{directory}/data"

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **user)

        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c max_prepared_transactions=8 -c fsync=off"
        run("pg_ctl", "-D", data, "-o", options, "-l", f"{directory}/log", "-w", "start")
        # stops it when our end of the pipe is closed, which a killed process does too
        stop = 'read -r _; "$0" -D "$1" -m immediate -w stop; rm -rf "$1"'
        command = ["sh", "-c", stop, str(programs / "pg_ctl"), data]
        keeper = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, **user
        )
        try:
            yield URL.create(driver, "postgres", host="127.0.0.1", port=port, database="postgres")
        finally:
            assert keeper.stdin is not None
            keeper.stdin.close()
            keeper.wait()


def _unprivileged(directory: str) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as the user whom its package has made, or else as nobody.

    That user gets ``directory``.
    """
    if os.getuid() != 0:
        return {}
    entry = next((each for each in pwd.getpwall() if each.pw_name == "postgres"), None) or pwd.getpwnam("nobody")
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_name, "cwd": directory}
