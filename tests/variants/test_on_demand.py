"""Pictures that are made when they are first asked for, through both doors."""

from __future__ import annotations

import asyncio
import importlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from sqlalchemy_imageattach.entity import Image, demand
from sqlalchemy_imageattach.errors import (
    InvalidTypeError,
    InvalidValueError,
    NoEndpointError,
    NoOriginalError,
    PolicyViolationError,
    StoreError,
    UnsavedImageError,
)
from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition
from sqlalchemy_imageattach.serving.request import Asked, Request
from sqlalchemy_imageattach.serving.signing import Signer
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.endpoint import ServedStore
from sqlalchemy_imageattach.testing import FaultyStore
from sqlalchemy_imageattach.variants import OnDemand, OnDemandUrls
from tests.statements import statements

from ..entity.support import CountingStore, animation, picture
from ..serving.doors import DOORS, Door, ask_asgi
from .models import Base, Product, ProductPhoto


class OtherBase(DeclarativeBase):
    pass


class OtherPhoto(OtherBase, Image):
    __tablename__ = "other_photo"
    other_id: Mapped[int] = mapped_column(primary_key=True)


SECRET = "the secret of these tests, which all may know"
BASE = "/sized/"
AVIF_AND_WEBP = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Of a file, so that threads have connections of their own."""
    engine = create_engine(f"sqlite:///{tmp_path / 'products.db'}", connect_args={"timeout": 60})
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine, store: CountingStore) -> sessionmaker[Session]:
    return sessionmaker(engine, info={"image_store": store})


@pytest.fixture
def session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    with sessions() as session:
        yield session


@pytest.fixture
def endpoint(sessions: sessionmaker[Session]) -> Iterator[OnDemand]:
    with closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE)) as endpoint:
        yield endpoint


@pytest.fixture(params=DOORS, ids=str)
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


@pytest.fixture
def product(session: Session) -> Product:
    session.add(product := Product())
    product.photo.from_blob(picture(120, 80, "red", "JPEG"))
    session.commit()
    # as on a page: the next look at it is one statement, before anything is counted
    assert product.photo.require_original().revision
    return product


def path_of(url: str) -> str:
    assert url.startswith(BASE)
    return url.removeprefix(BASE)


def opened(blob: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(blob))


# --- the URL ---------------------------------------------------------------------------------------------------------


def test_a_url_takes_no_statement_and_no_store(
    endpoint: OnDemand, product: Product, engine: Engine, store: CountingStore
) -> None:
    store.calls.clear()
    with statements(engine) as sent:
        url = product.photo.url(width=40, height=40, fit="fill", format="webp", quality=70)
        assert product.photo.url(width=40, height=40, fit="fill", format="webp", quality=70) == url
    assert not sent
    assert not store.calls
    assert url.startswith(BASE)
    assert url.endswith(".webp")


def test_renditions_have_urls_of_their_own(endpoint: OnDemand, product: Product) -> None:
    photo = product.photo
    urls = [
        photo.url(width=40),
        photo.url(height=40),
        photo.url(width=40, height=40),
        photo.url(width=40, height=40, fit="fill"),
        photo.url(width=40, height=40, fit="fill", focal_point=(0.1, 0.5)),
        photo.url(width=40, format="webp"),
        photo.url(width=40, format="auto"),
        photo.url(width=40, quality=20),
        photo.url(width=40, upscale=False),
        photo.url(width=40, expires_in=60),
    ]
    assert len(set(urls)) == len(urls)


def test_where_it_cuts_it_keeps_the_focal_point_in_view(endpoint: OnDemand, product: Product, session: Session) -> None:
    centred = product.photo.url(width=40, height=40, fit="fill")
    product.photo.focal_point = (0.1, 0.5)
    session.commit()
    assert product.photo.url(width=40, height=40, fit="fill") != centred
    assert endpoint.demand_of(path_of(product.photo.url(width=40, height=40, fit="fill"))).rendition.focal_point == (
        0.1,
        0.5,
    )
    assert product.photo.url(width=40, height=40, fit="fill", focal_point=(0.5, 0.5)) == centred


def test_an_expiring_url_stays_the_same_for_a_while(
    endpoint: OnDemand, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([8_000_000_001.0, 8_000_000_099.0, 8_000_000_101.0])
    monkeypatch.setattr("sqlalchemy_imageattach.variants.demanded.time.time", lambda: next(times))
    one, two, three = (product.photo.url(width=40, expires_in=800) for _ in range(3))
    assert one == two != three
    monkeypatch.undo()
    assert endpoint.demand_of(path_of(one)).expires_at == 8_000_000_900


def test_without_a_picture_there_is_no_url(endpoint: OnDemand, session: Session) -> None:
    session.add(product := Product())
    with pytest.raises(NoOriginalError):
        product.photo.url(width=40)
    product.photo.from_blob(picture(120, 80))
    with pytest.raises(UnsavedImageError, match="flush or commit"):
        product.photo.url(width=40)


def test_without_an_endpoint_there_is_no_url(product: Product) -> None:
    with pytest.raises(NoEndpointError, match="nothing makes pictures of ProductPhoto on demand"):
        product.photo.url(width=40)


@pytest.mark.parametrize(
    "options", [{}, {"width": 0}, {"width": 40, "format": "docx"}, {"width": 40, "expires_in": 0}, {"width": 10**6}]
)
def test_what_is_no_rendition_has_no_url(endpoint: OnDemand, product: Product, options: Any) -> None:
    with pytest.raises(InvalidValueError):
        product.photo.url(**options)


def test_the_policy_of_the_class_holds_for_what_is_asked_for(
    endpoint: OnDemand, product: Product, monkeypatch: pytest.MonkeyPatch, door: Door
) -> None:
    path = path_of(product.photo.url(width=60))
    monkeypatch.setattr(ProductPhoto, "image_policy", ImagePolicy(max_pixels=1000))
    with pytest.raises(PolicyViolationError):
        product.photo.url(width=60)
    assert door.ask(endpoint, path).status == 422


# --- making ----------------------------------------------------------------------------------------------------------


def test_a_picture_is_made_once_and_then_found(
    endpoint: OnDemand, product: Product, session: Session, store: CountingStore, engine: Engine, door: Door
) -> None:
    path = path_of(product.photo.url(width=40, height=40, fit="fill", format="webp"))
    first = door.ask(endpoint, path)
    assert (first.status, first.headers["content-type"]) == (200, "image/webp")
    assert opened(first.body).size == (40, 40)
    store.calls.clear()
    with statements(engine) as sent:
        again = door.ask(endpoint, path)
    assert again == first
    assert not sent
    assert not store.calls["put"]


def test_what_is_made_is_a_thumbnail_as_any_other(
    endpoint: OnDemand, product: Product, session: Session, store: CountingStore, door: Door
) -> None:
    body = door.ask(endpoint, path_of(product.photo.url(width=40))).body
    session.expire_all()
    image = product.photo.find_thumbnail(width=40)
    assert image.make_blob() == body
    assert not image.original
    assert {key_of(each) for each in session.scalars(select(ProductPhoto))} == set(store.blobs)


def test_another_process_finds_it_by_one_statement(
    endpoint: OnDemand, product: Product, sessions: sessionmaker[Session], engine: Engine, door: Door
) -> None:
    path = path_of(product.photo.url(width=40))
    body = door.ask(endpoint, path).body
    with closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE)) as other, statements(engine) as sent:
        assert door.ask(other, path).body == body
    assert len(sent) == 1


def test_a_declared_variant_is_told_by_its_name(
    endpoint: OnDemand, product: Product, session: Session, door: Door
) -> None:
    [rendition] = ProductPhoto.image_variants["print"].renditions()
    door.ask(endpoint, path_of(endpoint.url_of(product.photo.require_original(), rendition)))
    session.expire_all()
    [image] = product.photo.variant("print")
    assert image.made_for == "print"


def test_it_is_immutable_and_has_a_validator(endpoint: OnDemand, product: Product, door: Door) -> None:
    path = path_of(product.photo.url(width=40))
    headers = door.ask(endpoint, path).headers
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    assert "vary" not in headers
    again = door.ask(endpoint, path, headers={"If-None-Match": headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    part = door.ask(endpoint, path, headers={"Range": "bytes=0-9"})
    assert (part.status, len(part.body)) == (206, 10)
    head = door.ask(endpoint, path, "HEAD")
    assert (head.status, head.headers["content-length"]) == (200, headers["content-length"])


def test_a_url_of_a_replaced_picture_leads_nowhere(
    endpoint: OnDemand, product: Product, session: Session, door: Door
) -> None:
    made, unmade = (path_of(product.photo.url(width=width)) for width in (40, 50))
    assert door.ask(endpoint, made).status == 200
    session.expire_all()
    product.photo.from_blob(picture(90, 60, "blue"))
    session.commit()
    for path in (made, unmade):
        answer = door.ask(endpoint, path)
        assert answer.status == 404
        assert answer.headers["cache-control"] == "no-store"
    assert door.ask(endpoint, path_of(product.photo.url(width=40))).status == 200


def test_a_picture_that_is_deleted_leads_nowhere(
    endpoint: OnDemand, product: Product, session: Session, door: Door
) -> None:
    path = path_of(product.photo.url(width=40))
    session.delete(product)
    session.commit()
    assert door.ask(endpoint, path).status == 404


def test_a_thumbnail_that_was_removed_is_made_again(
    endpoint: OnDemand, product: Product, session: Session, door: Door
) -> None:
    path = path_of(product.photo.url(width=40))
    door.ask(endpoint, path)
    session.expire_all()
    product.photo.remove(product.photo.find_thumbnail(width=40))
    session.commit()
    assert opened(door.ask(endpoint, path).body).size == (40, 27)


def test_nobody_is_led_to_a_thumbnail_that_was_removed(
    sessions: sessionmaker[Session], product: Product, session: Session, store: CountingStore, door: Door
) -> None:
    served = ServedStore(store, "https://pictures.example.com/")  # whose URLs Werkzeug's lint takes for a Location
    options = {"base_url": BASE, "store": served, "send": "redirect"}
    with closing(OnDemand(sessions, SECRET, [ProductPhoto], **options)) as endpoint:  # type: ignore[arg-type]
        path = path_of(product.photo.url(width=40))
        former = door.ask(endpoint, path).headers["location"]
        session.expire_all()
        product.photo.remove(product.photo.find_thumbnail(width=40))
        session.commit()
        assert door.ask(endpoint, path).headers["location"] != former
        session.expire_all()
        assert key_of(product.photo.find_thumbnail(width=40)) in store.blobs


def test_what_cannot_be_made_is_not_tried_again_at_once(
    endpoint: OnDemand, product: Product, store: CountingStore, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(product.photo.require_original())
    blob = store.blobs[key]
    store._blobs[key] = blob[: len(blob) // 2]
    path = path_of(product.photo.url(width=40))
    store.calls.clear()
    assert [door.ask(endpoint, path).status for _ in range(3)] == [422, 422, 422]
    assert store.calls["get"] == 1
    assert "cannot make" in caplog.text


def test_a_store_that_fails_is_a_bad_gateway_and_the_next_one_makes_it(
    sessions: sessionmaker[Session], product: Product, store: CountingStore, door: Door
) -> None:
    faulty = FaultyStore(store)
    faulty.fail("put", on=1, error=StoreError("the disk is full"))
    with closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE, store=faulty)) as endpoint:
        path = path_of(product.photo.url(width=40))
        assert [door.ask(endpoint, path).status for _ in range(2)] == [502, 200]


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (AVIF_AND_WEBP, "image/avif"),
        ("image/webp,*/*", "image/webp"),
        ("image/avif;q=0, image/webp;q=0.5", "image/webp"),
        ("IMAGE/WEBP", "image/webp"),
        ("*/*", "image/jpeg"),
        ("image/*", "image/jpeg"),
        ("image/png", "image/jpeg"),
        ("", "image/jpeg"),
        (None, "image/jpeg"),
        ("image/avifx,xx/image/webp;,;;;=,q=1", "image/jpeg"),
        ("image/avif;q=nan", "image/avif"),
    ],
)
def test_the_browser_decides_about_the_format(
    endpoint: OnDemand, product: Product, accept: str | None, expected: str, door: Door
) -> None:
    path = path_of(product.photo.url(width=40, format="auto"))
    headers = {} if accept is None else {"Accept": accept}
    answer = door.ask(endpoint, path, headers=headers)
    assert (answer.status, answer.headers["content-type"], answer.headers["vary"]) == (200, expected, "Accept")
    again = door.ask(endpoint, path, headers={**headers, "If-None-Match": answer.headers["etag"]})
    assert (again.status, again.headers["vary"]) == (304, "Accept")


def test_what_one_browser_takes_is_not_the_others(endpoint: OnDemand, product: Product, door: Door) -> None:
    path = path_of(product.photo.url(width=40, format="auto"))
    tags = {door.ask(endpoint, path, headers={"Accept": accept}).headers["etag"] for accept in ("image/avif", "*/*")}
    assert len(tags) == 2


def test_where_nothing_better_is_taken_transparency_stays(endpoint: OnDemand, session: Session, door: Door) -> None:
    session.add(product := Product())
    product.photo.from_blob(picture(120, 80, (255, 0, 0, 100), mode="RGBA"))
    session.commit()
    answer = door.ask(endpoint, path_of(product.photo.url(width=40, format="auto")))
    assert answer.headers["content-type"] == "image/png"


def test_moving_pictures_keep_moving_where_they_are_asked_to(endpoint: OnDemand, session: Session, door: Door) -> None:
    session.add(product := Product())
    product.photo.from_blob(animation())
    session.commit()
    for animated, frames in ((True, 3), (False, 1)):
        path = path_of(product.photo.url(width=40, format="webp", animated=animated))
        assert getattr(opened(door.ask(endpoint, path).body), "n_frames", 1) == frames


# --- who may see it --------------------------------------------------------------------------------------------------


def test_one_hook_decides_before_anything_is_touched(
    sessions: sessionmaker[Session], product: Product, store: CountingStore, engine: Engine, door: Door
) -> None:
    asked: list[tuple[Request, Asked]] = []

    def authorise(request: Request, what: Asked) -> bool:
        asked.append((request, what))
        return request.header("X-User") == "admin"

    with closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE, authorise=authorise)) as endpoint:
        path = path_of(product.photo.url(width=40))
        ident = product.id
        store.calls.clear()
        with statements(engine) as sent:
            refused = door.ask(endpoint, path, headers={"X-User": "guest"})
        assert (refused.status, refused.headers["cache-control"]) == (403, "no-store")
        assert not sent
        assert not store.calls
        allowed = door.ask(endpoint, path, headers={"X-User": "admin"})
        assert (allowed.status, allowed.headers["cache-control"]) == (200, "private, no-cache")
    [_, (_, what)] = asked
    assert what == Asked(ProductPhoto, (ident,), Rendition(width=40))


def test_a_hook_that_has_to_be_awaited_is_no_yes(sessions: sessionmaker[Session], product: Product) -> None:
    async def authorise(request: Request, asked: Asked) -> bool:
        return True

    with closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE, authorise=authorise)) as endpoint:
        path = path_of(product.photo.url(width=40))
        with pytest.raises(InvalidTypeError, match="a coroutine function needs ASGI"):
            DOORS[0].ask(endpoint, path)
        assert DOORS[1].ask(endpoint, path).status == 200


# --- forgery ---------------------------------------------------------------------------------------------------------


def forgeries(endpoint: OnDemand, product: Product) -> Iterator[tuple[str, int]]:
    """Paths that nobody has signed, with the status that each is to have."""
    path = path_of(product.photo.url(width=40))
    token, extension = path.rsplit(".", 1)
    payload, expiry, signature = token.split(".")
    other = path_of(product.photo.url(width=50))
    said = endpoint.signer.loads(token)
    yield "", 403
    yield "x", 403
    yield ".." * 1000, 403
    yield "%00", 403
    yield "%ff%fe", 403
    yield path.upper(), 403
    yield path[1:], 403
    yield f"{other.split('.')[0]}.{expiry}.{signature}.{extension}", 403
    yield f"{payload}.99999999999.{signature}.{extension}", 403
    yield f"{payload}.{expiry}.{signature[:-1]}.{extension}", 403
    yield f"{payload}={path[len(payload) :]}", 403
    yield f"/{path}", 403
    yield f"../{path}", 403
    for purpose, secret in (("upload", SECRET), ("picture on demand", SECRET[::-1])):
        yield f"{Signer(secret, purpose=purpose).dumps(said)}.{extension}", 403
    # signed, and yet nothing
    yield token, 404
    yield f"{token}.png", 404
    yield f"{token}.{extension}.{extension}", 404
    yield f"{token}.{extension}/", 404
    yield f"{token}.{extension}%0d%0aX: 1", 404
    signed: list[Any] = [
        ["UserPicture", *said[1:]],
        ["ProductPhoto", None, [product.id], ".jpe"],
        [*said[:2], [], *said[3:]],
        [*said[:2], [1, 2], *said[3:]],
        [*said[:2], [["UUID", "x"]], *said[3:]],
        [*said[:4], {"width": 0}],
        [*said[:4], {"width": "40"}],
        [*said[:4], {"widht": 40}],
        [*said[:4], {"width": 40, "format": "docx"}],
        [*said[:4], []],
        [*said[:4], None],
        "ProductPhoto",
        None,
        {},
    ]
    for value in signed:
        yield f"{endpoint.signer.dumps(value)}.{extension}", 404
    # repeated: JSON's last one counts, and both are signed as they stand
    yield f"{endpoint.signer.sign(b'{}')}.{extension}", 404
    expired = endpoint.signer.dumps(said, expires_at=1_000_000_000)
    yield f"{expired}.{extension}", 410


def test_what_is_forged_costs_nothing(
    endpoint: OnDemand, product: Product, store: CountingStore, engine: Engine, door: Door, monkeypatch: Any
) -> None:
    def decode(*_: Any) -> Any:
        raise AssertionError("something was decoded")

    monkeypatch.setattr("sqlalchemy_imageattach.entity.thumbnails.render", decode)
    paths = list(forgeries(endpoint, product))
    store.calls.clear()
    with statements(engine) as sent:
        for path, status in paths:
            for method in ("GET", "HEAD"):
                answer = door.ask(endpoint, path, method)
                assert (answer.status, path) == (status, path)
                assert answer.headers["cache-control"] == "no-store"
    assert not sent
    assert not store.calls


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(endpoint: OnDemand, product: Product, method: str, door: Door) -> None:
    answer = door.ask(endpoint, path_of(product.photo.url(width=40)), method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_query_makes_no_other_picture(endpoint: OnDemand, product: Product, store: CountingStore, door: Door) -> None:
    path = path_of(product.photo.url(width=40))
    answers = [door.ask(endpoint, path, query=query) for query in ("", "width=9999", "format=docx&width=1", "%00")]
    assert all(answer == answers[0] for answer in answers)
    assert len(store) == 2 + len(product.photo) - 1


def test_secrets_can_be_rotated(sessions: sessionmaker[Session], product: Product, door: Door) -> None:
    with closing(OnDemandUrls(SECRET, [ProductPhoto], base_url=BASE)):
        path = path_of(product.photo.url(width=40))
    with closing(OnDemand(sessions, [SECRET[::-1], SECRET], [ProductPhoto], base_url=BASE)) as rotated:
        assert door.ask(rotated, path).status == 200
        assert path_of(product.photo.url(width=40)) != path
    with closing(OnDemand(sessions, SECRET[::-1], [ProductPhoto], base_url=BASE)) as later:
        assert door.ask(later, path).status == 403


def test_an_expiring_url_is_kept_for_no_longer(
    endpoint: OnDemand, product: Product, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(product.photo.url(width=40, expires_in=1000))
    answer = door.ask(endpoint, path)
    age = int(answer.headers["cache-control"].removeprefix("public, max-age="))
    assert 0 < age <= 1125
    monkeypatch.setattr("sqlalchemy_imageattach.serving.signing.time.time", lambda: 10**11)
    assert door.ask(endpoint, path).status == 410


# --- many at once ----------------------------------------------------------------------------------------------------


class Gate:
    """Holds rendering back, and counts it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        thumbnails: Any = importlib.import_module("sqlalchemy_imageattach.entity.thumbnails")
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)
        self.count = 0
        render = thumbnails.render

        def held(*args: Any) -> Any:
            self.count += 1
            self.begun.release()
            assert self.open.wait(60)
            return render(*args)

        monkeypatch.setattr(thumbnails, "render", held)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def test_many_threads_that_want_one_picture_have_it_made_once(
    endpoint: OnDemand, product: Product, gate: Gate, store: CountingStore
) -> None:
    path = path_of(product.photo.url(width=40))
    puts = store.calls["put"]
    with ThreadPoolExecutor(40) as pool, gate:
        answers = [pool.submit(DOORS[0].ask, endpoint, path) for _ in range(40)]
        assert gate.begun.acquire(timeout=60)
        gate.open.set()
        assert {answer.result().body for answer in answers} == {answers[0].result().body}
    assert answers[0].result().status == 200
    assert (gate.count, store.calls["put"] - puts) == (1, 1)


