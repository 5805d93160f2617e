"""Worker processes of the three queues, and what they leave behind in brokers."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from .shop import Shop

ROOT = Path(__file__).parents[2]
REDIS = os.environ.get("IMAGEATTACH_REDIS", "redis://127.0.0.1:6379/0")
RABBITMQ = os.environ.get("IMAGEATTACH_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672/")

BROKERS = {"celery": [REDIS, RABBITMQ], "dramatiq": [RABBITMQ, REDIS], "rq": [REDIS]}
CASES = [(kind, broker) for kind, brokers in BROKERS.items() for broker in brokers]
IDS = [f"{kind} on {urlsplit(broker).scheme}" for kind, broker in CASES]


def new_name() -> str:
    return f"imageattach_test_{secrets.token_hex(6)}"


def is_reachable(broker: str) -> bool:
    """Whether a server answers at the address."""
    import socket

    parts = urlsplit(broker)
    try:
        socket.create_connection((parts.hostname, parts.port), 5).close()
    except OSError:
        return False
    return True


def command(shop: Shop) -> list[str]:
    module = "tests.jobs.worker"
    if shop.kind == "celery":
        options = ["--queues", shop.name, "--concurrency", "2", "--loglevel", "WARNING"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return ["celery", "--app", f"{module}:celery", "worker", *options, *quiet]
    if shop.kind == "dramatiq":
        return ["dramatiq", module, "--processes", "1", "--threads", "2", "--queues", shop.name]
    return ["tests.jobs.rq_worker"]


class Workers:
    """Worker processes, each with its children in a process group of its own.

    :param shop: whose they are
    :param log: a file for all that they say
    """

    def __init__(self, shop: Shop, count: int, log: Path) -> None:
        self._shop = shop
        self._log = log
        self._processes = [self._start() for _ in range(count)]
        self.killed = 0

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self._shop.environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *command(self._shop)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill_one(self, chance: random.Random, *, only_below: bool = False) -> None:
        """Kill a whole worker, or a process below one, by a signal that cannot be caught; there is a new one then.

        :param only_below: for RQ, which takes minutes to notice that a whole worker is gone
        """
        position = chance.randrange(len(self._processes))
        victim = self._processes[position]
        children = _children(victim.pid)
        self.killed += 1
        if only_below or (children and chance.random() < 0.5):
            with suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice(children), signal.SIGKILL)
            return
        _end(victim)
        self._processes[position] = self._start()

    def revive(self) -> None:
        """Start those anew that have ended, as a supervisor would."""
        for position, process in enumerate(self._processes):
            if process.poll() is not None:
                self._processes[position] = self._start()

    def are_running(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def stop(self) -> None:
        for process in self._processes:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@contextmanager
def running(shop: Shop, log: Path, count: int = 1) -> Iterator[Workers]:
    workers = Workers(shop, count, log)
    try:
        yield workers
    finally:
        workers.stop()
        forget(shop)


def wait_until(condition: Callable[[], bool], workers: Workers, log: Path) -> None:
    """Until ``condition`` holds; a worker that ends by itself is an error."""
    while not condition():
        assert workers.are_running(), log.read_text()
        time.sleep(0.2)


def can_lose_jobs(shop: Shop) -> bool:
    """Whether it is known of the queue that a worker that is killed takes along the job that it was just fetching."""
    return shop.kind == "celery" and shop.broker.startswith("redis")


def is_drained(shop: Shop) -> bool:
    """Whether its broker has no job any more, be it waiting or taken; to be asked where :func:`can_lose_jobs`."""
    from redis import Redis

    with Redis.from_url(shop.broker) as redis:
        return not redis.exists(f"{shop.name}:{shop.name}", f"{shop.name}:unacked")


def forget(shop: Shop) -> None:
    """Nothing of the shop is left in its broker."""
    if shop.broker.startswith("amqp"):
        _forget_in_rabbitmq(shop)
    else:
        _forget_in_redis(shop)


def _forget_in_redis(shop: Shop) -> None:
    import rq
    from redis import Redis

    with Redis.from_url(shop.broker) as redis:
        if shop.kind == "rq":
            queue = rq.Queue(shop.name, connection=redis)
            registries = [queue.failed_job_registry, queue.started_job_registry, queue.scheduled_job_registry]
            for registry in registries:
                for ident in registry.get_job_ids():
                    redis.delete(f"rq:job:{ident}")
            queue.delete(delete_jobs=True)
        for pattern in (f"{shop.name}*", f"*{shop.name}", f"*{shop.name}.*"):
            for key in redis.scan_iter(pattern, count=1000):
                redis.delete(key)


def _forget_in_rabbitmq(shop: Shop) -> None:
    import pika

    with pika.BlockingConnection(pika.URLParameters(shop.broker)) as connection:
        for name in (shop.name, f"{shop.name}.DQ", f"{shop.name}.XQ"):
            channel = connection.channel()
            channel.queue_delete(name)
            with suppress(pika.exceptions.AMQPError):
                channel.exchange_delete(name)
