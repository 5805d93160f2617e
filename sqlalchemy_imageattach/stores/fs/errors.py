"""What the disk says, as errors of a store."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Final, Literal

from ...errors import BlobExistsError, BlobNotFoundError, StoreAccessDeniedError, StoreError
from ...key import ImageKey

__all__ = ["store_errors"]

#: Nothing can be there: strangers ask for names that are too long, or that are below those of files.
_NOWHERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}


class store_errors:  # read as a verb: with store_errors("read", key)
    """Within, an :exc:`OSError` becomes the :exc:`StoreError` that says it best, naming ``key`` and not its path.

    It is entered for each piece of a file, so it is no generator, which takes five times as long.
    """

    __slots__ = ("_doing", "_key")

    def __init__(self, doing: Literal["store", "read", "delete"], key: ImageKey) -> None:
        self._doing = doing
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise _store_error(self._doing, self._key, error) from error


def _store_error(doing: str, key: ImageKey, error: OSError) -> StoreError:
    name = key.file_path()
    if doing == "read" and error.errno in _NOWHERE:
        return BlobNotFoundError(error.errno, f"no such blob: {name}")
    if doing == "store" and isinstance(error, FileExistsError):
        msg = f"{name} is stored already, and is never overwritten; store it with a new revision"
        return BlobExistsError(error.errno, msg)
    msg = f"cannot {doing} {name}: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return StoreAccessDeniedError(error.errno, f"{msg}; check the owner and the mode of the store's directories")
    return StoreError(error.errno, msg)
