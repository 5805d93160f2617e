"""Sessions with several databases for one class: the vector of a picture is where its row is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, String, create_engine, delete, select
from sqlalchemy.ext.horizontal_shard import ShardedSession, set_shard_id
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.search import ImageSearch, TinyExtractor, embeddings_of

from .support import picture

COLORS = ["red", "blue", "darkred", "navy", "yellow", "green"]
SHARDS = ("even", "odd")


class Base(DeclarativeBase):
    pass


class Tile(Base):
    __tablename__ = "search_tile"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(String(200))


class Later(Base):
    __tablename__ = "search_later"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(String(200))


image_search = ImageSearch(extractor=TinyExtractor())
image_search.register()(Tile)
looks = image_search.embeddings(Tile)
later = embeddings_of(Later, TinyExtractor(), path="path", fill="commit")


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[dict[str, Engine]]:
    made = {shard: create_engine(f"sqlite:///{tmp_path}/{shard}.db") for shard in SHARDS}
    for engine in made.values():
        Base.metadata.create_all(engine)
    yield made
    for engine in made.values():
        engine.dispose()


@pytest.fixture
def session(engines: dict[str, Engine]) -> Iterator[ShardedSession]:
    def shard_of(mapper: Any, instance: Any, clause: Any = None) -> str:
        assert instance is not None, "which shard a row is in is known by the row alone"
        return SHARDS[instance.id % 2]

    def shards_of_key(mapper: Any, primary_key: Any, **rest: Any) -> list[str]:
        return [SHARDS[primary_key[0] % 2]]

    with ShardedSession(
        shards=engines,
        shard_chooser=shard_of,
        identity_chooser=shards_of_key,
        execute_chooser=lambda state: SHARDS,
    ) as made:
        yield made


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for color in COLORS:
        (tmp_path / f"{color}.png").write_bytes(picture(color))
    return [str(tmp_path / f"{color}.png") for color in COLORS]


def indexed(engines: dict[str, Engine], table: Any = looks.table) -> dict[str, list[int]]:
    found = {}
    for shard, engine in engines.items():
        with engine.connect() as connection:
            found[shard] = list(connection.scalars(select(table.c.of_id).order_by(table.c.of_id)))
    return found


def test_vectors_follow_their_rows(session: ShardedSession, engines: dict[str, Engine], paths: list[str]) -> None:
    session.add_all([Tile(id=number, path=path) for number, path in enumerate(paths)])
    session.commit()
    assert indexed(engines) == {"even": [0, 2, 4], "odd": [1, 3, 5]}
    session.delete(session.get_one(Tile, 3))
    session.get_one(Tile, 1).path = paths[0]
    session.commit()
    assert indexed(engines) == {"even": [0, 2, 4], "odd": [1, 5]}
    near = looks.distance(picture("red"))
    # each shard gives its own in order, as SQLAlchemy has it for any order
    assert session.execute(select(Tile.id).where(near < 1e-6).order_by(near)).scalars().all() == [0, 1]
    in_one = looks.nearest(select(Tile.id), picture("red"), 2).options(set_shard_id("even"))
    assert session.execute(in_one).scalars().all() == [0, 2]


def test_one_row_can_be_indexed_and_forgotten(
    session: ShardedSession, engines: dict[str, Engine], paths: list[str]
) -> None:
    session.add_all([Tile(id=number, path=path) for number, path in enumerate(paths)])
    session.commit()
    image_search.delete(session.get_one(Tile, 3))
    session.commit()
    assert indexed(engines) == {"even": [0, 2, 4], "odd": [1, 5]}
    assert image_search.index(session.get_one(Tile, 3))
    session.commit()
    assert indexed(engines) == {"even": [0, 2, 4], "odd": [1, 3, 5]}


def test_rows_that_a_statement_deletes_are_forgotten(
    session: ShardedSession, engines: dict[str, Engine], paths: list[str]
) -> None:
    session.add_all([Tile(id=number, path=path) for number, path in enumerate(paths)])
    session.commit()
    session.execute(delete(Tile).where(Tile.id < 2), execution_options={"synchronize_session": False})
    session.commit()
    assert indexed(engines) == {"even": [2, 4], "odd": [3, 5]}


@pytest.mark.parametrize(
    "said",
    [
        lambda statement: statement.options(set_shard_id("odd")),
        lambda statement: statement.execution_options(identity_token="odd"),
        lambda statement: statement.execution_options(_sa_shard_id="odd"),
    ],
    ids=["option", "identity token", "execution option"],
)
def test_rows_that_a_statement_deletes_in_the_shard_that_it_names_are_forgotten(
    session: ShardedSession, engines: dict[str, Engine], paths: list[str], said: Callable[[Any], Any]
) -> None:
    session.add_all([Tile(id=number, path=path) for number, path in enumerate(paths)])
    session.commit()

    def nobody(_: object) -> list[str]:
        pytest.fail("the statement has said it")

    session.execute_chooser = nobody
    session.execute(said(delete(Tile)).execution_options(synchronize_session=False))
    session.commit()
    assert indexed(engines) == {"even": [0, 2, 4], "odd": []}


def test_pictures_can_be_indexed_after_the_commit(
    session: ShardedSession, engines: dict[str, Engine], paths: list[str]
) -> None:
    session.add_all([Later(id=number, path=path) for number, path in enumerate(paths)])
    session.commit()
    assert indexed(engines, later.table) == {"even": [0, 2, 4], "odd": [1, 3, 5]}
