"""Rows and blobs of one store, written down side by side.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

from sqlalchemy.orm import Mapper

from ..bulk.classes import object_types
from ..bulk.places import Places
from ..bulk.rows import ImageRow, RowReader
from ..bulk.scratch import batches, blobs_of
from ..concurrency import run_blocking
from ..key import ImageKey
from ..store import Store, StoredBlob
from ..uploads.quarantine import is_quarantined
from .findings import Findings, Problem, ProblemKind

__all__ = ["IMAGE", "MEANT_BY", "STRAY", "Inventory", "Progress", "key_of", "shape_of", "slot_of", "time_of"]

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
STRAY = "name, coalesce(path, name), mimetype, revision, byte_size, modified"
#: The strays that the row means which has this revision and slot, though they are not where it says.
MEANT_BY = (
    f"stray.kind = '{ProblemKind.MISPLACED}' AND (stray.revision = {{0}}revision"
    " OR {0}revision IS NULL AND stray.slot = {0}slot)"
)
# of a row, in the order of what a suspect is made of
IMAGE = "image.name, class, identity, image.mimetype, image.revision, image.byte_size, checksum"


class Inventory:
    """The blobs of one store, and the rows of the classes of ``mappers``.

    :param reader: reads the rows
    :param mappers: the image classes, each row in one of them
    :param places: tells which of them have their blobs in the store
    :param store: the store
    :param cutoff: what was written later is too young to count as nobody's
    :param workers: how many blobs to work on at a time
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
        #: The cutoff as moments are written down.
        self.limit = _microseconds(cutoff)
        self.findings = Findings(store)
        self.scratch = self.findings.scratch
        self.scratch.executescript(_TABLES)
        self.scratch.create_function("slot", 1, slot_of, deterministic=True)
        self.scratch.create_function("shape", 1, shape_of, deterministic=True)
        #: The numbers by which image classes and object types are written down.
        self.classes: dict[type[Any], int] = {}
        self.types: dict[str, int] = {}
        self.rows = self.blobs = self.blob_bytes = self.in_grace = self.without_checksum = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        if exc_type is not None:  # otherwise a report has the findings now
            self.findings.close()

    def read(self) -> None:
        """Write down all rows and all blobs.

        :raises StoreError: the store cannot list what it has, or not all of it
        """
        for mapper in self.mappers:
            for object_type in object_types(mapper, self._is_here):
                self.types.setdefault(object_type, len(self.types))
            for rows in batches(self.reader.rows(mapper)):
                self.scratch.executemany("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._row_values(rows))
                self.progress("rows", self.rows)
        if self.rows:
            run_blocking(self.store.require_presence)
        seen = 0
        for blobs in blobs_of(self.store):
            self.scratch.executemany("INSERT INTO blob VALUES (?, ?, ?, ?, ?, ?, ?)", self._blob_values(blobs))
            seen += len(blobs)
            self.progress("blobs", seen)
        self.scratch.executescript(_SORTING)

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
                self.types.setdefault(key.object_type, len(self.types))
            index = self.classes.setdefault(type(row.image), len(self.classes))
            identity = pickle.dumps(row.identity)
            yield key.object_name(), index, identity, key.mimetype, key.revision, row.byte_size, row.checksum, here

    def _blob_values(self, blobs: Iterable[StoredBlob]) -> Iterator[tuple[Any, ...]]:
        mapped = tuple(f"{object_type}/" for object_type in self.types)
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
            elif (object_type := self.types.get(key.object_type)) is None:
                self._note(ProblemKind.UNMAPPED, blob)
            else:
                self.blobs += 1
                self.blob_bytes += blob.byte_size
                name = key.object_name()
                path = None if blob.name == name else blob.name
                yield name, path, object_type, key.mimetype, key.revision, blob.byte_size, modified

    def _note(self, kind: ProblemKind, blob: StoredBlob, modified: int | None = None) -> None:
        if modified is not None and modified > self.limit:
            self.in_grace += 1
        else:
            self.findings.add(
                [Problem(kind, blob.name, blob.key, byte_size=blob.byte_size, modified_at=blob.modified_at)]
            )


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def time_of(microseconds: int) -> datetime:
    """A moment as it is written down."""
    return _EPOCH + timedelta(microseconds=microseconds)


def slot_of(name: str) -> str:
    """An object name without its revision and type: ``user-picture/1/640x480``."""
    head, _, tail = name.rpartition("/")
    return f"{head}/{tail.partition('.')[0]}"


def shape_of(name: str) -> str:
    """An object name without its id, too: ``user-picture/640x480``."""
    object_type, _, size = slot_of(name).rsplit("/", 2)
    return f"{object_type}/{size}"


def key_of(name: str, mimetype: str, revision: str | None) -> ImageKey:
    """The key of an object name."""
    # the end of a name does not always tell the type and the revision apart, nor whether there is one
    object_type, object_id, suffix = name.rsplit("/", 2)
    width, _, height = suffix.partition(".")[0].partition("x")
    return ImageKey(object_type, int(object_id), int(width), int(height), mimetype, revision)
