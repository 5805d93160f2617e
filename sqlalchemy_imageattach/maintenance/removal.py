"""What a sweep deletes, and when it rather does not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ..bulk.digest import digest_of
from ..bulk.failures import BulkResult, Failure
from ..bulk.scratch import batches
from ..bulk.workers import in_threads
from ..errors import ImageAttachError
from ..key import ImageKey
from ..store import StoredBlob
from .findings import Problem, ProblemKind
from .inventory import Inventory
from .strays import Strays

__all__ = ["Removal", "SweepRefusedError", "refuse_missing_classes", "refuse_nonsense", "refuse_old_rows"]


class SweepRefusedError(ImageAttachError, RuntimeError):
    """The sweep has not deleted anything, since what it found makes no sense or cannot be relied on."""


def refuse_old_rows(inventory: Inventory) -> None:
    """The rows are read as they are now.

    :raises SweepRefusedError: the session is in a transaction, which may show them as they were when it began
    """
    if any(inventory.reader.is_in_transaction(mapper) for mapper in inventory.mappers):
        raise SweepRefusedError(
            "refusing to change anything: the session is in a transaction, and may not see rows that others have"
            " committed since it began; commit it or roll it back first, or use a new session"
        )


def refuse_missing_classes(inventories: Sequence[Inventory], object_types: Collection[str]) -> None:
    """All classes are known.

    :param object_types: those that have to be mapped
    :raises SweepRefusedError: classes are missing
    """
    if not any(inventory.mappers for inventory in inventories):
        raise SweepRefusedError("refusing to delete: no image classes are mapped; import the modules that declare them")
    known = {name for inventory in inventories for name in inventory.types}
    if missing := set(object_types) - known:
        raise SweepRefusedError(
            f"refusing to delete: no mapped class has the object type {', '.join(map(repr, sorted(missing)))}, only"
            f" {', '.join(map(repr, sorted(known)))} are known; import all modules with image classes"
        )


def refuse_nonsense(inventory: Inventory, limit: float) -> None:
    """What was found looks like what a sweep should find.

    :param limit: the largest part of the blobs of a type that may be orphans
    :raises SweepRefusedError: there are rows whose key is not known, or too many orphans
    """
    if invalid := inventory.findings.counts().get(ProblemKind.INVALID_ROW):
        raise SweepRefusedError(
            f"refusing to delete: {invalid} rows cannot say which blob is theirs, so it might be one of those that seem"
            " to be orphans; check() lists them"
        )
    for object_type, orphans, blobs in Strays(inventory).orphans_by_type():
        if orphans > limit * blobs:
            raise SweepRefusedError(
                f"refusing to delete: {orphans} of the {blobs} blobs of {object_type!r} have no row, which is more than"
                f" the limit of {limit:.0%}; is it the right database? If it is, raise the limit"
            )


class _Fate(Enum):
    GONE = auto()
    IN_USE = auto()


@dataclass(frozen=True, slots=True)
class _Done:
    number: int
    problem: Problem
    fate: _Fate | None
    error: Exception | None = None


class Removal:
    """Deletes the orphans and the stale temporary files that were found."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._store = inventory.store
        self.deleted = self.deleted_bytes = 0
        self.result = BulkResult()

    def run(self) -> None:
        """Afterwards they are gone, but for those that the store failed to delete, or that somebody has come to use."""
        findings, done = self._inventory.findings, 0
        for entries in batches(findings.entries(*ProblemKind.of_sweeps())):
            outcomes = list(in_threads(self._try, entries, self._inventory.workers))
            for outcome in outcomes:
                self._count(outcome)
            findings.mark((each.number for each in outcomes if each.fate is _Fate.GONE), "deleted")
            findings.remove(each.number for each in outcomes if each.fate is _Fate.IN_USE)
            done += len(entries)
            self._inventory.progress("deleting", done)

    def _count(self, done: _Done) -> None:
        if done.fate is _Fate.GONE:
            self.deleted += 1
            self.deleted_bytes += done.problem.byte_size or 0
        elif done.fate is _Fate.IN_USE:
            self._inventory.in_grace += 1
        elif done.error is not None:
            failure = Failure(done.error, key=done.problem.key, name=done.problem.name)
            self.result = self.result.with_failure(failure)

    def _try(self, entry: tuple[int, Problem]) -> _Done:
        number, problem = entry
        try:
            return _Done(number, problem, self._delete(problem))
        except Exception as error:  # whatever a store may raise: the others can still go
            return _Done(number, problem, None, error.with_traceback(None))

    def _delete(self, problem: Problem) -> _Fate:
        if problem.key is None:
            assert problem.byte_size is not None
            assert problem.modified_at is not None
            blob = StoredBlob(problem.name, problem.byte_size, problem.modified_at, None, is_temporary=True)
            self._store.discard_temporary(blob)
        elif problem.row_key is not None and not self._is_copy(problem.key, problem.row_key):
            return _Fate.IN_USE
        elif problem.key.revision is not None or not self._is_in_use_again(problem):
            self._store.delete_key(problem.key)
        else:
            return _Fate.IN_USE
        return _Fate.GONE

    def _is_copy(self, key: ImageKey, of: ImageKey) -> bool:
        """Whether the row loses nothing: what is in its own place is the same, byte for byte."""
        return digest_of(self._store, of) == digest_of(self._store, key)

    def _is_in_use_again(self, problem: Problem) -> bool:
        # without a revision, a name is not for ever: somebody may have written to it since the store was listed
        return any(
            blob.name == problem.name and blob.modified_at > self._inventory.cutoff
            for blob in self._store.list_blobs(problem.name)
        )
