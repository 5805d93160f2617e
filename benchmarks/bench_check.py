"""``maintenance.check`` of 1,000,000 rows: SQLite in a file, blobs in a memory store.

Shows the rows per second, and by how much the memory of the process grows while it checks: not with the number of rows.
``IMAGEATTACH_BENCH_ROWS`` sets another number.
"""

from __future__ import annotations

import io
import os
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import harness
from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.maintenance import ProblemKind, check
from sqlalchemy_imageattach.stores.memory import MemoryStore

ROWS = int(os.environ.get("IMAGEATTACH_BENCH_ROWS", "1000000"))
BLOB = b"a picture"


class Base(DeclarativeBase):
    """The catalogue."""


class Photo(Base, Image):
    """A photo of nobody."""

    __tablename__ = "photo"
    photo_id: Mapped[int] = mapped_column(primary_key=True)


def fill(engine: Engine, store: MemoryStore, first: int, last: int) -> None:
    """Rows and blobs with the identifiers from ``first`` up to, but not including, ``last``."""
    now, file = datetime.now(UTC), io.BytesIO(BLOB)
    with engine.begin() as connection:
        for start in range(first, last, 10_000):
            rows = []
            for photo_id in range(start, min(start + 10_000, last)):
                revision = f"r{photo_id:015}"
                file.seek(0)
                store.put(ImageKey("photo", photo_id, 640, 480, "image/jpeg", revision), file, reproducible=False)
                rows.append(
                    {
                        "photo_id": photo_id,
                        "width": 640,
                        "height": 480,
                        "mimetype": "image/jpeg",
                        "original": True,
                        "created_at": now,
                        "revision": revision,
                        "byte_size": len(BLOB),
                    }
                )
            connection.execute(insert(Photo.__table__), rows)  # type: ignore[arg-type]


def resident() -> float:
    """The memory that this process has now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(engine: Engine, store: MemoryStore, rows: int) -> None:
    """Check, and print what it took."""
    before = peak = resident()

    def watch(phase: str, done: int) -> None:
        nonlocal peak
        peak = max(peak, resident())

    started, cpu = time.perf_counter(), time.process_time()
    with Session(engine) as session, check(session, Base, store, grace=timedelta(0), progress=watch) as report:
        seconds = time.perf_counter() - started
        figure = harness.Figure(seconds, time.process_time() - cpu, turns=1)
        assert (report.rows, report.blobs) == (rows, rows + 1), report
        assert report.counts == {ProblemKind.ORPHAN: 1}, report
    harness.report(f"check of {rows:,} rows", {"check()": figure}, "check()")
    print(
        f"{rows:>10,} rows: {seconds:6.1f} s, {rows / seconds:>8,.0f} rows/s,"
        f" memory +{max(peak, resident()) - before:.1f} MiB"
    )


def main() -> None:
    """A tenth of the rows first, then all: time grows with them, memory does not."""
    with tempfile.TemporaryDirectory() as directory:
        engine, store = create_engine(f"sqlite:///{directory}/photos.db"), MemoryStore()
        Base.metadata.create_all(engine)
        store.put(ImageKey("photo", -1, 1, 1, "image/png", "orphan"), io.BytesIO(b"x"), reproducible=False)
        done = 0
        for rows in (max(ROWS // 10, 1), ROWS):
            fill(engine, store, done, rows)
            done = rows
            measure(engine, store, rows)
        engine.dispose()


if __name__ == "__main__":
    main()
