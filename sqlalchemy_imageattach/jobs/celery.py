"""Jobs by Celery: ``pip install SQLAlchemy-ImageAttach[celery]``.

::

    app = Celery("shop", broker="redis://localhost")
    queue = CeleryQueue(app, runner)                    # in a module that web processes and workers import

.. code-block:: console

   $ celery --app shop worker --queues imageattach

The task acknowledges late: a worker that is killed leaves its job to another one.  With Redis as broker that takes as
long as its ``visibility_timeout`` says, an hour by default; and what Celery was just fetching can be lost, since it
takes a message in one step and notes that it has it in another.  RabbitMQ loses none.
"""

from __future__ import annotations

from typing import Any

from ..arguments import check_type
from ..errors import TryAgainError
from ..extras import needs_extra
from .job import Job
from .runner import JobRunner

with needs_extra("celery", "CeleryQueue needs Celery"):
    from celery import Celery

__all__ = ["CeleryQueue"]


class CeleryQueue:
    """A queue of an application of Celery, in which it has one task.

    :param app: the application
    :param runner: does the jobs, where a worker has imported the module
    :param queue: the name of the queue; workers are started with ``--queues`` and this name
    :param task: the name of the task
    :param attempts: how often a job is tried at most
    :param delay: seconds before the second attempt; each further one waits twice as long, up to ten minutes
    :raises InvalidTypeError: ``app`` or ``runner`` is none
    """

    def __init__(
        self,
        app: Celery,
        runner: JobRunner,
        *,
        queue: str = "imageattach",
        task: str = "imageattach.run",
        attempts: int = 10,
        delay: float = 2,
    ) -> None:
        check_type("app", app, Celery)
        check_type("runner", runner, JobRunner)
        self._app = app
        self._queue = queue

        def run(task: Any, message: dict[str, Any]) -> str:
            try:
                return str(runner.run(Job.from_json(message)))
            except TryAgainError as error:
                # Celery pickles and shows the error itself; its cause is what tells
                raise task.retry(
                    exc=error, countdown=min(delay * 2**task.request.retries, 600), max_retries=attempts - 1
                ) from error

        self._task = app.task(
            run, bind=True, name=task, acks_late=True, reject_on_worker_lost=True, ignore_result=True, serializer="json"
        )

    def enqueue(self, job: Job) -> None:
        """Afterwards the broker has ``job``.

        :raises Exception: it cannot be reached
        """
        # a connection that is asked for: apply_async() waits for ever for one of RabbitMQ
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
            self._task.apply_async((job.to_json(),), queue=self._queue, connection=connection, retry=False)

    def __repr__(self) -> str:
        return f"CeleryQueue({self._app!r}, queue={self._queue!r})"
