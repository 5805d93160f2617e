"""Pictures that look the same."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import Engine, func, literal, select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.errors import DuplicateImageError, EmptyIndexError, InvalidValueError
from sqlalchemy_imageattach.search import dhash64, hamming_distance
from sqlalchemy_imageattach.search.fingerprint import HammingDistance

from .support import Picture, User, prints

IMAGES = Path(__file__).parents[1] / "images"


def photo(name: str, **options: Any) -> bytes:
    """One of the photographs, as it was or changed."""
    with Pillow.open(IMAGES / name) as opened:
        changed = opened.convert("RGB").resize(options.pop("size", opened.size))
    file = io.BytesIO()
    changed.save(file, "JPEG", quality=options.pop("quality", 85))
    return file.getvalue()


def attach(session: Session, number: int, blob: bytes) -> None:
    owner = User(id=number)
    owner.picture.from_blob(blob)
    session.add(owner)


@pytest.fixture
def refusing() -> Iterator[None]:
    prints.on_duplicate = "refuse"
    yield
    prints.on_duplicate = "allow"


def test_pictures_that_were_resized_or_compressed_are_one_group(engine: Engine) -> None:
    with Session(engine) as session:
        attach(session, 1, photo("coffee.jpg"))
        attach(session, 2, photo("astronaut.jpg"))
        attach(session, 3, photo("coffee.jpg", size=(120, 80)))
        attach(session, 4, photo("coffee.jpg", quality=30))
        session.commit()
        (group,) = prints.duplicates(session)
        assert [identity[0] for identity in group.identities] == [1, 3, 4]
        assert prints.duplicates(session, 64)[0].cls is Picture


def test_the_distance_in_sql_is_that_of_python(engine: Engine) -> None:
    chooser = random.Random(1)
    edges = [0, -1, 1, -(2**63), 2**63 - 1]
    hashes = edges + [chooser.randrange(-(2**63), 2**63) for _ in range(20)]
    with Session(engine) as session:
        for first in edges:
            columns = [HammingDistance.of(literal(first), other) for other in hashes]
            assert list(session.execute(select(*columns)).one()) == [hamming_distance(first, other) for other in hashes]


def test_hashes_near_to_one_are_found_by_a_statement(engine: Engine) -> None:
    with Session(engine) as session:
        attach(session, 1, photo("coffee.jpg"))
        attach(session, 2, photo("astronaut.jpg"))
        session.commit()
        with Pillow.open(IMAGES / "coffee.jpg") as opened:
            near = prints.distance(opened)
        assert session.scalars(select(prints.table.c.of_user_id).where(near <= 8)).all() == [1]


def test_an_empty_index_has_no_answer(sqlite: Engine) -> None:
    with Session(sqlite) as session, pytest.raises(EmptyIndexError):
        prints.duplicates(session)


@pytest.mark.parametrize("threshold", [-1, 65])
def test_a_threshold_is_a_number_of_bits(sqlite: Engine, threshold: int) -> None:
    with Session(sqlite) as session, pytest.raises(InvalidValueError, match="0 to 64 bits"):
        prints.duplicates(session, threshold)


@pytest.mark.usefixtures("refusing")
def test_a_picture_that_looks_like_another_one_can_be_refused(engine: Engine) -> None:
    with Session(engine) as session:
        attach(session, 1, photo("coffee.jpg"))
        session.commit()
        attach(session, 2, photo("coffee.jpg", size=(120, 80)))
        with pytest.raises(DuplicateImageError, match="looks like no other"):
            session.commit()
        session.rollback()
        attach(session, 3, photo("astronaut.jpg"))
        session.commit()
        assert session.scalar(select(func.count()).select_from(Picture)) == 2


@pytest.mark.usefixtures("refusing")
def test_of_two_that_are_attached_at_once_the_second_is_refused(sqlite: Engine) -> None:
    with Session(sqlite) as session:
        attach(session, 1, photo("coffee.jpg"))
        attach(session, 2, photo("coffee.jpg", quality=30))
        with pytest.raises(DuplicateImageError):
            session.commit()
        session.rollback()


@pytest.mark.usefixtures("refusing")
def test_pictures_of_one_colour_are_alike_only_if_their_bytes_are(sqlite: Engine) -> None:
    from .support import picture

    with Session(sqlite) as session:
        attach(session, 1, picture("red"))
        attach(session, 2, picture("blue"))
        session.commit()
        attach(session, 3, picture("red"))
        with pytest.raises(DuplicateImageError):
            session.commit()
        session.rollback()


@pytest.mark.usefixtures("refusing")
def test_a_picture_can_be_replaced_by_one_that_looks_like_it(sqlite: Engine) -> None:
    with Session(sqlite) as session:
        attach(session, 1, photo("coffee.jpg"))
        session.commit()
        session.get_one(User, 1).picture.from_blob(photo("coffee.jpg", quality=30))
        session.commit()


def test_the_application_can_be_told(sqlite: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(prints, "on_duplicate", "tell")
    monkeypatch.setattr(prints, "_told", lambda cls, identity, like: told.append((identity[0], [i[0] for i in like])))
    with Session(sqlite) as session:
        attach(session, 1, photo("coffee.jpg"))
        attach(session, 2, photo("coffee.jpg", quality=30))
        session.commit()
    assert told == [(2, [1])]


def test_the_hash_of_a_picture_is_a_signed_integer_of_64_bits() -> None:
    with Pillow.open(IMAGES / "coffee.jpg") as opened:
        assert -(2**63) <= dhash64(opened) < 2**63
