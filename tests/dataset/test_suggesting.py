"""What looks like the pictures of a label is suggested for it, on each database."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Session

from sqlalchemy_imageattach.dataset import LabelledImage, Picture, Provenance, attach, suggest
from sqlalchemy_imageattach.errors import DatasetError, EmptyIndexError, InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.search import TinyExtractor, embeddings_of, fingerprints_of
from sqlalchemy_imageattach.spool import Spool
from sqlalchemy_imageattach.stores.memory import MemoryStore


class Base(DeclarativeBase):
    pass


class Vegetable(Base, LabelledImage):
    __tablename__ = "suggested_vegetable"


LOOKS = embeddings_of(Vegetable, TinyExtractor())
RED, RATHER_RED, BLUE, GREEN = (200, 0, 0), (210, 5, 5), (0, 0, 200), (0, 200, 0)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    try:
        with Session(engine, info={"image_store": MemoryStore()}) as made:
            yield made
    finally:
        Base.metadata.drop_all(engine)
        engine.dispose()


def fill(session: Session, label: str, *colours: tuple[int, int, int]) -> None:
    for number, colour in enumerate(colours):
        file = io.BytesIO()
        Pillow.new("RGB", (20, 20), colour).save(file, "PNG")
        picture = Picture(Spool.of(file.getvalue()), "image/png", (20, 20))
        attach(session, Vegetable, label, f"{label} {number}", picture, Provenance())


def test_what_looks_like_a_label_comes_first_and_what_it_has_is_left_out(session: Session) -> None:
    fill(session, "tomato", RED, (220, 10, 0), (240, 0, 10))
    fill(session, "unsorted", BLUE, RATHER_RED, GREEN, RED)
    fill(session, "pepper", (205, 3, 3))
    suggested = suggest(session, LOOKS, "tomato", among="unsorted")
    assert [each.picture.uri for each in suggested][0] == "unsorted 1"
    assert sorted(each.picture.uri for each in suggested) == ["unsorted 0", "unsorted 1", "unsorted 2"]
    assert suggested[0].distance < 0.05 < 0.5 < suggested[1].distance <= suggested[2].distance
    anywhere = suggest(session, LOOKS, "tomato", limit=2)
    assert {each.picture.uri for each in anywhere} == {"unsorted 1", "pepper 0"}
    session.rollback()
    assert not session.new, "nothing was changed"


def test_the_middle_is_reckoned_of_so_many_examples(session: Session) -> None:
    fill(session, "mixed", RED, BLUE, (0, 0, 210), (0, 0, 220))
    fill(session, "unsorted", RATHER_RED, (3, 3, 205))
    assert suggest(session, LOOKS, "mixed", examples=1)[0].picture.uri == "unsorted 0"
    assert suggest(session, LOOKS, "mixed")[0].picture.uri == "unsorted 1"


def test_without_examples_nothing_can_be_suggested(session: Session) -> None:
    with pytest.raises(EmptyIndexError):
        suggest(session, LOOKS, "tomato")
    fill(session, "unsorted", RED)
    with pytest.raises(DatasetError, match="expected pictures of 'tomato' that are indexed, got none"):
        suggest(session, LOOKS, "tomato")


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((object(), "tomato"), {}, InvalidTypeError),
        ((fingerprints_of(Vegetable), "tomato"), {}, InvalidTypeError),
        ((LOOKS, "../etc"), {}, InvalidValueError),
        ((LOOKS, "tomato"), {"among": ""}, InvalidValueError),
        ((LOOKS, "tomato"), {"limit": 0}, InvalidValueError),
        ((LOOKS, "tomato"), {"examples": "all"}, InvalidTypeError),
    ],
)
def test_bad_arguments_are_told(arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception]) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        fill(session, "tomato", RED)
        with pytest.raises(error):
            suggest(session, *arguments, **options)
    engine.dispose()
