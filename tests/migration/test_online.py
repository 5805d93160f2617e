from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.bulk import keyset
from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.errors import InvalidTypeError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.migration import migrate, migrate_class, transfer
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from tests.migrating import (
    Base,
    Hooked,
    Mirror,
    User,
    UserPicture,
    attach,
    content_of,
    database,
    fill,
    picture,
    read,
    row_of,
)

# --- on each database ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        url: Any = f"sqlite:///{tmp_path}/test.db"
    else:
        url = request.getfixturevalue(f"{request.param}_url")
    engine = create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


def test_pages_and_shards_give_each_row_once(engine, monkeypatch) -> None:
    monkeypatch.setattr(keyset, "PAGE", 3)
    source, destination = MemoryStore(), MemoryStore()
    fill(engine, source, 20)
    with engine.begin() as connection:
        for user_id, width, mimetype in [(4, 9, "png"), (4, 8, "png"), (4, 8, "gif"), (4, 700, "gif"), (11, 1, "gif")]:
            key = ImageKey("user-picture", user_id, width, abs(640 - width), f"image/{mimetype}", "r")
            source.put(key, io.BytesIO(b"x"), reproducible=True)
            connection.execute(insert(UserPicture), row_of(key, b"x", user_id=user_id))
    with Session(engine) as session:
        images = [key_of(image) for image in migrate(session, Base, source, destination, workers=1)]
        assert len(images) == len(set(images)) == 25
        assert destination.blobs == source.blobs
        shares = [
            [
                key_of(image)
                for image in migrate_class(session, UserPicture, source, MemoryStore(), shard=(number, 4), workers=1)
            ]
            for number in range(4)
        ]
    assert len(sum(shares, [])) == 25
    assert set(sum(shares, [])) == set(images)
    assert all(shares)


@pytest.mark.parametrize("make_mirror", [Mirror, lambda new, old: MirrorStore(old, new)])
def test_writers_may_attach_replace_and_delete_while_it_runs(engine, monkeypatch, make_mirror) -> None:
    """Old blobs are in the source, the application writes to both: in the end the destination has what rows name."""
    monkeypatch.setattr(keyset, "PAGE", 10)
    monkeypatch.setattr(transfer, "RECHECK", 7)
    source, destination = Hooked(), Hooked()
    with Session(engine) as session:
        for number in range(60):
            attach(session, source, picture(10 + number), name="old")
        session.commit()
    mirror, stop, wrote = make_mirror(destination, source), threading.Event(), [0]

    def write(seed: int) -> None:
        choice = random.Random(seed)
        while not stop.is_set():
            with Session(engine, info={"image_store": mirror}) as session:
                act = choice.choice(["attach", "replace", "replace", "delete"])
                if act == "attach":
                    attach(session, mirror, picture(choice.randrange(10, 90)))
                else:
                    ids = session.scalars(select(User.id).where(User.id % 2 == seed)).all()
                    user = session.get(User, choice.choice(ids)) if ids else None
                    if user is None:
                        continue
                    if act == "replace":
                        user.picture.from_blob(picture(choice.randrange(10, 90), "blue"), mirror)
                    else:
                        session.delete(user)
                session.commit()
                wrote[0] += 1

    # SQLite lets one write at a time
    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(1 if engine.name == "sqlite" else 2)]

    def keep_pace(operation: str) -> None:
        # for each three blobs that are copied, the writers do something
        while operation == "get" and wrote[0] < source.operations.count("get") // 3 and writers[0].is_alive():
            time.sleep(0.001)

    for writer in writers:
        writer.start()
    source.hook = keep_pace
    try:
        with Session(engine) as session:
            result = migrate(session, Base, source, destination, workers=3).execute()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert result.ok, result
    assert wrote[0] >= 10
    with Session(engine) as session:
        named = {key_of(image): image.checksum for image in session.scalars(select(UserPicture))}
        assert set(destination.blobs) == set(named)
        again = migrate(session, Base, source, destination, verify="read-back").execute()
    assert (again.copied, again.failed, again.present) == (0, 0, len(named))


# --- kill -9 ---------------------------------------------------------------------------------------------------------

CHILD = """
import sys, time
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy_imageattach.migration import migrate
from sqlalchemy_imageattach.stores.fs import FileSystemStore
sys.path.insert(0, {root!r})
from tests.migrating import Base

class Slow(FileSystemStore):
    def put_file(self, file, *args, **kwargs):
        class Dripping:
            def read(self, size=-1):
                time.sleep(0.003)
                return file.read(100)
        super().put_file(Dripping(), *args, **kwargs)

with Session(create_engine({url!r})) as session:
    source, destination = FileSystemStore({source!r}, "/"), Slow({destination!r}, "/", fsync=False)
    for number, image in enumerate(migrate(session, Base, source, destination, workers=3), 1):
        print(number, flush=True)
"""


def test_a_killed_migration_continues_where_it_was(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/test.db"
    engine = database(url)
    source = FileSystemStore(tmp_path / "source", "/", fsync=False)
    destination = FileSystemStore(tmp_path / "destination", "/", fsync=False)
    fill(engine, source, 60, blob=bytes(range(256)) * 4)
    before = content_of(source)
    code = textwrap.dedent(CHILD).format(
        root=str(Path(__file__).parents[2]), url=url, source=source.path, destination=destination.path
    )
    for kill_at in (1, 7, 20):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == kill_at:
                os.kill(child.pid, signal.SIGKILL)
                break
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
        for name, blob in content_of(destination).items():
            assert blob == before[name], "a half-written blob counts as one"
    copied = len(content_of(destination))
    assert 28 <= copied < 60
    with Session(engine) as session:
        result = migrate(session, Base, source, destination).execute()
    assert (result.copied, result.present, result.ok) == (60 - copied, copied, True)
    assert content_of(destination) == before == content_of(source)
    engine.dispose()


# --- AsyncSession ----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("workers", [1, 3])
async def test_below_an_async_session_the_event_loop_goes_on_turning(tmp_path, workers) -> None:
    sync = database(f"sqlite:///{tmp_path}/test.db")
    source = Hooked()
    fill(sync, source, 30)
    source.hook = lambda operation: time.sleep(0.01)
    sync.dispose()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    ticks, destination = 0, MemoryStore()
    images: list[Any] = []

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    async with AsyncSession(engine) as session:
        result = await session.run_sync(
            lambda session: migrate(session, Base, source, destination, workers=workers).execute(images.append)
        )
    ticking.cancel()
    assert (result.copied, result.ok) == (30, True)
    assert all(isinstance(image, Image) for image in images)
    assert content_of(destination) == content_of(source)
    assert ticks > 30
    await engine.dispose()


@pytest.mark.asyncio
async def test_an_async_session_itself_is_refused_with_the_way_to_do_it() -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with AsyncSession(engine) as session:
        with pytest.raises(InvalidTypeError, match=r"await session\.run_sync"):
            migrate(session, Base, MemoryStore(), MemoryStore())
    await engine.dispose()


def test_large_blobs_go_through_whole(tmp_path) -> None:
    engine = database(f"sqlite:///{tmp_path}/test.db")
    source, destination = MemoryStore(), FileSystemStore(tmp_path / "images", "/", fsync=False)
    [key] = fill(engine, source, 1, blob=os.urandom(9 * 2**20))
    with Session(engine) as session:
        assert migrate(session, Base, source, destination).execute().ok
    assert read(destination, key) == read(source, key)
    engine.dispose()
