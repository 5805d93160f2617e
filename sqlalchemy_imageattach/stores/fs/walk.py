"""What is in a directory: each file once, by one name, and nothing that a link leads to twice."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from ...errors import StoreAccessDeniedError, StoreError
from ...key import ImageKey
from ...paths import is_inside
from ...store import StoredBlob

__all__ = ["list_files", "temporary_of"]

_TEMPORARY = re.compile(r"(?P<directory>.*/)?\.(?P<name>[^/]+)\.[0-9a-f]{16}\.tmp", re.DOTALL)


def list_files(root: str, prefix: str, *, follow_symlinks: bool) -> Iterator[StoredBlob]:
    """All files below ``root``, whose names start with ``prefix``, in the order in which the system gives them.

    Symbolic links to files are listed as what is no blob.  Those to directories outside are followed if
    ``follow_symlinks``; those within would give one blob two names, so that one of them would seem to be nobody's.

    :raises StoreError: it cannot be read to its end, or has two names for the same file
    """
    walk = _Walk(root, prefix, follow_symlinks)
    try:
        yield from walk.run()
    except PermissionError as error:
        msg = f"cannot list the directory: {error}; check the owner and the mode of its directories"
        raise StoreAccessDeniedError(error.errno, msg) from error
    except StoreError:
        raise
    except OSError as error:
        msg = f"cannot list the directory: {error}"
        raise StoreError(error.errno, msg) from error
    finally:
        walk.close()


def temporary_of(name: str) -> ImageKey | None:
    """The key of the blob that the unfinished write ``name`` was to become; ``None`` if it is none of ours."""
    match = _TEMPORARY.fullmatch(name)
    return match and ImageKey.parse_file_path(f"{match['directory'] or ''}{match['name']}")


class _Walk:
    def __init__(self, root: str, prefix: str, follow_symlinks: bool) -> None:
        self._root = root
        self._prefix = prefix
        self._follow_symlinks = follow_symlinks
        # directories that are being read, from the root on: memory grows with the depth only
        self._open: list[tuple[os._ScandirIterator[str], str]] = []
        self._linked: set[tuple[int, int]] = set()

    def run(self) -> Iterator[StoredBlob]:
        self._enter(self._root, "")
        while self._open:
            entries, directory = self._open[-1]
            entry = next(entries, None)
            if entry is None:
                entries.close()
                self._open.pop()
                continue
            name = f"{directory}{entry.name}"
            if self._is_directory(entry, name):
                if f"{name}/".startswith(self._prefix) or self._prefix.startswith(f"{name}/"):
                    self._enter(entry.path, f"{name}/")
            elif name.startswith(self._prefix) and (blob := _blob(entry, name)) is not None:
                yield blob

    def close(self) -> None:
        for entries, _ in self._open:
            entries.close()

    def _enter(self, path: str, directory: str) -> None:
        with suppress(FileNotFoundError):  # removed meanwhile, or a store that has never been written to
            self._open.append((os.scandir(path), directory))

    def _is_directory(self, entry: os.DirEntry[str], name: str) -> bool:
        if not entry.is_symlink():
            return entry.is_dir(follow_symlinks=False)
        try:
            if not entry.is_dir():
                return False
            status = os.stat(entry.path)
        except FileNotFoundError:
            return False
        if is_inside(self._root, entry.path):
            raise self._ambiguous(name)
        if not self._follow_symlinks:
            return False  # its blobs are refused, too
        if (status.st_dev, status.st_ino) in self._linked:
            raise self._ambiguous(name)
        self._linked.add((status.st_dev, status.st_ino))
        return True

    def _ambiguous(self, name: str) -> StoreError:
        msg = (
            f"the symbolic link {name!r} gives another name to blobs that are in the store already, so nobody can tell"
            " which of them are needed; remove it"
        )
        return StoreError(errno.ELOOP, msg)


def _blob(entry: os.DirEntry[str], name: str) -> StoredBlob | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    # names that are no text, as old archives have them, cannot be those of a key
    text = os.fsencode(name).decode(errors="backslashreplace")
    is_ours = text == name and stat.S_ISREG(status.st_mode)
    return StoredBlob(
        name=text,
        byte_size=status.st_size,
        modified_at=_time(status.st_mtime),
        key=ImageKey.parse_file_path(name) if is_ours else None,
        is_temporary=is_ours and temporary_of(name) is not None,
    )


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # nonsense counts as new, which is never swept
        return datetime.max.replace(tzinfo=UTC)
