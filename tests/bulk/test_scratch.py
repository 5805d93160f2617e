"""Lists on the disk, which may be full."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

FULL = """
    import resource, sys
    from sqlalchemy_imageattach.bulk.scratch import scratch_database

    database = scratch_database()
    database.execute("CREATE TABLE name (name TEXT)")
    names = ((f"{number:01000}",) for number in range(100_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    try:
        database.executemany("INSERT INTO name VALUES (?)", names)
    except OSError as error:
        print(type(error).__name__, error.errno)
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only the kernel of Linux limits files so")
def test_a_full_disk_is_an_oserror_that_says_where_to_make_room_and_leaves_no_file(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FULL)],
        env={"TMPDIR": str(tmp_path), "SQLITE_TMPDIR": str(tmp_path)},
        text=True,
        capture_output=True,
        check=False,
    )
    kind, message = result.stdout.splitlines() or ["", result.stderr]
    assert kind == "TemporaryFileError 28", "ENOSPC"
    assert "make room in it, or let SQLITE_TMPDIR name another one" in message
    assert list(tmp_path.iterdir()) == []
