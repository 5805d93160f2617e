"""What these tests have in common: pictures, stores of the old kind, counted statements, and the invariant."""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from PIL import Image as PillowImage
from sqlalchemy import Engine, event, select, text
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.errors import StoreError, TryAgainError
from sqlalchemy_imageattach.jobs import Job, JobRunner
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import FaultyStore
from tests import pictures

from .models import IMAGE_CLASSES

SMALL, OTHER = (40, 30), (30, 40)


@cache
def picture(colour: str = "red", size: tuple[int, int] = SMALL) -> bytes:
    """A PNG of one colour: as many different blobs of one size as there are colours."""
    return pictures.picture(*size, colour)


def new_store() -> FaultyStore:
    """A store in memory that fails when it is told to."""
    return FaultyStore(MemoryStore())


def rows(engine: Engine, classes: Iterable[type[Image]] = IMAGE_CLASSES) -> list[Any]:
    """All image rows that are committed, as detached objects."""
    with Session(engine) as session:
        return [image for cls in classes for image in session.scalars(select(cls))]


def assert_in_step(
    engine: Engine, *stores: Any, left: Collection[ImageKey] | None = None, committed: Sequence[Any] | None = None
) -> None:
    """The blobs in the stores are exactly those that committed rows name, and each is the one that its row means.

    :param left: the blobs besides that have been left for the sweeper; they must be there
    :param committed: the rows, if they were read just now
    """
    found: dict[ImageKey, bytes] = {}
    for store in stores:
        assert not found.keys() & store.blobs.keys(), "a blob is in two stores"
        found.update(store.blobs)
    named = {}
    for image in rows(engine) if committed is None else committed:
        key = key_of(image)
        own = next((own for store in stores if (own := store.own_key(key)) in found), key)
        assert own in found, f"the row of {key} has no blob; there are {sorted(map(str, found))}"
        assert own not in named, f"two rows share {own}"
        named[own] = image
        if getattr(image, "checksum", None) is not None:
            assert hashlib.sha256(found[own]).hexdigest() == image.checksum, f"{key} is not the blob of its row"
            assert len(found[own]) == image.byte_size
        with PillowImage.open(io.BytesIO(found[own])) as opened:
            assert opened.size == image.size
    orphans = found.keys() - named.keys()
    assert orphans == set(left or ()), f"expected {left or 'no blobs'} to be left over, got {orphans}"


def blobs_of(image_set: Any) -> list[bytes]:
    """The contents of a set, read through its rows."""
    return [image.make_blob() for image in image_set]


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """The statements that are sent meanwhile, by their verbs and tables."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found = re.match(r"(INSERT INTO|UPDATE|DELETE FROM|SELECT\s.*?\sFROM)\s+(\w+)", statement, re.DOTALL)
        if found:  # otherwise it is BEGIN or one of its kin
            sent.append(f"{found[1].split()[0]} {found[2]}")

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def wait_until_blocked(engine: Engine, or_else: Callable[[], bool] = lambda: False) -> None:
    """Until some transaction of this database waits for a lock of another one, ``or_else`` is true."""
    if engine.dialect.name == "postgresql":
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    else:
        # its own table of lock waits is not renewed while anybody keeps asking for it
        query = (
            "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
            " AND command = 'Query' AND time_ms > 50"
        )
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        while not or_else() and not connection.scalar(text(query)):
            time.sleep(0.01)


class Waiting:
    """A queue in which jobs wait until somebody does them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def enqueue(self, job: Job) -> None:
        self.jobs.append(job)

    def work_off(self, runner: JobRunner) -> None:
        """Do all that wait; those that fail by what may pass wait again."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            try:
                runner.run(Job.from_json(job.to_json()))
            except TryAgainError:
                self.jobs.append(job)


class Stop(Exception):
    """Raised by tests to leave a block."""


class Exploded(StoreError):
    """What stores raise here when they are told to fail."""