@pytest.mark.asyncio
async def test_many_tasks_that_want_one_picture_hold_no_threads(
    endpoint: OnDemand, product: Product, gate: Gate
) -> None:
    path = path_of(product.photo.url(width=40))
    waiting = [asyncio.create_task(ask_asgi(endpoint, path)) for _ in range(200)]
    await asyncio.to_thread(gate.begun.acquire)
    # threads are free for others, although 200 wait
    assert (await asyncio.gather(*(asyncio.to_thread(lambda: 1) for _ in range(100)))) == [1] * 100
    gate.open.set()
    answers = await asyncio.gather(*waiting)
    assert {answer.status for answer in answers} == {200}
    assert gate.count == 1


@pytest.mark.asyncio
async def test_who_hangs_up_does_not_take_it_from_the_others(endpoint: OnDemand, product: Product, gate: Gate) -> None:
    path = path_of(product.photo.url(width=40))
    first, second = (asyncio.create_task(ask_asgi(endpoint, path)) for _ in range(2))
    await asyncio.to_thread(gate.begun.acquire)
    first.cancel()
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second).status == 200


def test_beyond_the_queue_clients_are_told_to_come_back(
    sessions: sessionmaker[Session], product: Product, gate: Gate
) -> None:
    limits: dict[str, Any] = {"renders_at_once": 1, "queue_length": 1, "retry_after": 7}
    with (
        closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE, **limits)) as endpoint,
        ThreadPoolExecutor(3) as pool,
        gate,
    ):
        paths = [path_of(product.photo.url(width=width)) for width in (40, 50, 60)]
        first = pool.submit(DOORS[0].ask, endpoint, paths[0])
        assert gate.begun.acquire(timeout=60)
        second = pool.submit(DOORS[0].ask, endpoint, paths[1])
        while len(endpoint._flights) < 2:
            pass
        for door in DOORS:
            answer = door.ask(endpoint, paths[2])
            assert (answer.status, answer.headers["retry-after"]) == (503, "7")
            assert answer.headers["cache-control"] == "no-store"
        # who wants what is being made does not lengthen the queue
        third = pool.submit(DOORS[0].ask, endpoint, paths[0])
        gate.open.set()
        assert {each.result().status for each in (first, second, third)} == {200}
        assert DOORS[0].ask(endpoint, paths[2]).status == 200


