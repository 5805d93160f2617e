"""What a migration has done so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..key import ImageKey

__all__ = ["Failure", "MigrationResult", "Tally"]

#: So many failures are kept in detail; all are counted.
FAILURES_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """A blob that could not be migrated.

    :param image_class: the class of the image
    :param identity: the primary key of its row
    :param key: the key of its blob; ``None`` if the row has none that could be one
    :param error: why; without its traceback
    """

    image_class: type[Any]
    identity: tuple[Any, ...]
    key: ImageKey | None
    error: Exception

    def __str__(self) -> str:
        return f"{self.image_class.__name__} {self.identity}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What a migration has done: each row that it came across is counted once.

    :param total: how many rows there were at the start, where that was asked for by ``progress``
    :param copied: blobs copied now; in a dry run, those that would be
    :param copied_bytes: their length in bytes; in a dry run as far as the rows tell
    :param present: blobs that the destination had already
    :param vanished: rows that were replaced or deleted by others before or while their blob was copied
    :param failed: blobs that could not be migrated
    :param failures: the first 1,000 of these
    :param dry_run: whether nothing was written
    :param gave_up: whether the rest was not tried, since the destination had failed too often
    """

    total: int | None
    copied: int
    copied_bytes: int
    present: int
    vanished: int
    failed: int
    failures: tuple[Failure, ...]
    dry_run: bool
    gave_up: bool

    @property
    def examined(self) -> int:
        """How many rows are settled."""
        return self.copied + self.present + self.vanished + self.failed

    @property
    def ok(self) -> bool:
        """Whether the destination has each blob; in a dry run, whether nothing speaks against it."""
        return not self.failed and not self.gave_up


@dataclass(slots=True)
class Tally:
    """Counts."""

    dry_run: bool = False
    total: int | None = None
    copied: int = 0
    copied_bytes: int = 0
    present: int = 0
    vanished: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = field(default=())
    gave_up: bool = False

    def add_failure(self, failure: Failure) -> None:
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures += (failure,)

    @property
    def result(self) -> MigrationResult:
        """A copy of what is counted at this moment."""
        return MigrationResult(
            total=self.total,
            copied=self.copied,
            copied_bytes=self.copied_bytes,
            present=self.present,
            vanished=self.vanished,
            failed=self.failed,
            failures=self.failures,
            dry_run=self.dry_run,
            gave_up=self.gave_up,
        )
