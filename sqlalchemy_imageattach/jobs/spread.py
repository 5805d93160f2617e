"""One large piece of work as many jobs, whose results are collected in the database.

::

    spread = Spread.begin(Session, migration_jobs(session, Base, parts=100))
    spread.enqueue(queue)
    ...
    print(spread.progress())                            # 37 of 100 parts done, 0 failed
    results = spread.wait(queue)

Each part has a row in a table of its own, ``imageattach_part``, in which its result is kept, so whatever becomes of
workers and brokers, it is known what is done and what is not: :meth:`Spread.enqueue` hands out what is not.  A part
that is done twice counts once.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Self

from sqlalchemy import Column, Integer, MetaData, String, Table, Text, func, insert, select, update
from sqlalchemy.orm import Session

from .job import Job
from .queue import Queue
from .runner import Outcome, Work, handles
from .transient import is_transient

__all__ = ["Progress", "Spread"]

#: The kind of these jobs.
PART = "imageattach.part"

_log = logging.getLogger(__name__)

_parts = Table(
    "imageattach_part",
    MetaData(),
    Column("run", String(32), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("job", Text, nullable=False),
    Column("result", Text),
    Column("error", Text),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a :class:`Spread` has come, in parts.

    :param total: how many there are
    :param done: how many have a result
    :param failed: how many have failed by something that will not pass; they are not tried again
    """

    total: int
    done: int
    failed: int

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.done + self.failed == self.total

    def __str__(self) -> str:
        return f"{self.done:,} of {self.total:,} parts done, {self.failed:,} failed"


@dataclass(frozen=True, slots=True)
class Spread:
    """One run of a large piece of work, which any process can look after by its name.

    :param sessions: gives sessions of the database of the workers
    :param run: the name
    """

    sessions: Callable[[], AbstractContextManager[Session]]
    run: str

    @classmethod
    def begin(cls, sessions: Callable[[], AbstractContextManager[Session]], jobs: Iterable[Job]) -> Self:
        """A new run of these parts, which stand in the database; nothing is enqueued yet.

        The table ``imageattach_part`` is made if there is none.
        """
        run = token_hex(16)
        rows = [{"run": run, "number": number, "job": json.dumps(job.to_json())} for number, job in enumerate(jobs)]
        with sessions() as session:
            _parts.create(session.connection(), checkfirst=True)
            if rows:
                session.execute(insert(_parts), rows)
            session.commit()
        return cls(sessions, run)

    def enqueue(self, queue: Queue) -> int:
        """Hand out each part that is not done, and say how many these were.

        It can be called at any time, and once more: a part that is enqueued twice is done once.

        :raises Exception: the queue cannot be reached
        """
        with self.sessions() as session:
            statement = select(_parts.c.number).where(_parts.c.run == self.run, *_open()).order_by(_parts.c.number)
            numbers = list(session.scalars(statement))
        for number in numbers:
            queue.enqueue(Job(PART, params={"run": self.run, "number": number}))
        return len(numbers)

    def progress(self) -> Progress:
        """How far it has come; a run that is forgotten has no parts."""
        with self.sessions() as session:
            counts = select(func.count(), func.count(_parts.c.result), func.count(_parts.c.error))
            total, done, failed = session.execute(counts.where(_parts.c.run == self.run)).one()
        return Progress(total, done, failed)

    def results(self) -> list[Any]:
        """The results of the parts that are done, in the order of the parts: what their handlers have returned."""
        return [json.loads(text) for text in self._column(_parts.c.result)]

    def errors(self) -> list[str]:
        """Why parts have failed, in the order of the parts."""
        return self._column(_parts.c.error)

    def _column(self, column: Column[Any]) -> list[str]:
        with self.sessions() as session:
            statement = select(column).where(_parts.c.run == self.run, column.is_not(None)).order_by(_parts.c.number)
            return list(session.scalars(statement))

    def wait(
        self,
        queue: Queue,
        *,
        poll: float = 1,
        enqueue_again_after: float = 600,
        progress: Callable[[Progress], object] | None = None,
    ) -> list[Any]:
        """Wait until each part is done or has failed, and give the results.

        :param queue: what parts are handed to again if nothing is heard of any for ``enqueue_again_after`` seconds; at
            once if it is in this process and has nothing left to do
        :param poll: seconds between two looks
        :param progress: called after each look
        """
        known, since = self.progress(), time.monotonic()
        while not known.is_over:
            time.sleep(poll)
            # asked before the parts are: what was being done meanwhile is among those that are done
            is_idle = getattr(queue, "is_idle", False) is True
            found = self.progress()
            if found != known:
                known, since = found, time.monotonic()
            elif is_idle or time.monotonic() - since >= enqueue_again_after:
                _log.warning("nobody seems to be at what is not done of %s: it is enqueued again", self.run)
                self.enqueue(queue)
                since = time.monotonic()
            if progress is not None:
                progress(found)
        return self.results()

    def forget(self) -> None:
        """The run and its results are gone from the database; parts that come later end without doing anything."""
        with self.sessions() as session:
            session.execute(_parts.delete().where(_parts.c.run == self.run))
            session.commit()


def _open() -> Sequence[Any]:
    return _parts.c.result.is_(None), _parts.c.error.is_(None)


@handles(PART)
def _do_part(work: Work) -> Outcome:
    run, number = work.job.params["run"], work.job.params["number"]
    here = (_parts.c.run == run, _parts.c.number == number, *_open())
    with work.session() as session:
        text = session.scalar(select(_parts.c.job).where(*here))
    if text is None:
        return Outcome.OUTDATED
    outcome = _outcome_of(Job.from_json(json.loads(text)), work)
    with work.session() as session:
        session.execute(update(_parts).where(*here).values(outcome))
        session.commit()
    return Outcome.DONE


def _outcome_of(job: Job, work: Work) -> dict[str, str]:
    try:
        handler = work.runner.find_handler(job.kind)
        return {"result": json.dumps(handler(Work(job, work.runner)))}
    except Exception as error:
        if is_transient(error):
            raise
        _log.exception("a part failed: %s", job)
        return {"error": f"{type(error).__name__}: {error}"}
