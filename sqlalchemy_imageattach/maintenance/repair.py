"""Misplaced blobs, and how they get to where their rows say.

A blob is copied as a migration copies it: verified against what its row records, read back, never over another one.
What it was copied from stays, as a spare copy that a sweep takes away when it has compared both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from ..bulk.digest import Source
from ..bulk.failures import BulkResult, Failure
from ..bulk.rows import ImageRow
from ..bulk.scratch import batches
from ..bulk.workers import in_threads
from ..concurrency import run_blocking
from ..errors import ConcurrentReplacementError
from ..imaging.sniffing import SNIFF_BYTES, sniff
from ..key import ImageKey
from ..migration.copier import BlobMismatchError, Copier, Outcome, Settled, Task
from .findings import Problem, ProblemKind
from .inventory import Inventory

__all__ = ["Repair"]


class Repair:
    """Brings the misplaced blobs that were found to where their rows say."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._store = inventory.store
        self.repaired = 0
        self.result = BulkResult()

    def run(self) -> None:
        """Afterwards they are there, but for those that the rows do not mean after all, or the store failed with."""
        done = 0
        for entries in batches(self._inventory.findings.entries(ProblemKind.MISPLACED)):
            tried = list(in_threads(self._try, self._rows(entries), self._inventory.workers))
            now = self._look_up([problem for _, problem, _ in tried])
            repaired = [number for number, problem, settled in tried if self._is_repaired(problem, settled, now)]
            self._inventory.findings.mark(repaired, "repaired")
            self.repaired += len(repaired)
            done += len(entries)
            self._inventory.progress("repairing", done)

    def _rows(self, entries: list[tuple[int, Problem]]) -> Iterator[tuple[int, Problem, ImageRow]]:
        rows = self._look_up([problem for _, problem in entries])
        for number, problem in entries:
            row = rows.get(_row_of(problem))
            if row is not None and self._says(row, problem):
                yield number, problem, row

    def _look_up(self, problems: list[Problem]) -> dict[Any, ImageRow]:
        found = {}
        for mapper in self._inventory.mappers:
            mine = [each for each in problems if issubclass(_class_of(each), mapper.class_)]
            rows = self._inventory.reader.look_up(mapper, [each.identity or () for each in mine])
            found.update({(each.image_class, each.identity): rows.get(each.identity or ()) for each in mine})
        return {what: row for what, row in found.items() if row is not None}

    def _says(self, row: ImageRow, problem: Problem) -> bool:
        return row.key is not None and self._store.own_key(row.key) == problem.row_key

    def _try(self, entry: tuple[int, Problem, ImageRow]) -> tuple[int, Problem, Settled]:
        number, problem, row = entry
        assert problem.key is not None
        assert problem.row_key is not None
        copier = Copier(_Elsewhere(self._store, problem.key, row), self._store, "read-back", False)
        return number, problem, copier.settle(Task(row, problem.row_key, None))

    def _is_repaired(self, problem: Problem, settled: Settled, now: dict[Any, ImageRow]) -> bool:
        row = now.get(_row_of(problem))
        error = settled.error
        if error is None and (row is None or not self._says(row, problem)):
            error = self._take_back(settled)
        if error is not None:
            failure = Failure(error, _class_of(problem), problem.identity, problem.row_key, problem.name)
            self.result = self.result.with_failure(failure)
        return error is None

    def _take_back(self, settled: Settled) -> Exception:
        """The row has gone meanwhile, or has another blob now: the copy came too late, and is ours to delete."""
        if settled.outcome is Outcome.COPIED and settled.task.key.revision is not None:
            try:
                run_blocking(self._store.delete_key, settled.task.key)
            except OSError as error:
                return error
        return ConcurrentReplacementError("the row was replaced or deleted while its blob was copied")


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """Gives a blob by the key that its row says, out of the place where it is."""

    store: Source
    key: ImageKey
    row: ImageRow

    def get(self, key: ImageKey, /) -> IO[bytes]:
        if self.row.checksum is None:  # that it is of the right type is then all that can be known of it
            with self.store.get(self.key) as file:
                found = sniff(file.read(SNIFF_BYTES))
            if found != key.mimetype:
                msg = f"expected a file of {key.mimetype}, as the row says, got one of {found or 'no image type'}"
                raise BlobMismatchError(msg)
        return self.store.get(self.key)


def _row_of(problem: Problem) -> tuple[Any, Any]:
    return problem.image_class, problem.identity


def _class_of(problem: Problem) -> type[Any]:
    assert problem.image_class is not None
    return problem.image_class
