"""What a migration has done so far."""

from __future__ import annotations

from dataclasses import dataclass

from ..bulk.failures import BulkResult

__all__ = ["MigrationResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationResult(BulkResult):
    """What a migration has done: each row that it came across is counted once.

    :param total: how many rows there were at the start, where that was asked for by ``progress``
    :param copied: blobs copied now; in a dry run, those that would be
    :param copied_bytes: their length in bytes; in a dry run as far as the rows tell
    :param present: blobs that the destination had already
    :param elsewhere: rows of classes that have a store of their own, which is neither the source nor the destination
    :param vanished: rows that were replaced or deleted by others before or while their blob was copied
    :param failed: blobs that could not be migrated
    :param failures: the first 1,000 of these
    :param dry_run: whether nothing was written
    :param gave_up: whether the rest was not tried, since the destination had failed too often
    """

    total: int | None = None
    copied: int = 0
    copied_bytes: int = 0
    present: int = 0
    elsewhere: int = 0
    vanished: int = 0
    dry_run: bool = False
    gave_up: bool = False

    @property
    def examined(self) -> int:
        """How many rows are settled."""
        return self.copied + self.present + self.elsewhere + self.vanished + self.failed

    @property
    def ok(self) -> bool:
        """Whether the destination has each blob; in a dry run, whether nothing speaks against it."""
        return not self.failed and not self.gave_up
