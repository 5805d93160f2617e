"""The schema that a statement reads from is the one whose vectors are compared, however it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, String, create_engine, event, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.search import TinyExtractor, embeddings_of

from .support import picture

COLORS = ["red", "blue", "darkred", "navy", "yellow", "green"]
SCHEMAS = ("imageattach_first", "imageattach_second")


class Base(DeclarativeBase):
    pass


class Tile(Base):
    __tablename__ = "search_tile"
    __table_args__ = {"schema": "tenant"}
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(String(100))


looks = embeddings_of(Tile, TinyExtractor(), path="path")


def options(schema: str) -> dict[str, Any]:
    return {"schema_translate_map": {"tenant": schema}}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Engine]:
    """With two schemas, the second of which has the same rows with the pictures in the opposite order."""
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path}/main.db")

        @event.listens_for(made, "connect")
        def attach(connection: Any, record: Any) -> None:
            for schema in SCHEMAS:
                connection.execute(f"ATTACH '{tmp_path}/{schema}.db' AS {schema}")
    else:
        made = create_engine(request.getfixturevalue(f"{request.param}_url"))
        with made.begin() as connection:
            for schema in SCHEMAS:
                connection.execute(text(f"CREATE SCHEMA {schema}"))
    for schema, colors in zip(SCHEMAS, (COLORS, COLORS[::-1]), strict=True):
        one = made.execution_options(**options(schema))
        Base.metadata.create_all(one)
        with Session(one) as session:
            for number, color in enumerate(colors):
                path = tmp_path / f"{color}.png"
                path.write_bytes(picture(color))
                session.add(Tile(id=number, path=str(path)))
            session.commit()
    yield made
    for schema in SCHEMAS:
        Base.metadata.drop_all(made.execution_options(**options(schema)))
        if request.param != "sqlite":
            with made.begin() as connection:
                connection.execute(text(f"DROP SCHEMA {schema}"))
    made.dispose()


@pytest.mark.parametrize("told_by", ["engine", "connection", "statement"])
def test_the_vectors_of_the_schema_are_compared(engine: Engine, told_by: str) -> None:
    near = looks.distance(picture("red"))
    for schema, first in zip(SCHEMAS, (0, 5), strict=True):
        whole = engine.execution_options(**options(schema)) if told_by == "engine" else engine
        with whole.connect() as connection:
            if told_by == "connection":
                connection.execution_options(**options(schema))
            given = options(schema) if told_by == "statement" else {}
            with Session(connection) as session:
                for statement in (
                    select(Tile.id).order_by(near).limit(2),
                    looks.nearest(select(Tile.id), picture("red"), 2),
                ):
                    found = session.execute(statement, execution_options=given).scalars().all()
                    assert found == [first, abs(first - 2)]
