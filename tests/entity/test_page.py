"""A page of a thousand owners with their pictures: a handful of statements, and not one look into the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session, joinedload, selectinload, subqueryload

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.entity.image import utc_now
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.statements import statements

from .models import Base, Post, User
from .support import database

OWNERS = 1000
SQLALCHEMY_2_1 = tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= (2, 1)


class UntouchableStore(MemoryStore):
    """Gives URLs, and raises when anybody does I/O."""

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        msg = "the store was touched"
        raise AssertionError(msg)

    put_file = get_file = delete_file = _refuse


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """1,000 users with an original and two thumbnails, and 1,000 posts with two photos of two sizes."""
    tables = Base.metadata.tables
    with database(Base.metadata) as engine:
        numbers = range(1, OWNERS + 1)
        with engine.begin() as connection:
            connection.execute(insert(tables["user"]), [{"id": number, "name": ""} for number in numbers])
            connection.execute(insert(tables["post"]), [{"id": number} for number in numbers])
            connection.execute(
                insert(tables["user_picture"]),
                [row(width, user_id=number) for number in numbers for width in (640, 320, 160)],
            )
            connection.execute(
                insert(tables["post_photo"]),
                [
                    row(width, post_id=number, order_index=index)
                    for number in numbers
                    for index in (1, 2)
                    for width in (640, 160)
                ],
            )
        yield engine


def row(width: int, **key: int) -> dict[str, Any]:
    return {
        **key,
        "width": width,
        "height": width * 3 // 4,
        "mimetype": "image/jpeg",
        "original": width == 640,
        "created_at": utc_now(),
        "revision": hashlib.sha1(repr((width, key)).encode()).hexdigest()[:16],
    }


STRATEGIES: dict[str, tuple[Any, int]] = {
    "subqueryload": (subqueryload, 2),
    "joinedload": (joinedload, 1),
    # in batches of 500 owners …
    "selectinload": (selectinload, 1 + OWNERS // 500),
}
if SQLALCHEMY_2_1:  # … or as many as one says
    with_chunks: Any = selectinload
    STRATEGIES["selectinload of 1000"] = (lambda attribute: with_chunks(attribute, chunksize=OWNERS), 2)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_page_of_1000_owners(engine: Engine, name: str) -> None:
    strategy, expected = STRATEGIES[name]
    with store_context(UntouchableStore()), Session(engine) as session, statements(engine) as sent:
        users = session.scalars(select(User).order_by(User.id).options(strategy(User.picture))).unique().all()
        page = [
            (
                user.picture.locate(),
                user.picture.find_thumbnail(width=160).locate(),
                user.picture.find_thumbnail(height=240).__html__(),
                user.picture.thumbnail(width=320).locate(),
                user.picture.__html__(),
                user.picture.size,
            )
            for user in users
        ]
        assert len(sent) == expected
        assert len(page) == OWNERS
        assert page[41][1].startswith("memory:///user-picture/42/0/42.160x120.")
        assert page[41][-1] == (640, 480)


@pytest.mark.parametrize(("strategy", "expected"), [(subqueryload, 2), (joinedload, 1)])
def test_a_page_of_1000_owners_of_several_pictures(engine: Engine, strategy: Any, expected: int) -> None:
    with store_context(UntouchableStore()), Session(engine) as session, statements(engine) as sent:
        posts = session.scalars(select(Post).options(strategy(Post.photos))).unique().all()
        urls = {image_set.find_thumbnail(width=160).locate() for post in posts for image_set in post.photos.image_sets}
        assert len(sent) == expected
        assert len(urls) == 2 * OWNERS


def test_without_eager_loading_there_is_one_statement_for_each_owner_and_still_no_touch(engine: Engine) -> None:
    with store_context(UntouchableStore()), Session(engine) as session, statements(engine) as sent:
        users = session.scalars(select(User).limit(10)).all()
        assert all(user.picture.find_thumbnail(width=160).locate() and user.picture.locate() for user in users)
        assert len(sent) == 1 + 10
