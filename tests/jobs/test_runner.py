"""A runner does each job that is still to be done, and harms nothing by any other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, registry, sessionmaker

from sqlalchemy_imageattach.errors import (
    ConcurrentReplacementError,
    ContextError,
    InvalidTypeError,
    InvalidValueError,
    StoreError,
    TryAgainError,
    UnknownJobError,
)
from sqlalchemy_imageattach.jobs import Job, JobRunner, Outcome, Work, enqueue_after_commit, handles, is_transient
from sqlalchemy_imageattach.maintenance import check
from sqlalchemy_imageattach.stores.memory import MemoryStore

from .shop import KIND, Base, Product, ProductPhoto, Shop, Unreachable, Waiting, picture, wait_in


def assert_in_step(shop: Shop) -> None:
    with shop.sessions() as session, check(session, Base, shop.store, checksum=True) as report:
        assert report.ok, list(report)
        assert report.in_grace == 0, "a blob that no row names"


def test_a_job_is_done_once_and_again_without_harm(shop: Shop, waiting: Waiting) -> None:
    shop.new_product(picture())
    [job] = waiting.jobs
    assert shop.unfinished() == [1]
    assert shop.runner.run(job) is Outcome.DONE
    assert shop.unfinished() == []
    assert shop.runner.run(Job.from_json(job.to_json())) is Outcome.DONE
    assert shop.unfinished() == []
    assert_in_step(shop)


def test_nothing_is_enqueued_before_the_commit_or_without_it(shop: Shop, waiting: Waiting) -> None:
    with shop.sessions() as session:
        session.add(product := Product())
        with session.begin_nested():
            shop.replace(session, product, picture())
        assert not waiting.jobs
        session.rollback()
    assert not waiting.jobs


def test_before_the_commit_is_visible_there_is_nothing_to_do(shop: Shop) -> None:
    with shop.sessions() as session:
        session.add(product := Product())
        product.photo.from_blob(picture())
        session.flush()
        job = Job.of(KIND, product.photo.original)
        session.rollback()
    assert shop.runner.run(job) is Outcome.OUTDATED


@pytest.mark.parametrize("change", ["replace", "replace by the same", "clear", "delete"])
def test_after_the_picture_has_changed_there_is_nothing_to_do(shop: Shop, waiting: Waiting, change: str) -> None:
    shop.new_product(picture())
    with shop.sessions() as session:
        product = session.get_one(Product, 1)
        if change.startswith("replace"):
            shop.replace(session, product, picture("red" if "same" in change else "blue"))
        elif change == "clear":
            product.photo.clear()
        else:
            session.delete(product)
        session.commit()
    first, *later = waiting.jobs
    assert shop.runner.run(first) is Outcome.OUTDATED
    for job in later:
        assert shop.runner.run(job) is Outcome.DONE
    assert shop.unfinished() == []
    assert_in_step(shop)


def racing(shop: Shop, between: Callable[[], None]) -> tuple[JobRunner, Callable[[Work], None]]:
    """A runner whose handler is overtaken when it has loaded the picture."""
    moved = threading.Event()

    def handler(work: Work) -> None:
        with work.session() as session, session.begin():
            image = work.find_image(session)
            product = session.get_one(Product, image.product_id)
            list(product.photo)
            if not moved.is_set():
                moved.set()
                between()
            product.photo.generate_thumbnails([{"width": 20}, {"width": 10}], work.store)

    return JobRunner(shop.sessions, Base, handlers={KIND: handler}), handler


@pytest.mark.parametrize("change", ["replace", "delete", "the same job"])
def test_whoever_overtakes_a_running_job_makes_it_end_in_peace_or_try_again(
    tmp_path: Path, server: str, change: str
) -> None:
    shop = Shop(server, str(tmp_path / "blobs"))
    waiting = wait_in(shop)
    ident = shop.new_product(picture())

    def overtake() -> None:
        with shop.sessions() as session:
            product = session.get_one(Product, ident)
            if change == "replace":
                shop.replace(session, product, picture("blue"))
            elif change == "delete":
                session.delete(product)
            else:
                shop.runner.run(waiting.jobs[0])
            session.commit()

    runner, _ = racing(shop, overtake)
    if change == "the same job":
        with pytest.raises(TryAgainError):
            runner.run(waiting.jobs[0])
        assert shop.runner.run(waiting.jobs[0]) is Outcome.DONE
    else:
        assert runner.run(waiting.jobs[0]) is Outcome.OUTDATED
    for job in waiting.jobs[1:]:
        assert shop.runner.run(job) is Outcome.DONE
    assert shop.unfinished() == []
    assert_in_step(shop)


def test_the_same_job_many_times_at_once_is_done_once(tmp_path: Path, server: str) -> None:
    shop = Shop(server, str(tmp_path / "blobs"))
    waiting = wait_in(shop)
    shop.new_product(picture())
    start = threading.Barrier(4)
    unexpected: list[BaseException] = []

    def work() -> None:
        start.wait()
        while True:
            try:
                shop.runner.run(waiting.jobs[0])
                return
            except TryAgainError:
                continue
            except BaseException as error:
                unexpected.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not unexpected
    assert shop.unfinished() == []
    assert_in_step(shop)


def test_a_store_that_is_down_is_tried_again(shop: Shop, waiting: Waiting) -> None:
    shop.new_product(picture())
    down = Path(f"{shop.directory}.down")
    down.touch()
    with pytest.raises(TryAgainError, match="the store is down") as caught:
        shop.runner.run(waiting.jobs[0])
    assert isinstance(caught.value.__cause__, StoreError)
    down.unlink()
    assert shop.runner.run(waiting.jobs[0]) is Outcome.DONE
    assert_in_step(shop)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_class": "tests.jobs.shop:Gone"}, "image class that is mapped here"),
        ({"image_class": "tests.jobs.shop:Product"}, "image class that is mapped here"),
        ({"image_class": "os:system"}, "image class that is mapped here"),
        ({"kind": "nobody.knows"}, "import its module"),
    ],
)
def test_what_is_not_known_any_more_is_logged_and_ends(
    shop: Shop, waiting: Waiting, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], message: str
) -> None:
    shop.new_product(picture())
    job = Job.from_json({**waiting.jobs[0].to_json(), **changes})
    assert shop.runner.run(job) is Outcome.UNKNOWN
    assert message in caplog.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("identity", [[], [1], [1, 2, 3, 4, 5, 6, 7], [["UUID", "no"]] * 4, [["Enum", "no"]] * 5])
def test_a_key_of_another_version_of_the_table_does_no_harm(shop: Shop, waiting: Waiting, identity: list[Any]) -> None:
    shop.new_product(picture())
    message = {**waiting.jobs[0].to_json(), "identity": identity}
    assert shop.runner.run(Job.from_json(message)) is Outcome.OUTDATED
    assert shop.unfinished() == [1]


def test_what_is_wrong_for_good_is_raised_as_it_is(shop: Shop) -> None:
    def fail(work: Work) -> None:
        raise ZeroDivisionError

    runner = JobRunner(shop.sessions, Base, handlers={"fail": fail})
    with pytest.raises(ZeroDivisionError):
        runner.run(Job("fail"))


def test_a_handler_is_known_by_one_name_and_may_be_imported_twice() -> None:
    def handler(work: Work) -> None: ...

    def other(work: Work) -> None: ...

    handles("test.once")(handler)
    handles("test.once")(handler)
    with pytest.raises(InvalidValueError, match="a name that no other handler has"):
        handles("test.once")(other)


def test_the_store_of_a_runner_is_its_own_or_that_of_its_sessions(shop: Shop) -> None:
    other, third = MemoryStore(), MemoryStore()
    assert shop.runner.store is shop.store
    runner = JobRunner(shop.sessions, Base, other, stores={"old": third})
    assert runner.store is other
    assert runner.named_store("old") is third
    assert runner.named_store(None) is other
    with pytest.raises(UnknownJobError, match=r"\['old'\], got 'new'"):
        runner.named_store("new")
    with pytest.raises(ContextError):
        JobRunner(sessionmaker(shop.engine), Base).store  # noqa: B018 - it is the property that raises


def test_a_registry_will_do_and_what_is_none_is_refused(shop: Shop) -> None:
    class Other(DeclarativeBase):
        pass

    found = JobRunner(shop.sessions, Base.registry).find_mapper("tests.jobs.shop:ProductPhoto")
    assert found.class_ is ProductPhoto
    with pytest.raises(UnknownJobError):
        JobRunner(shop.sessions, Other).find_mapper("tests.jobs.shop:ProductPhoto")
    for wrong in (None, object, "Base"):
        with pytest.raises(InvalidTypeError, match="declarative base"):
            JobRunner(shop.sessions, wrong)
    with shop.sessions() as session, pytest.raises(InvalidTypeError, match="a sessionmaker"):
        JobRunner(session, Base)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError):
        JobRunner(shop.sessions, registry(), "store")  # type: ignore[arg-type]


class _Original(Exception):
    sqlstate = "40001"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConcurrentReplacementError(), True),
        (OperationalError("", {}, Exception()), True),
        (IntegrityError("", {}, Exception()), True),
        (DBAPIError("", {}, _Original()), True),
        (DBAPIError("", {}, Exception()), False),
        (StoreError("full"), True),
        (TimeoutError(), True),
        (PermissionError(), False),
        (ZeroDivisionError(), False),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(error: BaseException, expected: bool) -> None:
    assert is_transient(error) is expected


# --- queues that fail ------------------------------------------------------------------------------------------------


def test_if_the_queue_cannot_be_reached_the_commit_stands_and_the_job_is_reported(
    shop: Shop, waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    with shop.sessions() as session:
        session.add(product := Product())
        product.photo.from_blob(picture())
        session.flush()
        job = Job.of(KIND, product.photo.original)
        enqueue_after_commit(session, job, Unreachable())
        enqueue_after_commit(session, job)
        session.commit()
    assert str(job) in caplog.text
    assert "no broker" in caplog.text
    assert waiting.jobs == [job], "the other queue has got it"
    assert_in_step(shop)


def test_without_a_queue_the_program_hears_of_it_before_the_commit(shop: Shop) -> None:
    with shop.sessions() as session, pytest.raises(ContextError, match="image_queue"):
        enqueue_after_commit(session, Job("a"))
    shop.sessions.configure(info={"image_queue": Waiting})
    with shop.sessions() as session, pytest.raises(InvalidTypeError, match="a method enqueue"):
        enqueue_after_commit(session, Job("a"))
