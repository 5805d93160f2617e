"""As many pictures as a CASE has no room for: each would be a parameter, or two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import URL, Engine, String, create_engine, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.search import ExtractorInfo, TinyExtractor, embeddings_of

from ..transactions.conftest import sqlite_engine

#: PostgreSQL's protocol counts parameters with 16 bits, and a CASE of 33,000 has more than its parser has room for.
COUNT = 34_000
DIMENSION = 8


class Given(TinyExtractor):
    """Vectors are given here, and not made."""

    def describe(self) -> ExtractorInfo:
        return ExtractorInfo("given", "1", DIMENSION)


class Base(DeclarativeBase):
    pass


class Many(Base):
    __tablename__ = "search_many"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(String(10), default="x")


looks = embeddings_of(Many, Given(), path="path", fill="never")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """With empty tables that the database has no statistics of."""
    if request.param == "sqlite":
        made = sqlite_engine(tmp_path_factory.mktemp("many") / "many.db")
    else:
        made = create_engine(request.getfixturevalue(f"{request.param}_url"))
    Base.metadata.create_all(made)
    yield made
    Base.metadata.drop_all(made)
    made.dispose()


def test_34000_pictures_are_ordered_as_numpy_orders_them(engine: Engine) -> None:
    vectors = np.random.default_rng(1).normal(size=(COUNT, DIMENSION))
    given = {"attribute": "", "extractor": "given", "version": "1", "source": "x"}
    with engine.begin() as connection:
        connection.execute(insert(Many), [{"id": number} for number in range(COUNT)])
        connection.execute(
            insert(looks.table),
            [
                {**given, "of_id": number, "source_sha256": f"{number:064}", "vector": vector}
                for number, vector in enumerate(vectors)
            ],
        )
    near = looks.distance(vectors[7])
    with Session(engine) as session:
        found = session.execute(select(Many.id, near).order_by(near)).all()
        nearest = session.scalars(looks.nearest(select(Many.id).where(Many.id % 100 == 7), vectors[7])).all()
    exact = 1 - vectors @ vectors[7] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[7])
    assert len(found) == COUNT
    keys, distances = zip(*found, strict=True)
    assert sorted(keys) == list(range(COUNT))
    assert list(distances) == sorted(distances)
    assert np.allclose(distances, exact[list(keys)], atol=1e-6)
    assert list(nearest) == sorted(range(7, COUNT, 100), key=lambda number: exact[number])[:10]


def test_one_row_is_found_by_its_key_in_a_table_without_statistics(postgresql_url: URL) -> None:
    # as it is after a restore, or until autovacuum comes by: it read all rows of the version for each picture
    engine = create_engine(postgresql_url)
    Base.metadata.create_all(engine)
    try:
        found = select(looks.table.c.id).where(looks.is_current(Many)).correlate(Many.__table__).scalar_subquery()
        shown = select(Many.id).order_by(found).compile(engine, compile_kwargs={"literal_binds": True})
        with engine.connect() as connection:
            connection.execute(text("SET enable_seqscan = off"))
            plan = [row[0] for row in connection.execute(text(f"EXPLAIN {shown}"))]
        conditions = [line for line in plan if "Index Cond" in line or "Filter" in line]
        assert any("Index Cond" in line and "of_id" in line for line in conditions), plan
    finally:
        Base.metadata.drop_all(engine)
        engine.dispose()
