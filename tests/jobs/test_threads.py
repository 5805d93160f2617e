"""The queue that needs no server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, QueueClosedError
from sqlalchemy_imageattach.jobs import Handler, Job, JobRunner, ThreadQueue, Work

from .shop import Base, ProductPhoto, Shop, picture

ROOT = Path(__file__).parents[2]


def runner(handler: Handler) -> JobRunner:
    return JobRunner(sessionmaker(), Base, handlers={"test": handler})


def test_jobs_are_done_after_the_commit(shop: Shop) -> None:
    with ThreadQueue(shop.runner) as queue:
        shop.bind(queue)
        for colour in ("red", "green", "blue"):
            shop.new_product(picture(colour))
        queue.join()
        assert shop.unfinished() == []


def test_closing_does_all_that_was_taken_and_takes_no_more() -> None:
    done: list[int] = []
    queue = ThreadQueue(runner(lambda work: done.append(work.job.params["n"])))
    for n in range(50):
        queue.enqueue(Job("test", params={"n": n}))
    queue.close()
    queue.close()
    assert sorted(done) == list(range(50))
    with pytest.raises(QueueClosedError):
        queue.enqueue(Job("test"))


def test_no_more_than_its_capacity_wait_and_the_next_one_waits_for_room() -> None:
    go, started, enqueued = threading.Event(), threading.Event(), []

    def work(_: Work) -> None:
        started.set()
        go.wait()

    queue = ThreadQueue(runner(work), threads=1, capacity=2)
    queue.enqueue(Job("test"))
    started.wait()
    queue.enqueue(Job("test"))
    queue.enqueue(Job("test"))

    def one_more() -> None:
        enqueued.append("begins")
        queue.enqueue(Job("test"))
        enqueued.append("ends")

    producer = threading.Thread(target=one_more)
    producer.start()
    while "begins" not in enqueued:
        pass
    producer.join(0.05)
    assert enqueued == ["begins"]
    go.set()
    producer.join()
    assert enqueued == ["begins", "ends"]
    queue.close()


def test_a_job_that_enqueues_others_into_a_full_queue_does_them_itself() -> None:
    done: list[int] = []

    def work(work: Work) -> None:
        for n in range(work.job.params["n"]):
            queue.enqueue(Job("test", params={"n": n}))
        done.append(work.job.params["n"])

    with ThreadQueue(runner(work), threads=2, capacity=1) as queue:
        queue.enqueue(Job("test", params={"n": 6}))
    assert len(done) == 2**6


def test_what_may_pass_is_tried_again_and_given_up_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[str] = []

    def work(work: Work) -> None:
        tries.append(name := work.job.params["name"])
        if name == "wrong":
            raise ZeroDivisionError
        if name == "down" or tries.count(name) < 3:
            raise ConnectionResetError

    with ThreadQueue(runner(work), attempts=4, delay=0) as queue:
        for name in ("down", "shaky", "wrong", "down"):
            queue.enqueue(Job("test", params={"name": name}))
        queue.join()
    assert (tries.count("down"), tries.count("shaky"), tries.count("wrong")) == (8, 3, 1)
    given_up = [record for record in caplog.records if "is given up" in record.getMessage()]
    assert len(given_up) == 3


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_thread_survives_whatever_a_handler_raises(error: type[BaseException]) -> None:
    done: list[int] = []

    def work(work: Work) -> None:
        if work.job.params["n"] == 0:
            raise error
        done.append(work.job.params["n"])

    with ThreadQueue(runner(work), threads=1) as queue:
        for n in range(3):
            queue.enqueue(Job("test", params={"n": n}))
    assert done == [1, 2]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_who_has_to_do_a_job_himself_is_interrupted_as_he_should_be(error: type[BaseException]) -> None:
    interrupted: list[BaseException] = []

    def work(work: Work) -> None:
        if work.job.params["n"] == 3:
            raise error
        if work.job.params["n"] == 1:
            try:  # there is no room but for the second one
                queue.enqueue(Job("test", params={"n": 2}))
                queue.enqueue(Job("test", params={"n": 3}))
            except BaseException as raised:
                interrupted.append(raised)
                raise

    with ThreadQueue(runner(work), threads=1, capacity=1) as queue:
        queue.enqueue(Job("test", params={"n": 1}))
        queue.enqueue(Job("test", params={"n": 4}))
    assert [type(each) for each in interrupted] == [error]


PROGRAM = """
import os, sys, time
from sqlalchemy.orm import DeclarativeBase, sessionmaker
from sqlalchemy_imageattach.jobs import Job, JobRunner, ThreadQueue
class Base(DeclarativeBase): pass
def say(work):
    time.sleep(0.05)
    os.write(1, f"{os.getpid()} {work.job.params['n']}\\n".encode())
