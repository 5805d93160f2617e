from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from sqlalchemy_imageattach.concurrency import (
    SIDE_BY_SIDE,
    awaitable,
    in_async_session,
    in_thread,
    run_blocking,
    run_side_by_side,
)

colour: ContextVar[str] = ContextVar("colour", default="none")


async def _below_async_session(function: Callable[[], Any]) -> Any:
    """Call ``function`` where session events run."""
    engine = create_async_engine("sqlite+aiosqlite://")
    try:
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT 1"))
            return await session.run_sync(lambda _: function())
    finally:
        await engine.dispose()


# --- run_blocking ----------------------------------------------------------------------------------------------------


def test_without_an_async_session_it_runs_right_here() -> None:
    assert not in_async_session()
    assert run_blocking(threading.get_ident) == threading.get_ident()


def test_in_a_coroutine_without_a_session_it_runs_right_here_too() -> None:
    async def main() -> tuple[bool, int]:
        return in_async_session(), run_blocking(threading.get_ident)

    assert asyncio.run(main()) == (False, threading.get_ident())


def test_below_an_async_session_it_runs_on_another_thread() -> None:
    def work() -> tuple[bool, int]:
        return in_async_session(), run_blocking(threading.get_ident)

    inside, thread = asyncio.run(_below_async_session(work))
    assert inside
    assert thread != threading.get_ident()


def test_arguments_and_result_pass() -> None:
    def add(first: int, /, *, second: int) -> int:
        return first + second

    assert run_blocking(add, 1, second=2) == 3
    assert asyncio.run(_below_async_session(lambda: run_blocking(add, 1, second=2))) == 3


@pytest.mark.parametrize("error", [OSError("full"), KeyError("none")])
def test_exceptions_pass(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as here:
        run_blocking(fail)
    with pytest.raises(type(error)) as there:
        asyncio.run(_below_async_session(lambda: run_blocking(fail)))
    assert here.value is there.value is error


def test_a_next_too_many_keeps_nobody_waiting() -> None:
    def fail() -> None:
        next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(in_thread(fail))
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(_below_async_session(lambda: run_blocking(fail)))


def test_context_variables_cross_into_the_thread() -> None:
    def work() -> str:
        colour.set("red")
        return run_blocking(colour.get)

    assert asyncio.run(_below_async_session(work)) == "red"
    assert colour.get() == "none"


def test_the_event_loop_keeps_turning_meanwhile() -> None:
    # The work can only end when the loop sets the event: if the loop stood still, this would never return.
    async def main() -> bool:
        turned = threading.Event()

        async def turn() -> None:
            await started.wait()
            turned.set()

        started = asyncio.Event()
        loop = asyncio.get_running_loop()

        def work() -> bool:
            loop.call_soon_threadsafe(started.set)
            return turned.wait(60)

        turning = asyncio.create_task(turn())
        result: bool = await _below_async_session(lambda: run_blocking(work))
        await turning
        return result

    assert asyncio.run(main())


class Unhurried:
    """Blocking work that ends when it is told to."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.ended = False

    def __call__(self) -> None:
        self.started.set()
        assert self.may_end.wait(60)
        self.ended = True


def test_a_cancelled_task_goes_on_only_after_the_work_has_ended() -> None:
    # What the work writes must be written before anyone cleans up after it.
    work = Unhurried()
    seen: list[bool] = []

    def flush() -> None:
        try:
            run_blocking(work)
        except asyncio.CancelledError:
            seen.append(work.ended)
            raise

    async def main() -> None:
        task = asyncio.create_task(_below_async_session(flush))
        await asyncio.to_thread(work.started.wait)
        for _ in range(3):  # however often it is cancelled
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
        work.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == [True]


def test_an_event_loop_that_ends_waits_for_the_work_too() -> None:
    work = Unhurried()
    seen: list[bool] = []

    def flush() -> None:
        try:
            run_blocking(work)
        except asyncio.CancelledError:
            seen.append(work.ended)
            raise

    async def main() -> None:
        main.task = asyncio.create_task(_below_async_session(flush))  # type: ignore[attr-defined]
        await asyncio.to_thread(work.started.wait)
        threading.Timer(0.1, work.may_end.set).start()
        # main() returns, and asyncio.run() cancels all tasks

    asyncio.run(main())
    assert seen == [True]


def test_a_cancelled_task_does_not_hear_of_the_works_own_failure() -> None:
    started, may_end = threading.Event(), threading.Event()

    def fail() -> None:
        started.set()
        assert may_end.wait(60)
        raise OSError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        task = asyncio.create_task(_below_async_session(lambda: run_blocking(fail)))
        await asyncio.to_thread(started.wait)
        task.cancel()
        await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    unhandled: list[Any] = []
    asyncio.run(main())
    assert unhandled == []


def test_works_without_greenlet() -> None:
    script = """
        import sys
        sys.modules["greenlet"] = None  # as if it were not installed
        from sqlalchemy_imageattach.concurrency import in_async_session, run_blocking
        print(in_async_session(), run_blocking(lambda: 42))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert result.stdout.split() == ["False", "42"], result.stderr


# --- run_side_by_side ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, SIDE_BY_SIDE, 5 * SIDE_BY_SIDE])
def test_gives_the_results_in_the_order_of_the_jobs(count: int) -> None:
    assert run_side_by_side([partial(int, number) for number in range(count)]) == list(range(count))


def test_takes_the_jobs_from_any_iterable() -> None:
    assert run_side_by_side(iter([lambda: 1, lambda: 2])) == [1, 2]


def test_jobs_run_at_the_same_time() -> None:
    # Each waits for all the others: one after the other they would never end.
    meeting = threading.Barrier(SIDE_BY_SIDE, timeout=60)
    assert set(run_side_by_side([meeting.wait] * SIDE_BY_SIDE)) == set(range(SIDE_BY_SIDE))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt(), SystemExit()])
