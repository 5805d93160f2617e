"""Moving all blobs from one store to another, while the application is running.

::

    result = migrate(session, Base, FileSystemStore("images", url), S3Store("bucket"), workers=8).execute()
    assert result.ok, result.failures

Afterwards the destination has the blob of every row, checked against the length and the checksum that the row records,
and the source is as it was.  A second run copies only what is missing or differs, so a migration that failed or was
killed is continued by starting it again.

To move without an interruption:

1. let the application write to both stores and read from the first that has the blob (``MirrorStore``);
2. migrate.  What is attached, replaced or deleted meanwhile is in both, or in neither: blobs are immutable, so nothing
   that is copied can be older than what is there;
3. migrate once more: that shows that nothing is missing, and with ``verify="read-back"`` that each byte is right;
4. let the application use the destination alone.

Blobs *without a revision in a store that takes none* are the exception: they can be overwritten while they are copied.
Stop the writers, or run the migration again once the application has moved.

Memory does not grow with the number of rows: a page of rows is held at a time, and of each blob on its way at most
8 MiB.  What the destination has already is asked once for each object type, by listing it; if it cannot list, each blob
is looked for.

Below an ``AsyncSession`` the event loop goes on turning::

    await session.run_sync(lambda session: migrate(session, Base, source, destination).execute())
"""

from __future__ import annotations

from ..bulk.failures import Failure
from ..bulk.keyset import KeyRange
from .copier import BlobMismatchError, Verify
from .plan import MigrationPlan, migrate, migrate_class
from .result import MigrationResult
from .spread import migration_jobs
from .transfer import OnError

__all__ = [
    "BlobMismatchError",
    "Failure",
    "KeyRange",
    "MigrationPlan",
    "MigrationResult",
    "OnError",
    "Verify",
    "migrate",
    "migrate_class",
    "migration_jobs",
]
