"""The distance as SQL: right in every clause, on every database, after any filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, bindparam, create_engine, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    contains_eager,
    mapped_column,
    query_expression,
    selectinload,
    with_expression,
)

from sqlalchemy_imageattach.errors import (
    EmptyIndexError,
    MissingIndexError,
    OutdatedIndexError,
    RejectedImageError,
    VectorDimensionError,
    VectorSearchUnavailableError,
)
from sqlalchemy_imageattach.search import NOT_INDEXED, TinyExtractor, Vector, embeddings_of
from tests.statements import statements

from .support import Base, Counting, Picture, User, looks, picture, user

COLORS = ["red", "darkred", "blue", "green", "navy", "yellow"]


@pytest.fixture
def filled(engine: Engine) -> Engine:
    return fill(engine)


def fill(engine: Engine) -> Engine:
    with Session(engine) as session:
        session.add_all([user(number, color) for number, color in enumerate(COLORS, 1)])
        session.commit()
    return engine


def expected(color: Any) -> list[float]:
    wanted = looks.vector_of(picture(color))
    return [float(1 - looks.vector_of(picture(each)) @ wanted) for each in COLORS]


def test_rows_are_ordered_by_distance(filled: Engine) -> None:
    near = looks.distance(picture("crimson"))
    with Session(filled) as session:
        rows = session.execute(select(Picture.user_id, near).order_by(near)).all()
    reckoned = expected("crimson")
    assert [row[0] for row in rows] == [int(number) + 1 for number in np.argsort(reckoned)]
    assert [row[1] for row in rows] == pytest.approx(sorted(reckoned), abs=2e-3)


def test_a_distance_can_be_a_condition(filled: Engine) -> None:
    near = looks.distance(picture("red"))
    with Session(filled) as session:
        assert set(session.scalars(select(Picture.user_id).where(near < 0.4))) == {1, 2}


def test_the_nearest_after_a_filter_are_the_nearest_of_what_it_leaves(filled: Engine) -> None:
    with Session(filled) as session:
        near = looks.distance(picture("red"))
        ordered = select(Picture.user_id).where(Picture.user_id.in_([3, 4, 6])).order_by(near).limit(2)
        reckoned = expected("red")
        assert list(session.scalars(ordered)) == sorted([3, 4, 6], key=lambda number: reckoned[number - 1])[:2]
        chosen = looks.nearest(select(Picture.user_id).where(Picture.user_id.in_([3, 4, 6])), picture("red"), 2)
        assert list(session.scalars(chosen)) == list(session.scalars(ordered))


def test_two_distances_in_one_statement_are_two(filled: Engine) -> None:
    red, blue = looks.distance(picture("red")).label("red"), looks.distance(picture("blue")).label("blue")
    with Session(filled) as session:
        rows = session.execute(select(Picture.user_id, red, blue).order_by(Picture.user_id)).all()
    assert [row.red for row in rows] == pytest.approx(expected("red"), abs=2e-3)
    assert [row.blue for row in rows] == pytest.approx(expected("blue"), abs=2e-3)


def test_owners_are_ordered_by_their_nearest_picture(filled: Engine) -> None:
    near = func.min(looks.distance(picture("blue")))
    with Session(filled) as session:
        statement = select(User.id, near).join(Picture).group_by(User.id).order_by(near)
        assert [row[0] for row in session.execute(statement)][:2] == [3, 5]


def test_owners_come_with_their_pictures_in_order(filled: Engine) -> None:
    near = looks.distance(picture("blue"))
    with Session(filled) as session:
        statement = select(User).join(User.picture).options(contains_eager(User.picture)).order_by(near)
        users = session.scalars(statement).unique().all()
        assert [each.id for each in users][:2] == [3, 5]
        assert users[0].picture.original is not None


def test_the_distance_orders_what_is_loaded_eagerly_with_a_limit(filled: Engine) -> None:
    near = looks.distance(picture("blue"))
    with Session(filled) as session:
        statement = select(User).join(Picture).order_by(near).options(selectinload(User.picture)).limit(2)
        assert [each.id for each in session.scalars(statement)] == [3, 5]


def test_an_alias_has_a_distance_of_its_own(filled: Engine) -> None:
    other = aliased(Picture)
    near = looks.distance(picture("blue"), other)
    with Session(filled) as session:
        assert session.scalars(select(other.user_id).order_by(near)).first() == 3
        both = select(Picture.user_id, other.user_id).join(other, other.user_id != Picture.user_id)
        assert session.execute(both.order_by(looks.distance(picture("red")), near)).first() == (1, 3)


def test_a_distance_can_be_used_in_a_subquery(filled: Engine) -> None:
    ranked = select(Picture.user_id, looks.distance(picture("blue")).label("near")).subquery()
    with Session(filled) as session:
        assert session.scalars(select(ranked.c.user_id).where(ranked.c.near < 0.5).order_by(ranked.c.near)).all() == [
            3,
            5,
        ]


def test_what_is_not_indexed_comes_last_and_is_never_near(filled: Engine) -> None:
    with Session(filled) as session:
        session.execute(looks.table.delete().where(looks.table.c.of_user_id == 1))
        near = looks.distance(picture("red"))
        rows = session.execute(select(Picture.user_id, near).order_by(near)).all()
        assert rows[-1] == (1, NOT_INDEXED)
        assert 1 not in list(session.scalars(select(Picture.user_id).where(near < 3)))
        assert 1 not in list(session.scalars(looks.nearest(select(Picture.user_id), picture("red"), 10)))


def test_statements_are_compiled_once_whatever_they_look_for(filled: Engine) -> None:
    with Session(filled) as session:
        session.scalars(select(Picture.user_id).order_by(looks.distance(picture("red")))).all()
        cached = len(filled._compiled_cache or ())
        first = session.scalars(select(Picture.user_id).order_by(looks.distance(picture("blue")))).first()
        again = session.scalars(select(Picture.user_id).order_by(looks.distance(picture("green")))).first()
    assert (first, again) == (3, 4)
    assert len(filled._compiled_cache or ()) == cached


def test_a_picture_can_be_given_in_many_ways(sqlite: Engine, tmp_path: Any) -> None:
    import io

    from PIL import Image as Pillow

    fill(sqlite)
    blob = picture("blue")
    (tmp_path / "query.png").write_bytes(blob)
    with Session(sqlite) as session:
        owner = session.get_one(User, 3)
        given = [
            blob,
            io.BytesIO(blob),
            tmp_path / "query.png",
            str(tmp_path / "query.png"),
            Pillow.new("RGB", (9, 9), "blue"),
            owner.picture,
            owner.picture.original,
            looks.vector_of(blob),
            looks.vector_of(blob).tolist(),
        ]
        for each in given:
            assert session.scalars(select(Picture.user_id).order_by(looks.distance(each))).first() == 3, each


def test_more_like_one_that_is_stored(filled: Engine) -> None:
    with Session(filled) as session:
        this = session.scalars(select(Picture).where(Picture.user_id == 1)).one()
        found = looks.nearest(select(Picture.user_id).where(Picture.user_id != 1), this, 1)
        assert session.scalars(found).one() == 2


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite", "postgresql+asyncpg", "mysql+asyncmy", "pgvector"], ids=lambda name: name
)
@pytest.mark.asyncio
async def test_asynchronous_sessions_find_what_others_find(
    request: pytest.FixtureRequest, url: str, tmp_path: Any
) -> None:
    if url == "sqlite+aiosqlite":
        address: Any = f"{url}:///{tmp_path}/async.db"
    elif url == "pgvector":
        address = request.getfixturevalue("pgvector_url").set(drivername="postgresql+asyncpg")
    else:
        name = "postgresql_url" if "postgresql" in url else "mariadb_url"
        address = request.getfixturevalue(name).set(drivername=url)
    engine = create_async_engine(address)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add_all([user(number, color) for number, color in enumerate(COLORS, 1)])
            await session.commit()
            near = looks.distance(picture("blue"))
            assert (await session.scalars(select(Picture.user_id).order_by(near))).first() == 3
            found = await session.scalars(looks.nearest(select(Picture.user_id), picture("blue"), 2))
            assert list(found) == [3, 5]
            vectors = await session.scalars(select(looks.table.c.vector))
            assert all(abs(np.linalg.norm(vector) - 1) < 1e-3 for vector in vectors)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
    finally:
        await engine.dispose()


# --- what cannot be answered -----------------------------------------------------------------------------------------


def test_an_empty_index_is_an_error_and_no_order(engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(EmptyIndexError, match="index_model"):
        session.scalars(select(Picture).order_by(looks.distance(picture()))).all()


def test_vectors_of_another_version_are_an_error_until_there_are_new_ones(filled: Engine) -> None:
    newer = embeddings_of(Picture, Counting("2"), fill="never")
    with Session(filled) as session, pytest.raises(OutdatedIndexError, match="version '1'.*now '2'"):
        session.scalars(select(Picture).order_by(newer.distance(picture()))).all()
    from sqlalchemy_imageattach.search.filling import index_rows
    from sqlalchemy_imageattach.search.indexing import build_index

    with Session(filled) as session:
        index_rows(newer, session, [session.scalars(select(Picture).where(Picture.user_id == 1)).one()])
        session.commit()
        with pytest.raises(OutdatedIndexError):  # the others would all come last
            session.scalars(select(Picture).order_by(newer.distance(picture()))).all()
        session.rollback()
        assert session.scalars(select(Picture.user_id).order_by(looks.distance(picture("blue")))).first() == 3
        session.rollback()
        assert build_index(newer, session).indexed == len(COLORS) - 1
        assert session.scalars(select(Picture.user_id).order_by(newer.distance(picture("blue")))).first() == 3


def test_a_table_that_is_not_there_is_an_error_that_says_so(sqlite: Engine) -> None:
    other = embeddings_of(Picture, TinyExtractor(), table_name="not_there", fill="never")
    try:
        with Session(sqlite) as session, pytest.raises(MissingIndexError, match="'not_there'.*create_all"):
            session.scalars(select(Picture).order_by(other.distance(picture()))).all()
    finally:
        Base.metadata.remove(other.table)


def test_a_vector_of_another_dimension_is_an_error() -> None:
    with pytest.raises(VectorDimensionError, match="48 dimensions, got one of 3"):
        looks.distance([1.0, 2.0, 3.0])


def test_an_extractor_of_another_dimension_needs_another_table() -> None:
    from sqlalchemy_imageattach.search import ColourHistogram

    with pytest.raises(VectorDimensionError, match="table_name"):
        embeddings_of(Picture, ColourHistogram(), fill="never")


@pytest.mark.parametrize("vector", [[0.0] * 48, [float("nan")] * 48, [float("inf")] + [0.0] * 47])
def test_a_vector_without_a_direction_is_an_error(vector: list[float]) -> None:
    with pytest.raises(ValueError, match="finite numbers that are not all zero"):
        looks.distance(vector)


@pytest.mark.parametrize("blob", [b"", b"no picture", picture()[:60]])
def test_what_is_no_picture_cannot_be_searched_by(blob: bytes) -> None:
    with pytest.raises(RejectedImageError):
        looks.distance(blob)


def test_other_databases_say_that_they_cannot(sqlite: Engine) -> None:
    from sqlalchemy.dialects import oracle

    with pytest.raises(VectorSearchUnavailableError, match="oracle"):
        select(looks.distance(picture())).compile(dialect=oracle.dialect())


def test_a_statement_can_be_shown() -> None:
    assert "cosine_distance" in str(select(Picture.user_id).order_by(looks.distance(picture())))


# --- a column of one's own -------------------------------------------------------------------------------------------


def test_rows_of_the_vectors_themselves_can_be_compared(filled: Engine) -> None:
    vectors = looks.table.c
    near = vectors.vector.cosine_distance(looks.vector_of(picture("blue")))
    with Session(filled) as session:
        rows = session.execute(select(vectors.of_user_id, near).where(near < 1).order_by(near)).all()
    assert [row[0] for row in rows][:2] == [3, 5]


def test_the_distance_is_an_attribute_where_the_class_has_a_place_for_it(sqlite: Engine) -> None:
    class Other(DeclarativeBase):
        pass

    class Sketch(Other):
        __tablename__ = "sketch"
        id: Mapped[int] = mapped_column(primary_key=True)
        looks = mapped_column(Vector(3))
        distance: Mapped[float] = query_expression()

    engine = create_engine("sqlite://")
    Other.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Sketch(id=1, looks=[1, 0, 0]), Sketch(id=2, looks=[0, 5, 0]), Sketch(id=3)])
        session.commit()
        near = Sketch.looks.cosine_distance([0, 1, 0])
        found = session.scalars(
            select(Sketch).options(with_expression(Sketch.distance, near)).order_by(Sketch.id)
        ).all()
        assert [sketch.distance for sketch in found] == [1.0, 0.0, None]
        assert found[1].looks.tolist() == [0, 1, 0]
        assert found[2].looks is None
        with pytest.raises(VectorDimensionError):
            session.execute(select(Sketch).where(Sketch.looks.cosine_distance([1, 2]) < 1))
    engine.dispose()


def test_a_filtered_search_of_an_approximate_index_widens_until_it_has_enough(mariadb: Engine) -> None:
    fill(mariadb)
    exact = looks._cache._exact_rows
    looks._cache._exact_rows = 1
    try:
        with Session(mariadb) as session, statements(mariadb) as sent:
            found = looks.nearest(select(Picture.user_id).where(Picture.user_id == 6), picture("navy"), 1)
            assert session.scalars(found).all() == [6]
        assert sent
    finally:
        looks._cache._exact_rows = exact


def test_pgvector_uses_its_index(pgvector: Engine) -> None:
    fill(pgvector)
    with pgvector.connect() as connection:
        kind = connection.scalar(
            text("SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%hnsw%halfvec_cosine_ops%'")
        )
        assert kind is not None


def test_a_vector_that_is_not_of_numbers_is_never_near(sqlite: Engine) -> None:
    fill(sqlite)
    broken = np.full(48, np.nan, np.float32).tobytes()
    with sqlite.begin() as connection:
        connection.execute(
            text("UPDATE search_picture_embedding SET vector = :broken WHERE of_user_id = 2"), {"broken": broken}
        )
    near = looks.distance(picture("darkred"))
    with Session(sqlite) as session:
        rows = session.execute(select(Picture.user_id, near).order_by(near)).all()
    assert rows[-1] == (2, NOT_INDEXED)


def test_a_statement_executed_for_many_parameters_knows_the_distance(filled: Engine) -> None:
    table: Any = Picture.__table__
    filled.dispose()  # of new connections, none knows the function yet
    near = looks.distance(picture("blue"))
    named = update(table).where(table.c.user_id == bindparam("wanted"), near < 0.7).values(note=bindparam("text"))
    is_near = [value < 0.7 for value in expected("blue")]
    with filled.begin() as connection:
        connection.execute(named, [{"wanted": number, "text": f"{number}"} for number in range(1, 7)])
    with Session(filled) as session:
        notes = session.scalars(select(Picture.note).order_by(Picture.user_id)).all()
    assert any(is_near)
    assert notes == [f"{number}" if each else "" for number, each in enumerate(is_near, 1)]
