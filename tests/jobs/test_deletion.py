"""Blobs that could not be deleted at the end of their transaction are deleted by jobs, in the store that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Integer
from sqlalchemy.orm import declarative_base, mapped_column

from sqlalchemy_imageattach.entity import Image, image_attachment
from sqlalchemy_imageattach.errors import TryAgainError
from sqlalchemy_imageattach.jobs import Job, JobRunner, Outcome
from sqlalchemy_imageattach.maintenance import check
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import FaultyStore

from .shop import Base, Product, Shop, Unreachable, Waiting, picture

Gallery: Any = declarative_base()


class Sitter(Gallery):
    __tablename__ = "deletion_sitter"
    id = mapped_column(Integer, primary_key=True)
    portrait = image_attachment("Portrait")


class Portrait(Gallery, Image):
    """Its store is its own; the tests say which."""

    __tablename__ = "deletion_portrait"
    sitter_id = mapped_column(ForeignKey(Sitter.id), primary_key=True)


@pytest.fixture
def gallery(shop: Shop) -> Iterator[JobRunner]:
    """What does the jobs of the gallery, whose sessions are the shop's."""
    Gallery.metadata.create_all(shop.engine)
    yield JobRunner(shop.sessions, Gallery)
    Portrait.image_store = None


def assert_in_step(shop: Shop) -> None:
    with shop.sessions() as session, check(session, Base, shop.store, checksum=True) as report:
        assert report.ok, list(report)
        assert report.in_grace == 0, "a blob that no row names"


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_blob_that_was_not_deleted_becomes_a_job(
    shop: Shop, waiting: Waiting, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop.new_product(picture())
    waiting.jobs.clear()
    down = Path(f"{shop.directory}.down")
    with shop.sessions() as session:
        session.get_one(Product, 1).photo.from_blob(picture("blue"))
        session.flush()
        down.touch()
        getattr(session, end)()
    [job] = waiting.jobs
    with pytest.raises(TryAgainError):
        shop.runner.run(job)
    down.unlink()
    seen = len(caplog.records)
    assert shop.runner.run(job) is Outcome.DONE
    assert not caplog.records[seen:]
    assert shop.runner.run(job) is Outcome.DONE, "it is gone already"
    assert "found nothing to delete" in caplog.text
    assert_in_step(shop)


def test_a_blob_in_another_store_than_the_workers_have_is_left_for_the_sweeper(
    shop: Shop, waiting: Waiting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Shop(shop.database, str(tmp_path / "other"))
    with shop.sessions() as session:
        session.add(product := Product())
        product.photo.from_blob(picture(), other.store)
        session.flush()
        Path(f"{other.directory}.down").touch()
        session.rollback()
    assert not waiting.jobs
    assert "no job can delete it" in caplog.text


def test_if_the_queue_fails_as_well_the_blob_is_left_for_the_sweeper(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.sessions.configure(info={"image_store": shop.store, "image_queue": Unreachable()})
    with shop.sessions() as session:
        session.add(product := Product())
        product.photo.from_blob(picture())
        session.flush()
        Path(f"{shop.directory}.down").touch()
        session.rollback()
    assert "was not taken" in caplog.text


@pytest.mark.parametrize("name", ["../../etc/passwd", "shop_product_photo/1/40x30.png", ""])
def test_a_job_deletes_no_blob_but_those_with_a_revision(
    shop: Shop, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert shop.runner.run(Job("imageattach.delete", params={"blob": name})) is Outcome.DONE
    assert "is given up" in caplog.text


# --- of classes with a store of their own ----------------------------------------------------------------------------

_tenant: ContextVar[str | None] = ContextVar("tenant", default=None)


def leave_a_portrait(shop: Shop, end: str, store: FaultyStore | None = None) -> None:
    """A portrait is replaced, or not, and a store, that of its class by default, deletes nothing meanwhile."""
    with shop.sessions() as session:
        session.add(sitter := Sitter())
        sitter.portrait.from_blob(picture(), store)
        session.commit()
        failing = store or sitter.portrait.require_original()._find_store(None)
        assert isinstance(failing, FaultyStore)
        sitter.portrait.from_blob(picture("blue"), store)
        session.flush()
        failing.fail("delete", on=None)
        getattr(session, end)()
        failing.heal()


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("is_called", [False, True], ids=["a store", "a function"])
def test_it_is_deleted_in_the_store_of_its_class(
    shop: Shop, waiting: Waiting, gallery: JobRunner, end: str, is_called: bool
) -> None:
    store = FaultyStore(MemoryStore())
    Portrait.image_store = staticmethod(lambda: store) if is_called else store
    leave_a_portrait(shop, end)
    assert len(store.blobs) == 2
    [job] = waiting.jobs
    assert gallery.run(Job.from_json(job.to_json())) is Outcome.DONE
    assert len(store.blobs) == 1
    with shop.sessions() as session:
        assert session.get_one(Sitter, 1).portrait.make_blob() == picture("blue" if end == "commit" else "red")


def test_in_the_session_s_store_it_is_deleted_there_though_its_class_has_another(
    shop: Shop, waiting: Waiting, gallery: JobRunner
) -> None:
    """As one that was attached with ``store=`` is."""
    Portrait.image_store, general = MemoryStore(), FaultyStore(MemoryStore())
    shop.sessions.configure(info={"image_store": general, "image_queue": waiting})
    leave_a_portrait(shop, "commit", general)
    [job] = waiting.jobs
    assert gallery.run(job) is Outcome.DONE
    assert len(general.blobs) == 1


def test_in_a_store_that_was_named_for_it_alone_it_stays_and_is_logged(
    shop: Shop, waiting: Waiting, gallery: JobRunner, caplog: pytest.LogCaptureFixture
) -> None:
    Portrait.image_store, named = MemoryStore(), FaultyStore(MemoryStore())
    leave_a_portrait(shop, "commit", named)
    assert not waiting.jobs
    assert len(named.blobs) == 2
    assert "neither the session's store nor the image_store of its class" in caplog.text


def _fail() -> Store:
    msg = "no tenant"
    raise LookupError(msg)


@pytest.mark.parametrize("in_worker", [lambda: None, lambda: MemoryStore()], ids=["none", "another tenant's"])
def test_where_a_worker_has_another_store_for_the_class_it_says_so(
    shop: Shop, waiting: Waiting, gallery: JobRunner, caplog: pytest.LogCaptureFixture, in_worker: Callable[[], Any]
) -> None:
    """A function may give each tenant another store, and a worker may not know whose job it does."""
    of_tenant = FaultyStore(MemoryStore())
    Portrait.image_store = staticmethod(lambda: of_tenant if _tenant.get() == "ada" else in_worker())
    token = _tenant.set("ada")
    leave_a_portrait(shop, "commit")
    _tenant.reset(token)
    [job] = waiting.jobs
    seen = len(caplog.records)
    assert gallery.run(job) is Outcome.DONE
    assert len(of_tenant.blobs) == 2
    assert ["stays there until it is swept" in record.message for record in caplog.records[seen:]] == [True]


def test_a_store_of_a_class_that_cannot_be_told_after_the_commit_changes_nothing_for_it(
    shop: Shop, waiting: Waiting, gallery: JobRunner, caplog: pytest.LogCaptureFixture
) -> None:
    of_tenant = FaultyStore(MemoryStore())
    Portrait.image_store = staticmethod(lambda: of_tenant if _tenant.get() == "ada" else _fail())
    with shop.sessions() as session:
        token = _tenant.set("ada")
        session.add(sitter := Sitter())
        sitter.portrait.from_blob(picture())
        session.flush()
        of_tenant.fail("delete", on=None)
        _tenant.reset(token)
        session.rollback()
    assert not waiting.jobs
    assert "the image_store of tests.jobs.test_deletion:Portrait cannot be told" in caplog.text
    assert "no job can delete it" in caplog.text


def test_a_job_of_a_class_that_is_not_known_here_is_given_up(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    name = "shop-product-photo/1/40x30.Xk3v9QpLm2w.png"
    job = Job("imageattach.delete", params={"blob": name, "store_of": "shop:Gone"})
    assert shop.runner.run(job) is Outcome.UNKNOWN
    assert "shop:Gone" in caplog.text
