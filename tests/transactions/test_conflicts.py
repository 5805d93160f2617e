"""What may be tried again, as the databases really say it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.entity import is_conflict
from sqlalchemy_imageattach.errors import BlobNotFoundError, ConcurrentReplacementError, StoreError

from .conftest import MakeSession, sqlite_engine
from .models import Base, User

UPDATE = text("UPDATE tx_user SET name = name WHERE id = :id")


def deadlock(engine: Engine) -> BaseException:
    """What the database tells the victim."""
    barrier = threading.Barrier(2)

    def run(first: int, second: int) -> BaseException | None:
        with engine.connect() as connection:
            connection.execute(UPDATE, {"id": first})
            barrier.wait()
            try:
                connection.execute(UPDATE, {"id": second})
            except DBAPIError as error:
                return error
        return None

    with Session(engine) as session:
        session.add_all([User(id=1), User(id=2)])
        session.commit()
    with ThreadPoolExecutor(2) as pool:
        [error] = [error for error in pool.map(run, (1, 2), (2, 1)) if error is not None]
    return error


def test_a_deadlock_is_a_conflict(server: Engine) -> None:
    assert is_conflict(deadlock(server))


@pytest.mark.parametrize(
    ("url", "driver", "set_timeout"),
    [
        ("postgresql_url", "postgresql+asyncpg", "SET lock_timeout = '50ms'"),
        ("mariadb_url", "mysql+asyncmy", "SET innodb_lock_wait_timeout = 1"),
    ],
)
def test_an_asynchronous_driver_says_it_in_its_own_way(
    request: pytest.FixtureRequest, engines: Callable[[str], Engine], url: str, driver: str, set_timeout: str
) -> None:
    engine = engines("postgresql" if "postgresql" in url else "mariadb")
    with Session(engine) as session:
        session.add(User(id=77))
        session.commit()

    async def main() -> BaseException:
        asynchronous = create_async_engine(request.getfixturevalue(url).set(drivername=driver))
        try:
            async with AsyncSession(asynchronous) as one, AsyncSession(asynchronous) as two:
                await one.execute(UPDATE, {"id": 77})
                await two.execute(text(set_timeout))
                with pytest.raises(DBAPIError) as caught:
                    await two.execute(UPDATE, {"id": 77})
                return caught.value
        finally:
            await asynchronous.dispose()

    try:
        assert is_conflict(asyncio.run(main()))
    finally:
        with Session(engine) as session:
            session.delete(session.get_one(User, 77))
            session.commit()


def test_a_row_changed_since_the_snapshot_is_a_conflict(postgresql: Engine, open_session: MakeSession) -> None:
    session = open_session(postgresql)
    session.add(User(id=1))
    session.commit()
    serializable = open_session(postgresql.execution_options(isolation_level="REPEATABLE READ"))
    serializable.get_one(User, 1)
    session.get_one(User, 1).name = "Ann"
    session.commit()
    serializable.get_one(User, 1).name = "Bob"
    with pytest.raises(OperationalError) as caught:
        serializable.flush()
    assert is_conflict(caught.value)


def test_a_database_file_that_is_locked_is_a_conflict(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "locked.db", connect_args={"timeout": 0})
    Base.metadata.create_all(engine)
    with engine.connect() as one, engine.connect() as two:
        one.execute(UPDATE, {"id": 1})
        with pytest.raises(OperationalError) as caught:
            two.execute(UPDATE, {"id": 1})
    engine.dispose()
    assert is_conflict(caught.value)


def test_what_would_fail_again_is_none(engine: Engine, open_session: MakeSession) -> None:
    session = open_session(engine)
    session.add_all([User(name="Ann"), User(name="Ann")])
    with pytest.raises(IntegrityError) as violated:
        session.flush()
    session.rollback()
    with pytest.raises(DBAPIError) as misspelt:
        session.execute(text("SELEKT 1"))
    for error in (violated.value, misspelt.value, StoreError("down"), BlobNotFoundError("no such blob"), KeyError(1)):
        assert not is_conflict(error)
    assert is_conflict(ConcurrentReplacementError("replaced"))
    lost = OperationalError("UPDATE", {}, Exception("gone"), connection_invalidated=True)
    lost.orig.sqlstate = "40001"  # type: ignore[union-attr]
    assert not is_conflict(lost), "its outcome is unknown"
