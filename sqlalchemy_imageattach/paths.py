"""Where a path leads, links followed."""

from __future__ import annotations

import os

__all__ = ["is_inside", "real_path_of"]


def is_inside(root: str, path: str) -> bool:
    """Whether ``path``, which is below ``root`` by its name, is so in truth: no symbolic link in between leads out."""
    step = path
    while step != root:
        if os.path.islink(step):
            real_root = os.path.realpath(root)
            return os.path.commonpath([real_root, os.path.realpath(path)]) == real_root
        step = os.path.dirname(step)
    return True


def real_path_of(descriptor: int) -> str | None:
    """The path of an open file, without links; ``None`` where the system does not tell."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None
