"""Jobs by Dramatiq: ``pip install SQLAlchemy-ImageAttach[dramatiq]``, with ``dramatiq[rabbitmq]`` or ``[redis]``.

::

    dramatiq.set_broker(RabbitmqBroker(url="amqp://localhost"))
    queue = DramatiqQueue(dramatiq.get_broker(), runner)      # in a module that web processes and workers import

.. code-block:: console

   $ dramatiq shop --queues imageattach

Dramatiq acknowledges a message when it is done: a worker that is killed leaves its job to another one.
"""

from __future__ import annotations

from typing import Any

from ..arguments import check_type, wrong_value
from ..errors import TryAgainError
from ..extras import needs_extra
from .job import Job
from .runner import JobRunner

with needs_extra("dramatiq", "DramatiqQueue needs Dramatiq"):
    import dramatiq
    from dramatiq.middleware import Retries

__all__ = ["DramatiqQueue"]


class DramatiqQueue:
    """A queue of a broker of Dramatiq, at which it has one actor.

    :param broker: the broker; with the ``Retries`` that brokers have by default
    :param runner: does the jobs, where a worker has imported the module
    :param queue: the name of the queue
    :param actor: the name of the actor
    :param attempts: how often a job is tried at most
    :param delay: seconds before the second attempt; further ones wait longer, up to ten minutes
    :raises InvalidTypeError: ``broker`` or ``runner`` is none
    :raises InvalidValueError: the broker has no ``Retries``
    """

    def __init__(
        self,
        broker: dramatiq.Broker,
        runner: JobRunner,
        *,
        queue: str = "imageattach",
        actor: str = "imageattach_run",
        attempts: int = 10,
        delay: float = 2,
    ) -> None:
        check_type("broker", broker, dramatiq.Broker)
        check_type("runner", runner, JobRunner)
        if not any(isinstance(middleware, Retries) for middleware in broker.middleware):
            raise wrong_value("broker", broker, "one with the middleware Retries", "it tries again what failed")
        self._broker = broker

        def run(message: dict[str, Any]) -> None:
            runner.run(Job.from_json(message))

        self._actor = dramatiq.actor(
            actor_name=actor,
            queue_name=queue,
            broker=broker,
            min_backoff=int(delay * 1000),
            max_backoff=600_000,
            retry_when=lambda retries, error: isinstance(error, TryAgainError) and retries < attempts - 1,
        )(run)

    def enqueue(self, job: Job) -> None:
        """Afterwards the broker has ``job``.

        :raises Exception: it cannot be reached
        """
        self._actor.send(job.to_json())

    def __repr__(self) -> str:
        return f"DramatiqQueue({self._broker!r}, queue={self._actor.queue_name!r})"
