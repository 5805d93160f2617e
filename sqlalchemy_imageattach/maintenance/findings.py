"""What was found when rows and blobs were compared: as many findings as there are, kept on the disk."""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..bulk.scratch import scratch_database
from ..key import ImageKey

__all__ = ["Findings", "Problem", "ProblemKind"]


class ProblemKind(StrEnum):
    """What is wrong.  The last two are only worth knowing: nobody touches what is not known to be ours."""

    #: A row whose blob is not in the store.
    MISSING_BLOB = "missing blob"
    #: A row that cannot name a blob, e.g. since its ``object_id`` raises.
    INVALID_ROW = "invalid row"
    #: A blob that has not the length that its row records.
    WRONG_SIZE = "wrong size"
    #: A blob that has not the checksum that its row records.
    WRONG_CHECKSUM = "wrong checksum"
    #: A blob that the store has, but cannot give.
    UNREADABLE = "unreadable blob"
    #: A blob of a mapped class that no row names, and that is older than the grace period.
    ORPHAN = "orphan"
    #: What an unfinished write of a blob of a mapped class has left behind, older than the grace period.
    TEMPORARY = "stale temporary file"
    #: A blob or a temporary file by its name, but of an object type that no mapped class has.
    UNMAPPED = "unmapped object type"
    #: Something that has not the name of a blob.
    FOREIGN = "foreign file"

    @property
    def is_harmless(self) -> bool:
        """Whether it is only worth knowing."""
        return self in {ProblemKind.UNMAPPED, ProblemKind.FOREIGN}


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    :param kind: what is wrong
    :param name: the blob's: where it is in the store, or its key's object name where it is not
    :param key: the key of the blob; ``None`` if it has none
    :param image_class: the class of the row, where one is concerned
    :param identity: the primary key of that row
    :param byte_size: the length of what is in the store, in bytes
    :param modified_at: when that was written, where no row is concerned
    :param expected: what was expected there
    :param found: what was found instead
    :param deleted: whether the sweep has deleted it
    """

    kind: ProblemKind
    name: str
    key: ImageKey | None = None
    image_class: type[Any] | None = None
    identity: tuple[Any, ...] | None = None
    byte_size: int | None = None
    modified_at: datetime | None = None
    expected: str | None = None
    found: str | None = None
    deleted: bool = False

    def __str__(self) -> str:
        row = "" if self.image_class is None else f" of {self.image_class.__name__} {self.identity}"
        parts = [f"{self.kind}: {self.name!r}{row}"]
        if self.expected is not None:
            parts.append(f"expected {self.expected}, got {self.found}")
        elif self.found is not None:
            parts.append(self.found)
        if self.deleted:
            parts.append("deleted")
        return ", ".join(parts)


class Findings:
    """A list of problems on the disk, which is gone when it is closed or garbage-collected."""

    def __init__(self) -> None:
        self._scratch = scratch_database()
        self._scratch.execute(
            "CREATE TABLE problem"
            " (id INTEGER PRIMARY KEY, kind, name, object_name, class INTEGER, rest BLOB, deleted INTEGER DEFAULT 0)"
        )
        # classes need not be picklable: those of a function's body are not
        self._classes: dict[type[Any] | None, int] = {}
        self.close = weakref.finalize(self, self._scratch.close)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add ``problems``."""
        self._scratch.executemany(
            "INSERT INTO problem (kind, name, object_name, class, rest) VALUES (?, ?, ?, ?, ?)",
            map(self._values, problems),
        )

    def entries(self, *kinds: ProblemKind) -> Iterator[tuple[int, Problem]]:
        """Problems of these kinds, or of all, by name; each with the number by which it can be marked."""
        classes = list(self._classes)
        where = f"WHERE kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        found = self._scratch.execute(
            f"SELECT id, kind, name, class, rest, deleted FROM problem {where} ORDER BY name, id", kinds
        )
        for number, kind, name, index, rest, deleted in found:
            # pickled by this process, into a file without a name
            key, *others = pickle.loads(rest)
            problem = Problem(ProblemKind(kind), name, key, classes[index], *others)
            yield number, replace(problem, deleted=True) if deleted else problem

    def mark_deleted(self, numbers: Iterable[int]) -> None:
        """Note that these have been deleted."""
        self._scratch.executemany("UPDATE problem SET deleted = 1 WHERE id = ?", ((number,) for number in numbers))

    def remove(self, numbers: Iterable[int]) -> None:
        """Take these back."""
        self._scratch.executemany("DELETE FROM problem WHERE id = ?", ((number,) for number in numbers))

    def clear_orphans(self, object_names: Iterable[str]) -> None:
        """Take back that the blobs of the keys with these object names are orphans."""
        self._scratch.execute("CREATE INDEX IF NOT EXISTS by_object_name ON problem (object_name)")
        self._scratch.executemany(
            "DELETE FROM problem WHERE object_name = ? AND kind = ?",
            ((name, ProblemKind.ORPHAN.value) for name in object_names),
        )

    def counts(self) -> Mapping[ProblemKind, int]:
        """How many there are of each kind that there is."""
        found = dict(self._scratch.execute("SELECT kind, count(*) FROM problem GROUP BY kind").fetchall())
        return {kind: found[kind] for kind in ProblemKind if kind in found}

    def _values(self, problem: Problem) -> tuple[Any, ...]:
        index = self._classes.setdefault(problem.image_class, len(self._classes))
        rest = (
            problem.key,
            problem.identity,
            problem.byte_size,
            problem.modified_at,
            problem.expected,
            problem.found,
        )
        object_name = None if problem.key is None else problem.key.object_name()
        return problem.kind.value, problem.name, object_name, index, pickle.dumps(rest)
