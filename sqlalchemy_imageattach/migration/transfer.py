"""Brings the blobs of many rows into another store: pages of rows in the calling thread, blobs in threads beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy.orm import Mapper

from ..bulk.failures import Failure
from ..bulk.rows import ImageRow, KeyRange, RowReader, Shard
from ..bulk.scratch import blobs_of, scratch_database
from ..bulk.workers import in_threads
from ..concurrency import run_blocking
from ..entity import Image
from ..errors import StoreError
from ..key import ImageKey
from ..store import Store, keeps_revisions
from .copier import UNLISTED, Copier, Outcome, Settled, Task, Unlisted
from .result import MigrationResult

__all__ = ["OnError", "Options", "Transfer"]

#: What to do about a blob that cannot be migrated: collect it, stop, or call a function.
OnError = Literal["collect", "raise"] | Callable[[Failure], object]

#: After how many blobs it is looked whether their rows are still there.
RECHECK = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How to go about it; see :func:`~sqlalchemy_imageattach.migration.migrate`."""

    workers: int
    on_error: OnError
    give_up_after: int | None
    shard: Shard | None
    key_range: KeyRange | None
    progress: Callable[[MigrationResult], object] | None
    concerns: Callable[[type[Any]], bool] = lambda cls: True


class Transfer:
    """One run over the rows.

    :param reader: reads the rows
    :param mappers: the classes to migrate
    :param source: what the copier reads from
    :param copier: brings each blob to where it is to be
    """

    def __init__(
        self,
        reader: RowReader,
        mappers: Sequence[Mapper[Any]],
        source: Store,
        copier: Copier,
        options: Options,
    ) -> None:
        self._reader = reader
        self._mappers = mappers
        self._source = source
        self._copier = copier
        self._options = options
        #: What has been done so far.
        self.result = MigrationResult(dry_run=copier.dry_run)
        self._failures_in_a_row = 0

    def run(self) -> Iterator[Image]:
        """Gives each image whose blob was copied, as soon as it was."""
        if self._options.progress is not None:
            self.result = replace(
                self.result, total=sum(self._reader.count(mapper, self._options.key_range) for mapper in self._mappers)
            )
        with closing(_Index(self._copier.destination)) as index:
            for mapper in self._mappers:
                yield from self._migrate(mapper, self._tasks(mapper, index))

    def _tasks(self, mapper: Mapper[Any], index: _Index) -> Iterator[Task]:
        for row in self._reader.rows(mapper, self._options.key_range):
            if not self.result.examined:
                run_blocking(self._source.require_presence)
            if self.result.gave_up:
                return
            if not self._options.concerns(type(row.image)):
                self._count(elsewhere=1)
            elif row.key is None:
                self._fail(row, row.error)
            elif self._options.shard is None or row.key in self._options.shard:
                # of a part of the rows each blob is looked for: a list of all would be made for each part
                found = UNLISTED if self._options.key_range is not None else index.find(row.key)
                yield Task(row, row.key, found)

    def _migrate(self, mapper: Mapper[Any], tasks: Iterator[Task]) -> Iterator[Image]:
        unconfirmed: list[Settled] = []
        try:
            with closing(in_threads(self._copier.settle, tasks, self._options.workers)) as settled:
                for each in settled:
                    self._watch_destination(each)
                    if each.outcome is Outcome.PRESENT:
                        self._count(present=1)
                        continue
                    unconfirmed.append(each)
                    if each.outcome is Outcome.COPIED:
                        self._count(copied=1, copied_bytes=each.byte_size)
                        yield each.task.row.image
                    if len(unconfirmed) >= RECHECK or each.error is not None and self._options.on_error == "raise":
                        self._confirm(mapper, unconfirmed)
        finally:
            self._confirm(mapper, unconfirmed)

    # --- what came of it ---------------------------------------------------------------------------------------------

    def _confirm(self, mapper: Mapper[Any], settled: list[Settled]) -> None:
        """Sort out the rows that others have replaced or deleted meanwhile; what is left of the failures is reported.

        A writer deletes the row first, and the blob from all stores after the commit.  So a row that is still there
        now will take the copy with it when it goes; where it is gone, the copy came too late and is ours to delete.
        """
        identities = [each.task.row.identity for each in settled]
        now = self._reader.look_up(mapper, identities) if settled else {}
        # failures last, since the first of them may be raised
        unconfirmed, settled[:] = sorted(settled, key=lambda each: each.error is not None), []
        for each in unconfirmed:
            row = now.get(each.task.row.identity)
            # one that cannot say now which blob is its own may need the copy
            if row is not None and row.key in {None, each.task.key}:
                if each.error is not None:
                    self._fail(each.task.row, each.error)
                continue
            if each.outcome is Outcome.COPIED:
                self._take_back(each.task)
                self._count(copied=-1, copied_bytes=-each.byte_size, vanished=1)
            else:
                self._count(vanished=1)

    def _take_back(self, task: Task) -> None:
        destination = self._copier.destination
        # A mutable key may have a new owner already; and with an object_id of the class's own, the row may merely have
        # got another primary key, and need the blob still.
        is_immutable = task.key.revision is not None and keeps_revisions(destination)
        is_free = is_immutable and type(task.row.image).object_id is Image.object_id
        if self._copier.dry_run or not is_free:
            return
        try:
            run_blocking(destination.delete_key, task.key)
        except OSError:
            _log.exception("%r is left in %r for the sweeper", task.key, destination)

    def _fail(self, row: ImageRow, error: Exception | None) -> None:
        assert error is not None
        failure = Failure(error, type(row.image), row.identity, row.key)
        self.result = self.result.with_failure(failure)
        self._count()
        if self._options.on_error == "raise":
            raise error
        if callable(self._options.on_error):
            self._options.on_error(failure)

    def _watch_destination(self, settled: Settled) -> None:
        if settled.outcome is Outcome.COPIED:
            self._failures_in_a_row = 0
        elif settled.in_destination:
            self._failures_in_a_row += 1
            if self._failures_in_a_row == self._options.give_up_after:
                self.result = replace(self.result, gave_up=True)

    def _count(self, **more: int) -> None:
        self.result = self.result.counting(**more)
        if self._options.progress is not None:
            self._options.progress(self.result)


class _Index:
    """What the destination has already, by object type: listed when the first row of that type comes."""

    def __init__(self, destination: Store) -> None:
        self._destination = destination
        self._scratch = scratch_database()
        self._scratch.execute("CREATE TABLE blob (name TEXT PRIMARY KEY, byte_size INTEGER) WITHOUT ROWID")
        self._is_listed: dict[str, bool] = {}

    def find(self, key: ImageKey) -> int | None | Unlisted:
        """The size of the blob; ``None`` if there is none, and :data:`UNLISTED` if the store cannot tell by a list."""
        if key.object_type not in self._is_listed:
            self._is_listed[key.object_type] = self._list(key.object_type)
        if not self._is_listed[key.object_type]:
            return UNLISTED
        name = self._destination.own_key(key).object_name()
        row = self._scratch.execute("SELECT byte_size FROM blob WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def _list(self, object_type: str) -> bool:
        try:
            for batch in blobs_of(self._destination, f"{object_type}/"):
                values = [(blob.key.object_name(), blob.byte_size) for blob in batch if blob.key is not None]
                self._scratch.executemany("INSERT OR REPLACE INTO blob VALUES (?, ?)", values)
        except StoreError as error:
            _log.info("%r gives no list of what it has, so each blob is looked for: %s", self._destination, error)
            return False
        return True

    def close(self) -> None:
        self._scratch.close()