def test_renders_at_a_time_are_bounded(sessions: sessionmaker[Session], product: Product, gate: Gate) -> None:
    with (
        closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE, renders_at_once=1)) as endpoint,
        ThreadPoolExecutor(5) as pool,
        gate,
    ):
        paths = [path_of(product.photo.url(width=width)) for width in range(40, 45)]
        answers = [pool.submit(DOORS[0].ask, endpoint, path) for path in paths]
        assert gate.begun.acquire(timeout=60)
        while len(endpoint._flights) < 5:
            pass
        assert gate.count == 1
        gate.open.set()
        assert {answer.result().status for answer in answers} == {200}


# --- asynchronous sessions -------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_asynchronous_sessions_will_do_behind_the_door_for_asgi(
    product: Product, store: CountingStore, tmp_path: Path
) -> None:
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'products.db'}")
    sessions = async_sessionmaker(engine, info={"image_store": store})
    with closing(OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE)) as endpoint:
        path = path_of(product.photo.url(width=40))
        answers = await asyncio.gather(*(ask_asgi(endpoint, path) for _ in range(10)))
        assert {opened(answer.body).size for answer in answers} == {(40, 27)}
        with pytest.raises(InvalidTypeError, match="an async_sessionmaker needs ASGI"):
            await asyncio.to_thread(DOORS[0].ask, endpoint, path_of(product.photo.url(width=50)))
    await engine.dispose()


