"""What was found when rows and blobs were compared: as many findings as there are, kept on the disk."""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from ..bulk.scratch import scratch_database
from ..key import ImageKey
from ..store import Store

__all__ = ["Findings", "Problem", "ProblemKind"]


class ProblemKind(StrEnum):
    """What is wrong.  The last two are only worth knowing: nobody touches what is not known to be ours."""

    #: A row whose blob is not in the store.
    MISSING_BLOB = "missing blob"
    #: A blob that is not where its row says: :func:`repair` brings it there.
    MISPLACED = "misplaced blob"
    #: A blob without a revision that no row names, of the type and the size of a row whose own blob is missing: it may
    #: be that one.
    DOUBTFUL = "doubtful blob"
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
    #: A second copy of the blob of a row, which is in its own place too; older than the grace period.
    SPARE = "spare copy"
    #: What an unfinished write of a blob of a mapped class has left behind, or an upload that nobody has taken; older
    #: than the grace period.
    TEMPORARY = "stale temporary file"
    #: A blob or a temporary file by its name, but of an object type that no mapped class has.
    UNMAPPED = "unmapped object type"
    #: Something that has not the name of a blob.
    FOREIGN = "foreign file"

    @classmethod
    def of_sweeps(cls) -> tuple[ProblemKind, ...]:
        """Those that a sweep deletes."""
        return cls.ORPHAN, cls.SPARE, cls.TEMPORARY

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
    :param row_key: the key that the row has, where the blob is somewhere else
    :param deleted: whether the sweep has deleted it
    :param repaired: whether it has been put right
    :param store: the store that was looked into
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
    row_key: ImageKey | None = None
    deleted: bool = False
    repaired: bool = False
    store: Store | None = None

    def __str__(self) -> str:
        row = "" if self.image_class is None else f"{self.image_class.__name__} {self.identity}"
        parts = [f"{self.kind}: {self.name!r}{row and ' of ' + row}"]
        if self.row_key is not None:
            parts.append(f"{row or 'the row'} says {self.row_key.object_name()!r}")
        if self.expected is not None:
            parts.append(f"expected {self.expected}, got {self.found}")
        elif self.found is not None:
            parts.append(self.found)
        parts += [name for name in ("deleted", "repaired") if getattr(self, name)]
        return ", ".join(parts)


class Findings:
    """A list of problems of one store on the disk, which is gone when it is closed or garbage-collected."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store
        #: The database that they are in, which has room for what they are found with.
        self.scratch = scratch_database()
        self.scratch.execute(
            "CREATE TABLE problem (id INTEGER PRIMARY KEY, kind, name, class INTEGER, rest BLOB, done TEXT)"
        )
        # classes need not be picklable: those of a function's body are not
        self._classes: dict[type[Any] | None, int] = {}
        self.close = weakref.finalize(self, self.scratch.close)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add ``problems``."""
        self.scratch.executemany(
            "INSERT INTO problem (kind, name, class, rest) VALUES (?, ?, ?, ?)",
            map(self._values, problems),
        )

    def entries(self, *kinds: ProblemKind) -> Iterator[tuple[int, Problem]]:
        """Problems of these kinds, or of all, by name; each with the number by which it can be marked."""
        classes = list(self._classes)
        where = f"WHERE kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        found = self.scratch.execute(
            f"SELECT id, kind, name, class, rest, done FROM problem {where} ORDER BY name, id", kinds
        )
        for number, kind, name, index, rest, done in found:
            # pickled by this process, into a file without a name
            key, *others = pickle.loads(rest)
            problem = Problem(ProblemKind(kind), name, key, classes[index], *others)
            yield number, replace(problem, deleted=done == "deleted", repaired=done == "repaired", store=self.store)

    def mark(self, numbers: Iterable[int], done: Literal["deleted", "repaired"]) -> None:
        """Note what has been done about these."""
        self.scratch.executemany("UPDATE problem SET done = ? WHERE id = ?", ((done, number) for number in numbers))

    def remove(self, numbers: Iterable[int]) -> None:
        """Take these back."""
        self.scratch.executemany("DELETE FROM problem WHERE id = ?", ((number,) for number in numbers))

    def counts(self) -> Mapping[ProblemKind, int]:
        """How many there are of each kind that there is."""
        found = dict(self.scratch.execute("SELECT kind, count(*) FROM problem GROUP BY kind").fetchall())
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
            problem.row_key,
        )
        return problem.kind.value, problem.name, index, pickle.dumps(rest)
