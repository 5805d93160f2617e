"""A collector as a process of its own, to be killed: ``… -m tests.dataset.collector DATABASE STORE PORT NUMBER``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from sqlalchemy_imageattach.dataset import collect, from_urls
from sqlalchemy_imageattach.remote import FetchPolicy
from sqlalchemy_imageattach.stores.fs import FileSystemStore

from .models import Base, Fruit
from .web import shuffled


def main(database: str, directory: str, port: str, number: str) -> None:
    engine = create_engine(database)
    Base.metadata.create_all(engine)
    urls = (f"http://127.0.0.1:{port}/{each}.png" for each in shuffled(int(number)))
    report = collect(
        sessionmaker(engine),
        from_urls(urls),
        "Apple",
        into=Fruit,
        store=FileSystemStore(directory, "https://images.example/", fsync=False),
        fetching=FetchPolicy(allow_private=True, max_bytes=100_000, wait_seconds=20),
        connections=16,
        per_host=16,
        progress=lambda report: print(report.added, flush=True),  # noqa: T201  # whoever kills it listens
    )
    print("done", report.added, report.present, report.failed, flush=True)  # noqa: T201
    # not ru_maxrss, which a child inherits
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    print("peak", peak[1] if peak else 0, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
