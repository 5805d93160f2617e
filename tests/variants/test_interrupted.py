"""Code of the application's that ends by an interruption, in the middle of what others wait for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from sqlalchemy_imageattach.maintenance import check
from sqlalchemy_imageattach.testing import FaultyStore
from sqlalchemy_imageattach.variants import OnDemand
from tests.serving.doors import Door

from ..entity.support import CountingStore
from .models import Base, Product, ProductPhoto
from .test_flights import INTERRUPTIONS
from .test_on_demand import BASE, SECRET, door, engine, path_of, product, session, sessions

__all__ = ["door", "engine", "product", "session", "sessions"]

pytestmark = pytest.mark.parametrize("error", INTERRUPTIONS)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No temporary file, and no open one."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield
    assert os.listdir(directory) == []


def ask(door: Door, endpoint: Any, path: str, error: type[BaseException]) -> int | None:
    """The status, or ``None`` if the error came out of the door."""
    try:
        return door.ask(endpoint, path).status
    except (error, RuntimeError):  # what a StopIteration becomes
        return None


@pytest.mark.parametrize("operation", ["get", "put"])
@pytest.mark.parametrize("when", ["before", "midway", "after"])
def test_the_next_one_who_asks_gets_the_picture(
    error: type[BaseException],
    operation: Any,
    when: Any,
    sessions: sessionmaker[Session],
    engine: Engine,
    product: Product,
    store: CountingStore,
    door: Door,
) -> None:
    faulty = FaultyStore(store)
    faulty.fail(operation, on=1, when=when, error=error)
    with closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE, store=faulty, renders_at_once=1)) as found:
        path = path_of(product.photo.url(width=40))
        assert ask(door, found, path, error) is None
        while len(found._flights):
            pass
        with sessions() as other:  # nobody has a lock on the row
            other.add(Product())
            other.commit()
        assert ask(door, found, path, error) == 200
    with sessions() as other, check(other, Base, store, checksum=True) as report:
        assert report.ok
        assert not list(report), "no blob without a row either"


def test_a_hook_that_decides_nothing_holds_nobody(
    error: type[BaseException], sessions: sessionmaker[Session], product: Product, store: CountingStore, door: Door
) -> None:
    answers: list[Any] = [error, True]

    def may_see(request: Any, asked: Any) -> bool:
        answer = answers.pop(0)
        if answer is True:
            return True
        raise answer

    with closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE, authorise=may_see)) as found:
        path = path_of(product.photo.url(width=40))
        assert [ask(door, found, path, error) for _ in range(2)] == [None, 200]
