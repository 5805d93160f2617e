"""Pictures whose owner SQLAlchemy has forgotten before they were stored: a program hears of it, and can go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import CheckConstraint, Engine, ForeignKey, Integer, event, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, declarative_base, mapped_column, selectinload

from sqlalchemy_imageattach.entity import Image, image_attachment, is_conflict
from sqlalchemy_imageattach.errors import ImageIdentityError
from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import assert_in_step, blobs_of, picture
from .models import User

#: SQLAlchemy warns of it, before the database refuses it.
pytestmark = pytest.mark.filterwarnings("ignore:Column .* is marked as a member of the primary key")


def expire_all(session: Session, user: User) -> None:
    session.expire_all()


def expire_the_set(session: Session, user: User) -> None:
    session.expire(user, ["photos"])


def load_over_it(session: Session, user: User) -> None:
    with session.no_autoflush:
        loading = select(User).options(selectinload(User.photos)).execution_options(populate_existing=True)
        session.scalars(loading).all()


@pytest.mark.parametrize("forget", [expire_all, expire_the_set, load_over_it])
def test_a_set_that_is_loaded_anew_before_the_flush(
    engine: Engine, open_session: MakeSession, store: FaultyStore, forget: Callable[[Session, User], None]
) -> None:
    session = open_session(engine)
    session.add(user := User())
    user.photos.get_image_set(number=1).from_blob(picture("red"))
    session.commit()
    user.photos.get_image_set(number=1).from_blob(picture("blue"))
    forget(session, user)
    with pytest.raises(ImageIdentityError, match=r"UserPhoto\.user_id has no value.*flush before") as caught:
        session.commit()
    assert isinstance(caught.value, DBAPIError), "who waits for the database's own error goes on getting one"
    assert not is_conflict(caught.value)
    session.rollback()
    assert_in_step(engine, store)
    assert blobs_of(user.photos) == [picture("red")]
    user.photos.get_image_set(number=1).from_blob(picture("blue"))
    session.commit()
    assert_in_step(engine, store)
    assert blobs_of(user.photos) == [picture("blue")]


def test_a_listener_that_attaches_when_the_flush_is_over(
    engine: Engine, open_session: MakeSession, store: FaultyStore
) -> None:
    session = open_session(engine)
    session.add(user := User())

    @event.listens_for(session, "after_flush")
    def attach(*_: object) -> None:
        if not user.photos:
            user.photos.get_image_set(number=1).from_blob(picture())

    with pytest.raises(ImageIdentityError, match="let listeners attach within before_flush or after_flush_postexec"):
        session.commit()
    session.rollback()
    assert_in_step(engine, store)


def test_a_key_that_the_database_gives_is_not_missing(sqlite: Engine, store: FaultyStore) -> None:
    base = declarative_base()

    class Letter(base):  # type: ignore[misc,valid-type]
        __tablename__ = "letter"
        id = mapped_column(Integer, primary_key=True)
        stamp = image_attachment("Stamp")

    class Stamp(base, Image):  # type: ignore[misc,valid-type]
        __tablename__ = "stamp"
        letter_id = mapped_column(ForeignKey("letter.id"), primary_key=True)
        number = mapped_column(Integer, primary_key=True, default=7)
        weight = mapped_column(Integer)
        __table_args__ = (CheckConstraint("weight > 0"),)

    base.metadata.create_all(sqlite)
    with Session(sqlite) as session:
        session.add(letter := Letter())
        letter.stamp.from_blob(picture(), extra_kwargs={"weight": 0})
        with pytest.raises(DBAPIError) as caught:
            session.flush()
    base.metadata.drop_all(sqlite)
    assert not isinstance(caught.value, ImageIdentityError), "it is a constraint of the application's own"