# --- picture() -------------------------------------------------------------------------------------------------------


def test_a_page_has_urls_on_demand_for_what_is_not_made(
    endpoint: OnDemand, product: Product, session: Session, door: Door
) -> None:
    markup = product.photo.picture("print", alt="")
    [url] = [part.split('"')[1] for part in markup.split(" src=")[1:]]
    assert url.startswith(BASE)
    made = door.ask(endpoint, path_of(url))
    assert made.status == 200
    session.expire_all()
    [image] = product.photo.variant("print")
    assert image.locate() in product.photo.picture("print", alt="")
    assert BASE not in product.photo.picture("print", alt="")


def test_a_page_of_pictures_takes_two_statements(
    endpoint: OnDemand, sessions: sessionmaker[Session], engine: Engine, store: CountingStore
) -> None:
    from sqlalchemy.orm import selectinload

    with sessions() as session:
        for _ in range(20):
            session.add(product := Product())
            product.photo.from_blob(picture(120, 80))
        session.commit()
    store.calls.clear()
    with sessions() as session, statements(engine) as sent:
        products = session.scalars(select(Product).options(selectinload(Product.photo))).all()
        markup = [product.photo.picture("print", alt="") for product in products]
    assert len(sent) == 2
    assert not store.calls
    assert all(BASE in each for each in markup)


