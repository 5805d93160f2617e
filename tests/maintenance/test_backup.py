"""The drill of the guide's page on backup and restore, with an application that goes on meanwhile."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.maintenance import ProblemKind, check
from sqlalchemy_imageattach.migration import migrate
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from tests.migrating import Base, User, attach, database, picture

Write = Callable[[Session, Store], object]


class World:
    """An application with its database and its store, and the backup of both."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine: Engine = database(f"sqlite:///{path}/live.db")
        self.live, self.backup, self.restored = (
            FileSystemStore(path / name, "http://x/", fsync=False) for name in ("live", "backup", "restored")
        )

    def write(self, work: Write) -> None:
        with Session(self.engine, info={"image_store": self.live}) as session:
            work(session, self.live)
            session.commit()

    def copy_store(self) -> None:
        with Session(self.engine) as session:
            assert migrate(session, Base, self.live, self.backup).execute().ok

    def dump_database(self) -> None:
        with sqlite3.connect(self.path / "live.db") as live, sqlite3.connect(self.path / "dump.db") as dump:
            live.backup(dump)
        live.close()
        dump.close()

    def restore(self) -> dict[ProblemKind, int]:
        """What check() says of the restored database and the restored store."""
        for blob in self.backup.list_blobs():
            assert blob.key is not None
            with self.backup.get(blob.key) as file:
                self.restored.put(blob.key, io.BytesIO(file.read()), reproducible=False)
        engine = create_engine(f"sqlite:///{self.path}/dump.db")
        with Session(engine) as session:
            with check(session, Base, self.restored, checksum=True, grace=timedelta(0)) as report:
                counts = dict(report.counts)
            missing = counts.get(ProblemKind.MISSING_BLOB, 0)
            for user in session.scalars(select(User)) if not missing else ():
                assert user.picture.make_blob(self.restored)
        engine.dispose()
        return counts


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    for name in ("ada", "bob", "cyd"):
        world.write(attaching(name))
    yield world
    world.engine.dispose()


def attaching(name: str) -> Write:
    return lambda session, store: attach(session, store, picture(35), name)


def replacing(name: str) -> Write:
    def replace(session: Session, store: Store) -> None:
        session.scalars(select(User).filter_by(name=name)).one().picture.from_blob(picture(50), store)

    return replace


def deleting(name: str) -> Write:
    return lambda session, store: session.delete(session.scalars(select(User).filter_by(name=name)).one())


def test_store_database_store_gives_each_row_its_blob(world) -> None:
    world.copy_store()
    world.write(attaching("dan"))
    world.write(replacing("ada"))
    world.dump_database()
    world.write(replacing("bob"))
    world.write(attaching("eve"))
    world.copy_store()
    # the blobs of pictures that were replaced before the dump, or attached after it
    assert set(world.restore()) == {ProblemKind.ORPHAN}


@pytest.mark.parametrize("write", [replacing("bob"), attaching("eve")])
def test_another_copy_of_the_store_changes_nothing_of_what_is_there(world, write) -> None:
    world.copy_store()
    before = {blob.name: blob.byte_size for blob in world.backup.list_blobs()}
    world.write(write)
    world.copy_store()
    after = {blob.name: blob.byte_size for blob in world.backup.list_blobs()}
    assert before.items() <= after.items()


def test_the_store_first_alone_loses_what_was_attached_before_the_dump(world) -> None:
    world.copy_store()
    world.write(attaching("dan"))
    world.dump_database()
    assert world.restore() == {ProblemKind.MISSING_BLOB: 1}


@pytest.mark.parametrize("write", [replacing("bob"), deleting("bob")])
def test_the_database_first_alone_loses_what_goes_before_the_copy(world, write) -> None:
    world.dump_database()
    world.write(write)
    world.copy_store()
    assert world.restore()[ProblemKind.MISSING_BLOB] == 1


def test_check_names_what_came_and_went_between_the_passes(world) -> None:
    world.copy_store()
    world.write(attaching("dan"))
    world.dump_database()
    world.write(deleting("dan"))
    world.copy_store()
    assert world.restore() == {ProblemKind.MISSING_BLOB: 1}
