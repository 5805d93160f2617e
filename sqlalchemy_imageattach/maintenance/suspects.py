"""Rows whose blob is missing, somewhere else, or another one than they record."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..bulk.digest import Digest, digest_of
from ..bulk.rows import ImageRow
from ..bulk.scratch import batches
from ..bulk.workers import in_threads
from ..key import ImageKey
from .findings import Problem, ProblemKind
from .inventory import IMAGE, MEANT_BY, STRAY, Inventory, key_of, slot_of, time_of

__all__ = ["Suspects"]


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A row of which something seems to be wrong, as it was when it was read first."""

    name: str
    key: ImageKey
    image_class: type[Any]
    identity: tuple[Any, ...]
    recorded: Digest
    stored_size: int | None = None


class Suspects:
    """Those of an inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._scratch = inventory.scratch

    def find_missing(self) -> None:
        """Add the rows whose blob is not there, and with them the misplaced blobs that they mean."""
        self._find_missing("")

    def find_misplaced(self) -> None:
        """Add the rows whose blob is somewhere else."""
        self._find_missing(f"AND EXISTS (SELECT 1 FROM stray WHERE {MEANT_BY.format('missing.')})")

    def _find_missing(self, condition: str) -> None:
        statement = f"SELECT {IMAGE} FROM missing CROSS JOIN image USING (name) WHERE here {condition}"
        for suspects in batches(self._suspects(statement)):
            remaining = self._still_there(suspects)
            # looked for in threads, which the scratch database is not for
            found = in_threads(self._look_for, remaining, self._inventory.workers)
            self._inventory.findings.add(self._placed(*each) for each in found if each is not None)

    def _placed(self, problem: Problem, suspect: _Suspect) -> Problem:
        """``problem``, or that the blob which is missing is somewhere else."""
        if problem.kind is not ProblemKind.MISSING_BLOB:
            return problem
        parameters = {"revision": suspect.key.revision, "slot": slot_of(suspect.name)}
        statement = f"SELECT {STRAY} FROM stray WHERE {MEANT_BY.format(':')} ORDER BY byte_size IS NOT :byte_size"
        stray = self._scratch.execute(statement, parameters | {"byte_size": suspect.recorded.byte_size}).fetchone()
        if stray is None:
            return problem
        name, path, mimetype, revision, byte_size, modified = stray
        return replace(
            problem,
            kind=ProblemKind.MISPLACED,
            name=path,
            key=key_of(name, mimetype, revision),
            byte_size=byte_size,
            modified_at=time_of(modified),
            row_key=suspect.key,
        )

    def find_wrong_sizes(self) -> None:
        """Add the rows whose blob has another length than they record."""
        statement = (
            f"SELECT {IMAGE}, blob.byte_size FROM image JOIN blob USING (name)"
            " WHERE here AND image.byte_size != blob.byte_size"
            # without a revision it may be one that is being overwritten
            " AND (blob.revision IS NOT NULL OR blob.modified <= ?)"
        )
        for suspects in batches(self._suspects(statement, self._inventory.limit)):
            for each in self._still_there(suspects):
                sizes = (f"{each.recorded.byte_size} bytes", f"{each.stored_size} bytes")
                self._inventory.findings.add([_problem(ProblemKind.WRONG_SIZE, each, *sizes)])

    def find_wrong_checksums(self) -> None:
        """Read all blobs whose row records a checksum, and add those that have another one."""
        statement = (
            f"SELECT {IMAGE}, blob.byte_size FROM image JOIN blob USING (name)"
            " WHERE here AND image.checksum IS NOT NULL AND ifnull(image.byte_size, blob.byte_size) = blob.byte_size"
        )
        done = 0
        for suspects in batches(self._suspects(statement)):
            found = [
                problem
                for problem in in_threads(self._verify, suspects, self._inventory.workers)
                if problem is not None
            ]
            done += len(suspects)
            self._inventory.progress("bytes", done)
            by_identity = {(each.image_class, each.identity) for each in self._still_there([s for _, s in found])}
            self._inventory.findings.add(p for p, s in found if (s.image_class, s.identity) in by_identity)
        self._inventory.without_checksum = self._scratch.execute(
            "SELECT count(*) - count(checksum) FROM image WHERE here"
        ).fetchone()[0]

    def _suspects(self, statement: str, *parameters: object) -> Iterator[_Suspect]:
        classes = list(self._inventory.classes)
        for name, index, identity, mimetype, revision, byte_size, checksum, *rest in self._scratch.execute(
            statement, parameters
        ):
            key = key_of(name, mimetype, revision)
            # pickled by this process, into a file without a name
            yield _Suspect(name, key, classes[index], pickle.loads(identity), Digest(byte_size, checksum), *rest)

    def _still_there(self, suspects: Sequence[_Suspect]) -> list[_Suspect]:
        """Those whose rows are now as they were."""
        remaining = []
        for mapper in self._inventory.mappers:
            mine = [each for each in suspects if issubclass(each.image_class, mapper.class_)]
            now = self._inventory.reader.look_up(mapper, [each.identity for each in mine])
            remaining += [each for each in mine if self._is_same(each, now.get(each.identity))]
        return remaining

    def _is_same(self, before: _Suspect, now: ImageRow | None) -> bool:
        return (
            now is not None
            and now.key is not None
            and self._inventory.store.own_key(now.key).object_name() == before.name
            and Digest(now.byte_size, now.checksum) == before.recorded
        )

    def _look_for(self, suspect: _Suspect) -> tuple[Problem, _Suspect] | None:
        # it was not listed, but what counts is whether it can be read: a link may lead to it
        try:
            self._inventory.store.get(suspect.key).close()
        except FileNotFoundError:
            return _problem(ProblemKind.MISSING_BLOB, suspect), suspect
        except Exception as error:
            return _problem(ProblemKind.UNREADABLE, suspect, None, f"{type(error).__name__}: {error}"), suspect
        return None

    def _verify(self, suspect: _Suspect) -> tuple[Problem, _Suspect] | None:
        try:
            found = digest_of(self._inventory.store, suspect.key)
        except FileNotFoundError:
            return _problem(ProblemKind.MISSING_BLOB, suspect), suspect
        except Exception as error:
            return _problem(ProblemKind.UNREADABLE, suspect, None, f"{type(error).__name__}: {error}"), suspect
        if suspect.recorded.agrees_with(found):
            return None
        checksums = (f"SHA-256 {suspect.recorded.checksum}", str(found.checksum))
        return _problem(ProblemKind.WRONG_CHECKSUM, suspect, *checksums), suspect


def _problem(kind: ProblemKind, suspect: _Suspect, expected: str | None = None, found: str | None = None) -> Problem:
    return Problem(
        kind,
        suspect.name,
        suspect.key,
        suspect.image_class,
        suspect.identity,
        suspect.stored_size,
        expected=expected,
        found=found,
    )
