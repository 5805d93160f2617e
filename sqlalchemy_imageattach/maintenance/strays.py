"""Blobs that no row names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..bulk.scratch import batches
from .findings import Problem, ProblemKind
from .inventory import STRAY, Inventory, key_of, shape_of, slot_of, time_of

__all__ = ["Strays"]


class Strays:
    """Those of an inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._scratch = inventory.scratch

    def find(self) -> None:
        """Add the blobs that no row names, but for the misplaced ones, which go with their rows."""
        strays = f"FROM stray WHERE kind != '{ProblemKind.MISPLACED}' AND modified"
        found = self._scratch.execute(f"SELECT kind, {STRAY} {strays} <= ?", (self._inventory.limit,))
        self._inventory.findings.add(self._stray(*values) for values in found)
        young = self._scratch.execute(f"SELECT count(*) {strays} > ?", (self._inventory.limit,))
        self._inventory.in_grace += young.fetchone()[0]

    def _stray(self, kind: str, name: str, path: str, *rest: Any) -> Problem:
        mimetype, revision, byte_size, modified = rest
        modified_at = time_of(modified)
        found, row_key = ProblemKind(kind), None
        if found is ProblemKind.SPARE:
            statement = "SELECT image.name, image.mimetype FROM image WHERE revision = ?"
            own_name, own_type = self._scratch.execute(statement, (revision,)).fetchone()
            row_key = key_of(own_name, own_type, revision)
        key = key_of(name, mimetype, revision)
        return Problem(found, path, key, byte_size=byte_size, modified_at=modified_at, row_key=row_key)

    def orphans_by_type(self) -> Iterator[tuple[str, int, int]]:
        """Object types that have orphans, each with the number of these and of all its blobs."""
        names = list(self._inventory.types)
        statement = (
            "SELECT type, orphans, (SELECT count(*) FROM blob WHERE blob.type = found.type) FROM"
            f" (SELECT type, count(*) AS orphans FROM stray WHERE kind = '{ProblemKind.ORPHAN}' AND modified <= ?"
            " GROUP BY type) AS found"
        )
        for index, orphans, blobs in self._scratch.execute(statement, (self._inventory.limit,)):
            yield names[index], orphans, blobs

    def read_rows_again(self) -> None:
        """Read all rows once more, and take back that a blob is a stray if one of them means it."""
        done = 0
        for mapper in self._inventory.mappers:
            for rows in batches(self._inventory.reader.rows(mapper)):
                keys = [self._inventory.store.own_key(row.key) for row in rows if row.key is not None]
                self._take_back("name", (key.object_name() for key in keys))
                self._take_back("revision", (key.revision for key in keys if key.revision is not None))
                unnamed = [key.object_name() for key in keys if key.revision is None]
                unnamed = [name for name in unnamed if not self._is_listed(name)]
                self._take_back("slot", map(slot_of, unnamed))
                self._take_back("revision IS NULL AND shape", map(shape_of, unnamed))
                done += len(rows)
                self._inventory.progress("rows", done)

    def _take_back(self, column: str, values: Iterable[str]) -> None:
        statement = f"DELETE FROM stray WHERE kind = '{ProblemKind.ORPHAN}' AND {column} = ?"
        self._scratch.executemany(statement, ((value,) for value in values))

    def _is_listed(self, name: str) -> bool:
        return self._scratch.execute("SELECT 1 FROM blob WHERE name = ?", (name,)).fetchone() is not None
