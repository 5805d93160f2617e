"""A check of all blobs by many workers: one job for each range of primary keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..bulk.classes import image_mappers
from ..bulk.digest import Digest, digest_of
from ..bulk.rows import ImageRow, RowReader
from ..errors import BlobNotFoundError, StoreError
from ..jobs.job import Job
from ..jobs.ranges import jobs_by_range, range_of
from ..jobs.runner import Work, handles
from ..store import Store
from .findings import Problem, ProblemKind

__all__ = ["check_jobs"]

#: The kind of these jobs.
CHECK = "imageattach.check"

#: So many problems of one part are told in detail; all are counted.
PROBLEMS_KEPT = 1000


def check_jobs(session: Any, declarative_base: Any, *, store: str | None = None, parts: int = 100) -> Sequence[Job]:
    """The parts of a check of the blobs of all rows, for a :class:`~sqlalchemy_imageattach.jobs.Spread`.

    Each blob is read to its end, and compared with what its row records.  Orphans, that is blobs that no row names, are
    *not* looked for: that takes a list of the whole store, which :func:`~sqlalchemy_imageattach.maintenance.check`
    makes in one process.

    The result of each part is a mapping: ``rows`` is how many were looked at, ``counts`` how many problems there are of
    each :class:`~sqlalchemy_imageattach.maintenance.ProblemKind`, and ``problems`` the first 1,000 as texts.

    :param session: a session of the database
    :param declarative_base: the base class of the mapped classes, or their registry
    :param store: the name of a store of the workers' runner, for the classes that have none of their own; by default
        the usual one
    :param parts: into how many parts to divide each class, at most
    """
    return list(jobs_by_range(session, image_mappers(declarative_base), CHECK, parts, store=store))


@handles(CHECK)
def _check(work: Work) -> dict[str, Any]:
    mapper, key_range = range_of(work)
    stores: dict[type[Any], Store] = {}
    rows, counts = 0, dict.fromkeys(ProblemKind, 0)
    problems: list[str] = []
    with work.session() as session:
        reader = RowReader(session)
        for row in reader.rows(mapper, key_range):
            rows += 1
            cls = type(row.image)
            if cls not in stores:
                stores[cls] = work.runner.store_of_class(cls, work.job.params["store"])
            problem = _problem_of(row, cls, stores[cls])
            # it may have been replaced or deleted since its page was read
            if problem is None or not _is_there(reader, mapper, row):
                continue
            counts[problem.kind] += 1
            if len(problems) < PROBLEMS_KEPT:
                problems.append(str(problem))
    return {"rows": rows, "counts": {kind: count for kind, count in counts.items() if count}, "problems": problems}


def _is_there(reader: RowReader, mapper: Any, row: ImageRow) -> bool:
    now = reader.look_up(mapper, [row.identity]).get(row.identity)
    return now is not None and now.key == row.key


def _problem_of(row: ImageRow, cls: type[Any], store: Store) -> Problem | None:
    if row.key is None:
        return Problem(ProblemKind.INVALID_ROW, "", None, cls, row.identity, found=str(row.error))
    key = store.own_key(row.key)
    recorded = Digest(row.byte_size, row.checksum)

    def problem(kind: ProblemKind, **details: Any) -> Problem:
        return Problem(kind, key.object_name(), key, cls, row.identity, **details)

    try:
        found = digest_of(store, key)
    except FileNotFoundError:
        return problem(ProblemKind.MISSING_BLOB)
    except StoreError as error:
        if not isinstance(error, BlobNotFoundError | PermissionError):
            raise  # the store is down: the part is tried again
        return problem(ProblemKind.UNREADABLE, found=str(error))
    if recorded.byte_size not in {None, found.byte_size}:
        sizes = {"expected": f"{recorded.byte_size} bytes", "found": f"{found.byte_size}"}
        return problem(ProblemKind.WRONG_SIZE, byte_size=found.byte_size, **sizes)
    if not recorded.agrees_with(found):
        return problem(ProblemKind.WRONG_CHECKSUM, expected=recorded.checksum, found=found.checksum)
    return None
