"""What the tests of stores share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy_imageattach.key import ImageKey, new_revision

PARTS = ("user-picture", 1234, 640, 480, "image/jpeg")
PICTURE = bytes(range(256)) * 2500  # longer than two chunks


def new_key(*parts: Any) -> ImageKey:
    """A key that no other test has."""
    object_type, object_id, width, height, mimetype = parts or PARTS
    return ImageKey(object_type, object_id, width, height, mimetype, new_revision())


def files_in(directory: Path | str) -> list[str]:
    """All files below ``directory``, by their relative paths."""
    return sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*") if not path.is_dir())


def run_child(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in a Python process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)],
        text=True,
        capture_output=True,
        check=False,
    )


@contextmanager
def without_privileges() -> Iterator[None]:
    """Within, the permissions of files count even if the tests are run by root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