# --- bad input -------------------------------------------------------------------------------------------------------


def test_two_endpoints_for_one_class_are_refused(endpoint: OnDemand, sessions: sessionmaker[Session]) -> None:
    with pytest.raises(InvalidValueError, match="classes: expected classes whose pictures no other endpoint makes"):
        OnDemand(sessions, SECRET, [ProductPhoto], base_url="/other/")
    with pytest.raises(InvalidValueError, match="close"):
        OnDemand(sessions, SECRET[::-1], [ProductPhoto], base_url=BASE)


def test_the_same_endpoint_can_be_made_again(endpoint: OnDemand, sessions: sessionmaker[Session]) -> None:
    again = OnDemand(sessions, SECRET, [ProductPhoto], base_url=BASE)
    endpoint.close()
    assert demand.find_url_maker(ProductPhoto) is again
    again.close()
    assert demand.find_url_maker(ProductPhoto) is None


def test_a_prefix_that_contains_another_is_refused(endpoint: OnDemand, sessions: sessionmaker[Session]) -> None:
    for base_url in ("/", "/sized", "/sized/others/"):
        with pytest.raises(InvalidValueError, match="base_url: expected one that contains no other"):
            OnDemand(sessions, SECRET, {"other": OtherPhoto}, base_url=base_url)
    with closing(OnDemand(sessions, SECRET, {"other": OtherPhoto}, base_url="/sizedothers")):
        pass


