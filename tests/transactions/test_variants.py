"""Declared variants in step with the transaction: in whatever way they come about, and however it ends."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, Literal

import pytest
from PIL import Image as PillowImage
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from sqlalchemy_imageattach.jobs import JobRunner
from sqlalchemy_imageattach.testing import FaultyStore
from sqlalchemy_imageattach.variants.eager import KIND

from .conftest import empty
from .helpers import OTHER, SMALL, Exploded, Waiting, assert_in_step, picture
from .models import Base, Product, ProductPhoto

NOW = ("card", "square", "corner")
LATER = ("list", "strip")


@dataclass(frozen=True)
class Shop:
    """Sessions of one database and one store, with a queue."""

    engine: Engine
    store: FaultyStore
    queue: Waiting
    sessions: sessionmaker[Session]

    @classmethod
    def of(cls, engine: Engine, store: FaultyStore) -> Shop:
        queue = Waiting()
        return cls(engine, store, queue, sessionmaker(engine, info={"image_store": store, "image_queue": queue}))

    def add_product(self) -> int:
        """One whose variants are all made that are not made on demand, with no job left."""
        with self.sessions() as session:
            session.add(product := Product())
            product.photo.from_blob(picture("red"))
            session.commit()
            ident = product.id
        self.work_off()
        return ident

    def work_off(self) -> None:
        self.queue.work_off(JobRunner(self.sessions, Base))

    def empty(self) -> None:
        """Neither rows nor blobs, so that the next one costs as little as the first."""
        empty(self.engine)
        for key in self.store.blobs:
            self.store.wrapped.delete_key(key)

    def state(self) -> set[tuple[Any, ...]]:
        """What the committed rows say."""
        with self.sessions() as session:
            return {
                (each.width, each.height, each.variant, each.revision, each.focal_x, each.made_for)
                for each in session.scalars(select(ProductPhoto))
            }

    def assert_whole(self, *names: str) -> None:
        """Each photograph has all of these variants, each image once, all of one picture; and nothing is left over."""
        assert_in_step(self.engine, self.store)
        with self.sessions() as session:
            for product in session.scalars(select(Product)):
                images = list(product.photo)
                identities = {(each.width, each.height, each.mimetype, each.variant) for each in images}
                assert len(identities) == len(images)
                assert len({colour_of(each.make_blob()) for each in images}) <= 1, "a variant of another picture"
                for name in names if images else ():
                    assert product.photo.variant(name).is_complete, name


def colour_of(blob: bytes) -> Any:
    with PillowImage.open(io.BytesIO(blob)) as image:
        return image.convert("RGB").getpixel((image.width // 2, image.height // 2))


# --- what is done to a product --------------------------------------------------------------------------------------

Action = Callable[[Session, Product], object]


def replace(_: Session, product: Product) -> None:
    product.photo.from_blob(picture("blue"))


def replace_by_another_size(_: Session, product: Product) -> None:
    product.photo.from_blob(picture("blue", OTHER))


def move_the_focal_point(_: Session, product: Product) -> None:
    product.photo.focal_point = (1.0, 0.5)


def move_it_to_where_another_variant_has_it(_: Session, product: Product) -> None:
    product.photo.focal_point = (0.0, 0.0)


def make_what_is_for_others_to_demand(_: Session, product: Product) -> None:
    product.photo.make_variants("print")


def make_two_of_one_size(_: Session, product: Product) -> None:
    product.photo.thumbnails([{"width": 8, "height": 8, "fit": "fill", "focal_point": (x, 0.5)} for x in (0, 1)])


def do_all_of_it_in_turn(session: Session, product: Product) -> None:
    replace(session, product)
    move_the_focal_point(session, product)
    make_two_of_one_size(session, product)
    replace_by_another_size(session, product)
    move_it_to_where_another_variant_has_it(session, product)
    make_what_is_for_others_to_demand(session, product)


def clear(_: Session, product: Product) -> None:
    product.photo.clear()


def delete(session: Session, product: Product) -> None:
    session.delete(product)


def add_another(session: Session, _: Product) -> None:
    session.add(product := Product())
    product.photo.from_blob(picture("green", OTHER))


#: Each with whether the picture has something to be made later then.
ACTIONS: dict[Action, bool] = {
    replace: True,
    replace_by_another_size: True,
    move_the_focal_point: True,
    move_it_to_where_another_variant_has_it: True,
    make_what_is_for_others_to_demand: False,
    make_two_of_one_size: False,
    do_all_of_it_in_turn: True,
    clear: False,
    delete: False,
    add_another: True,
}


# --- how transactions end -------------------------------------------------------------------------------------------

Work = Callable[[], object]


def commit(session: Session, work: Work) -> bool:
    work()
    session.commit()
    return True


def roll_back(session: Session, work: Work) -> bool:
    work()
    session.flush()
    session.rollback()
    return False


def close(session: Session, work: Work) -> bool:
    work()
    session.flush()
    session.close()
    return False


def release(session: Session, work: Work) -> bool:
    with session.begin_nested():
        work()
    session.commit()
    return True


def release_and_roll_back(session: Session, work: Work) -> bool:
    with session.begin_nested():
        work()
    session.rollback()
    return False


def roll_back_the_savepoint(session: Session, work: Work) -> bool:
    savepoint = session.begin_nested()
    work()
    session.flush()
    savepoint.rollback()
    session.commit()
    return False


def release_within_one_that_is_rolled_back(session: Session, work: Work) -> bool:
    savepoint = session.begin_nested()
    with session.begin_nested():
        work()
    savepoint.rollback()
    session.commit()
    return False


def try_twice(session: Session, work: Work) -> bool:
    """In a savepoint that is rolled back, and again in one that is released."""
    roll_back_the_savepoint(session, work)
    return release(session, work)


ENDS = [
    commit,
    roll_back,
    close,
    release,
    release_and_roll_back,
    roll_back_the_savepoint,
    release_within_one_that_is_rolled_back,
    try_twice,
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_variants_follow_their_picture_however_the_transaction_ends(
    sqlite: Engine, store: FaultyStore, action: Action
) -> None:
    assert_followed(Shop.of(sqlite, store), action)


@pytest.mark.parametrize("action", [do_all_of_it_in_turn, delete], ids=lambda action: action.__name__)
def test_so_they_do_on_servers(server: Engine, store: FaultyStore, action: Action) -> None:
    assert_followed(Shop.of(server, store), action)


def assert_followed(shop: Shop, action: Action) -> None:
    for end in ENDS:
        ident = shop.add_product()
        before = shop.state()
        with shop.sessions() as session:
            committed = end(session, partial(_act, action, session, ident))
        shop.assert_whole(*NOW)
        assert (shop.state() != before) == committed, end.__name__
        kinds = {job.kind for job in shop.queue.jobs}
        assert kinds == ({KIND} if committed and ACTIONS[action] else set()), end.__name__
        shop.work_off()
        assert not shop.queue.jobs
        shop.assert_whole(*NOW, *LATER)
        shop.empty()


def _act(action: Action, session: Session, ident: int) -> None:
    action(session, session.get_one(Product, ident))


# --- stores that fail -----------------------------------------------------------------------------------------------

Operation = Literal["put", "get", "delete"]
OPERATIONS: tuple[Operation, ...] = ("put", "get", "delete")


def faults(counts: dict[Operation, int]) -> Iterator[dict[str, Any]]:
    """Each call of each operation by itself, in one way and the next in another; and all of them, in each way."""
    for operation, count in counts.items():
        ways = ("before", "after") if operation == "delete" else ("before", "midway", "after")
        for on, when in zip(range(1, count + 1), cycle(ways)):
            yield {"operation": operation, "on": on, "when": when}
        for when in ways if count else ():
            yield {"operation": operation, "on": None, "when": when}


def calls_of(store: FaultyStore, work: Work) -> dict[Operation, int]:
    before = {operation: store.count(operation) for operation in OPERATIONS}
    work()
    return {operation: store.count(operation) - before[operation] for operation in OPERATIONS}


def attempt(shop: Shop, ident: int, action: Action) -> bool:
    with shop.sessions() as session:
        try:
            _act(action, session, ident)
            session.commit()
        except Exploded:
            session.rollback()
            return False
    return True


@pytest.mark.parametrize(
    "action",
    [
        replace_by_another_size,
        move_the_focal_point,
        make_what_is_for_others_to_demand,
        make_two_of_one_size,
        clear,
        delete,
    ],
    ids=lambda action: action.__name__,
)
def test_a_store_that_fails_at_any_call_leaves_all_as_it_was_or_as_it_should_be(
    sqlite: Engine, store: FaultyStore, action: Action
) -> None:
    """No database has a part in it.  What could not be deleted is a job, and nothing is left when that is done."""
    shop = Shop.of(sqlite, store)
    first = shop.add_product()
    counts = calls_of(store, lambda: attempt(shop, first, action))
    outcomes = set()
    for fault in faults(counts):
        shop.empty()
        ident = shop.add_product()
        before = shop.state()
        store.fail(**fault, error=Exploded("no"))
        done = attempt(shop, ident, action)
        store.heal()
        outcomes.add((fault["operation"], done))
        assert (shop.state() != before) == done, fault
        assert done or attempt(shop, ident, action), "the same can be tried again"
        shop.work_off()
        shop.assert_whole(*NOW, *LATER)
    assert {operation for operation, done in outcomes if not done} <= {"put", "get"}, "no commit fails at a deletion"
    assert counts["put"] == 0 or ("put", False) in outcomes


def test_a_job_whose_store_fails_at_any_call_is_done_when_it_is_tried_again(sqlite: Engine, store: FaultyStore) -> None:
    shop = Shop.of(sqlite, store)
    runner = JobRunner(shop.sessions, Base)

    def attach() -> None:
        with shop.sessions() as session:
            session.add(product := Product())
            product.photo.from_blob(picture("red"))
            session.commit()

    attach()
    counts = calls_of(store, lambda: shop.queue.work_off(runner))
    assert counts["put"] == 3
    assert counts["get"] == 1
    for fault in faults(counts):
        shop.empty()
        attach()
        store.fail(**fault, error=Exploded("no"))
        shop.queue.work_off(runner)
        store.heal()
        assert [job.kind for job in shop.queue.jobs] == [KIND], fault
        shop.assert_whole(*NOW)
        shop.queue.work_off(runner)
        assert not shop.queue.jobs
        shop.assert_whole(*NOW, *LATER)


@pytest.mark.parametrize("size", [SMALL, OTHER], ids=["of the same size", "of another size"])
def test_a_new_picture_has_nothing_of_the_one_that_it_replaces(
    engine: Engine, store: FaultyStore, size: tuple[int, int]
) -> None:
    """Of the same size, it is an UPDATE of the same row."""
    with Session(engine) as session:
        session.add(product := Product(id=1))
        product.photo.from_blob(picture("red", SMALL))
        session.commit()
        product.photo.focal_point = (1, 1)
        original = product.photo.require_original()
        assert original.dominant_color == "#ff0000"
        original.frames = 7
        session.commit()
        product.photo.from_blob(picture("blue", size))
        session.commit()
        original = product.photo.require_original()
        found: tuple[Any, ...] = (product.photo.focal_point, original.dominant_color, original.frames)
        assert found == (None, "#0000ff", 1)
        assert all(product.photo.variant(name).is_complete for name in ("card", "square", "corner"))
    assert_in_step(engine, store)
