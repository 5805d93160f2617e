"""Celery, Dramatiq and RQ, with their own workers, on Redis and RabbitMQ."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.jobs import Job
from sqlalchemy_imageattach.maintenance import check

from ..conftest import CI
from .shop import KIND, Base, Product, Shop, picture
from .workers import CASES, IDS, RABBITMQ, REDIS, is_reachable, new_name, running, wait_until


@pytest.fixture(params=CASES, ids=IDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path, postgresql_url: URL) -> Iterator[Shop]:
    kind, broker = request.param
    if not is_reachable(broker):
        reason = f"no broker at {broker} (set IMAGEATTACH_REDIS, IMAGEATTACH_RABBITMQ)"
        if CI:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    database = postgresql_url.render_as_string(hide_password=False)
    shop = Shop(database, str(tmp_path / "blobs"), kind, broker, new_name())
    Base.metadata.create_all(shop.engine)
    yield shop
    shop.close()
    Base.metadata.drop_all(shop.engine)


def test_jobs_are_done_by_workers_that_are_killed_while_pictures_are_replaced_and_deleted(
    shop: Shop, tmp_path: Path
) -> None:
    """Those of a store that is down for a while, and those of classes that nobody knows, are among them."""
    log, down = tmp_path / "log", Path(f"{shop.directory}.down")
    chance = random.Random(7)
    shop.queue.enqueue(Job(KIND, "tests.jobs.shop:Gone", (1,), "revision"))
    idents = [shop.new_product(picture((number, 0, 0))) for number in range(12)]
    down.touch()
    with running(shop, log) as workers:
        time.sleep(0.5)
        down.unlink()
        for number, ident in enumerate(idents[:8]):
            with shop.sessions() as session:
                product = session.get_one(Product, ident)
                if number % 4 == 3:
                    session.delete(product)
                else:
                    shop.replace(session, product, picture((0, number, 0)))
                session.commit()
            if number == 4:
                workers.kill_one(chance, only_below=shop.kind == "rq")
        wait_until(lambda: not shop.unfinished(), workers, log)
    with shop.sessions() as session, check(session, Base, shop.store, checksum=True) as report:
        assert report.ok, list(report)
        assert (report.rows, report.blobs) == (30, 30)
        assert session.query(Product).count() == 10


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