def test_a_job_that_fails_gives_its_exception(error: BaseException, count: int) -> None:
    def fail() -> None:
        raise error

    assert run_side_by_side([fail] * count) == [error] * count


def test_the_other_jobs_are_done_although_one_fails() -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError

    jobs: list[Callable[[], None]] = [fail, *(partial(done.append, number) for number in range(20))]
    outcomes = run_side_by_side(jobs)
    assert isinstance(outcomes[0], OSError)
    assert sorted(done) == list(range(20))


def test_each_job_is_done_once() -> None:
    done: list[int] = []
    run_side_by_side([partial(done.append, number) for number in range(200)])
    assert sorted(done) == list(range(200))


def test_jobs_are_done_although_no_thread_can_be_had_any_more() -> None:
    # A session that is closed only when the interpreter shuts down still has blobs to delete.
    script = """
        import atexit
        from sqlalchemy_imageattach.concurrency import run_side_by_side

        def last() -> None:
            print(run_side_by_side([lambda: 1, lambda: 2, lambda: 1 / 0]))

        atexit.register(last)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[1, 2, ZeroDivisionError('division by zero')]", result.stderr


@pytest.mark.parametrize("count", [1, 3])
def test_jobs_see_the_context_variables_of_the_caller(count: int) -> None:
    token = colour.set("blue")
    try:
        assert run_side_by_side([colour.get] * count) == ["blue"] * count
    finally:
        colour.reset(token)


def test_works_below_an_async_session() -> None:
    def work() -> Any:
        return run_blocking(run_side_by_side, [threading.get_ident] * 3)

    assert threading.get_ident() not in asyncio.run(_below_async_session(work))


# --- awaitable -------------------------------------------------------------------------------------------------------


class Picture:
    """Has a method and its twin."""

    def resize(self, width: int, *, height: int = 1) -> tuple[int, int, bool]:
        """Resizes."""
        return width, height, in_async_session()

    aresize = awaitable(resize)


class Panorama(Picture):
    def resize(self, width: int, *, height: int = 1) -> tuple[int, int, bool]:
        return 2 * width, height, in_async_session()


def test_the_twin_does_the_same_where_blocking_work_leaves_the_loop_alone() -> None:
    assert asyncio.run(Picture().aresize(3, height=2)) == (3, 2, True)


def test_overriding_the_method_overrides_the_twin() -> None:
    assert asyncio.run(Panorama().aresize(3)) == (6, 1, True)


def test_the_twin_is_named_and_documented() -> None:
    assert Picture.aresize.__name__ == "aresize"
    assert Picture.aresize.__qualname__ == "Picture.aresize"
    assert Picture.aresize.__doc__ == "Awaitable :meth:`resize`."


def test_exceptions_pass_through_the_twin() -> None:
    class Broken(Picture):
        def resize(self, width: int, *, height: int = 1) -> tuple[int, int, bool]:
            raise OSError

    with pytest.raises(OSError):
        asyncio.run(Broken().aresize(3))
