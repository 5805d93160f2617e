"""What the disk says, as errors of a store."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from ...errors import BlobExistsError, BlobNotFoundError, StoreAccessDeniedError, StoreError
from ...key import ImageKey

__all__ = ["store_errors"]

#: Nothing can be there: strangers ask for names that are too long, or that are below those of files.
_NOWHERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}


@contextmanager
def store_errors(doing: Literal["store", "read", "delete"], key: ImageKey) -> Iterator[None]:
    """Within, an :exc:`OSError` becomes the :exc:`StoreError` that says it best, naming ``key`` and not its path."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise _store_error(doing, key, error) from error


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
