"""A large piece of work in parts: whatever becomes of workers, nothing of it is lost, and each part counts once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from sqlalchemy_imageattach.errors import InvalidValueError, QueueClosedError, StoreError, TryAgainError
from sqlalchemy_imageattach.jobs import Job, JobRunner, Outcome, Progress, Spread, ThreadQueue, Work
from sqlalchemy_imageattach.maintenance import check, check_jobs
from sqlalchemy_imageattach.migration import migration_jobs
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.variants import backfill_jobs, bring_up_to_date

from .shop import Base, Product, ProductPhoto, Shop, Waiting, picture
from .workers import RABBITMQ, new_name, running, wait_until


def add_products(shop: Shop, count: int, *, banners: bool = False) -> None:
    with shop.sessions() as session:
        for number in range(count):
            session.add(product := Product())
            product.photo.from_blob(picture((number, 0, 0)))
            if banners:
                product.banner.from_blob(picture((number, 0, 0)))
        session.commit()


def do_all(runner: JobRunner, spread: Spread) -> None:
    waiting = Waiting()
    spread.enqueue(waiting)
    for job in waiting.jobs:
        runner.run(Job.from_json(job.to_json()))


def test_results_are_collected_in_order_and_each_part_counts_once(shop: Shop) -> None:
    calls: list[int] = []

    def square(work: Work) -> int:
        number = work.job.params["n"]
        calls.append(number)
        if number == 3:
            raise ZeroDivisionError("three")
        return number**2

    runner = JobRunner(shop.sessions, Base, handlers={"square": square})
    spread = Spread.begin(shop.sessions, [Job("square", params={"n": n}) for n in range(5)])
    assert spread.progress() == Progress(5, 0, 0)
    waiting = Waiting()
    assert spread.enqueue(waiting) == 5
    for job in [*waiting.jobs[3:], *waiting.jobs[:1]]:
        assert runner.run(job) is Outcome.DONE
    assert spread.progress() == Progress(5, 2, 1)
    assert not spread.progress().is_over
    again = Spread(shop.sessions, spread.run)
    assert again.enqueue(waiting) == 2
    for job in waiting.jobs:
        runner.run(job)
    assert spread.results() == [0, 1, 4, 16]
    assert spread.errors() == ["ZeroDivisionError: three"]
    assert str(spread.progress()) == "4 of 5 parts done, 1 failed"
    assert sorted(calls) == [0, 1, 2, 3, 4]
    assert spread.wait(waiting) == [0, 1, 4, 16]


def test_what_may_pass_leaves_the_part_open(shop: Shop) -> None:
    def fail(work: Work) -> None:
        msg = "down"
        raise StoreError(msg)

    runner = JobRunner(shop.sessions, Base, handlers={"fail": fail})
    spread = Spread.begin(shop.sessions, [Job("fail"), Job("nobody.knows")])
    with pytest.raises(Exception, match="down"):
        do_all(runner, spread)
    waiting = Waiting()
    spread.enqueue(waiting)
    runner.run(waiting.jobs[1])
    assert spread.progress() == Progress(2, 0, 1)
    assert "nobody.knows" in spread.errors()[0]


def test_a_forgotten_run_has_no_parts_and_late_jobs_do_nothing(shop: Shop) -> None:
    def never(work: Work) -> None:
        raise AssertionError

    waiting = Waiting()
    spread, other = (Spread.begin(shop.sessions, [Job("never")]) for _ in range(2))
    spread.enqueue(waiting)
    spread.forget()
    JobRunner(shop.sessions, Base, handlers={"never": never}).run(waiting.jobs[0])
    assert spread.progress() == Progress(0, 0, 0)
    assert other.progress() == Progress(1, 0, 0)


def test_parts_that_nobody_takes_are_handed_out_again(shop: Shop) -> None:
    class Forgetful:
        """Loses the first of each job."""

        seen: set[Job] = set()

        def enqueue(self, job: Job) -> None:
            if job in self.seen:
                runner.run(job)
            self.seen.add(job)

    def name(work: Work) -> str:
        return "done"

    seen: list[Progress] = []
    runner = JobRunner(shop.sessions, Base, handlers={"name": name})
    spread = Spread.begin(shop.sessions, [Job("name")] * 3)
    queue = Forgetful()
    spread.enqueue(queue)
    assert spread.wait(queue, poll=0, enqueue_again_after=0, progress=seen.append) == ["done"] * 3
    assert seen


class LooksInVainError(Exception):
    pass


def look_at_most(times: int) -> Callable[[Progress], None]:
    left = iter(range(times))

    def look(found: Progress) -> None:
        if next(left, None) is None:
            msg = f"nothing comes of it: {found}"
            raise LooksInVainError(msg)

    return look


def test_parts_that_a_queue_of_this_process_has_given_up_are_handed_out_again_at_once(shop: Shop) -> None:
    tries: list[int] = []

    def recover(work: Work) -> str:
        tries.append(work.job.params["n"])
        if len(tries) <= 4:
            msg = "down"
            raise StoreError(msg)
        return "done"

    runner = JobRunner(shop.sessions, Base, handlers={"recover": recover})
    spread = Spread.begin(shop.sessions, [Job("recover", params={"n": n}) for n in range(2)])
    with ThreadQueue(runner, attempts=2, delay=0) as queue:
        spread.enqueue(queue)
        queue.join()
        assert spread.progress() == Progress(2, 0, 0)
        results = spread.wait(queue, poll=0.01, enqueue_again_after=float("inf"), progress=look_at_most(500))
    assert results == ["done"] * 2


def test_waiting_for_a_queue_that_is_closed_ends(shop: Shop) -> None:
    spread = Spread.begin(shop.sessions, [Job("any")])
    queue = ThreadQueue(shop.runner)
    queue.close()
    with pytest.raises(QueueClosedError):
        spread.wait(queue, poll=0.01, enqueue_again_after=float("inf"), progress=look_at_most(500))


def test_many_parts_by_many_threads_all_end(shop: Shop) -> None:
    """Each thread reads and writes the table of parts while the others do, and while it is looked at."""
    runner = JobRunner(shop.sessions, Base, handlers={"square": lambda work: work.job.params["n"] ** 2})
    spread = Spread.begin(shop.sessions, [Job("square", params={"n": n}) for n in range(60)])
    with ThreadQueue(runner, threads=6) as queue:
        spread.enqueue(queue)
        results = spread.wait(queue, poll=0, enqueue_again_after=float("inf"))
    assert results == [n**2 for n in range(60)]


@pytest.mark.parametrize("parts", [1, 3, 100])
def test_a_migration_in_parts_copies_each_blob(shop: Shop, parts: int) -> None:
    add_products(shop, 7)
    new = MemoryStore()
    runner = JobRunner(shop.sessions, Base, stores={"old": shop.store, "new": new})
    with shop.sessions() as session:
        jobs = migration_jobs(session, Base, source="old", destination="new", parts=parts)
    assert len(jobs) == min(parts, 7) + 1, "and one of the class that has no rows yet"
    for copied, present in ((7, 0), (0, 7)):
        spread = Spread.begin(shop.sessions, jobs)
        with ThreadQueue(runner) as queue:
            spread.enqueue(queue)
            results = spread.wait(queue, poll=0.01)
        assert sum(result["copied"] for result in results) == copied
        assert sum(result["present"] for result in results) == present
        assert not any(result["failed"] for result in results)
    with shop.sessions() as session, check(session, Base, new, checksum=True) as report:
        assert report.ok
        assert report.blobs == 7


def test_a_part_of_a_migration_has_also_the_rows_that_came_later(shop: Shop) -> None:
    add_products(shop, 4)
    new = MemoryStore()
    runner = JobRunner(shop.sessions, Base, stores={"old": shop.store, "new": new})
    with shop.sessions() as session:
        spread = Spread.begin(shop.sessions, migration_jobs(session, Base, source="old", destination="new", parts=2))
    add_products(shop, 3)
    do_all(runner, spread)
    assert sum(result["copied"] for result in spread.results()) == 7


def test_single_blobs_that_fail_are_told_by_their_part(shop: Shop) -> None:
    add_products(shop, 4)
    with shop.sessions() as session:
        shop.store.delete_key(key_of(session.get_one(Product, 2).photo.require_original()))
        jobs = migration_jobs(session, Base, source="old", destination="new", parts=2)
    runner = JobRunner(shop.sessions, Base, stores={"old": shop.store, "new": MemoryStore()})
    spread = Spread.begin(shop.sessions, jobs)
    do_all(runner, spread)
    assert [result["failed"] for result in spread.results()] == [0, 1, 0], "the first one is of banners"
    assert "ProductPhoto" in spread.results()[1]["failures"][0]


def test_a_check_in_parts_tells_what_is_wrong(shop: Shop) -> None:
    add_products(shop, 6)
    with shop.sessions() as session:
        keys = [key_of(session.get_one(Product, ident).photo.require_original()) for ident in range(1, 7)]
        jobs = check_jobs(session, Base, parts=3)
    shop.store.delete_key(keys[0])
    Path(shop.directory, keys[2].file_path()).write_bytes(b"short")
    blob = Path(shop.directory, keys[5].file_path())
    blob.write_bytes(bytes(reversed(blob.read_bytes())))
    spread = Spread.begin(shop.sessions, jobs)
    do_all(shop.runner, spread)
    banners, *results = spread.results()
    assert banners == {"rows": 0, "counts": {}, "problems": []}
    assert [result["rows"] for result in results] == [2, 2, 2]
    assert [result["counts"] for result in results] == [{"missing blob": 1}, {"wrong size": 1}, {"wrong checksum": 1}]
    assert [len(result["problems"]) for result in results] == [1, 1, 1]
    assert "missing blob" in results[0]["problems"][0]
    assert "ProductPhoto" in results[0]["problems"][0]


def missing_variants(shop: Shop) -> int:
    with shop.sessions() as session:
        return bring_up_to_date(session, Base, shop.store).generated


@pytest.mark.parametrize("parts", [1, 3, 100])
def test_declared_variants_are_made_in_parts_each_once(shop: Shop, parts: int) -> None:
    add_products(shop, 7, banners=True)
    with shop.sessions() as session:
        jobs = backfill_jobs(session, Base, parts=parts)
    assert len(jobs) == min(parts, 7)
    add_products(shop, 2, banners=True)
    for generated in (9 * 4, 0):
        spread = Spread.begin(shop.sessions, jobs)
        do_all(shop.runner, spread)
        results = spread.results()
        assert sum(result["owners"] for result in results) == 9
        assert sum(result["generated"] for result in results) == generated
        assert not any(result["failed"] or result["removed"] for result in results)
    assert missing_variants(shop) == 0
    with shop.sessions() as session, check(session, Base, shop.store, checksum=True) as report:
        assert report.ok
        assert report.in_grace == 0


def test_only_what_was_asked_for_is_made(shop: Shop) -> None:
    add_products(shop, 2, banners=True)
    with shop.sessions() as session:
        with pytest.raises(InvalidValueError, match="classes"):
            backfill_jobs(session, Base, classes=["Gone"])
        jobs = backfill_jobs(session, Base, classes=[ProductPhoto, "Banner"], on_demand=True, parts=1)
        photos = backfill_jobs(session, Base, classes=[ProductPhoto], parts=1)
    for part, generated in ((photos, 0), (jobs, 2 * 5)):
        spread = Spread.begin(shop.sessions, part)
        do_all(shop.runner, spread)
        assert [result["generated"] for result in spread.results()] == [generated]


def test_owners_whose_picture_is_lost_are_told_by_their_part(shop: Shop) -> None:
    add_products(shop, 4, banners=True)
    with shop.sessions() as session:
        shop.store.delete_key(key_of(session.get_one(Product, 2).banner.require_original()))
        jobs = backfill_jobs(session, Base, parts=2)
    spread = Spread.begin(shop.sessions, jobs)
    do_all(shop.runner, spread)
    assert [(result["generated"], result["failed"]) for result in spread.results()] == [(4, 1), (8, 0)]
    assert "Product (2,)" in spread.results()[0]["failures"][0]


def test_while_the_store_is_down_a_part_stays_open(shop: Shop) -> None:
    add_products(shop, 2, banners=True)
    with shop.sessions() as session:
        spread = Spread.begin(shop.sessions, backfill_jobs(session, Base, parts=1))
    down = Path(f"{shop.directory}.down")
    down.touch()
    with pytest.raises(TryAgainError, match="the store is down"):
        do_all(shop.runner, spread)
    assert spread.progress() == Progress(1, 0, 0)
    down.unlink()
    do_all(shop.runner, spread)
    assert [result["generated"] for result in spread.results()] == [8]


@pytest.mark.parametrize("parts", [0, -1, 1.5, "2"])
def test_a_number_of_parts_that_cannot_be_is_refused(shop: Shop, parts: Any) -> None:
    for jobs in (check_jobs, backfill_jobs):
        with shop.sessions() as session, pytest.raises(InvalidValueError, match="parts"):
            jobs(session, Base, parts=parts)


@pytest.fixture
def dramatiq_shop(tmp_path: Path, postgresql_url: URL) -> Iterator[Shop]:
    database = postgresql_url.render_as_string(hide_password=False)
    shop = Shop(database, str(tmp_path / "blobs"), "dramatiq", RABBITMQ, new_name())
    Base.metadata.create_all(shop.engine)
    yield shop
    shop.close()
    Base.metadata.drop_all(shop.engine)


def test_killing_workers_loses_no_part(dramatiq_shop: Shop, tmp_path: Path) -> None:
    shop, log, chance = dramatiq_shop, tmp_path / "log", random.Random(3)
    add_products(shop, 12)
    with shop.sessions() as session:
        spread = Spread.begin(shop.sessions, check_jobs(session, Base, parts=12))
    with running(shop, log) as workers:
        spread.enqueue(shop.queue)
        wait_until(lambda: spread.progress().done > 0, workers, log)
        workers.kill_one(chance)
        wait_until(lambda: spread.progress().is_over, workers, log)
    assert sum(result["rows"] for result in spread.results()) == 12
    assert spread.errors() == []
    spread.forget()
