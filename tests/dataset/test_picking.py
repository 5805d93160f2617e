"""Counting, picking and dividing, by the ORM and on every database."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from sqlalchemy import Engine, delete, event, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.dataset import Provenance, Split, attach, count, random_sample, recount, sample, split
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.stores.memory import MemoryStore

from .models import Fruit, picture


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def session(engine: Engine, store: MemoryStore):
    with Session(engine, info={"image_store": store}) as session:
        yield session


def add(session: Session, label: str, *numbers: int) -> list[Fruit]:
    return [attach(session, Fruit, label, f"u{each}", picture(each), Provenance()) for each in numbers]  # type: ignore[misc]


def test_pictures_are_counted_in_step_with_the_transaction(session: Session, store: MemoryStore) -> None:
    add(session, "Apple", 1, 2, 3)
    add(session, "Pear", 4)
    assert (count(session, Fruit, "Apple"), count(session, Fruit)) == (3, 4)
    session.rollback()
    assert (count(session, Fruit), len(store)) == (0, 0)
    add(session, "Apple", 1, 2)
    session.commit()
    with session.begin_nested() as savepoint:
        add(session, "Apple", 3)
        session.flush()
        savepoint.rollback()
    assert count(session, Fruit, "Apple") == 2
    session.delete(session.scalars(select(Fruit)).first())
    session.commit()
    assert (count(session, Fruit, "Apple"), len(store)) == (1, 1)


def test_a_picture_can_change_its_label(session: Session) -> None:
    first, _ = add(session, "Apple", 1, 2)
    session.commit()
    first.label = "Pear"
    session.commit()
    assert (count(session, Fruit, "Apple"), count(session, Fruit, "Pear")) == (1, 1)
    assert random_sample(session, Fruit, "Pear") is first
    assert first.make_blob()


def test_the_same_label_and_uri_are_refused_by_the_database(session: Session, store: MemoryStore) -> None:
    add(session, "Apple", 1)
    session.commit()
    add(session, "Apple", 1)
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    assert (count(session, Fruit), len(store)) == (1, 1)


@pytest.mark.parametrize(
    "label", ["", " ", " Apple", "a/b", "..", ".", "a\\b", "a\nb", "a\0b", "a" * 256, "苹" * 86, "\ud83d"]
)
def test_a_label_that_is_empty_or_a_path_is_refused(session: Session, label: str) -> None:
    with pytest.raises(InvalidValueError, match="label"):
        add(session, label, 1)
    fruit = add(session, "Apple", 1)[0]
    fruit.label = label
    with pytest.raises(InvalidValueError, match="label"):
        session.commit()


def test_a_label_that_is_no_string_is_refused(session: Session) -> None:
    with pytest.raises(InvalidTypeError, match="label: expected str, got int"):
        add(session, 5, 1)  # type: ignore[arg-type]


def test_what_bulk_statements_did_is_counted_on_demand(session: Session) -> None:
    add(session, "Apple", *range(5))
    add(session, "Pear", *range(10, 13))
    session.commit()
    session.execute(delete(Fruit).where(Fruit.uri.in_(["u0", "u1", "u10", "u11", "u12"])))
    recount(session, Fruit)
    session.commit()
    assert (count(session, Fruit, "Apple"), count(session, Fruit, "Pear")) == (3, 0)
    add(session, "Pear", 20)
    session.commit()
    assert random_sample(session, Fruit, "Pear").uri == "u20"  # type: ignore[union-attr]


def test_picking_costs_two_statements_however_many_there_are(session: Session) -> None:
    add(session, "Apple", *range(60))
    session.commit()
    statements: list[str] = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *a: statements.append(a[2]))
    for _ in range(10):
        random_sample(session, Fruit, "Apple")
    assert len([each for each in statements if each.startswith("SELECT")]) == 20


def test_a_sample_has_each_picture_once_and_all_if_there_are_no_more(session: Session) -> None:
    add(session, "Apple", *range(10))
    add(session, "Pear", *range(20, 23))
    session.commit()
    found = sample(session, Fruit, 8, source=random.Random(1))
    assert len({each.id for each in found}) == 8
    assert len({each.id for each in sample(session, Fruit, 99)}) == 13
    assert sample(session, Fruit, 0) == []
    assert {each.label for each in sample(session, Fruit, 3, labels=["Pear"])} == {"Pear"}


def test_a_balanced_sample_has_as_many_of_each_label_as_there_are(session: Session) -> None:
    add(session, "Apple", *range(20))
    add(session, "Pear", *range(30, 33))
    add(session, "Fig", *range(40, 50))
    session.commit()
    found = Counter(each.label for each in sample(session, Fruit, 15, balanced=True, source=random.Random(1)))
    assert found == {"Apple": 6, "Fig": 6, "Pear": 3}
    assert len(sample(session, Fruit, 99, balanced=True)) == 33


def test_a_plain_sample_gives_each_picture_the_same_chance(session: Session) -> None:
    add(session, "Apple", *range(6))
    add(session, "Pear", *range(10, 12))
    session.commit()
    session.delete(session.scalars(select(Fruit).where(Fruit.uri == "u3")).one())
    session.commit()
    draw = random.Random(3)
    drawn = Counter(each.uri for _ in range(350) for each in sample(session, Fruit, 2, source=draw))
    assert len(drawn) == 7
    assert sum((number - 100) ** 2 / 100 for number in drawn.values()) < 22.5


def test_a_negative_sample_is_refused(session: Session) -> None:
    with pytest.raises(InvalidValueError, match="number: expected 0 or more, got -1"):
        sample(session, Fruit, -1)


def test_a_single_label_is_no_sequence_of_labels(session: Session) -> None:
    with pytest.raises(InvalidTypeError, match="a sequence of labels"):
        sample(session, Fruit, 1, labels="Apple")


@pytest.mark.parametrize("checksum", ["", "abc", "z" * 64, "-" + "0" * 63])
def test_what_is_no_checksum_has_no_part(checksum: str) -> None:
    with pytest.raises(InvalidValueError, match="64 hexadecimal digits"):
        Split(train=1).part_of(checksum)


def test_a_picture_stays_in_its_part_when_others_come(session: Session) -> None:
    add(session, "Apple", *range(40))
    session.commit()
    before = {fruit.uri: part for part, fruit in split(session, Fruit, train=0.7, validation=0.1, test=0.2)}
    assert set(before.values()) == {"train", "validation", "test"}
    add(session, "Apple", *range(40, 80))
    session.execute(update(Fruit).where(Fruit.uri == "u7").values(title="changed"))
    session.commit()
    after = {fruit.uri: part for part, fruit in split(session, Fruit, train=0.7, validation=0.1, test=0.2)}
    assert before.items() <= after.items()
    assert len(after) == 80


def test_the_same_bytes_are_in_the_same_part_whatever_their_label(session: Session) -> None:
    add(session, "Apple", *range(30))
    add(session, "Pear", *range(30))
    session.commit()
    parts: dict[str, set[str]] = {}
    for part, fruit in split(session, Fruit, train=0.5, test=0.5):
        parts.setdefault(fruit.checksum or "", set()).add(part)
    assert all(len(names) == 1 for names in parts.values())


def test_another_seed_divides_otherwise_and_shares_are_what_was_asked_for() -> None:
    sums = [picture(number).content.checksum for number in range(2000)]
    one, other = Split(train=0.8, test=0.2), Split(train=0.8, test=0.2, seed=1)
    assert 1500 < sum(one.part_of(each) == "train" for each in sums) < 1700
    assert any(one.part_of(each) != other.part_of(each) for each in sums)
    assert {Split(a=0.1).part_of(each) for each in sums} == {"a", None}


@pytest.mark.parametrize("parts", [{}, {"train": 0.9, "test": 0.2}, {"train": -0.1}, {"train": float("nan")}])
def test_shares_that_cannot_be_are_refused(parts: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError):
        Split(**parts)  # type: ignore[arg-type]
