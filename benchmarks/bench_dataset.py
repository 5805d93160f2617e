"""Collecting pictures against a bare client of the same library, and picking at random against a look-up by key.

The server is a process of its own on the loopback, once without a delay, where all is a matter of the processor, and
once with one of 50 ms, as a server that is not far away has.  The bare client downloads by httpcore with the same
number of connections and writes files, without a look at what came, and without a database.  Neither waits for the
disk: ``fsync=False`` of the store, as the bare client has none; SQLite does for each transaction of a hundred pictures.

The bound is that of a server that takes some time.  Without a delay nothing is waited for, so that the ratio is that of
processor time: what a collector does beyond the bare client, a look at each picture, its digest, a row and a file that
is whole or not there, cannot be hidden behind waiting.  Both figures are told.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from harness import race, report, require, verdict

require(httpcore="httpcore>=1.0.7,<2", numpy="numpy>=1.26")

import httpcore  # noqa: E402
from sqlalchemy import create_engine, insert, select  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker  # noqa: E402

from sqlalchemy_imageattach.dataset import LabelledImage, collect, from_urls, random_sample  # noqa: E402
from sqlalchemy_imageattach.dataset.labels import labels_of  # noqa: E402
from sqlalchemy_imageattach.remote import FetchPolicy  # noqa: E402
from sqlalchemy_imageattach.stores.fs import FileSystemStore  # noqa: E402

CONNECTIONS = 32
PICTURES = 2000
ROWS = 1_000_000
SERVER = """
import io, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from PIL import Image
made = {}
def picture(number):
    file = io.BytesIO()
    Image.effect_noise((400, 300), 20 + number % 50).save(file, "JPEG", quality=90, comment=str(number).encode())
    return file.getvalue()
for number in range(int(sys.argv[1])):
    made[f"/{number}.jpg"] = picture(number)
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = made[self.path]
        time.sleep(float(sys.argv[2]))
        head = b"HTTP/1.1 200 OK\\r\\nContent-Type: image/jpeg\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
        self.wfile.write(head + body)
    def log_message(self, *_):
        pass
class Server(ThreadingHTTPServer):
    request_queue_size = 256
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Base(DeclarativeBase):
    pass


class Fruit(Base, LabelledImage):
    __tablename__ = "fruit"


@contextmanager
def pictures(delay: float) -> Iterator[list[str]]:
    command = [sys.executable, "-c", SERVER, str(PICTURES), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield [f"http://127.0.0.1:{port}/{number}.jpg" for number in range(PICTURES)]
        server.kill()


def bare(urls: list[str], directory: str) -> None:
    with httpcore.ConnectionPool(max_connections=CONNECTIONS) as pool:

        def download(url: str) -> None:
            Path(directory, url.rpartition("/")[2]).write_bytes(pool.request("GET", url).content)

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(download, urls))


def collected(urls: list[str], directory: str) -> None:
    engine = create_engine(f"sqlite:///{directory}/dataset.db")
    Base.metadata.create_all(engine)
    done = collect(
        sessionmaker(engine),
        from_urls(urls),
        "Apple",
        into=Fruit,
        store=FileSystemStore(f"{directory}/pictures", "https://images.example/", fsync=False),
        fetching=FetchPolicy(allow_private=True),
        connections=CONNECTIONS,
        per_host=CONNECTIONS,
    )
    assert done.added == PICTURES, done
    engine.dispose()


def fill(directory: str) -> sessionmaker[Session]:
    engine = create_engine(f"sqlite:///{directory}/rows.db")
    Base.metadata.create_all(engine)
    table = Fruit.__table__
    with engine.begin() as connection:
        for start in range(0, ROWS, 20_000):
            rows = [
                {
                    "label": "Apple" if number % 10 else "Pear",
                    "uri": str(number),
                    "source_key": str(number),
                    "slot": number // 10 * 9 + number % 10 - 1 if number % 10 else number // 10,
                    "width": 8,
                    "height": 8,
                    "mimetype": "image/png",
                    "original": True,
                }
                for number in range(start, start + 20_000)
            ]
            connection.execute(insert(table), rows)
        for label, total in (("Apple", ROWS // 10 * 9), ("Pear", ROWS // 10)):
            connection.execute(insert(labels_of(Fruit)).values(label=label, total=total, next_slot=total))
    return sessionmaker(engine)


def against_bare_client(delay: float) -> bool:
    with pictures(delay) as urls, tempfile.TemporaryDirectory() as root:

        def into(work: Callable[[list[str], str], None]) -> Callable[[], None]:
            # what was written is removed at the end: that is not what is measured
            return lambda: work(urls, tempfile.mkdtemp(dir=root))

        figures = race({"bare client": into(bare), "collect()": into(collected)}, turns=3)
    report(f"{PICTURES} pictures by {CONNECTIONS} connections, each {delay * 1000:.0f} ms away", figures, "bare client")
    ratio = figures["bare client"].wall / figures["collect()"].wall
    if not delay:
        print(f"throughput of collect(): {ratio:.2f} of the bare client's (no bound: the processor is all there is)")
        return True
    return verdict("throughput of collect(), times that of the bare client", ratio, at_least=0.8)


def main() -> int:
    holds = [against_bare_client(delay) for delay in (0, 0.05)]
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        sessions = fill(directory)
        print(f"\n{ROWS:,} rows written in {time.perf_counter() - start:.0f} s")

        def look_up() -> None:
            with sessions() as session:
                for number in range(1, 200):
                    session.scalars(select(Fruit).where(Fruit.id == number * 4999)).one()

        def pick() -> None:
            with sessions() as session:
                for _ in range(1, 200):
                    assert random_sample(session, Fruit, "Pear") is not None

        figures = race({"by primary key": look_up, "random_sample()": pick}, turns=7)
        report("199 rows of a million", figures, "by primary key")
        ratio = figures["random_sample()"].wall / figures["by primary key"].wall
        holds.append(verdict("random_sample(), times a look-up by primary key", ratio, at_most=5))
    return os.EX_OK if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
