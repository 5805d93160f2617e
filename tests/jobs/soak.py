"""Thousands of jobs by a real queue, whose workers are killed at random: ``scripts/soak``."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, func, make_url, select, text

from sqlalchemy_imageattach.jobs import is_transient

from ..conftest import POSTGRESQL
from .shop import BANNER_WIDTHS, PHOTO_WIDTHS, Banner, Base, LosingQueue, Product, ProductPhoto, Shop, picture
from .workers import BROKERS, Workers, new_name, running

#: The part of the jobs that is lost on purpose.
LOST = 0.01
#: So many seconds without any progress, and what is missing has no job any more.
PATIENCE = 30


@dataclass
class Figures:
    """What has happened."""

    jobs: int = 0
    replaced: int = 0
    deleted: int = 0
    conflicts: int = 0
    killed: int = 0
    #: Jobs that the broker has not got although the commit stands.
    lost: int = 0
    #: Images that were missing for it, and were made by who looks for them.
    found: int = 0
    seconds: float = 0
    #: Files that killed workers have left, and that a sweep has taken.
    left: int = 0

    def __str__(self) -> str:
        return (
            f"{self.jobs:,} jobs, {self.replaced:,} products with new pictures, {self.deleted:,} deleted,"
            f" {self.conflicts:,} conflicts, {self.killed:,} kills, {self.lost:,} jobs lost,"
            f" {self.found:,} images found missing and made, {self.left:,} files swept, {self.seconds:,.0f} s"
        )


class Soak:
    """One run.

    :param shop: with empty tables
    :param jobs: how many to enqueue
    :param workers: how many there are
    :param kill_every: seconds between two kills
    """

    def __init__(self, shop: Shop, jobs: int, workers: int, kill_every: float, seed: int) -> None:
        self._shop = shop
        self._jobs = jobs
        self._workers = workers
        self._kill_every = kill_every
        self._chance = random.Random(seed)
        losing = random.Random(seed)
        self._queue = LosingQueue(shop.queue, lambda: losing.random() < LOST)
        shop.bind(self._queue)
        self.figures = Figures()

    def run(self, workers: Workers, say: Callable[[str], None]) -> Figures:
        """Afterwards nothing is missing."""
        start = time.monotonic()
        over = threading.Event()
        killer = threading.Thread(target=self._kill, args=(workers, over))
        killer.start()
        try:
            self._produce(say)
            self._await_rest(workers, say)
        finally:
            over.set()
            killer.join()
        self._await_rest(workers, say)
        self.figures.killed = workers.killed
        self.figures.lost = self._queue.lost
        self.figures.seconds = time.monotonic() - start
        return self.figures

    def _kill(self, workers: Workers, over: threading.Event) -> None:
        chance = random.Random(self._chance.random())
        while not over.wait(self._kill_every * chance.uniform(0.5, 1.5)):
            workers.kill_one(chance)
            workers.revive()

    def _produce(self, say: Callable[[str], None]) -> None:
        idents: list[int] = []
        told = 0
        while self.figures.jobs < self._jobs:
            chance = self._chance.random()
            try:
                if len(idents) < 10 or chance < 0.5:
                    idents.append(self._shop.new_product(self._picture(), self._picture()))
                    self.figures.jobs += 2
                elif chance < 0.9:
                    self._replace(self._chance.choice(idents))
                else:
                    self._delete(ident := self._chance.choice(idents))
                    idents.remove(ident)
            except Exception as error:
                if not is_transient(error):
                    raise
                self.figures.conflicts += 1
            if self.figures.jobs >= told + 500:
                told = self.figures.jobs
                say(str(self.figures))

    def _picture(self) -> bytes:
        return picture((self._chance.randrange(256), self._chance.randrange(256), self._chance.randrange(256)))

    def _replace(self, ident: int) -> None:
        with self._shop.sessions() as session:
            if (product := session.get(Product, ident)) is None:
                return
            self._shop.replace(session, product, self._picture(), self._picture())
            session.commit()
        self.figures.jobs += 2
        self.figures.replaced += 1

    def _delete(self, ident: int) -> None:
        with self._shop.sessions() as session:
            if (product := session.get(Product, ident)) is not None:
                session.delete(product)
                session.commit()
        self.figures.deleted += 1

    def _await_rest(self, workers: Workers, say: Callable[[str], None]) -> None:
        """Until nothing is missing.  What goes on missing while nothing happens any more is looked for and made."""
        left, since = -1, time.monotonic()
        while unfinished := self._shop.unfinished():
            if len(unfinished) != left:
                left, since = len(unfinished), time.monotonic()
                say(f"{left:,} products are unfinished")
            elif time.monotonic() - since > PATIENCE:
                self.figures.found += self._shop.find_lost_work()
                since = time.monotonic()
            workers.revive()
            time.sleep(1)

    def assert_in_step(self) -> None:
        """Each picture has all that is wanted of it, once, and rows and blobs agree; to be asked of workers that rest.

        :raises AssertionError: they do not
        """
        with self._shop.sessions() as session:
            for cls, widths in ((ProductPhoto, PHOTO_WIDTHS), (Banner, BANNER_WIDTHS)):
                counts = select(func.count()).select_from(cls).group_by(cls.product_id)
                assert set(session.scalars(counts)) == {len(widths)}, f"all of a {cls.__name__}, and each once"
        self.figures.left = self._shop.assert_in_step()
        # at most those of one transaction for each thread of each worker, of which one may have two names
        assert self.figures.left <= (self.figures.killed + self._workers) * 2 * 2 * 4, str(self.figures)


@contextmanager
def database() -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    name = new_name()
    admin = create_engine(make_url(POSTGRESQL), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield admin.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/soak jobs", description=__doc__)
    parser.add_argument("queues", nargs="*", help="celery, dramatiq or rq; by default celery and dramatiq", default=[])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-every", type=float, default=10, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that workers, queues and databases are cleaned up
    for kind in options.queues or ["celery", "dramatiq"]:
        with database() as url, tempfile.TemporaryDirectory() as directory, suppress(KeyboardInterrupt):
            shop = Shop(url, f"{directory}/blobs", kind, BROKERS[kind][0], new_name())
            Base.metadata.create_all(shop.engine)

            def say(line: str, kind: str = kind) -> None:
                sys.stderr.write(f"{kind}: {line}\n")

            say(f"--seed {options.seed}")
            log = Path(directory, "log")
            with running(shop, log, options.workers) as workers:
                soak = Soak(shop, options.jobs, options.workers, options.kill_every, options.seed)
                figures = soak.run(workers, say)
            soak.assert_in_step()
            shop.close()
            say(f"in step: {figures}")


if __name__ == "__main__":
    main()
