"""Rows and blobs compared, and what nobody names swept away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from ..arguments import check_range, check_type, wrong_type, wrong_value
from ..bulk.classes import image_mappers, with_relatives
from ..bulk.failures import FAILURES_KEPT, BulkResult, Failure
from ..bulk.places import Places
from ..bulk.rows import RowReader, sync_session
from ..bulk.workers import worker_count
from ..observing import measured
from ..store import Store
from .findings import Findings, Problem, ProblemKind
from .inventory import Inventory, Progress
from .removal import Removal, SweepRefusedError, refuse_missing_classes, refuse_nonsense, refuse_old_rows
from .repair import Repair
from .strays import Strays
from .suspects import Suspects

__all__ = ["GRACE", "Problem", "ProblemKind", "Progress", "Report", "SweepRefusedError", "check", "repair", "sweep"]

#: How old a blob that no row names must be to count as nobody's, unless it is said.  It has to be longer than the
#: longest transaction, together with the difference between the clocks of the store and of this machine.
GRACE = timedelta(hours=24)


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What :func:`check` or :func:`sweep` found.  Iterating over it gives each :class:`Problem`, of each store by name.

    The problems are on the disk, as there may be many; use it as a context manager, or :meth:`close` it.

    :param stores: the stores that were looked into
    :param rows: image rows read
    :param blobs: blobs in these stores, of object types that are mapped
    :param blob_bytes: their length
    :param in_grace: blobs and temporary files that no row names, but that are too young to be called nobody's
    :param without_checksum: rows that record none, so that the bytes of their blobs could not be compared
    :param counts: how many problems there are of each kind that there is
    :param deleted: blobs and temporary files that the sweep has deleted
    :param deleted_bytes: their length
    :param repaired: misplaced blobs that :func:`repair` has brought to where their rows say
    :param failures: why others could not be deleted or repaired: the first 1,000
    :param failed: how many could not
    :param dry_run: whether nothing was changed in any case
    """

    rows: int
    blobs: int
    blob_bytes: int
    in_grace: int
    without_checksum: int
    counts: Mapping[ProblemKind, int]
    dry_run: bool
    stores: tuple[Store, ...] = ()
    deleted: int = 0
    deleted_bytes: int = 0
    repaired: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()
    _findings: tuple[Findings, ...] = field(default=(), repr=False)
    _settled: frozenset[ProblemKind] = field(default=frozenset(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing is left to do: there are no problems but those only worth knowing, or they were swept."""
        settled = set() if self.dry_run or self.failed else self._settled
        return all(kind.is_harmless or kind in settled for kind in self.counts)

    def __iter__(self) -> Iterator[Problem]:
        return (problem for findings in self._findings for _, problem in findings.entries())

    def close(self) -> None:
        """Let go of the problems; the counts stay."""
        for findings in self._findings:
            findings.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def check(
    session: Any,
    declarative_base: Any,
    store: Store | None = None,
    *,
    checksum: bool = False,
    grace: timedelta = GRACE,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compare all image rows with all blobs, in the store of each class; nothing is changed.

    It can be done while the application is running.  What is attached, replaced or deleted meanwhile is no problem.

    :param session: a session of the database; it is only read with, and as if by somebody else
    :param declarative_base: the base class of the mapped classes, or their registry
    :param store: the store of those classes that have no :attr:`~sqlalchemy_imageattach.entity.Image.image_store`; by
        default the one of the context, of the session or of the process.  Stores must be able to list their blobs
    :param checksum: whether to read each blob whose row records a checksum, and to compare it
    :param grace: how old a blob must be to count as an orphan
    :param workers: how many blobs to read at a time, each in a thread of its own; the default is 4
    :param progress: called in the calling thread with what is being done and how many are done, in each store anew
    :raises ListingNotSupportedError: a store cannot list its blobs
    :raises StoreError: it could not list all of them
    :raises ContextError: there is no store for a class
    :raises InvalidTypeError: an argument is of the wrong type
    :raises InvalidValueError: ``grace`` is negative, or ``workers`` less than 1
    """

    def find(inventory: Inventory) -> None:
        inventory.read()
        suspects = Suspects(inventory)
        suspects.find_missing()
        suspects.find_wrong_sizes()
        if checksum:
            suspects.find_wrong_checksums()
        Strays(inventory).find()

    with _compare(session, declarative_base, store, grace, workers, progress) as inventories:
        inventories.each(find)
        return inventories.report(dry_run=True)


def sweep(
    session: Any,
    declarative_base: Any,
    store: Store | None = None,
    *,
    dry_run: bool = True,
    grace: timedelta = GRACE,
    limit: float = 0.5,
    object_types: Collection[str] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Afterwards the orphans and the stale temporary files are gone from the stores of all classes, unless it is a dry
    run.

    It can be done while the application is running.  See the module's documentation for what is deleted.

    :param session: a session of the database that is in no transaction; not of a replica, which may lack new rows
    :param declarative_base: the base class of the mapped classes, or their registry.  Import *all* modules with image
        classes before
    :param store: the store of those classes that have no :attr:`~sqlalchemy_imageattach.entity.Image.image_store`; by
        default the one of the context, of the session or of the process.  Stores must be able to list their blobs
    :param dry_run: only find out what would be deleted: the default
    :param grace: how old a blob must be to count as an orphan
    :param limit: the largest part of the blobs of any object type that may go, from 0 to 1
    :param object_types: object types that have to be among those of the mapped classes; to be sure that they all are
    :param workers: how many blobs to delete at a time, each in a thread of its own; the default is 4
    :param progress: called in the calling thread with what is being done and how many are done, in each store anew
    :raises SweepRefusedError: nothing was deleted; the message says why, and what to do
    :raises ListingNotSupportedError: a store cannot list its blobs
    :raises StoreError: it could not list all of them; nothing was deleted
    :raises ContextError: there is no store for a class
    :raises InvalidTypeError: an argument is of the wrong type
    :raises InvalidValueError: an argument is out of range
    """
    _check_limit(limit)

    def find(inventory: Inventory) -> None:
        strays = Strays(inventory)
        if not dry_run:
            strays.read_rows_again()
        Suspects(inventory).find_misplaced()
        strays.find()

    with (
        measured("sweep", dry_run=dry_run, deleted=0, failed=0) as told,
        _compare(session, declarative_base, store, grace, workers, progress) as inventories,
    ):
        if not dry_run:
            inventories.each(refuse_old_rows)
        inventories.each(Inventory.read)
        if dry_run:
            inventories.each(find)
            return inventories.report(dry_run=True)
        # of all stores before anything is deleted in the first
        refuse_missing_classes(inventories.all, object_types)
        inventories.each(lambda inventory: refuse_nonsense(inventory, limit))
        removals = [Removal(inventory) for inventory in inventories.all]
        for removal, inventory in zip(removals, inventories.all, strict=True):
            find(inventory)
            removal.run()
            told["deleted"] += removal.deleted
            told["failed"] += removal.result.failed
        return inventories.report(
            dry_run=False,
            _settled=frozenset(ProblemKind.of_sweeps()),
            deleted=sum(removal.deleted for removal in removals),
            deleted_bytes=sum(removal.deleted_bytes for removal in removals),
            **_failures(removal.result for removal in removals),
        )


def repair(
    session: Any,
    declarative_base: Any,
    store: Store | None = None,
    *,
    dry_run: bool = True,
    grace: timedelta = GRACE,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Afterwards each misplaced blob is where its row says, unless it is a dry run; nothing is deleted.

    A blob is misplaced if no row names it and one row means it all the same: the one with its revision or, where there
    is none, with its type, id and size.  It is copied, verified against the length and the checksum that the row
    records (where it records none, against the type), and read back.  What it was copied from is a spare copy then,
    which :func:`sweep` deletes when it has compared both.

    It can be done while the application is running, and broken off and started again at any time.

    :param session: a session of the database that is in no transaction; not of a replica, which may lack new rows
    :param declarative_base: the base class of the mapped classes, or their registry
    :param store: the store of those classes that have no :attr:`~sqlalchemy_imageattach.entity.Image.image_store`; by
        default the one of the context, of the session or of the process.  Stores must be able to list their blobs
    :param dry_run: only find out what would be copied: the default
    :param grace: how old a blob must be to count as an orphan
    :param workers: how many blobs to copy at a time, each in a thread of its own; the default is 4
    :param progress: called in the calling thread with what is being done and how many are done, in each store anew
    :raises SweepRefusedError: the session is in a transaction, and it is no dry run
    :raises ListingNotSupportedError: a store cannot list its blobs
    :raises StoreError: it could not list all of them
    :raises ContextError: there is no store for a class
    :raises InvalidTypeError: an argument is of the wrong type
    :raises InvalidValueError: ``grace`` is negative, or ``workers`` less than 1
    """

    def find(inventory: Inventory) -> None:
        inventory.read()
        Suspects(inventory).find_missing()
        Strays(inventory).find()

    with _compare(session, declarative_base, store, grace, workers, progress) as inventories:
        if not dry_run:
            inventories.each(refuse_old_rows)
        inventories.each(find)
        if dry_run:
            return inventories.report(dry_run=True)
        repairs = [Repair(inventory) for inventory in inventories.all]
        for work in repairs:
            work.run()
        return inventories.report(
            dry_run=False,
            _settled=frozenset({ProblemKind.MISPLACED}),
            repaired=sum(work.repaired for work in repairs),
            **_failures(work.result for work in repairs),
        )


class _Inventories:
    """One for each store."""

    def __init__(self, inventories: list[Inventory]) -> None:
        self.all = inventories
        self._stack = ExitStack()

    def each(self, step: Callable[[Inventory], object]) -> None:
        for inventory in self.all:
            step(inventory)

    def report(self, **rest: Any) -> Report:
        counts: Counter[ProblemKind] = Counter()
        for inventory in self.all:
            counts.update(inventory.findings.counts())
        return Report(
            rows=sum(each.rows for each in self.all),
            blobs=sum(each.blobs for each in self.all),
            blob_bytes=sum(each.blob_bytes for each in self.all),
            in_grace=sum(each.in_grace for each in self.all),
            without_checksum=sum(each.without_checksum for each in self.all),
            counts={kind: counts[kind] for kind in ProblemKind if kind in counts},
            stores=tuple(each.store for each in self.all),
            _findings=tuple(each.findings for each in self.all),
            **rest,
        )

    def __enter__(self) -> Self:
        for inventory in self.all:
            self._stack.enter_context(inventory)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)


def _compare(
    session: Any,
    declarative_base: Any,
    store: Store | None,
    grace: timedelta,
    workers: int | None,
    progress: Progress | None,
) -> _Inventories:
    if progress is not None and not callable(progress):
        expected = "a function that takes a phase and a number"
        raise wrong_type("progress", progress, expected, got=repr(progress))
    reader, places = RowReader(session), Places(store, sync_session(session))
    # classes of another abstract base may name blobs of the same type
    mappers = with_relatives(image_mappers(declarative_base))
    cutoff = _cutoff(grace)
    return _Inventories(
        [
            Inventory(
                reader,
                with_relatives(places.mappers_of(found, mappers)),
                places,
                found,
                cutoff,
                worker_count(workers, found),
                progress,
            )
            for found in places.stores_of(mappers)
        ]
    )


def _failures(results: Iterable[BulkResult]) -> dict[str, Any]:
    found = list(results)
    failures = [failure for result in found for failure in result.failures]
    return {"failed": sum(result.failed for result in found), "failures": tuple(failures[:FAILURES_KEPT])}


def _cutoff(grace: timedelta) -> datetime:
    check_type("grace", grace, timedelta, "a timedelta, such as timedelta(hours=24)")
    if grace < timedelta(0):
        advice = "it protects blobs whose transactions are not committed yet"
        raise wrong_value("grace", grace, "0 or more", advice, got=str(grace))
    try:
        return datetime.now(UTC) - grace
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _check_limit(limit: object) -> None:
    number = check_type("limit", limit, (int, float), "a number from 0 to 1")
    check_range("limit", number, "a number from 0 to 1, the largest part of the blobs that may go", 0, 1)
