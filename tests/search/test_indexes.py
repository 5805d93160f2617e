"""The indexes that find the nearest few of many: they are used, and a filter leaves them right."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import ClauseElement, Engine, Executable, create_engine, delete, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.search.ranking import IndexedRows, VectorCache

from .photos import DIMENSION, Base, Photo, fill, looks, vectors

COUNT = 2000


class Explained(Executable, ClauseElement):
    """The plan of a statement."""

    inherit_cache = False

    def __init__(self, statement: Any) -> None:
        self.statement = statement


@compiles(Explained)
def _explained(element: Explained, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN {compiler.process(element.statement, **options)}"


@pytest.fixture
def photos(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine that a test names, with tables of photos."""
    engine = request.getfixturevalue(request.param)
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)


@pytest.mark.parametrize("photos", ["pgvector"], indirect=True)
def test_postgresql_finds_neighbours_by_its_index_and_ten_of_ten_after_a_filter_that_leaves_a_hundredth(
    photos: Engine,
) -> None:
    rows = vectors(COUNT)
    fill(photos, rows)
    with Session(photos) as session:
        # a planner that knows how few rows these are would not use it
        for method in ("seqscan", "bitmapscan", "sort"):
            session.execute(text(f"SET LOCAL enable_{method} = off"))
        for number in (0, 7, 1234):
            wanted = looks.nearest(select(Photo.id).where(Photo.part == 7), rows[number], 10)
            plan = "\n".join(session.execute(Explained(wanted)).scalars())
            assert f"Index Scan using ix_{looks.table.name}_vector" in plan
            found = session.scalars(wanted).all()
            filtered = np.arange(7, COUNT, 100)
            assert found == list(filtered[np.argsort(1 - rows[filtered] @ rows[number])][:10])


@pytest.mark.parametrize("photos", ["mariadb", "postgresql"], indirect=True)
def test_above_the_stated_size_an_index_in_the_process_is_asked_and_kept_up_to_date(
    photos: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = VectorCache(DIMENSION, exact_rows=300)
    monkeypatch.setattr(looks, "_cache", cache)
    rows = vectors(301)

    def nearest(vector: Any, *conditions: Any) -> list[int]:
        with Session(photos) as session:
            return list(session.scalars(looks.nearest(select(Photo.id).where(*conditions), vector, 2)))

    fill(photos, rows[:300])
    assert nearest(rows[5])[0] == 5
    assert cache._index is None, "so few are compared one by one"
    fill(photos, rows[300:], first=300)
    assert nearest(rows[300])[0] == 300
    index: Any = cache._index
    assert len(index) == 301
    with photos.begin() as connection:
        connection.execute(delete(looks.table).where(looks.table.c.of_id == 300))
        connection.execute(delete(Photo).where(Photo.id == 300))
    fill(photos, vectors(9, seed=2), first=400)
    assert 300 not in nearest(rows[300])
    assert nearest(vectors(9, seed=2)[4])[0] == 404
    # the nearest of the index are all of another part: it is asked for more
    assert nearest(rows[5], Photo.id == 250) == [250]


def test_the_index_in_the_process_gives_only_the_nearest_of_many() -> None:
    rows = vectors(500)
    cache = VectorCache(DIMENSION, exact_rows=100)
    cache.add({str(number): row for number, row in enumerate(rows)})
    keys, digests = np.arange(500), [str(number) for number in range(500)]
    ranking = cache.rank(keys, digests, rows[3], 20)
    assert (ranking.is_whole, len(ranking.keys)) == (False, 20)
    exact = set(np.argsort(1 - rows @ rows[3])[:10])
    assert len(exact & set(ranking.keys)) >= 9
    assert cache.rank(keys, digests, rows[3], None).is_whole
    assert cache.rank(keys[:100], digests[:100], rows[3], 20).is_whole


def test_each_statement_asks_once_what_the_process_does_not_know_yet() -> None:
    class Counting(VectorCache):
        asked = 0

        def missing(self, digests: Any) -> set[str]:
            self.asked += 1
            return super().missing(digests)

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    fill(engine, vectors(20))
    cache, columns = Counting(DIMENSION), looks.table.c
    with engine.connect() as connection:
        rows = IndexedRows(select(columns.id, columns.source_sha256), columns.id, columns.vector, cache)
        assert len(rows.rank(connection.execute, vectors(1)[0], None).keys) == 20
    assert cache.asked == 1
    engine.dispose()


def test_a_model_runs_in_a_process_that_has_asked_usearch() -> None:
    program = """
import sys
import numpy as np
from PIL import Image
from sqlalchemy_imageattach.search import EfficientNetLite0
from sqlalchemy_imageattach.search.ranking import VectorCache
rows = np.eye(200, dtype=np.float32)
cache = VectorCache(200, exact_rows=100)
digests = [str(number) for number in range(200)]
cache.add(dict(zip(digests, rows)))
cache.rank(np.arange(200), digests, rows[0], 5)
extractor = EfficientNetLite0()
print("usearch" in sys.modules, len(extractor.extract([extractor.prepare(Image.new("RGB", (32, 32)))])))
"""
    ran = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "True 1\n"), ran.stderr


def test_programs_without_vectors_ask_databases_nothing() -> None:
    program = """
from sqlalchemy import Engine, event
import sqlalchemy_imageattach.search as search
from sqlalchemy_imageattach.search import types
print(event.contains(Engine, "engine_connect", types._connected))
search.Vector(3)
print(event.contains(Engine, "engine_connect", types._connected))
"""
    ran = subprocess.run([sys.executable, "-P", "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["False", "True"]
