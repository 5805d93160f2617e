"""Compares the rows of all image classes with what a store has.

Both sides are written down in a temporary database as they come, sorted there, and joined by the names of the keys, so
that millions of them need no more memory than thousands.

The order matters, since the application goes on meanwhile.  Rows are read first, then the store is listed, then the
rows in question are read again.  A row that was there before and after has had its blob all the time: if that was not
listed, it is missing.  A blob that no row names may be one whose transaction is not committed yet: the grace period
protects it.

A store may have the blobs of some classes only.  The rows of the others count as far as they may name what is there:
none of their blobs is missing, and none is a stray.

A blob that no row names may still be one that a row means.  The name of a blob can differ from what its row says, as
with a key that the database has changed, or with the file name extensions of 1.x.  So strays are sorted by what speaks
for a row: the revision, which no two pictures share; for what has none the type, the id and the size.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

from sqlalchemy.orm import Mapper

from ..bulk.classes import object_types
from ..bulk.digest import Digest, digest_of
from ..bulk.places import Places
from ..bulk.rows import ImageRow, RowReader
from ..bulk.scratch import batches, blobs_of
from ..bulk.workers import in_threads
from ..concurrency import run_blocking
from ..key import ImageKey
from ..store import Store, StoredBlob
from ..uploads.quarantine import is_quarantined
from .findings import Findings, Problem, ProblemKind

__all__ = ["Comparison", "Progress"]

#: Is told what is being done (``"rows"``, ``"blobs"``, ``"bytes"``, ``"deleting"``) and how many are done so far.
Progress = Callable[[str, int], object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TABLES = """
CREATE TABLE image (
    name TEXT, class INTEGER, identity BLOB, mimetype TEXT, revision TEXT, byte_size INTEGER, checksum TEXT,
    here INTEGER
);
CREATE TABLE blob (
    name TEXT, path TEXT, type INTEGER, mimetype TEXT, revision TEXT, byte_size INTEGER, modified INTEGER
);
"""

# Strays and rows without blobs are few, or all is lost anyhow; the rest is looked at once, along an index.
_SORTING = f"""
CREATE INDEX image_by_name ON image (name);
CREATE INDEX blob_by_name ON blob (name);

CREATE TABLE missing AS SELECT name, revision, slot(name) AS slot, shape(name) AS shape FROM image
    WHERE here AND NOT EXISTS (SELECT 1 FROM blob WHERE blob.name = image.name);
CREATE INDEX missing_by_name ON missing (name);
CREATE INDEX missing_by_revision ON missing (revision);
CREATE INDEX missing_by_slot ON missing (slot);
CREATE INDEX missing_by_shape ON missing (shape);

CREATE TABLE stray AS SELECT *, slot(name) AS slot, shape(name) AS shape, '{ProblemKind.ORPHAN}' AS kind FROM blob
    WHERE NOT EXISTS (SELECT 1 FROM image WHERE image.name = blob.name);
DELETE FROM stray WHERE revision IN (SELECT revision FROM image WHERE NOT here)
    OR revision IS NULL AND slot IN (SELECT slot(name) FROM image WHERE NOT here AND revision IS NULL);
CREATE INDEX stray_by_name ON stray (name);
CREATE INDEX stray_by_revision ON stray (revision);
CREATE INDEX stray_by_slot ON stray (slot);
CREATE INDEX stray_by_shape ON stray (shape);

UPDATE stray SET kind = '{ProblemKind.DOUBTFUL}' WHERE revision IS NULL
    AND EXISTS (SELECT 1 FROM missing WHERE missing.revision IS NULL AND missing.shape = stray.shape);
UPDATE stray SET kind = '{ProblemKind.SPARE}'
    WHERE revision IN (SELECT image.revision FROM image CROSS JOIN stray USING (revision));
UPDATE stray SET kind = '{ProblemKind.MISPLACED}'
    WHERE EXISTS (SELECT 1 FROM missing WHERE missing.revision = stray.revision)
    OR kind != '{ProblemKind.SPARE}'
    AND EXISTS (SELECT 1 FROM missing WHERE missing.revision IS NULL AND missing.slot = stray.slot);
"""

# the path is left out where it is the name
_STRAY = "name, coalesce(path, name), mimetype, revision, byte_size, modified"
#: The strays that the row means which has this revision and slot, though they are not where it says.
_MEANT_BY = (
    f"stray.kind = '{ProblemKind.MISPLACED}' AND (stray.revision = {{0}}revision"
    " OR {0}revision IS NULL AND stray.slot = {0}slot)"
)
_IMAGE = "image.name, class, identity, image.mimetype, image.revision, image.byte_size, checksum"


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A row of which something seems to be wrong, as it was when it was read first."""

    name: str
    key: ImageKey
    image_class: type[Any]
    identity: tuple[Any, ...]
    recorded: Digest
    stored_size: int | None = None


