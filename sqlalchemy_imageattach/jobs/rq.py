"""Jobs by RQ: ``pip install SQLAlchemy-ImageAttach[rq]``.

A worker of RQ calls a function by its name, which has to be one of the application's::

    def run(message):                                        # in the module shop
        run_job(runner, message)

    queue = RQQueue(rq.Queue("imageattach", connection=Redis()), run)

.. code-block:: console

   $ rq worker --with-scheduler imageattach
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import check_callable, check_type, wrong_value
from ..errors import TryAgainError
from ..extras import needs_extra
from .job import Job
from .runner import JobRunner

with needs_extra("rq", "RQQueue needs RQ"):
    import rq

__all__ = ["RQQueue", "run_job"]


class RQQueue:
    """A queue of RQ.

    :param queue: the queue
    :param run: a function of a module, which calls :func:`run_job` with the runner and with what it is given
    :param attempts: how often a job is tried at most; those that a worker did not survive count too
    :param delay: seconds before the second attempt; each further one waits twice as long, up to ten minutes.  RQ needs
        a worker ``--with-scheduler`` for that
    :raises InvalidTypeError: ``queue`` is none, or ``run`` no function
    :raises InvalidValueError: ``run`` is within another function, or in ``__main__``: no worker would find it
    """

    def __init__(
        self, queue: rq.Queue, run: Callable[[dict[str, Any]], object], *, attempts: int = 10, delay: int = 2
    ) -> None:
        check_type("queue", queue, rq.Queue)
        check_callable("run", run, "a function that takes one argument")
        if run.__module__ == "__main__" or "<" in run.__qualname__:
            raise wrong_value("run", run, "a function at the top of a module that workers can import")
        self._queue = queue
        self._run = run
        intervals = [min(delay * 2**number, 600) for number in range(attempts - 1)]
        self._retry = rq.Retry(max=attempts - 1, interval=intervals) if attempts > 1 else None

    def enqueue(self, job: Job) -> None:
        """Afterwards Redis has ``job``.

        :raises Exception: it cannot be reached
        """
        self._queue.enqueue_call(self._run, (job.to_json(),), retry=self._retry, result_ttl=0, description=str(job))

    def __repr__(self) -> str:
        return f"RQQueue({self._queue!r})"


def run_job(runner: JobRunner, message: dict[str, Any]) -> None:
    """Do the job in ``message``; to be called from within the function that a worker of RQ calls.

    :raises TryAgainError: it failed by what may pass; RQ tries it again
    :raises Exception: it failed by something that will not pass; RQ puts it to its failed jobs
    """
    try:
        runner.run(Job.from_json(message))
    except TryAgainError:
        raise
    except Exception:
        if (current := rq.get_current_job()) is not None:
            current.retries_left = 0  # RQ would try anything again
        raise
