"""The body of an answer on its way to a file."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

FULL = """
    import resource, sys, tempfile
    from sqlalchemy_imageattach.remote import FetchPolicy
    from sqlalchemy_imageattach.remote.journey import Body

    tempfile.tempdir = sys.argv[1]
    body = Body({}, FetchPolicy(max_bytes=1 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    try:
        for _ in range(int(sys.argv[2])):
            body.feed(bytes(1000))
        body.end()
    except OSError as error:
        print(type(error).__name__, error.errno)
    body.close()
"""


@pytest.mark.parametrize(("limit", "pieces"), [(1 << 20, 100_000), (9_000_000, 9_001)], ids=["at once", "at the end"])
@pytest.mark.skipif(sys.platform != "linux", reason="only the kernel of Linux limits files so")
def test_a_full_disk_is_an_error_of_the_temporary_directory_and_leaves_no_file(
    tmp_path: Path, limit: int, pieces: int
) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FULL), str(tmp_path), str(pieces), str(limit)],
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.stdout.split() == ["TemporaryFileError", "27"], result.stderr  # EFBIG
    assert list(tmp_path.iterdir()) == []
