"""Upkeep by many workers: one job for each range of the owners' primary keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from ..errors import StoreError
from ..jobs.job import Job
from ..jobs.ranges import jobs_by_range, range_of
from ..jobs.runner import Work, handles
from ..jobs.transient import is_transient
from .owners import chosen_owners, owners_within
from .upkeep import UpkeepResult, treat_owners

__all__ = ["backfill_jobs"]

#: The kind of these jobs.
UPKEEP = "imageattach.upkeep"


def backfill_jobs(
    session: Any,
    declarative_base: Any,
    *,
    store: str | None = None,
    on_demand: bool = False,
    classes: Collection[type[Any] | str] = (),
    parts: int = 100,
) -> Sequence[Job]:
    """The parts of a :func:`~sqlalchemy_imageattach.variants.bring_up_to_date`, for a
    :class:`~sqlalchemy_imageattach.jobs.Spread`.

    ::

        runner = JobRunner(Session, Base)                                          # in the workers' module
        spread = Spread.begin(Session, backfill_jobs(session, Base, parts=100))
        spread.enqueue(queue)

    The result of each part is a mapping of the counts of an :class:`~sqlalchemy_imageattach.variants.UpkeepResult`,
    with ``failures`` as texts.  A part during which the database or the store is down is tried again; one in which
    single owners fail is done, and tells them.

    :param session: a session of the database
    :param declarative_base: the base class of the mapped classes, or their registry
    :param store: the name of a store of the workers' runner, for the classes that have none of their own; by default
        the usual one
    :param on_demand: whether to make those as well that wait until somebody wants them
    :param classes: the image classes, or their names; by default all
    :param parts: into how many parts to divide each class of owners, at most
    :raises InvalidValueError: there is no such class, or there are no parts
    """
    mappers = chosen_owners(declarative_base, classes)
    names = [each if isinstance(each, str) else each.__name__ for each in classes]
    params = {"store": store, "on_demand": on_demand, "classes": names}
    return list(jobs_by_range(session, mappers, UPKEEP, parts, **params))


@handles(UPKEEP)
def _bring_up_to_date(work: Work) -> dict[str, Any]:
    mapper, key_range = range_of(work, object)
    params = work.job.params
    store_of = partial(work.runner.store_of_class, name=params["store"])
    with work.session() as session:
        found = owners_within(session, mapper.registry, params["classes"], mapper, key_range)
        result = treat_owners(found, store_of, dry_run=False, on_demand=params["on_demand"])
    _raise_if_down(result)
    names = ("owners", "pictures", "generated", "removed", "failed")
    return {name: getattr(result, name) for name in names} | {"failures": [str(each) for each in result.failures]}


def _raise_if_down(result: UpkeepResult) -> None:
    """What the store could not do just now is no result: the part is tried again, and finds what has been made."""
    for failure in result.failures:
        if isinstance(failure.error, StoreError) and is_transient(failure.error):
            raise failure.error
