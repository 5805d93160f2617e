"""A shop on SQLite, or on a server, with empty tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from .shop import Base, Shop, Waiting, wait_in

#: Programs rather than modules: they need the environment of a worker, which pytest has not when it looks for doctests.
collect_ignore = ["rq_worker.py", "worker.py"]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(f"sqlite:///{tmp_path / 'shop.db'}", str(tmp_path / "blobs"))
    Base.metadata.create_all(shop.engine)
    yield shop
    shop.engine.dispose()


@pytest.fixture
def waiting(shop: Shop) -> Waiting:
    """The queue of the shop."""
    return wait_in(shop)


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database with empty tables, in which transactions wait for the rows of one another."""
    url: URL = request.getfixturevalue(f"{request.param}_url")
    text = url.render_as_string(hide_password=False)
    engine = Shop(text, "").engine
    Base.metadata.create_all(engine)
    yield text
    Base.metadata.drop_all(engine)
    engine.dispose()