def test_a_token_of_another_class_leads_nowhere(
    endpoint: OnDemand, product: Product, sessions: sessionmaker[Session], door: Door
) -> None:
    path = path_of(product.photo.url(width=40))
    with closing(OnDemand(sessions, SECRET, [OtherPhoto], base_url="/second/")) as other:
        assert door.ask(other, path).status == 404


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"secret": None}, InvalidValueError, "secret: expected 32 bytes or more, got none"),
        ({"secret": "x" * 31}, InvalidValueError, "secret: expected 32 bytes or more, got one of 31"),
        ({"classes": []}, InvalidValueError, "classes: expected one image class or more"),
        ({"classes": ProductPhoto}, InvalidTypeError, "classes: expected image classes"),
        ({"classes": [Product]}, InvalidTypeError, "classes: expected mapped classes with the Image mixin"),
        ({"classes": ["ProductPhoto"]}, InvalidTypeError, "classes: expected mapped classes"),
        ({"base_url": None}, InvalidTypeError, "base_url"),
        ({"base_url": "/a b/"}, InvalidValueError, "base_url"),
        ({"expires_in": 0}, InvalidValueError, "expires_in: expected seconds"),
        ({"expires_in": "1"}, InvalidTypeError, "expires_in"),
        ({"sessions": None}, InvalidTypeError, "sessions: expected what gives a new session"),
        ({"store": "s3://pictures"}, InvalidTypeError, "expected a store"),
        ({"authorise": True}, InvalidTypeError, "authorise"),
        ({"renders_at_once": 0}, InvalidValueError, "renders_at_once: expected 1 or more"),
        ({"queue_length": -1}, InvalidValueError, "queue_length"),
        ({"queue_length": True}, InvalidTypeError, "queue_length"),
        ({"retry_after": "1"}, InvalidTypeError, "retry_after"),
        ({"send": "pigeon"}, InvalidValueError, "send: expected one of"),
        ({"send": "X-Accel-Redirect"}, InvalidValueError, "internal_url"),
        ({"internal_url": "/x/"}, InvalidValueError, "internal_url"),
    ],
)
def test_wrong_arguments_are_refused_at_start_up(
    sessions: sessionmaker[Session], changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {
        "sessions": sessions,
        "secret": SECRET,
        "classes": [ProductPhoto],
        "base_url": BASE,
        **changed,
    }
    with pytest.raises(error, match=message):
        OnDemand(**arguments)
    assert demand.find_url_maker(ProductPhoto) is None
