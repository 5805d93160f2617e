"""Celery, Dramatiq and RQ, with their own workers, on Redis and RabbitMQ."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, func, select

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.jobs import Job, is_transient

from ..needs import unavailable
from .shop import (
    BANNER_WIDTHS,
    KIND,
    PHOTO_WIDTHS,
    Banner,
    Base,
    LosingQueue,
    Product,
    ProductPhoto,
    Shop,
    picture,
)
from .workers import (
    CASES,
    IDS,
    RABBITMQ,
    REDIS,
    can_lose_jobs,
    is_drained,
    is_reachable,
    new_name,
    running,
    wait_until,
)

#: Enough for each of what can happen to one.
PRODUCTS = 6


@pytest.fixture(params=CASES, ids=IDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path, postgresql_url: URL) -> Iterator[Shop]:
    kind, broker = request.param
    if not is_reachable(broker):
        unavailable(f"no broker at {broker} (set IMAGEATTACH_REDIS, IMAGEATTACH_RABBITMQ)")
    database = postgresql_url.render_as_string(hide_password=False)
    shop = Shop(database, str(tmp_path / "blobs"), kind, broker, new_name())
    Base.metadata.create_all(shop.engine)
    yield shop
    shop.close()
    Base.metadata.drop_all(shop.engine)


def test_each_picture_has_all_its_variants_once_whatever_becomes_of_workers_jobs_and_pictures(
    shop: Shop, tmp_path: Path
) -> None:
    """Workers are killed, jobs are lost, the store is down for a while, and pictures are replaced and deleted."""
    log, down, chance = tmp_path / "log", Path(f"{shop.directory}.down"), random.Random(7)
    shop.queue.enqueue(Job(KIND, "tests.jobs.shop:Gone", (1,), "revision"))
    # the last product is new and has two jobs; of each of its pictures one job is lost
    losing = LosingQueue(shop.queue, lambda: len(idents) == PRODUCTS - 1)
    shop.bind(losing)
    idents: list[int] = []
    for number in range(PRODUCTS):
        idents.append(shop.new_product(picture((number, 0, 0)), picture((number, 0, 9))))
    assert losing.lost == 2
    down.touch()
    with running(shop, log) as workers:
        wait_until(Path(f"{shop.directory}.noticed").exists, workers, log)
        down.unlink()
        for number, ident in enumerate(idents[:4]):
            while not changed(shop, ident, None if number == 3 else number):
                pass
            if number == 2:
                workers.kill_one(chance, only_below=shop.kind == "rq")
        loses = can_lose_jobs(shop)
        wait_until(lambda: shop.unfinished() == idents[-1:] or (loses and is_drained(shop)), workers, log)
        found = shop.find_lost_work()
        missing = len(PHOTO_WIDTHS) - 1 + 4
        assert found == missing or (loses and found > missing)
        assert shop.unfinished() == []
    shop.assert_in_step()
    with shop.sessions() as session:
        counts = [session.scalar(select(func.count()).select_from(cls)) for cls in (ProductPhoto, Banner)]
    assert counts == [(PRODUCTS - 1) * len(widths) for widths in (PHOTO_WIDTHS, BANNER_WIDTHS)]


def changed(shop: Shop, ident: int, number: int | None) -> bool:
    """Whether the product has new pictures, or is gone; not if a worker was at it just now."""
    try:
        with shop.sessions() as session:
            product = session.get_one(Product, ident)
            if number is None:
                session.delete(product)
            else:
                shop.replace(session, product, picture((0, number, 0)), picture((0, number, 9)))
            session.commit()
    except Exception as error:
        if not is_transient(error):
            raise
        return False
    return True


@pytest.mark.parametrize(("kind", "scheme"), [(kind, broker.partition(":")[0]) for kind, broker in CASES], ids=IDS)
def test_if_nobody_answers_the_commit_stands_and_the_job_is_reported(
    kind: str, scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # nobody listens there any more
    broker = f"{scheme}://127.0.0.1:{port}"
    shop = Shop(f"sqlite:///{tmp_path / 'shop.db'}", str(tmp_path / "blobs"), kind, broker, "no")
    Base.metadata.create_all(shop.engine)
    ident = shop.new_product(picture())
    assert shop.unfinished() == [ident]
    assert "was not taken" in caplog.text
    assert "ProductPhoto" in caplog.text


def test_what_is_no_application_of_the_queue_is_refused(tmp_path: Path) -> None:
    import rq
    from celery import Celery
    from dramatiq.brokers.stub import StubBroker

    from sqlalchemy_imageattach.jobs.celery import CeleryQueue
    from sqlalchemy_imageattach.jobs.dramatiq import DramatiqQueue
    from sqlalchemy_imageattach.jobs.rq import RQQueue

    shop = Shop("sqlite://", str(tmp_path))
    runner: Any = shop.runner
    connection: Any = object()
    wrong: Any = "wrong"
    for make in (
        lambda: CeleryQueue(wrong, runner),
        lambda: CeleryQueue(Celery(), wrong),
        lambda: DramatiqQueue(wrong, runner),
        lambda: RQQueue(wrong, print),
        lambda: RQQueue(rq.Queue(connection=connection), wrong),
    ):
        with pytest.raises(InvalidTypeError):
            make()
    with pytest.raises(InvalidValueError, match="Retries"):
        DramatiqQueue(StubBroker(middleware=[]), shop.runner)
    with pytest.raises(InvalidValueError, match="top of a module"):
        RQQueue(rq.Queue(connection=connection), lambda message: None)


def test_reachable_tells_whether_a_server_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_reachable(f"redis://127.0.0.1:{port}")
    assert not is_reachable(f"redis://127.0.0.1:{port}")
    assert {REDIS, RABBITMQ}
