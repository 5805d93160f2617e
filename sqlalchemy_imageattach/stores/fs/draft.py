"""How a file comes to be whole or not at all: it is written under another name, and renamed when it is complete."""

from __future__ import annotations

import errno
import io
import os
import secrets
from contextlib import suppress

from ...key import ImageKey
from .errors import store_errors

__all__ = ["Draft"]

# How often to make the directory anew when somebody removes it, since it is empty, before the file is in it.
_ATTEMPTS = 100

# What file systems without hard links say when asked for one.
_NO_HARD_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EMLINK}

# What file systems whose directories cannot be synchronised say; they have other ways, or none.
_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF}


class Draft:
    """A file in the making, next to where it will be: ``.<name>.<random>.tmp`` until it is published.

    Of its errors those of the disk are :exc:`StoreError`; :meth:`discard` leaves nothing of it.

    :param path: where the file will be
    :param key: its key, for messages
    :param file_mode: the permissions of the file, before the umask
    :param directory_mode: the permissions of directories to be made for it, before the umask
    :param fsync: whether it must be on the disk when it counts as published
    """

    def __init__(self, path: str, key: ImageKey, file_mode: int, directory_mode: int, fsync: bool) -> None:
        self.path = path
        self._key = key
        self._directory, name = os.path.split(path)
        # cut, so that a name that is just short enough for the file system does not get too long
        self._temporary = os.path.join(self._directory, f".{name[:200]}.{secrets.token_hex(8)}.tmp")
        self._directory_mode = directory_mode
        self._fsync = fsync
        self._linked = False
        self._enlarged: dict[str, None] = {}  # directories in which new ones were made, in order
        with store_errors("store", key):
            self._file = io.FileIO(self._create(file_mode), "wb")
            self._synchronise_new_directories()

    def write(self, data: bytes, /) -> int | None:
        """Writes ``data`` or the first part of it, and returns how many bytes that was."""
        with store_errors("store", self._key):
            return self._file.write(data)

    def publish(self, *, replace: bool) -> None:
        """Afterwards the file is complete and in its place.

        :param replace: whether it may take the place of another one
        :raises BlobExistsError: there is another one, and it may not
        """
        with store_errors("store", self._key):
            if self._fsync:
                os.fsync(self._file.fileno())
            self._file.close()
            if replace:
                os.replace(self._temporary, self.path)
            else:
                self._rename_to_free_place()
            if self._fsync:
                _sync_directory(self._directory)

    def discard(self) -> None:
        """Afterwards neither the temporary file is there nor one published with ``replace=False``."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            os.unlink(self._temporary)
        # one that replaced another stays: the former is gone in any case, and a row may still name it
        if self._linked:
            with suppress(OSError):
                os.unlink(self.path)

    def _rename_to_free_place(self) -> None:
        # a link, since rename() would silently overwrite
        try:
            os.link(self._temporary, self.path)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._rename_if_free()
        else:
            self._linked = True
            os.unlink(self._temporary)

    def _rename_if_free(self) -> None:
        if os.path.lexists(self.path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(self._temporary, self.path)
        self._linked = True

    def _create(self, mode: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        for _ in range(_ATTEMPTS):
            try:
                return os.open(self._temporary, flags, mode)
            except FileNotFoundError:
                self._make_directory(self._directory)
        msg = "its directory is removed again and again"
        raise OSError(errno.ENOENT, msg)

    def _make_directory(self, directory: str) -> None:
        try:
            os.mkdir(directory, self._directory_mode)
        except FileExistsError:
            return  # another writer was faster, or it is no directory, which opening the file will tell
        except FileNotFoundError:
            self._make_directory(os.path.dirname(directory))
            return  # _create() comes back for this one: the parent may be gone again
        self._enlarged[os.path.dirname(directory)] = None

    def _synchronise_new_directories(self) -> None:
        if not self._fsync:
            return
        try:
            # only now: in between, an empty directory could be removed, which it cannot any more
            for directory in self._enlarged:
                _sync_directory(directory)
        except BaseException:
            self.discard()
            raise


def _sync_directory(directory: str) -> None:
    if os.name == "nt":  # Windows opens no directories
        return
    descriptor = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)
