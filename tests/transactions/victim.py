"""A process that attaches, replaces, thumbnails and deletes until it is killed; started by ``test_kill.py``.

It imports everything once and then waits for commands on standard input: for each line it forks a child, which does the
work and says when it is under way, and writes the child's process id; the next line tells that the child is dead.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from sqlalchemy import Engine, StaticPool, create_engine, select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.transactions.conftest import sqlite_engine
from tests.transactions.helpers import OTHER, SMALL, picture
from tests.transactions.models import Base, Product, User

OWNERS = 4
COLOURS = ["red", "green", "blue", "white"]


def step(session: Session, rng: random.Random) -> None:
    change_product(session, rng) if rng.random() < 0.3 else change_user(session, rng)
    session.commit() if rng.random() < 0.85 else session.rollback()


def change_product(session: Session, rng: random.Random) -> None:
    """One whose variants are declared."""
    product = session.get(Product, rng.randrange(2)) or Product(id=rng.choice([0, 1]))
    product = session.merge(product)
    what = rng.random()
    if what < 0.4 or not product.photo:
        product.photo.from_blob(picture(rng.choice(COLOURS), rng.choice([SMALL, OTHER])))
    elif what < 0.7:
        product.photo.focal_point = rng.choice([None, (0.0, 0.0), (1.0, 1.0)])
    elif what < 0.9:
        product.photo.make_variants()
    else:
        session.delete(product)


def change_user(session: Session, rng: random.Random) -> None:
    user = session.scalars(select(User).where(User.id == rng.randrange(OWNERS))).one_or_none()
    if user is None:
        user = User(id=rng.choice(sorted(set(range(OWNERS)) - set(session.scalars(select(User.id))))))
        session.add(user)
    what = rng.random()
    if what < 0.5 or user.picture.original is None:
        with_savepoint = session.begin_nested() if rng.random() < 0.5 else None
        user.picture.from_blob(picture(rng.choice(COLOURS), rng.choice([SMALL, OTHER])))
        if with_savepoint is not None:
            session.flush()
            with_savepoint.commit() if rng.random() < 0.5 else with_savepoint.rollback()
    elif what < 0.75:
        user.picture.thumbnail(width=rng.choice([7, 9]))
    elif what < 0.9:
        user.picture.clear()
    else:
        session.delete(user)


def work(engine: Engine, store: Store, seed: int, sessions: int, begun: Callable[[], object]) -> None:
    rng = random.Random(seed)
    with store_context(store):
        for _ in range(sessions):
            with Session(engine) as session:
                for _ in range(5):
                    step(session, rng)
                    begun()


def warm_up() -> None:
    """Configure mappers and compile statements before the fork rather than after each."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    work(engine, MemoryStore(), 0, sessions=10, begun=bool)
    engine.dispose()


def tell(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(directory: str) -> None:
    warm_up()
    for seed, _ in enumerate(sys.stdin):
        child = os.fork()
        if child == 0:
            store = FileSystemStore(f"{directory}/images", "http://images/", fsync=False)
            work(sqlite_engine(Path(directory) / "test.db"), store, seed, sys.maxsize, cache(partial(tell, "begun")))
        tell(child)
        sys.stdin.readline()
        os.waitpid(child, 0)
        tell("reaped")


if __name__ == "__main__":
    main(sys.argv[1])
