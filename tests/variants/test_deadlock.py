"""A backfill that the database takes as the victim of a deadlock goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, insert, select, update
from sqlalchemy.orm import sessionmaker

from sqlalchemy_imageattach.entity import is_conflict
from sqlalchemy_imageattach.imaging import Rendition
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.variants.backfill import backfill
from sqlalchemy_imageattach.variants.owners import _PAUSES

from ..entity.support import picture
from .models import Base, Product, ProductPhoto

ATTEMPTS = len(_PAUSES) + 1
OWNERS = 3


class Rival:
    """Holds an owner's row when a thumbnail is about to be inserted for it, and then wants the row of the original.

    The backfill has the latter, and is about to want the former: neither can go on.  The rival waits for long, or has
    written more, so it is the backfill that the database gives up.

    :param engine: its own
    :param times: how often it gets in the way
    """

    def __init__(self, engine: Engine, times: int) -> None:
        self.engine = engine
        self.times = times
        self.threads: list[threading.Thread] = []

    def get_in_the_way(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        """Called before each statement of the backfill."""
        if not (self.times and statement.startswith("INSERT INTO product_photo")):
            return
        self.times -= 1
        connection = self.engine.connect()
        connection.begin()
        if connection.dialect.name == "mysql":
            # MariaDB gives up the transaction that has written less
            connection.execute(insert(Product), [{"id": number} for number in range(1000, 1100)])
        first = connection.scalars(select(Product.id).order_by(Product.id).limit(1).with_for_update()).one()
        thread = threading.Thread(target=self._want_the_original, args=(connection, first))
        thread.start()
        self.threads.append(thread)

    def _want_the_original(self, connection: Any, owner: int) -> None:
        originals = update(ProductPhoto).where(ProductPhoto.original, ProductPhoto.product_id == owner)
        connection.execute(originals.values(frames=1))
        connection.rollback()
        connection.close()


@pytest.fixture(params=["postgresql", "mariadb"])
def engines(request: pytest.FixtureRequest) -> Iterator[tuple[Engine, Engine]]:
    """That of the backfill, and that of its rival, with empty tables."""
    url = request.getfixturevalue(f"{request.param}_url")
    patience = ["100ms", "1h"] if request.param == "postgresql" else []  # how long each waits until it looks for one
    arguments = [{"options": f"-c deadlock_timeout={each}"} for each in patience] or [{}, {}]
    mine, other = (create_engine(url, connect_args=each) for each in arguments)
    Base.metadata.create_all(mine)
    yield mine, other
    other.dispose()
    Base.metadata.drop_all(mine)  # the scratch database is that of all tests
    mine.dispose()


@pytest.mark.parametrize("times", [1, ATTEMPTS - 1, ATTEMPTS])
def test_a_backfill_survives_being_the_victim_of_deadlocks(engines: tuple[Engine, Engine], times: int) -> None:
    mine, other = engines
    store = MemoryStore()
    sessions = sessionmaker(mine, info={"image_store": store})
    with sessions() as session:
        for _ in range(OWNERS):
            session.add(product := Product())
            product.photo.from_blob(picture(60, 40))
        session.commit()
    before = len(store)
    rival, errors = Rival(other, times), []
    event.listen(mine, "before_cursor_execute", rival.get_in_the_way)
    event.listen(mine, "handle_error", lambda context: errors.append(context.original_exception))
    with sessions() as session:
        result = backfill(session, Base, [Rendition(width=10), Rendition(width=20)], store)
    for thread in rival.threads:
        thread.join()
    assert len(errors) == times
    assert all("deadlock" in str(error).lower() for error in errors), errors
    failed = times == ATTEMPTS
    assert (result.owners, result.failed) == (OWNERS, int(failed))
    assert result.generated == 2 * (OWNERS - failed)
    assert all(is_conflict(failure.error) for failure in result.failures)
    assert len(store) == before + result.generated
    with sessions() as session:
        assert {key_of(image) for image in session.scalars(select(ProductPhoto))} == set(store.blobs)
    with sessions() as session:
        result = backfill(session, Base, [Rendition(width=10), Rendition(width=20)], store)
    assert (result.generated, result.failed) == (2 * failed, 0), "the next run makes what is missing"
