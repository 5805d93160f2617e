"""Collecting: each good picture once, each bad one with its reason, whatever servers, sources and machines do."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, sessionmaker

from sqlalchemy_imageattach.dataset import (
    Candidate,
    Collection,
    DatasetError,
    DatasetStore,
    Provenance,
    SQLAlchemyDataset,
    collect,
    count,
    from_folder,
    from_urls,
)
from sqlalchemy_imageattach.dataset.downloads import Gone, may_train, pause_before
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, StoreError
from sqlalchemy_imageattach.remote import FetchPolicy
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import FaultyStore

from ..remote.servers import ok, server
from .models import Base, Fruit, png
from .soak import collect_with_kills
from .web import Web, is_good, trouble_of

ROOT = Path(__file__).parents[2]
LOOPBACK = FetchPolicy(allow_private=True, max_bytes=100_000)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with Web() as running:
        yield running


def gather(dataset: DatasetStore, source: Any, **options: Any) -> Collection:
    return collect(dataset, source, "Apple", fetching=LOOPBACK, **options)


def test_each_good_picture_comes_once_and_each_bad_one_leaves_its_reason(dataset: DatasetStore) -> None:
    with Web() as web:
        report = gather(dataset, from_urls(map(web.url, range(110))), connections=16, per_host=16)
        assert report.added == dataset.count("Apple") == sum(map(is_good, range(110)))
        assert {sample.uri for sample in dataset.iterate()} == {web.url(n) for n in range(110) if is_good(n)}
        reasons = {trouble_of(int(f.uri.rpartition("/")[2].removesuffix(".png"))): f.reason for f in report.failures}
        assert reasons == {
            "missing": "status-404",
            "cut": "broken-answer",
            "not-an-image": "not-an-image",
            "noai": "opted-out",
            "gone-away": "broken-answer",
            "huge": "too-long",
            "loop": "too-many-redirects",
        }
        assert report.reasons == Counter(failure.reason for failure in dataset.failures("Apple"))
        tries = {trouble_of(n): web.asked[f"/{n}.png"] for n in range(110) if n % 10 == 0}
        # a connection that was kept may merely have been closed: what has no answer by it is asked once more
        assert 3 <= tries.pop("gone-away") <= 6
        assert tries == {
            "missing": 1,
            "busy-once": 2,
            "cut": 3,
            "not-an-image": 1,
            "redirect": 1,
            "lying-type": 1,
            "noai": 1,
            "huge": 1,
            "loop": 6,
            "stall": 1,
        }

        web.asked.clear()
        again = gather(dataset, from_urls(map(web.url, range(110))), connections=16, per_host=16)
        assert (again.added, again.present) == (0, report.added)
        asked = {trouble_of(int(path[1:-4])) for path in web.asked}
        assert asked == {"cut", "gone-away"}, "what may be had another time is asked for again, and nothing else"
        assert again.known_failures + again.failed == report.failed


def test_provenance_is_kept(database: SQLAlchemyDataset, web: Web) -> None:
    known = Provenance(page="https://example.com/", title="An apple", licence="CC0")
    gather(database, [Candidate(web.url(1), known)])
    found = database.get("Apple", web.url(1))
    assert found is not None
    assert replace(found.provenance, fetched_at=None) == replace(known, status=200)
    assert found.provenance.fetched_at is not None


def test_a_session_says_where_the_database_is(tmp_path: Path, web: Web) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/dataset.db")
    Base.metadata.create_all(engine)
    with Session(engine, info={"image_store": MemoryStore()}) as session:
        report = collect(session, from_urls([web.url(1), web.url(2)]), "Apple", into=Fruit, fetching=LOOPBACK)
        assert (report.added, count(session, Fruit, "Apple")) == (2, 2)
        assert [each.make_blob() for each in session.scalars(select(Fruit).order_by(Fruit.uri))] == [png(1), png(2)]
        session.add(Fruit())
        with pytest.raises(DatasetError, match="commit or roll back"):
            collect(session, from_urls([]), "Apple", into=Fruit)
    engine.dispose()


def test_the_bytes_of_a_picture_come_once_for_a_label(dataset: DatasetStore, web: Web) -> None:
    urls = [f"{web.url(1)}?copy={number}" for number in range(1, 4)]
    source = [Candidate(url, open=lambda: __import__("io").BytesIO(png(1))) for url in urls]
    report = gather(dataset, source)
    assert (report.added, report.duplicates) == (1, 2)
    assert collect(dataset, source, "Pear").added == 1


@pytest.mark.parametrize(("mode", "added", "alike"), [("skip", 1, 1), ("flag", 2, 1), ("keep", 2, 0)])
def test_pictures_that_look_alike_are_told(
    database: SQLAlchemyDataset, mode: Any, added: int, alike: int, tmp_path: Path
) -> None:
    from PIL import Image as Pillow

    picture = Pillow.radial_gradient("L").resize((200, 160))
    picture.save(tmp_path / "1.png")
    picture.resize((100, 80)).save(tmp_path / "2.jpg")
    report = gather(database, from_folder(tmp_path), near_duplicates=mode, connections=1)
    assert (report.added, report.alike, report.seen) == (added, alike, 2)


def test_near_duplicates_in_couchbase_are_refused(couchbase: DatasetStore, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    with pytest.raises(DatasetError, match="near_duplicates='keep'"):
        gather(couchbase, from_folder(tmp_path), near_duplicates="skip")


def test_a_host_is_asked_by_so_many_at_once_and_no_more(database: SQLAlchemyDataset) -> None:
    with Web() as web:
        gather(database, from_urls(map(web.url, range(1, 60))), connections=16, per_host=3)
        assert web.most_at_once <= 3


def test_no_more_are_added_than_wanted(database: SQLAlchemyDataset, web: Web) -> None:
    def endless() -> Iterator[Candidate]:
        number = 0
        while True:
            number += 1
            yield Candidate(web.url(number))

    report = gather(database, endless(), most=7)
    assert report.added == database.count("Apple") == 7


def test_a_second_url_is_asked_if_the_first_has_no_picture(database: SQLAlchemyDataset, web: Web) -> None:
    report = gather(database, [Candidate(web.url(0), alternatives=(web.url(1),))])
    assert report.added == 1
    found = database.get("Apple", web.url(0))
    assert found is not None
    assert found.read() == png(1)


def test_a_source_that_ends_in_the_middle_is_told_and_what_came_is_kept(database: SQLAlchemyDataset, web: Web) -> None:
    def source() -> Iterator[Candidate]:
        yield Candidate(web.url(1))
        raise ConnectionResetError

    report = gather(database, source())
    assert report.added == 1
    assert isinstance(report.source_error, ConnectionResetError)


def test_a_candidate_whose_label_or_uri_cannot_be_is_a_line_in_the_report(
    database: SQLAlchemyDataset, web: Web
) -> None:
    half = "half of a pair \ud83d, and a \0"
    candidates = [
        Candidate(web.url(1)),
        Candidate(web.url(2), label="a/b"),
        Candidate(web.url(2), label="\u0958" * 85),  # of 255 bytes, and composed of 510
        Candidate(f"{web.url(3)}\ud83d"),
        Candidate(f"{web.url(3)}\0"),
        Candidate(web.url(4), Provenance(title=half, page=half, licence=half)),
    ]
    report = gather(database, candidates)
    assert (report.added, report.seen) == (2, 6)
    assert dict(report.reasons) == {"bad-label": 2, "bad-uri": 2}
    assert [failure.uri for failure in report.failures] == [each.uri for each in candidates[1:5]]
    assert list(database.failures()) == []
    found = database.get("Apple", web.url(4))
    assert found is not None
    assert found.provenance.title == "half of a pair \ufffd, and a \ufffd"


def test_a_label_is_one_in_whichever_form_of_unicode_it_comes(database: SQLAlchemyDataset, web: Web) -> None:
    composed, decomposed = "\u00c4pfel", "A\u0308pfel"
    collect(database, from_urls([web.url(1)]), decomposed, fetching=FetchPolicy(allow_private=True))
    sources = [Candidate(web.url(2), label=composed), Candidate(web.url(2), label=decomposed)]
    report = collect(database, sources, fetching=FetchPolicy(allow_private=True))
    assert (report.added, report.present) == (1, 1)
    assert database.labels() == {composed: 2}


def test_files_are_collected_whose_names_are_no_text_and_pipes_are_not_waited_for(
    database: SQLAlchemyDataset, tmp_path: Path
) -> None:
    (tmp_path / "Apple").mkdir()
    name = os.fsencode(tmp_path) + b"/Apple/p\xe4r.png"
    with open(name, "wb") as file:
        file.write(png(1))
    os.mkfifo(tmp_path / "Apple" / "pipe.png")
    report = collect(database, from_folder(tmp_path, labels=True))
    assert (report.added, dict(report.reasons), report.source_error) == (1, {"unreadable": 1}, None)
    assert [each.uri for each in database.iterate()] == ["Apple/p\\xe4r.png"]


def test_private_addresses_are_not_asked_unless_it_is_said(database: SQLAlchemyDataset) -> None:
    with Web() as web:
        report = collect(database, from_urls([web.url(1)]), "Apple")
        assert (report.added, dict(report.reasons)) == (0, {"address": 1})
        assert not web.asked


def test_a_full_store_ends_it_and_nothing_is_half_written(tmp_path: Path, web: Web) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/dataset.db")
    Base.metadata.create_all(engine)
    store = FaultyStore(MemoryStore())
    dataset = SQLAlchemyDataset(sessionmaker(engine), Fruit, store)
    gather(dataset, from_urls([web.url(1)]))
    store.fail("put", error=StoreError("no space left"))
    with pytest.raises(StoreError, match="no space left"):
        gather(dataset, from_urls(map(web.url, range(2, 20))))
    assert dataset.count("Apple") == len(list(dataset.iterate())) == 1
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("http://example.com/1.png", "Apple"), {}, InvalidTypeError),
        ((["http://example.com/1.png"], "Apple"), {}, InvalidValueError),
        (([], ""), {}, InvalidValueError),
        (([], "a/b"), {}, InvalidValueError),
        (([Candidate("u")],), {}, InvalidValueError),
        (([], "Apple"), {"connections": 0}, InvalidValueError),
        (([], "Apple"), {"per_host": "2"}, InvalidTypeError),
        (([], "Apple"), {"near_duplicates": "maybe"}, InvalidValueError),
        (([], "Apple"), {"into": Fruit}, InvalidTypeError),
    ],
)
def test_what_cannot_be_collected_is_refused(
    database: SQLAlchemyDataset, arguments: Any, options: Any, error: type[Exception]
) -> None:
    def work() -> None:
        report = collect(database, *arguments, **options)
        if report.source_error is not None:
            raise report.source_error

    with pytest.raises(error):
        work()
    assert database.labels() == {}


def test_a_collector_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    collect_with_kills(tmp_path, 240)


def test_an_interrupt_ends_it_between_two_pictures(database: SQLAlchemyDataset, web: Web) -> None:
    def interrupt(report: Collection) -> None:
        if report.added >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather(database, from_urls(map(web.url, range(1, 300))), progress=interrupt)
    assert 5 <= database.count("Apple") == len(list(database.iterate())) < 250
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("imageattach-collect")]


@pytest.mark.parametrize(
    ("tag", "allowed"),
    [
        ("", True),
        ("noindex", True),
        ("noai", False),
        ("NoImageAI", False),
        ("noindex, noai", False),
        ("otherbot: noai", True),
        ("otherbot: noindex, noai", True),
        ("collector: noai", False),
        ("otherbot: noai, *: noimageai", False),
        ("max-snippet: 5, noai", False),
        ("max-video-preview: -1, noai", False),
        ("noindex; noai", False),
        ("otherbot: noindex\nnoai", False),
        ("collector: noindex\notherbot: noai", True),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST, noimageai", False),
    ],
)
def test_servers_that_do_not_want_their_pictures_used_for_training_are_heeded(tag: str, allowed: bool) -> None:
    assert may_train({"x-robots-tag": tag}, "collector/1") is allowed


def test_an_opt_out_beside_that_of_another_program_is_heeded(database: SQLAlchemyDataset) -> None:
    with server({"/": ok(png(1), "X-Robots-Tag: otherbot: noindex", "X-Robots-Tag: noai")}) as web:
        assert dict(gather(database, from_urls([f"{web.url}/"])).reasons) == {"opted-out": 1}


@pytest.mark.parametrize(
    "retry_after",
    [
        "Mon, 01 Jan 10000000000 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "9" * 5000,
        "soon",
    ],
    ids=["no year", "the last year", "the past", "no number", "no date"],
)
def test_no_retry_after_ends_a_collection(database: SQLAlchemyDataset, retry_after: str) -> None:
    busy = f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: {retry_after}\r\n\r\n".encode()
    with server({"/": busy, "/1.png": ok(png(1))}) as web:
        report = gather(database, from_urls([f"{web.url}/", f"{web.url}/1.png"]), attempts=2)
    assert (report.added, dict(report.reasons)) == (1, {"status-503": 1})
    (failure,) = database.failures()
    assert not failure.is_final


def test_the_opt_out_can_be_overridden_by_who_has_the_right(database: SQLAlchemyDataset, web: Web) -> None:
    (number,) = (n for n in range(110) if trouble_of(n) == "noai")
    assert gather(database, from_urls([web.url(number)]), honour_robots=False).added == 1


def test_pauses_grow_unless_the_server_says_how_long() -> None:
    draw = random.Random(1)
    busy = Gone("status-503", "", is_final=False)
    pauses = [pause_before(tries, busy, draw) for tries in (1, 3, 5)]
    assert pauses == sorted(pauses)
    assert pause_before(1, replace(busy, pause=7.0), draw) == 7
