"""Lists that are too long for memory, in a temporary file that nobody has to clean up."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from ..concurrency import run_blocking
from ..errors import TemporaryFileError
from ..store import Store, StoredBlob

__all__ = ["batches", "blobs_of", "scratch_database"]

_T = TypeVar("_T")

#: Items that are handed on at a time.
BATCH = 1000

# What SQLite may keep in memory of it, in KiB.
_CACHE = 16 * 1024


class _Scratch(sqlite3.Connection):
    """Says that it is the temporary directory when there is no room."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with _scratch_errors():
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        with _scratch_errors():
            return super().executemany(*arguments)

    def executescript(self, *arguments: Any) -> sqlite3.Cursor:
        with _scratch_errors():
            return super().executescript(*arguments)


@contextmanager
def _scratch_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        msg = (
            f"cannot write to the temporary directory ({error}); make room in it, or let SQLITE_TMPDIR name another one"
        )
        raise TemporaryFileError(errno.ENOSPC, msg) from error


def scratch_database() -> sqlite3.Connection:
    """An empty database that has no name, grows on the disk and is gone when it is closed, even by ``kill -9``.

    SQLite puts it where ``SQLITE_TMPDIR`` or ``TMPDIR`` says: a million rows and blobs take about half a gigabyte.
    """
    # closed by a finalizer, which may run in any thread; all the rest is done by one
    connection = sqlite3.connect("", check_same_thread=False, factory=_Scratch)
    for setting in ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE", f"cache_size = -{_CACHE}"):
        connection.execute(f"PRAGMA {setting}")
    return connection


def blobs_of(store: Store, prefix: str = "") -> Iterator[list[StoredBlob]]:
    """What :meth:`~sqlalchemy_imageattach.store.Store.list_blobs` gives, in batches; below an AsyncSession on a thread.

    :raises ListingNotSupportedError: the store cannot list
    :raises StoreError: it failed to
    """
    blobs = run_blocking(store.list_blobs, prefix)
    while batch := run_blocking(lambda: list(islice(blobs, BATCH))):
        yield batch


def batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    """``items``, some at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