queue = ThreadQueue(JobRunner(sessionmaker(), Base, handlers={"say": say}), threads=2)
for n in range(8):
    queue.enqueue(Job("say", params={"n": n}))
"""


def run(program: str) -> list[list[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, env=environment, check=True)
    assert not done.stderr
    return [line.split() for line in done.stdout.decode().splitlines()]


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "raise SystemExit"])
def test_at_exit_the_queue_is_drained(end: str) -> None:
    assert sorted(int(n) for _, n in run(PROGRAM + end)) == list(range(8))


def test_a_child_process_begins_with_an_empty_queue_and_can_use_it() -> None:
    child = """
pid = os.fork()
queue.enqueue(Job("say", params={"n": 100 if pid else 200}))
if not pid:
    queue.close()
    os._exit(0)
os.waitpid(pid, 0)
"""
    lines = run(PROGRAM + child)
    pids = {pid for pid, n in lines if n == "200"}
    assert len(pids) == 1
    assert sorted(int(n) for pid, n in lines if pid in pids) == [200]
    assert sorted(int(n) for pid, n in lines if pid not in pids) == [*range(8), 100]


@pytest.mark.parametrize("kind", ["StaticPool", "SingletonThreadPool", "one Connection", "one class with a StaticPool"])
def test_threads_that_would_share_a_connection_are_refused(kind: str) -> None:
    """What one of them writes another one would roll back, and what waits for it would wait for ever."""
    shared = create_engine("sqlite://", poolclass=StaticPool)
    with shared.connect() as connection:
        sessions = {
            "StaticPool": sessionmaker(shared),
            "SingletonThreadPool": sessionmaker(create_engine("sqlite://")),
            "one Connection": sessionmaker(connection),
            "one class with a StaticPool": sessionmaker(
                create_engine("sqlite:///other.db"), binds={ProductPhoto: shared}
            ),
        }[kind]
        shown = kind.removeprefix("one class with a ")
        with pytest.raises(InvalidValueError, match=f"got (a )?{shown}; with SQLite, use a file"):
            ThreadQueue(JobRunner(sessions, Base))
    shared.dispose()


def test_sessions_that_cannot_be_had_yet_are_taken_as_they_are() -> None:
    def sessions() -> Session:
        msg = "working outside of the application's context"
        raise RuntimeError(msg)

    ThreadQueue(JobRunner(sessions, Base)).close()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ThreadQueue(None), InvalidTypeError),  # type: ignore[arg-type]
        (lambda: ThreadQueue(runner(print), threads=0), InvalidValueError),
        (lambda: ThreadQueue(runner(print), capacity="1"), InvalidTypeError),  # type: ignore[arg-type]
        (lambda: ThreadQueue(runner(print), attempts=True), InvalidTypeError),
        (lambda: ThreadQueue(runner(print), delay=-1), InvalidValueError),
    ],
)
def test_arguments_that_cannot_be_are_refused(make: Callable[[], ThreadQueue], error: type[Exception]) -> None:
    with pytest.raises(error):
        make()
