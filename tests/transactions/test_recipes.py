"""The recipes of the guide, as they are printed there, where transactions really get in each other's way."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from sqlalchemy_imageattach.entity import is_conflict
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.entity.models import Base, User, UserPicture
from tests.pictures import picture
from tests.test_docs import DOCS, blocks_of

from .conftest import server_engine

SIZES = [160, 320, 640]


@pytest.fixture(params=["postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each database whose transactions wait for the rows of one another, with empty tables."""
    engine = server_engine(request.getfixturevalue(f"{request.param}_url"))
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)  # the scratch database is that of all tests
    engine.dispose()


class Meeting(Session):
    """A session that lets something happen as soon as it has loaded an owner and the picture."""

    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        owner = super().get(entity, ident, **options)
        if owner is not None:
            list(owner.picture)
        self.info["between"]()
        return owner

    def get_one(self, entity: Any, ident: Any, **options: Any) -> Any:
        owner = self.get(entity, ident, **options)
        assert owner is not None
        return owner


class World:
    """A user with a picture, and what a page of the guide defines."""

    def __init__(self, engine: Engine, page: str, name: str) -> None:
        self.engine = engine
        self.store = MemoryStore()
        self.between: Callable[[], object] = lambda: None
        self.loads = 0
        self.plain = sessionmaker(engine, info={"image_store": self.store})
        meeting = sessionmaker(engine, class_=Meeting, info={"image_store": self.store, "between": self._pause})
        self.defined: dict[str, Any] = {"Session": meeting, "User": User}
        for block in blocks_of((DOCS / "guide" / page).read_text(encoding="utf-8")):
            if block.kind == "testcode" and f"def {name}(" in block.content:
                exec(compile(block.content, page, "exec", dont_inherit=True), self.defined)
                break
        self.recipe: Callable[..., Any] = self.defined[name]
        with self.plain() as session:
            session.add(User(id=1))
            session.get_one(User, 1).picture.from_blob(picture(1000, 800, "red"))
            session.commit()

    def _pause(self) -> None:
        self.loads += 1
        self.between()

    def once(self, action: Callable[[], object]) -> None:
        """Let this happen at the next load, and not at those after it."""

        def between() -> None:
            self.between = lambda: None
            action()

        self.between = between

    def replace(self) -> None:
        with self.plain() as session:
            session.get_one(User, 1).picture.from_blob(picture(900, 700, "blue"))
            session.commit()

    def delete(self) -> None:
        with self.plain() as session:
            session.delete(session.get_one(User, 1))
            session.commit()

    def sizes(self) -> list[tuple[int, bool]]:
        """What is there; rows and blobs are in step."""
        with self.plain() as session:
            images = session.scalars(select(UserPicture)).all()
            assert {key_of(image) for image in images} == set(self.store.blobs)
            assert len(images) == len(self.store)
            return sorted((image.width, image.original) for image in images)


# --- Two at the same time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [1, 3])
def test_the_recipe_for_another_attempt_replaces_in_the_end(engine: Engine, attempts: int) -> None:
    world = World(engine, "transactions.rst", "replace_picture")
    barrier, first = threading.Barrier(2), threading.local()

    def meet() -> None:
        if not hasattr(first, "is_over"):  # of each thread its first attempt
            first.is_over = True
            barrier.wait()

    world.between = meet
    blobs = [picture(80, 60, color) for color in ("green", "yellow")]

    def run(blob: bytes) -> BaseException | None:
        try:
            world.recipe(1, blob, attempts)
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(2) as pool:
        errors = [error for error in pool.map(run, blobs) if error is not None]
    assert world.loads == (2 if attempts == 1 else 3), "one of the two has lost, and that once"
    assert len(errors) == (1 if attempts == 1 else 0)
    assert all(map(is_conflict, errors))
    assert world.sizes() == [(80, True)]
    with world.plain() as session:
        assert session.get_one(User, 1).picture.make_blob() in blobs


def test_the_recipe_does_not_repeat_what_is_no_conflict(engine: Engine) -> None:
    world = World(engine, "transactions.rst", "replace_picture")

    def fail() -> None:
        msg = "something else"
        raise ZeroDivisionError(msg)

    world.between = fail
    with pytest.raises(ZeroDivisionError):
        world.recipe(1, picture(80, 60))
    assert world.loads == 1
    assert world.sizes() == [(1000, True)]


# --- Up front, by a task queue ---------------------------------------------------------------------------------------


def by_a_queue(world: World) -> int:
    """How many attempts a queue that repeats what is a conflict needs."""
    for attempt in range(1, 6):
        try:
            world.recipe(1)
        except Exception as error:
            if not is_conflict(error):
                raise
        else:
            return attempt
    raise AssertionError("it never ends")


@pytest.mark.parametrize(
    ("meanwhile", "attempts", "left"),
    [
        ("replace", 2, [*((size, False) for size in SIZES), (900, True)]),
        ("delete", 2, []),
        ("the same task", 1, [*((size, False) for size in SIZES), (1000, True)]),
    ],
)
def test_the_task_of_the_guide_ends_well_whatever_happens_meanwhile(
    engine: Engine, meanwhile: str, attempts: int, left: list[tuple[int, bool]]
) -> None:
    world = World(engine, "thumbnails.rst", "make_thumbnails")
    actions = {"replace": world.replace, "delete": world.delete, "the same task": lambda: world.recipe(1)}
    world.once(actions[meanwhile])
    assert by_a_queue(world) == attempts
    assert world.sizes() == left
    world.defined["queue"].shutdown()


def test_uploads_and_their_tasks_in_a_crowd_end_with_the_last_picture_and_its_thumbnails(engine: Engine) -> None:
    world = World(engine, "thumbnails.rst", "make_thumbnails")
    upload = world.defined["upload"]

    tasks: list[Future[None]] = []

    def run(number: int) -> list[BaseException]:
        errors: list[BaseException] = []
        try:
            tasks.append(upload(1, io.BytesIO(picture(700 + number, 600))))
        except Exception as error:
            errors.append(error)
        try:
            world.recipe(1)
        except Exception as error:
            errors.append(error)
        return errors

    with ThreadPoolExecutor(4) as pool:
        errors = [error for found in pool.map(run, range(12)) for error in found]
    world.defined["queue"].shutdown()  # after what is queued
    errors += [error for task in tasks if (error := task.exception()) is not None]
    assert all(map(is_conflict, errors)), errors
    assert tasks
    by_a_queue(world)
    sizes = world.sizes()
    assert [size for size, original in sizes if not original] == SIZES
    assert sum(original for _, original in sizes) == 1
