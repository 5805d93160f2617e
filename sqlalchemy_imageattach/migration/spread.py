"""A migration by many workers: one job for each range of primary keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..bulk.classes import image_mappers
from ..jobs.job import Job
from ..jobs.ranges import jobs_by_range, range_of
from ..jobs.runner import Work, handles
from .copier import Verify
from .plan import migrate_range

__all__ = ["migration_jobs"]

#: The kind of these jobs.
MIGRATE = "imageattach.migrate"


def migration_jobs(
    session: Any,
    declarative_base: Any,
    *,
    source: str,
    destination: str,
    parts: int = 100,
    verify: Verify = "copy",
) -> Sequence[Job]:
    """The parts of a migration of all image classes, for a :class:`~sqlalchemy_imageattach.jobs.Spread`.

    ::

        runner = JobRunner(Session, Base, stores={"old": old, "new": new})         # in the workers' module
        jobs = migration_jobs(session, Base, source="old", destination="new")
        spread = Spread.begin(Session, jobs)

    The result of each part is a mapping of the counts of a
    :class:`~sqlalchemy_imageattach.migration.MigrationResult`, with ``failures`` as texts.  A part that cannot be done
    since a store is down is tried again; one in which single blobs fail is done, and tells them.

    :param session: a session of the database
    :param declarative_base: the base class of the mapped classes, or their registry
    :param source: the name of the store to copy from, among the ``stores`` of the workers' runner
    :param destination: the name of the store to copy to
    :param parts: into how many parts to divide each class, at most
    :param verify: as for :func:`~sqlalchemy_imageattach.migration.migrate`
    """
    params = {"source": source, "destination": destination, "verify": verify}
    return list(jobs_by_range(session, image_mappers(declarative_base), MIGRATE, parts, **params))


@handles(MIGRATE)
def _migrate(work: Work) -> dict[str, Any]:
    mapper, key_range = range_of(work)
    params = work.job.params
    source = work.runner.named_store(params["source"])
    destination = work.runner.named_store(params["destination"])
    with work.session() as session:
        plan = migrate_range(session, mapper, source, destination, key_range, params["verify"])
        result = plan.execute()
    names = ("copied", "copied_bytes", "present", "elsewhere", "vanished", "failed", "gave_up")
    return {name: getattr(result, name) for name in names} | {"failures": [str(each) for each in result.failures]}
