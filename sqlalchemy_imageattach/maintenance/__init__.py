"""Do rows and blobs agree?  :func:`check` tells, :func:`repair` brings blobs to where their rows say, and :func:`sweep`
removes those that are nobody's.

::

    with check(session, Base, store) as report:
        for problem in report:
            print(problem)

    with sweep(session, Base, store) as report:                     # a dry run: says what it would delete
        print(report.counts)
    with sweep(session, Base, store, dry_run=False) as report:
        print(report.deleted, "blobs,", report.deleted_bytes, "bytes")

Blobs without rows come from what no session hears of: bulk ``delete()`` statements, ``ON DELETE CASCADE``, processes
that were killed between writing a blob and committing its row, and stores that failed to delete.

What the sweep deletes, and what it never touches:

* **A blob is an orphan** if its name is, letter by letter, that of a key; if its object type is that of a mapped class;
  if no row of any mapped class names it, neither when all rows were read before the store was listed nor when they are
  read once more before the first is deleted; and if it is older than the grace period.
* **A blob that a row means is no orphan**, even if no row names it.  A blob whose revision stands in any row is that
  row's; it is deleted only as a spare copy, where the row's own blob is there and is the same byte for byte.  A blob
  without a revision is spared if its type, id and size are those of a row whose own blob is missing, and even if only
  its type and size are.
* **A temporary file** is stale if the store says that it is one, if it lies where blobs of a mapped class do, and if it
  is older than the grace period.
* **All rows count**, those too that the application filters out of its own queries, such as what it calls deleted.
* Everything else stays: files of others, blobs and temporary files of other object types, blobs whose rows are there.
* Nothing is deleted if the rows or the blobs could not be read to their end, if the session might show an old state of
  the database, if there are rows whose key is not known, or if too large a part of all blobs would go, as it would with
  the wrong database: :exc:`SweepRefusedError` says so.

A store belongs to one database, and each object type in it to one declarative base.  Blobs of another one in the same
place, below the same object types, would look like orphans: give each its own directory or prefix.

Memory does not grow with the number of rows and blobs.  They are sorted in a temporary file, about half a gigabyte for
a million, in the directory that ``SQLITE_TMPDIR`` or ``TMPDIR`` names: it should be no memory disk.
"""

from __future__ import annotations

from ..bulk.failures import Failure
from .findings import Problem, ProblemKind
from .inventory import Progress
from .removal import SweepRefusedError
from .report import GRACE, Report, check, repair, sweep
from .spread import check_jobs

__all__ = [
    "GRACE",
    "Failure",
    "Problem",
    "ProblemKind",
    "Progress",
    "Report",
    "SweepRefusedError",
    "check",
    "check_jobs",
    "repair",
    "sweep",
]
