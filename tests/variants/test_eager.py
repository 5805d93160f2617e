"""What is declared to be made later is made once the outermost transaction has committed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from sqlalchemy_imageattach.jobs import Job, JobRunner, Outcome, ThreadQueue
from sqlalchemy_imageattach.variants import bring_up_to_date
from sqlalchemy_imageattach.variants.eager import KIND

from ..entity.support import CountingStore, picture
from .models import Base, Product


class Waiting:
    """A queue that keeps what it is given."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def enqueue(self, job: Job) -> None:
        self.jobs.append(job)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def queue() -> Waiting:
    return Waiting()


@pytest.fixture
def sessions(engine: Engine, store: CountingStore, queue: Waiting) -> sessionmaker[Session]:
    return sessionmaker(engine, info={"image_store": store, "image_queue": queue})


@pytest.fixture
def runner(sessions: sessionmaker[Session]) -> JobRunner:
    return JobRunner(sessions, Base)


def attach(session: Session, color: str = "red") -> Product:
    product = session.get(Product, 1) or Product(id=1)
    session.add(product)
    product.photo.from_blob(picture(200, 100, color, "JPEG"))
    return product


def test_a_job_waits_for_the_outermost_commit(sessions: sessionmaker[Session], queue: Waiting) -> None:
    with sessions() as session:
        with session.begin_nested():
            attach(session)
        session.flush()
        assert not queue.jobs
        session.commit()
        [job] = queue.jobs
        assert job.kind == KIND
        session.get_one(Product, 1).photo.thumbnail(width=20)
        session.commit()
        assert queue.jobs == [job]


def test_what_is_rolled_back_has_no_job(sessions: sessionmaker[Session], queue: Waiting) -> None:
    with sessions() as session:
        attach(session)
        session.flush()
        session.rollback()
        with session.begin_nested() as savepoint:
            attach(session)
            session.flush()
            savepoint.rollback()
        session.commit()
    assert not queue.jobs


def test_the_job_makes_what_is_missing_and_once(
    sessions: sessionmaker[Session], queue: Waiting, runner: JobRunner, store: CountingStore
) -> None:
    with sessions() as session:
        attach(session)
        session.commit()
    [job] = queue.jobs
    for _ in range(2):
        assert runner.run(job) is Outcome.DONE
        with sessions() as session:
            photo = session.get_one(Product, 1).photo
            assert photo.variant("hero").is_complete
            assert len(photo.variant("print").missing) == 1
            assert len(photo) == len(store) == 9 + 2
    assert queue.jobs == [job]


def test_a_job_that_comes_too_late_does_no_harm(
    sessions: sessionmaker[Session], queue: Waiting, runner: JobRunner, store: CountingStore
) -> None:
    with sessions() as session:
        attach(session)
        session.commit()
        attach(session, "blue")
        session.commit()
        first, second = queue.jobs
        assert runner.run(first) is Outcome.OUTDATED
        assert runner.run(second) is Outcome.DONE
        session.delete(session.get_one(Product, 1))
        session.commit()
        assert runner.run(second) is Outcome.OUTDATED
    assert len(store) == 0


def test_a_focal_point_that_moves_a_cut_has_a_job(
    sessions: sessionmaker[Session], queue: Waiting, runner: JobRunner
) -> None:
    with sessions() as session:
        product = attach(session)
        session.commit()
        queue.jobs.clear()
        product.photo.focal_point = (0.0, 0.0)
        session.commit()
        [job] = queue.jobs
    assert runner.run(job) is Outcome.DONE
    with sessions() as session:
        assert session.get_one(Product, 1).photo.variant("hero").is_complete


def test_threads_of_the_process_will_do(engine: Engine, store: CountingStore) -> None:
    sessions = sessionmaker(engine, info={"image_store": store})
    with ThreadQueue(JobRunner(sessions, Base)) as queue:
        sessions.configure(info={"image_store": store, "image_queue": queue})
        with sessions() as session:
            attach(session)
            session.commit()
    with sessions() as session:
        assert session.get_one(Product, 1).photo.variant("hero").is_complete


def test_if_nobody_takes_the_job_the_commit_stands_and_what_is_missing_is_found(
    engine: Engine, store: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Unreachable:
        def enqueue(self, job: Job) -> None:
            msg = "nobody answers"
            raise ConnectionRefusedError(msg)

    with Session(engine, info={"image_store": store, "image_queue": Unreachable()}) as session:
        attach(session)
        session.commit()
        assert "was not taken" in caplog.text
        assert "ProductPhoto" in caplog.text
        assert len(session.get_one(Product, 1).photo.variant("hero").missing) == 2
        session.commit()
        assert bring_up_to_date(session, Base, store, dry_run=False).generated == 2
        session.expire_all()
        assert session.get_one(Product, 1).photo.variant("hero").is_complete


def test_a_job_for_a_class_that_is_gone_ends_and_is_logged(runner: JobRunner, caplog: pytest.LogCaptureFixture) -> None:
    assert runner.run(Job(KIND, "shop.models:OldPhoto", (1,), "revision")) is Outcome.UNKNOWN
    assert "import its module" in caplog.text


def test_without_a_queue_nothing_is_made_and_nothing_breaks(engine: Engine, store: CountingStore) -> None:
    with Session(engine, info={"image_store": store}) as session:
        attach(session)
        session.commit()
        assert len(session.get_one(Product, 1).photo.variant("hero").missing) == 2
