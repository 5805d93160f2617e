"""How one blob gets from one store into another, and is known to be there: the part of a migration that threads do.

Nothing here asks the database, and nothing here changes the source.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from ..bulk.digest import Digest, Source, digest_of
from ..bulk.failures import without_traceback
from ..bulk.rows import ImageRow
from ..errors import BlobExistsError, StoreError
from ..file import Spool
from ..key import ImageKey
from ..store import Store, keeps_revisions

__all__ = [
    "BlobMismatchError",
    "Copier",
    "Outcome",
    "Settled",
    "Task",
    "Unlisted",
    "Verify",
]

#: What is verified: nothing, what is being copied, or also what the destination gives back.
Verify = Literal["none", "copy", "read-back"]


class BlobMismatchError(StoreError):
    """A blob is not the one that its row describes, or not the one that was written: its bytes have changed."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.strerror,)


class Outcome(StrEnum):
    """What became of one blob."""

    COPIED = "copied"
    PRESENT = "present"
    FAILED = "failed"


class Unlisted:
    """Stands for the size of a blob of which nobody knows whether the destination has it."""


UNLISTED: Final = Unlisted()


@dataclass(frozen=True, slots=True)
class Task:
    """A row whose blob is to be in the destination.

    :param row: the row
    :param key: its key
    :param listed: the size of the blob that the destination has already; ``None`` if it has none
    """

    row: ImageRow
    key: ImageKey
    listed: int | None | Unlisted

    @property
    def recorded(self) -> Digest:
        return Digest(self.row.byte_size, self.row.checksum)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a task.

    :param byte_size: the length of the blob in bytes, as far as it is known
    :param error: why it failed
    :param in_destination: whether it was the destination that failed
    """

    task: Task
    outcome: Outcome
    byte_size: int = 0
    error: Exception | None = None
    in_destination: bool = False


@dataclass(frozen=True, slots=True)
class Copier:
    """Brings blobs from ``source`` to ``destination``; threads can share it if they can share the stores."""

    source: Source
    destination: Store
    verify: Verify
    dry_run: bool

    def settle(self, task: Task) -> Settled:
        """Afterwards the destination has the blob of ``task``, whole; where that failed, it has no damaged one."""
        try:
            there = self._find(task)
            if there is not None and self._is_right(task, there):
                return Settled(task, Outcome.PRESENT, there.byte_size or 0)
            if self.dry_run:
                return Settled(task, Outcome.COPIED, task.recorded.byte_size or 0)
            content = self._read(task)
        except Exception as error:  # whatever a store may raise: it is one blob's failure
            return Settled(task, Outcome.FAILED, error=without_traceback(error))
        try:
            outcome = self._put(task, content, replace=there is not None)
        except Exception as error:
            return Settled(task, Outcome.FAILED, error=without_traceback(error), in_destination=True)
        return Settled(task, outcome, content.byte_size)

    def _read(self, task: Task) -> Spool:
        with self.source.get(task.key) as file:
            content = Spool.read_from(file)
        found = Digest(content.byte_size, content.checksum)
        if self.verify != "none" and not task.recorded.agrees_with(found):
            error = _mismatch("the source's blob of", task.key, task.recorded, found)
            raise error
        return content

    def _find(self, task: Task) -> Digest | None:
        """What the destination has, with as little effort as will do."""
        if task.listed is None:
            return None
        sizes_tell = self._is_immutable(task.key) and task.recorded.byte_size is not None
        if sizes_tell and self.verify != "read-back" and not isinstance(task.listed, Unlisted):
            return Digest(task.listed, None)
        try:
            return digest_of(self.destination, task.key)
        except OSError as error:
            # a store of 1.x says no more than this; one that is out of order will say so again when it is written to
            if isinstance(error, FileNotFoundError) or isinstance(task.listed, Unlisted):
                return None
            raise

    def _is_right(self, task: Task, there: Digest) -> bool:
        recorded = task.recorded
        if there.checksum is None:
            return recorded.byte_size == there.byte_size
        if not recorded.is_complete:
            try:
                recorded = digest_of(self.source, task.key)
            except FileNotFoundError:
                return True  # nothing is left to compare it with, and nothing to copy
        return recorded.agrees_with(there)

    def _put(self, task: Task, content: Spool, *, replace: bool) -> Outcome:
        copied = Digest(content.byte_size, content.checksum)
        if replace and not self._make_room(task.key, copied):
            return Outcome.PRESENT
        try:
            self._write(task, content)
        except BlobExistsError:  # since the listing was made somebody else was faster: a writer, or another shard
            if not self._make_room(task.key, copied):
                return Outcome.PRESENT
            self._write(task, content)
        if self.verify == "read-back" and (written := digest_of(self.destination, task.key)) != copied:
            self.destination.delete_key(task.key)
            error = _mismatch("what the destination gives back of", task.key, copied, written)
            raise error
        return Outcome.COPIED

    def _write(self, task: Task, content: Spool) -> None:
        with content.open() as file:
            self.destination.put(task.key, file, reproducible=not task.row.image.original)

    def _make_room(self, key: ImageKey, copied: Digest) -> bool:
        """Whether the blob is to be written, now that what was in its place is gone; false if it is the same."""
        try:
            if digest_of(self.destination, key) == copied:
                return False
        except FileNotFoundError:
            return True
        # Only now, with the right content in hand.  Mutable keys are overwritten, so that no reader finds nothing.
        if self._is_immutable(key):
            self.destination.delete_key(key)
        return True

    def _is_immutable(self, key: ImageKey) -> bool:
        return key.revision is not None and keeps_revisions(self.destination)


def _mismatch(whose: str, key: ImageKey, expected: Digest, found: Digest) -> BlobMismatchError:
    msg = (
        f"{whose} {key.object_name()} is not what it should be: expected {expected.byte_size} bytes with SHA-256"
        f" {expected.checksum}, got {found.byte_size} bytes with {found.checksum}; restore it, or attach the picture"
        " anew"
    )
    return BlobMismatchError(msg)
