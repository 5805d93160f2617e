"""Sessions that read from a replica: what locks and what writes goes to the primary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import URL, Delete, Engine, Insert, Update, create_engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.entity.models import Base, User
from tests.pictures import picture


@pytest.fixture
def engines(postgresql_url: URL) -> Iterator[tuple[Engine, Engine]]:
    """One that may write, and one that the server lets read only."""
    primary = create_engine(postgresql_url)
    replica = create_engine(postgresql_url, connect_args={"options": "-c default_transaction_read_only=on"})
    Base.metadata.create_all(primary)
    yield primary, replica
    replica.dispose()
    Base.metadata.drop_all(primary)
    primary.dispose()


def test_every_operation_writes_to_the_primary(engines: tuple[Engine, Engine]) -> None:
    primary, replica = engines

    class RoutingSession(Session):
        def get_bind(self, mapper: Any = None, *, clause: Any = None, **_: Any) -> Engine:
            return primary if self._flushing or isinstance(clause, Update | Delete | Insert) else replica

    store = MemoryStore()
    steps: list[tuple[Callable[[User], object], int]] = [
        (lambda user: user.picture.from_blob(picture()), 1),
        (lambda user: user.picture.thumbnail(width=30), 2),
        (lambda user: user.picture.thumbnails([{"width": 20}, {"width": 10}]), 4),
        (lambda user: user.picture.from_blob(picture(color="blue")), 1),
        (lambda user: user.picture.thumbnail(width=30), 2),
        (lambda user: user.picture.clear(), 0),
    ]
    with RoutingSession(info={"image_store": store}) as session:
        session.add(User(id=1))
        session.commit()
        for step, blobs in steps:
            step(session.get_one(User, 1))
            session.commit()
            assert len(store.blobs) == blobs
        session.get_one(User, 1).picture.from_blob(picture())
        session.commit()
        session.delete(session.get_one(User, 1))
        session.commit()
        assert not store.blobs
