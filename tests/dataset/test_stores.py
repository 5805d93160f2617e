"""What every store of a dataset has to do: one suite for all of them."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sqlalchemy_imageattach.dataset import DatasetError, DatasetStore, Failure, Provenance, SQLAlchemyDataset
from sqlalchemy_imageattach.dataset.sample import source_key
from sqlalchemy_imageattach.dataset.stores import CouchbaseDataset
from sqlalchemy_imageattach.dataset.stores.protocol import Item
from sqlalchemy_imageattach.errors import StoreError

from .couchbase_double import Double
from .models import picture, png

NOTHING = Provenance()


def fill(dataset: DatasetStore, label: str, number: int, first: int = 0) -> None:
    for each in range(first, first + number):
        assert dataset.add(label, f"https://example.com/{each}.png", picture(each), NOTHING)


def test_a_picture_comes_back_as_it_was_added(dataset: DatasetStore) -> None:
    known = Provenance(
        page="https://example.com/",
        title="An apple — «ä»",
        licence="CC0",
        fetched_at=datetime(2026, 1, 2, tzinfo=UTC),
        status=200,
    )
    assert dataset.add("Apple", "https://example.com/1.png", picture(1), known)
    found = dataset.get("Apple", "https://example.com/1.png")
    assert found is not None
    assert (found.label, found.uri, found.mimetype, found.size) == (
        "Apple",
        "https://example.com/1.png",
        "image/png",
        (8, 8),
    )
    assert found.read() == png(1)
    assert found.checksum == picture(1).content.checksum
    moment = found.provenance.fetched_at
    assert moment is not None
    assert moment.replace(tzinfo=UTC) == known.fetched_at
    assert replace(found.provenance, fetched_at=None) == replace(known, fetched_at=None)


def test_what_is_not_there_is_none(dataset: DatasetStore) -> None:
    assert dataset.get("Apple", "x") is None
    assert not dataset.has("Apple", "x")
    assert not dataset.remove("Apple", "x")
    assert dataset.random("Apple") is None
    assert (dataset.count("Apple"), dict(dataset.labels()), list(dataset.iterate())) == (0, {}, [])
    assert dataset.failure("Apple", "x") is None


def test_a_picture_is_added_once_for_its_label_and_uri(dataset: DatasetStore) -> None:
    assert dataset.add("Apple", "u", picture(1), NOTHING)
    assert not dataset.add("Apple", "u", picture(2), NOTHING)
    assert dataset.add("Pear", "u", picture(1), NOTHING), "the same picture may have several labels"
    found = dataset.get("Apple", "u")
    assert found is not None
    assert found.read() == png(1)
    assert dict(dataset.labels()) == {"Apple": 1, "Pear": 1}


def test_of_many_who_add_the_same_picture_one_does(dataset: DatasetStore) -> None:
    added: list[bool] = []
    errors: list[BaseException] = []
    start = threading.Barrier(6)

    def work(number: int) -> None:
        try:
            start.wait()
            for each in range(5):
                added.append(dataset.add("Apple", f"u{each}", picture(number * 100 + each), NOTHING))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sum(added) == 5
    assert dataset.count("Apple") == 5
    assert [len(sample.read()) > 0 for sample in dataset.iterate()] == [True] * 5


@pytest.mark.parametrize(
    "label", ["apple", "APPLE", "Äpple", "Apple\u0301", "日本語", "苹" * 85, "a" * 255, "a-b.c d", "🍎"]
)
def test_labels_that_look_alike_are_not_the_same(dataset: DatasetStore, label: str) -> None:
    dataset.add("Apple", "u", picture(1), NOTHING)
    assert dataset.add(label, "u", picture(2), NOTHING)
    assert (dataset.count("Apple"), dataset.count(label)) == (1, 1)
    found = dataset.random(label)
    assert found is not None
    assert (found.label, found.read()) == (label, png(2))


def test_a_uri_can_be_long(dataset: DatasetStore) -> None:
    uri = "https://example.com/" + "ä" * 5000
    assert dataset.add("Apple", uri, picture(1), NOTHING)
    assert not dataset.add("Apple", uri, picture(1), NOTHING)
    assert dataset.has("Apple", uri)
    assert not dataset.has("Apple", uri[:-1])


def test_a_removed_picture_is_gone_and_can_come_again(dataset: DatasetStore) -> None:
    fill(dataset, "Apple", 3)
    uri = "https://example.com/1.png"
    assert dataset.remove("Apple", uri)
    assert not dataset.remove("Apple", uri)
    assert (dataset.count("Apple"), dataset.has("Apple", uri)) == (2, False)
    assert dataset.has_content("Apple", [picture(1).content.checksum]) == set()
    assert dataset.add("Apple", uri, picture(9), NOTHING)
    assert dataset.count("Apple") == 3
    assert sorted(sample.read() for sample in dataset.iterate("Apple")) == sorted([png(0), png(2), png(9)])


def test_bytes_are_known_by_label(dataset: DatasetStore) -> None:
    dataset.add("Apple", "u", picture(1), NOTHING)
    checksum = picture(1).content.checksum
    assert dataset.has_content("Apple", [checksum, picture(2).content.checksum]) == {checksum}
    assert dataset.has_content("Pear", [checksum]) == set()


def test_many_are_added_at_once_each_once(dataset: DatasetStore) -> None:
    dataset.add("Apple", "u1", picture(1), NOTHING)
    dataset.note(Failure("Apple", "u2", "timeout"))
    items = [Item("Apple", f"u{number}", picture(number), NOTHING) for number in range(4)]
    assert dataset.add_many(items) == [True, False, True, True]
    assert dataset.count("Apple") == 4
    dataset.note(Failure("Apple", "u9", "timeout"))
    known = dataset.look_up([("Apple", "u2"), ("Apple", "u9"), ("Apple", "u7"), ("Pear", "u1")])
    assert known == {("Apple", "u2"): None, ("Apple", "u9"): Failure("Apple", "u9", "timeout")}


def test_each_picture_has_the_same_chance_also_after_removals(dataset: DatasetStore) -> None:
    fill(dataset, "Apple", 8)
    fill(dataset, "Pear", 3, 100)
    for gone in (0, 3, 4):
        dataset.remove("Apple", f"https://example.com/{gone}.png")
    draw = random.Random(7)
    drawn = Counter(sample.uri for _ in range(250) if (sample := dataset.random("Apple", draw)) is not None)
    assert len(drawn) == 5
    # chi-square with 4 degrees of freedom: beyond 18.5 once in a thousand, and the draw is always the same
    assert sum((count - 50) ** 2 / 50 for count in drawn.values()) < 18.5


def test_what_is_left_of_many_is_found_at_random(dataset: DatasetStore) -> None:
    fill(dataset, "Apple", 40)
    for gone in range(39):
        dataset.remove("Apple", f"https://example.com/{gone}.png")
    found = dataset.random("Apple", random.Random(1))
    assert found is not None
    assert found.uri == "https://example.com/39.png"


def test_all_pictures_are_iterated_in_an_order_that_stays(dataset: DatasetStore) -> None:
    fill(dataset, "Pear", 5)
    fill(dataset, "Apple", 4, 50)
    first = [(sample.label, sample.uri) for sample in dataset.iterate()]
    assert len(set(first)) == len(first) == 9
    assert first == [(sample.label, sample.uri) for sample in dataset.iterate()]
    assert {sample.label for sample in dataset.iterate("Pear")} == {"Pear"}
    assert sum(1 for _ in dataset.iterate("Pear")) == 5


def test_failures_are_remembered_until_the_picture_comes(dataset: DatasetStore) -> None:
    failure = Failure("Apple", "u", "status-503", "busy", 3, is_final=False)
    dataset.note(failure)
    assert dataset.failure("Apple", "u") == failure
    again = replace(failure, reason="not-an-image", attempts=4, is_final=True)
    dataset.note(again)
    dataset.note(Failure("Pear", "u", "timeout"))
    assert dataset.failure("Apple", "u") == again
    assert {each.label for each in dataset.failures()} == {"Apple", "Pear"}
    assert list(dataset.failures("Apple")) == [again]
    dataset.add("Apple", "u", picture(1), NOTHING)
    assert dataset.failure("Apple", "u") is None
    assert list(dataset.failures("Apple")) == []


def test_many_failures_are_noted_at_once_also_those_that_others_have_noted(dataset: DatasetStore) -> None:
    dataset.note(Failure("Apple", "u1", "timeout"))
    failures = [Failure("Apple", f"u{number}", "not-an-image", "no picture", 2, is_final=True) for number in range(3)]
    dataset.note_many(failures)
    assert sorted(dataset.failures(), key=lambda each: each.uri) == failures
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(dataset.note_many, [failures] * 8))
    assert sorted(dataset.failures(), key=lambda each: each.uri) == failures


@pytest.mark.parametrize("missing", ["table", "column"])
def test_tables_of_another_version_are_told_and_nothing_is_done(
    database: SQLAlchemyDataset, engine: Engine, missing: str
) -> None:
    database.add("Apple", "u1", picture(1), NOTHING)
    with engine.begin() as connection:
        if missing == "table":
            connection.execute(text("DROP TABLE fruit_failure"))
        else:
            connection.execute(text("ALTER TABLE fruit DROP COLUMN licence"))
    with pytest.raises(DatasetError, match="the tables of Fruit are not those of this version"):
        database.add("Apple", "u2", picture(2), NOTHING)
    with pytest.raises(DatasetError, match="create_all.*Alembic"):
        list(database.failures() if missing == "table" else database.iterate())
    assert database.count("Apple") == 1


def test_records_of_another_version_are_told(couchbase: CouchbaseDataset, collection: Any) -> None:
    couchbase.add("Apple", "u1", picture(1), NOTHING)
    name = couchbase._name(f"img:{source_key('Apple', 'u1')}")
    record = collection.get(name).value
    collection.upsert(name, record | {"version": 2})
    with pytest.raises(DatasetError, match="expected a record of version 1, got version 2"):
        couchbase.get("Apple", "u1")


# --- Couchbase after a crash -----------------------------------------------------------------------------------------


class Crash(Exception):
    """The end of a process, in the middle of it."""


class Crashing:
    """A collection that comes to its end after so many operations."""

    def __init__(self, collection: object, operations: int) -> None:
        self._collection = collection
        self._left = operations

    def __getattr__(self, name: str) -> object:
        if self._left == 0:
            raise Crash
        self._left -= 1
        return getattr(self._collection, name)


@pytest.mark.parametrize("work", ["add", "remove"])
def test_a_crash_between_any_two_documents_is_repaired(couchbase: CouchbaseDataset, work: str) -> None:
    collection = couchbase._collection
    fill(couchbase, "Apple", 3)
    for operations in range(12):
        uri = f"crash-{operations}"
        if work == "remove":
            couchbase.add("Apple", uri, picture(500 + operations), NOTHING)
        crashing = CouchbaseDataset(Crashing(collection, operations), prefix=couchbase._prefix)
        with contextlib.suppress(Crash):
            if work == "add":
                crashing.add("Apple", uri, picture(500 + operations), NOTHING)
            else:
                crashing.remove("Apple", uri)
        couchbase.repair()
        there = list(couchbase.iterate("Apple"))
        assert couchbase.count("Apple") == len(there)
        assert all(sample.read() for sample in there)
        assert (uri in {sample.uri for sample in there}) == couchbase.has("Apple", uri)
        assert couchbase.repair() == 0
        if not couchbase.has("Apple", uri):
            assert couchbase.add("Apple", uri, picture(500 + operations), NOTHING)
        assert couchbase.has_content("Apple", [picture(500 + operations).content.checksum])


def test_couchbase_cannot_look_for_near_duplicates(couchbase: CouchbaseDataset) -> None:
    with pytest.raises(DatasetError, match="near_duplicates='keep'"):
        couchbase.has_alike("Apple", 1, 4)


def test_what_couchbase_refuses_is_an_error_of_a_store(couchbase: CouchbaseDataset, double: Double) -> None:
    from sqlalchemy_imageattach.dataset import Picture
    from sqlalchemy_imageattach.spool import Spool

    long = Picture(Spool.of(bytes(21 * 2**20)), "image/bmp", (1, 1))
    with pytest.raises(StoreError, match="at most 20971520 bytes"):
        couchbase.add("Apple", "u", long, NOTHING)
    assert couchbase.count("Apple") == 0
