"""Variants that several transactions want at once: one makes them, the others find them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.errors import ConcurrentReplacementError
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore

from ..entity.support import color_of, picture
from ..transactions.conftest import server_engine
from .models import Base, Product, ProductPhoto

Action = Callable[[Session, Product], object]


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each database whose transactions wait for the rows of one another, with empty tables."""
    engine = server_engine(request.getfixturevalue(f"{request.param}_url"))
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)  # the scratch database is that of all tests
    engine.dispose()


def make_variants(_: Session, product: Product) -> object:
    return product.photo.make_variants()


def make_print(_: Session, product: Product) -> object:
    return product.photo.make_variants("print")


def thumbnails(_: Session, product: Product) -> object:
    return product.photo.thumbnails(
        [{"width": 20, "height": 20, "fit": "fill", "focal_point": (x, 0.5)} for x in (0, 1)]
    )


def replace(_: Session, product: Product) -> None:
    product.photo.from_blob(picture(90, 60, "blue"))


def delete(session: Session, product: Product) -> None:
    session.delete(product)


def move_focal_point(_: Session, product: Product) -> None:
    product.photo.focal_point = (0.5, 0.1)


def race(engine: Engine, store: MemoryStore, *actions: Action) -> list[ConcurrentReplacementError | None]:
    """What each is told; all load the picture, and then act and commit at the same time.  Other errors are raised."""
    with Session(engine, info={"image_store": store}) as session:
        session.add(product := Product())
        product.photo.from_blob(picture(120, 80, "red"))
        session.commit()
        ident = product.id
    barrier = threading.Barrier(len(actions))

    def run(action: Action) -> ConcurrentReplacementError | None:
        with Session(engine, info={"image_store": store}) as session:
            product = session.get_one(Product, ident)
            assert product.photo
            barrier.wait()
            try:
                action(session, product)
                session.commit()
            except ConcurrentReplacementError as error:
                return error
        return None

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def assert_in_step(engine: Engine, store: MemoryStore) -> None:
    with Session(engine) as session:
        images = session.scalars(select(ProductPhoto)).all()
        assert {key_of(image) for image in images} == set(store.blobs)
        assert len(images) == len(store.blobs)


def channel_of(blob: bytes) -> str:
    """Which picture it shows, the red or the blue one."""
    return max(zip(color_of(blob), "RGB", strict=True))[1]


@pytest.mark.parametrize(
    "actions",
    [(make_variants, make_variants), (thumbnails, thumbnails), (make_variants, make_print), (thumbnails, make_print)],
    ids=lambda actions: " and ".join(action.__name__ for action in actions),
)
def test_variants_wanted_twice_at_once_are_made_once(server: Engine, actions: tuple[Action, ...]) -> None:
    store = MemoryStore()
    for _ in range(3):
        assert race(server, store, *actions) == [None, None]
    assert_in_step(server, store)
    with Session(server, info={"image_store": store}) as session:
        for product in session.scalars(select(Product)):
            identities = [(image.width, image.height, image.mimetype, image.variant) for image in product.photo]
            assert len(identities) == len(set(identities))
            if make_variants in actions:
                assert all(product.photo.variant(name).is_complete for name in ProductPhoto.image_variants)
            before = set(identities)
            for action in actions:
                action(session, product)
            assert {(i.width, i.height, i.mimetype, i.variant) for i in product.photo} == before, "all were there"


@pytest.mark.parametrize("other", [replace, delete, move_focal_point])
@pytest.mark.parametrize("action", [make_variants, thumbnails])
def test_of_a_picture_that_is_changed_meanwhile_no_variant_of_the_former_one_stays(
    server: Engine, action: Action, other: Action
) -> None:
    store = MemoryStore()
    for _ in range(3):
        outcomes = race(server, store, action, other)
        assert None in outcomes, "one of the two wins"
    assert_in_step(server, store)
    with Session(server, info={"image_store": store}) as session:
        for product in session.scalars(select(Product)):
            colours = {channel_of(image.make_blob()) for image in product.photo}
            assert len(colours) == 1, "a variant of another picture"