class Comparison:
    """Of one store with the rows of the classes of ``mappers``.

    :param reader: reads the rows
    :param mappers: the image classes, each row in one of them
    :param places: tells which of them have their blobs in the store
    :param store: the store
    :param cutoff: what was written later is too young to count as nobody's
    :param workers: how many blobs to read at a time
    :param progress: is told how it goes
    """

    def __init__(
        self,
        reader: RowReader,
        mappers: Sequence[Mapper[Any]],
        places: Places,
        store: Store,
        cutoff: datetime,
        workers: int,
        progress: Progress | None,
    ) -> None:
        self.reader = reader
        self.mappers = mappers
        self.store = store
        self.cutoff = cutoff
        self.workers = workers
        self.progress = progress or (lambda phase, done: None)
        self._is_here = partial(places.has, store)
        self._limit = _microseconds(cutoff)
        self.findings = Findings(store)
        self._scratch = self.findings.scratch
        self._scratch.executescript(_TABLES)
        self._scratch.create_function("slot", 1, _slot, deterministic=True)
        self._scratch.create_function("shape", 1, _shape, deterministic=True)
        self._classes: dict[type[Any], int] = {}
        self._types: dict[str, int] = {}
        self.rows = self.blobs = self.blob_bytes = self.in_grace = self.without_checksum = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        if exc_type is not None:  # otherwise a report has the findings now
            self.findings.close()

    # --- both sides --------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Write down all rows and all blobs.

        :raises StoreError: the store cannot list what it has, or not all of it
        """
        for mapper in self.mappers:
            for object_type in object_types(mapper, self._is_here):
                self._types.setdefault(object_type, len(self._types))
            for rows in batches(self.reader.rows(mapper)):
                self._scratch.executemany("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._row_values(rows))
                self.progress("rows", self.rows)
        if self.rows:
            run_blocking(self.store.require_presence)
        seen = 0
        for blobs in blobs_of(self.store):
            self._scratch.executemany("INSERT INTO blob VALUES (?, ?, ?, ?, ?, ?, ?)", self._blob_values(blobs))
            seen += len(blobs)
            self.progress("blobs", seen)
        self._scratch.executescript(_SORTING)

    def _row_values(self, rows: Iterable[ImageRow]) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            here = self._is_here(type(row.image))
            self.rows += here
            if row.key is None:
                if not here:
                    continue  # a problem of its own store
                found = f"{type(row.error).__name__}: {row.error}"
                name = f"{type(row.image).__name__} {row.identity}"
                problem = Problem(ProblemKind.INVALID_ROW, name, None, type(row.image), row.identity, found=found)
                self.findings.add([problem])
                continue
            key = self.store.own_key(row.key)
            if here:
                self._types.setdefault(key.object_type, len(self._types))
            index = self._classes.setdefault(type(row.image), len(self._classes))
            identity = pickle.dumps(row.identity)
            yield key.object_name(), index, identity, key.mimetype, key.revision, row.byte_size, row.checksum, here

    def _blob_values(self, blobs: Iterable[StoredBlob]) -> Iterator[tuple[Any, ...]]:
        mapped = tuple(f"{object_type}/" for object_type in self._types)
        for blob in blobs:
            modified = _microseconds(blob.modified_at)
            key = blob.key
            if blob.is_temporary and blob.name.startswith(mapped):
                self._note(ProblemKind.TEMPORARY, blob, modified)
            elif blob.is_temporary:
                self._note(ProblemKind.UNMAPPED, blob)
            elif key is not None and is_quarantined(key):
                self._note(ProblemKind.TEMPORARY, blob, modified)
            elif key is None or self.store.own_key(key) != key:
                self._note(ProblemKind.FOREIGN, blob)
            elif (object_type := self._types.get(key.object_type)) is None:
                self._note(ProblemKind.UNMAPPED, blob)
            else:
                self.blobs += 1
                self.blob_bytes += blob.byte_size
                name = key.object_name()
                path = None if blob.name == name else blob.name
                yield name, path, object_type, key.mimetype, key.revision, blob.byte_size, modified

    def _note(self, kind: ProblemKind, blob: StoredBlob, modified: int | None = None) -> None:
        if modified is not None and modified > self._limit:
            self.in_grace += 1
        else:
            self.findings.add(
                [Problem(kind, blob.name, blob.key, byte_size=blob.byte_size, modified_at=blob.modified_at)]
            )

    # --- blobs without rows ------------------------------------------------------------------------------------------

    def find_strays(self) -> None:
        """Add the blobs that no row names, but for the misplaced ones, which go with their rows."""
        strays = f"FROM stray WHERE kind != '{ProblemKind.MISPLACED}' AND modified"
        found = self._scratch.execute(f"SELECT kind, {_STRAY} {strays} <= ?", (self._limit,))
        self.findings.add(self._stray(*values) for values in found)
        self.in_grace += self._scratch.execute(f"SELECT count(*) {strays} > ?", (self._limit,)).fetchone()[0]

    def _stray(self, kind: str, name: str, path: str, *rest: Any) -> Problem:
        mimetype, revision, byte_size, modified = rest
        modified_at = _EPOCH + timedelta(microseconds=modified)
        found, row_key = ProblemKind(kind), None
        if found is ProblemKind.SPARE:
            statement = "SELECT image.name, image.mimetype FROM image WHERE revision = ?"
            own_name, own_type = self._scratch.execute(statement, (revision,)).fetchone()
            row_key = _key(own_name, own_type, revision)
        key = _key(name, mimetype, revision)
        return Problem(found, path, key, byte_size=byte_size, modified_at=modified_at, row_key=row_key)

    @property
    def object_types(self) -> Collection[str]:
        """Those that are mapped."""
        return self._types.keys()

    def orphans_by_type(self) -> Iterator[tuple[str, int, int]]:
        """Object types that have orphans, each with the number of these and of all its blobs."""
        names = list(self._types)
        statement = (
            "SELECT type, orphans, (SELECT count(*) FROM blob WHERE blob.type = found.type) FROM"
            f" (SELECT type, count(*) AS orphans FROM stray WHERE kind = '{ProblemKind.ORPHAN}' AND modified <= ?"
            " GROUP BY type) AS found"
        )
        for index, orphans, blobs in self._scratch.execute(statement, (self._limit,)):
            yield names[index], orphans, blobs

    def read_rows_again(self) -> None:
        """Read all rows once more, and take back that a blob is a stray if one of them means it."""
        done = 0
        for mapper in self.mappers:
            for rows in batches(self.reader.rows(mapper)):
                keys = [self.store.own_key(row.key) for row in rows if row.key is not None]
                self._delete_strays("name", (key.object_name() for key in keys))
                self._delete_strays("revision", (key.revision for key in keys if key.revision is not None))
                unnamed = [key.object_name() for key in keys if key.revision is None]
                unnamed = [name for name in unnamed if not self._is_listed(name)]
                self._delete_strays("slot", map(_slot, unnamed))
                self._delete_strays("revision IS NULL AND shape", map(_shape, unnamed))
                done += len(rows)
                self.progress("rows", done)

    def _delete_strays(self, column: str, values: Iterable[str]) -> None:
        statement = f"DELETE FROM stray WHERE kind = '{ProblemKind.ORPHAN}' AND {column} = ?"
        self._scratch.executemany(statement, ((value,) for value in values))

    def _is_listed(self, name: str) -> bool:
        return self._scratch.execute("SELECT 1 FROM blob WHERE name = ?", (name,)).fetchone() is not None

    # --- rows without blobs, or with other ones ----------------------------------------------------------------------

    def find_missing(self) -> None:
        """Add the rows whose blob is not there, and with them the misplaced blobs that they mean."""
        self._find_missing("")

    def find_misplaced(self) -> None:
        """Add the rows whose blob is somewhere else."""
        self._find_missing(f"AND EXISTS (SELECT 1 FROM stray WHERE {_MEANT_BY.format('missing.')})")

    def _find_missing(self, condition: str) -> None:
        statement = f"SELECT {_IMAGE} FROM missing CROSS JOIN image USING (name) WHERE here {condition}"
        for suspects in batches(self._suspects(statement)):
            remaining = self._still_there(suspects)
            # looked for in threads, which the scratch database is not for
            found = in_threads(self._look_for, remaining, self.workers)
            self.findings.add(self._placed(*each) for each in found if each is not None)

    def _placed(self, problem: Problem, suspect: _Suspect) -> Problem:
        """``problem``, or that the blob which is missing is somewhere else."""
        if problem.kind is not ProblemKind.MISSING_BLOB:
            return problem
        parameters = {"revision": suspect.key.revision, "slot": _slot(suspect.name)}
        statement = f"SELECT {_STRAY} FROM stray WHERE {_MEANT_BY.format(':')} ORDER BY byte_size IS NOT :byte_size"
        stray = self._scratch.execute(statement, parameters | {"byte_size": suspect.recorded.byte_size}).fetchone()
        if stray is None:
            return problem
        name, path, mimetype, revision, byte_size, modified = stray
        return replace(
            problem,
            kind=ProblemKind.MISPLACED,
            name=path,
            key=_key(name, mimetype, revision),
            byte_size=byte_size,
            modified_at=_EPOCH + timedelta(microseconds=modified),
            row_key=suspect.key,
        )

    def find_wrong_sizes(self) -> None:
        """Add the rows whose blob has another length than they record."""
        statement = (
            f"SELECT {_IMAGE}, blob.byte_size FROM image JOIN blob USING (name)"
            " WHERE here AND image.byte_size != blob.byte_size"
            # without a revision it may be one that is being overwritten
            " AND (blob.revision IS NOT NULL OR blob.modified <= ?)"
        )
        for suspects in batches(self._suspects(statement, self._limit)):
            for each in self._still_there(suspects):
                sizes = (f"{each.recorded.byte_size} bytes", f"{each.stored_size} bytes")
                self.findings.add([_problem(ProblemKind.WRONG_SIZE, each, *sizes)])

    def find_wrong_checksums(self) -> None:
        """Read all blobs whose row records a checksum, and add those that have another one."""
        statement = (
            f"SELECT {_IMAGE}, blob.byte_size FROM image JOIN blob USING (name)"
            " WHERE here AND image.checksum IS NOT NULL AND ifnull(image.byte_size, blob.byte_size) = blob.byte_size"
        )
        done = 0
        for suspects in batches(self._suspects(statement)):
            found = [problem for problem in in_threads(self._verify, suspects, self.workers) if problem is not None]
            done += len(suspects)
            self.progress("bytes", done)
            by_identity = {(each.image_class, each.identity) for each in self._still_there([s for _, s in found])}
            self.findings.add(p for p, s in found if (s.image_class, s.identity) in by_identity)
        self.without_checksum = self._scratch.execute(
            "SELECT count(*) - count(checksum) FROM image WHERE here"
        ).fetchone()[0]

    def _suspects(self, statement: str, *parameters: object) -> Iterator[_Suspect]:
        classes = list(self._classes)
        for name, index, identity, mimetype, revision, byte_size, checksum, *rest in self._scratch.execute(
            statement, parameters
        ):
            key = _key(name, mimetype, revision)
            # pickled by this process, into a file without a name
            yield _Suspect(name, key, classes[index], pickle.loads(identity), Digest(byte_size, checksum), *rest)

    def _still_there(self, suspects: Sequence[_Suspect]) -> list[_Suspect]:
        """Those whose rows are now as they were."""
        remaining = []
        for mapper in self.mappers:
            mine = [each for each in suspects if issubclass(each.image_class, mapper.class_)]
            now = self.reader.look_up(mapper, [each.identity for each in mine])
            remaining += [each for each in mine if self._is_same(each, now.get(each.identity))]
        return remaining

    def _is_same(self, before: _Suspect, now: ImageRow | None) -> bool:
        return (
            now is not None
            and now.key is not None
            and self.store.own_key(now.key).object_name() == before.name
            and Digest(now.byte_size, now.checksum) == before.recorded
        )

    def _look_for(self, suspect: _Suspect) -> tuple[Problem, _Suspect] | None:
        # it was not listed, but what counts is whether it can be read: a link may lead to it
        try:
            self.store.get(suspect.key).close()
        except FileNotFoundError:
            return _problem(ProblemKind.MISSING_BLOB, suspect), suspect
        except Exception as error:
            return _problem(ProblemKind.UNREADABLE, suspect, None, f"{type(error).__name__}: {error}"), suspect
        return None

    def _verify(self, suspect: _Suspect) -> tuple[Problem, _Suspect] | None:
        try:
            found = digest_of(self.store, suspect.key)
        except FileNotFoundError:
            return _problem(ProblemKind.MISSING_BLOB, suspect), suspect
        except Exception as error:
            return _problem(ProblemKind.UNREADABLE, suspect, None, f"{type(error).__name__}: {error}"), suspect
        if suspect.recorded.agrees_with(found):
            return None
        checksums = (f"SHA-256 {suspect.recorded.checksum}", str(found.checksum))
        return _problem(ProblemKind.WRONG_CHECKSUM, suspect, *checksums), suspect


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _slot(name: str) -> str:
    """An object name without its revision and type: ``user-picture/1/640x480``."""
    head, _, tail = name.rpartition("/")
    return f"{head}/{tail.partition('.')[0]}"


def _shape(name: str) -> str:
    """An object name without its id, too: ``user-picture/640x480``."""
    object_type, _, size = _slot(name).rsplit("/", 2)
    return f"{object_type}/{size}"


def _key(name: str, mimetype: str, revision: str | None) -> ImageKey:
    # the end of a name does not always tell the type and the revision apart, nor whether there is one
    object_type, object_id, suffix = name.rsplit("/", 2)
    width, _, height = suffix.partition(".")[0].partition("x")
    return ImageKey(object_type, int(object_id), int(width), int(height), mimetype, revision)


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
