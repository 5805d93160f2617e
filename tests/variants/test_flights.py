"""Work that is done once however many ask for it, in bounds."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from contextlib import closing
from contextvars import ContextVar

import pytest

from sqlalchemy_imageattach.variants.flights import Flights, FullError

INTERRUPTIONS = (SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError)


def test_who_asks_meanwhile_gets_the_same_work() -> None:
    gate, count = threading.Event(), []

    def work() -> int:
        count.append(1)
        assert gate.wait(60)
        return 7

    with closing(Flights[int](2, 2)) as flights:
        futures = [flights.join("a", work) for _ in range(100)]
        assert len(flights) == 1
        gate.set()
        assert {future.result() for future in futures} == {7}
    assert len(count) == 1


def test_what_is_done_can_be_done_again() -> None:
    with closing(Flights[int](1, 0)) as flights:
        for number in range(100):
            # also where the work is done before anybody can look
            assert flights.join("a", lambda number=number: number).result() == number  # type: ignore[misc]
            while len(flights):
                pass


def test_what_fails_is_told_to_all_and_can_be_tried_again() -> None:
    gate = threading.Event()

    def fail() -> int:
        assert gate.wait(60)
        raise OSError("no")

    with closing(Flights[int](1, 0)) as flights:
        futures = [flights.join("a", fail) for _ in range(3)]
        gate.set()
        for future in futures:
            with pytest.raises(OSError, match="no"):
                future.result()
        while len(flights):
            pass
        assert flights.join("a", lambda: 1).result() == 1


@pytest.mark.parametrize("error", INTERRUPTIONS)
def test_whatever_work_raises_it_is_no_longer_under_way(error: type[BaseException]) -> None:
    def fail() -> int:
        raise error

    async def wait_for(future: Future[int]) -> None:
        await asyncio.wait([asyncio.wrap_future(future)])

    with closing(Flights[int](1, 0)) as flights:
        future = flights.join("a", fail)
        asyncio.run(wait_for(future))
        assert type(future.exception()) is (RuntimeError if error is StopIteration else error)
        while len(flights):
            pass
        assert flights.join("a", lambda: 1).result() == 1


def test_no_more_than_so_many_run_and_wait() -> None:
    gate, running = threading.Event(), threading.Semaphore(0)

    def work() -> int:
        running.release()
        assert gate.wait(60)
        return 1

    with closing(Flights[int](2, 3)) as flights:
        futures = [flights.join(number, work) for number in range(5)]
        with pytest.raises(FullError):
            flights.join(5, work)
        flights.join(4, work)  # which waits already
        assert running.acquire(timeout=60)
        assert running.acquire(timeout=60)
        assert not running.acquire(blocking=False)
        gate.set()
        assert [future.result() for future in futures] == [1] * 5


def test_work_sees_what_is_current_for_who_asked() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    variable.set("something")
    with closing(Flights[str](1, 0)) as flights:
        assert flights.join("a", variable.get).result() == "something"


def test_a_forked_process_begins_anew() -> None:
    gate = threading.Event()
    flights = Flights[int](1, 0)

    def work() -> int:
        assert gate.wait(60)
        return 1

    first = flights.join("a", work)  # its thread is not in the child
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, str(flights.join("a", lambda: 2).result()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"2"
    for end in (reading, writing):
        os.close(end)
    gate.set()
    assert first.result() == 1
    flights.close()
