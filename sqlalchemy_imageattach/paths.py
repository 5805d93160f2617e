"""Where a path leads, links followed, and whether a file is there."""

from __future__ import annotations

import errno
import os
import stat
from typing import IO

__all__ = ["is_inside", "open_descriptor", "open_file", "real_path_of"]

_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NOCTTY"))
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


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


def open_file(path: str | os.PathLike[str]) -> IO[bytes]:
    """The file at ``path``, opened for reading as by :func:`open`, but for what would keep its reader waiting for ever.

    :raises IsADirectoryError: it is a directory
    :raises OSError: it is a named pipe, a socket or a device, or cannot be opened
    """
    return open(path, "rb", opener=lambda path, flags: open_descriptor(path)[0])


def open_descriptor(path: str | os.PathLike[str]) -> tuple[int, os.stat_result]:
    """The same as a descriptor, with the status.  **The only way to open what others may have put there.**"""
    try:
        descriptor = os.open(path, _FLAGS | _AT_ONCE)  # opening a named pipe would wait for its other end
    except BlockingIOError:
        # it is a file on which another process has a lease, as Samba takes them, and which that now gives back
        descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            msg = "it is a named pipe or a device, and no file: remove it"
            raise OSError(errno.EINVAL, msg)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status
