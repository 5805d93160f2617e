"""A collector that is killed, and has each good picture once: ``scripts/soak dataset``, and small in the tests."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from sqlalchemy_imageattach.dataset import SQLAlchemyDataset
from sqlalchemy_imageattach.maintenance import check
from sqlalchemy_imageattach.stores.fs import FileSystemStore

from .models import Base, Fruit, png
from .web import Web, is_good, trouble_of

ROOT = Path(__file__).parents[2]

#: How a failure of each kind is called in the dataset.
REASONS = {
    "missing": "status-404",
    "cut": "broken-answer",
    "not-an-image": "not-an-image",
    "noai": "opted-out",
    "gone-away": "broken-answer",
    "huge": "too-long",
    "loop": "too-many-redirects",
}


def collect_with_kills(directory: Path, number: int, kills: int = 3) -> int:
    """Collect ``number`` pictures by a process that is killed so often; afterwards all of them are there, once.

    :return: the peak memory of the last process, in KiB
    :raises AssertionError: they are not, or a bad one has not its reason
    """
    database, pictures = f"sqlite:///{directory}/dataset.db", directory / "pictures"
    draw = random.Random(5)
    with Web() as web:
        arguments = [sys.executable, "-m", "tests.dataset.collector", database, pictures, web.port, number]
        command = list(map(str, arguments))
        for _ in range(kills):
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                for _ in range(draw.randrange(number // 50, number // 6)):
                    child.stdout.readline()
                child.kill()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert done[-2].startswith("done")
    engine = create_engine(database)
    store = FileSystemStore(pictures, "https://images.example/")
    dataset = SQLAlchemyDataset(sessionmaker(engine), Fruit, store)
    good = [n for n in range(number) if is_good(n)]
    assert Counter(sample.read() for sample in dataset.iterate()) == Counter(map(png, good))
    assert dataset.count("Apple") == len(good)
    found = {int(Path(failure.uri).stem): failure.reason for failure in dataset.failures()}
    bad = {n: REASONS[str(trouble_of(n))] for n in range(number) if not is_good(n)}
    assert found == bad
    with Session(engine) as session, check(session, Base, store) as report:
        assert set(report.counts) <= {"orphan"}, "a process that was killed may leave a blob for the sweeper"
    engine.dispose()
    return int(done[-1].partition("peak ")[2])


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak dataset", description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000, help="how many (default: 10,000)")
    options = parser.parse_args()
    peaks: dict[int, list[int]] = {}
    for number, kills in ((options.pictures // 10, 0), (options.pictures, 0), (options.pictures, 3)):
        with tempfile.TemporaryDirectory() as directory:
            start = time.monotonic()
            peak = collect_with_kills(Path(directory), number, kills)
            seconds = time.monotonic() - start
        peaks.setdefault(kills, []).append(peak)
        print(f"{number:,} pictures, {kills} kills: {seconds:,.0f} s, peak memory {peak / 1024:.0f} MiB", flush=True)  # noqa: T201
    few, many = peaks[0]
    assert many < 1.25 * few + 8192, "memory grows with the number of pictures"
    return 0


if __name__ == "__main__":
    sys.exit(main())
