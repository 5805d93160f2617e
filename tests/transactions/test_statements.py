"""What the invariant costs, in statements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession, sqlite_engine
from .helpers import OTHER, assert_in_step, picture, statements
from .models import Base, Gallery, User


def test_attaching_is_the_insertions_and_nothing_else(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    user.picture.generate_thumbnail(width=10)
    session.add(user)
    with statements(engine) as sent:
        session.commit()
    assert sent in (
        ["INSERT tx_user", "INSERT tx_user_picture"],
        ["INSERT tx_user"] + ["INSERT tx_user_picture"] * 2,
    )


def test_attaching_to_a_stored_owner_is_one_insertion(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    session.add(user)
    session.commit()
    assert not user.picture
    user.picture.from_blob(picture())
    with statements(engine) as sent:
        session.commit()
    assert sent == ["INSERT tx_user_picture"]


def test_replacing_locks_the_former_row_once_and_looks_for_its_thumbnails(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    session.commit()
    assert user.picture
    user.picture.from_blob(picture("blue"))
    with statements(engine) as sent:
        session.flush()
    assert sent == ["UPDATE tx_user_picture"] * 2 + ["SELECT tx_user_picture"]
    user.picture.from_blob(picture("green", OTHER))
    with statements(engine) as sent:
        session.commit()
    assert sent == ["INSERT tx_user_picture", "DELETE tx_user_picture", "SELECT tx_user_picture"], (
        "it is locked already"
    )


def test_what_this_transaction_wrote_or_locked_is_not_locked_again(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """A lock taken in a released savepoint is that of the transaction, too."""
    session = open_session(engine)
    one, two = User(name="one"), User(name="two")
    one.picture.from_blob(picture())
    session.add_all([one, two])
    session.commit()
    with session.begin_nested():
        one.picture.thumbnail(width=10)
        two.picture.from_blob(picture())
    assert one.picture
    assert two.picture
    with statements(engine) as sent:
        one.picture.from_blob(picture("blue", OTHER))
        two.picture.from_blob(picture("blue", OTHER))
        session.flush()
    assert "UPDATE tx_user_picture" not in sent
    assert sent.count("DELETE tx_user_picture") in (1, 3)  # drivers send them together or one by one


def test_removing_locks_each_row_and_looks_for_thumbnails_before_they_are_deleted(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    session.commit()
    assert user.picture
    user.picture.clear()
    with statements(engine) as sent:
        session.commit()
    assert sent == ["UPDATE tx_user_picture", "SELECT tx_user_picture", "DELETE tx_user_picture"]


def test_a_thumbnail_locks_its_original(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    session = open_session(engine)
    user = User()
    user.picture.from_blob(picture())
    session.add(user)
    session.commit()
    assert user.picture
    with statements(engine) as sent:
        user.picture.thumbnail(width=10)
        session.commit()
    assert sent == ["UPDATE tx_user_picture", "SELECT tx_user_picture", "INSERT tx_user_picture"]
    assert user.picture
    with statements(engine) as sent:
        user.picture.thumbnail(width=10)
        session.commit()
    assert sent == [], "it is there"


def test_a_lock_changes_no_column(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    session = open_session(engine)
    gallery = Gallery()
    poster = gallery.poster.from_blob(picture())
    session.add(gallery)
    session.commit()
    gallery.poster.generate_thumbnail(width=10)
    with statements(engine) as sent:
        session.commit()
    assert sent[0] == "UPDATE tx_gallery_poster"
    assert not poster.was_changed, "which any other UPDATE would have set"


def test_rows_are_locked_in_the_schema_that_the_engine_says(tmp_path: Path, store: FaultyStore) -> None:
    engine = sqlite_engine(tmp_path / "main.db")

    @event.listens_for(engine, "connect")
    def attach(connection: Any, _: object) -> None:
        connection.execute("ATTACH DATABASE ? AS tenant", [str(tmp_path / "tenant.db")])

    of_tenant = engine.execution_options(schema_translate_map={None: "tenant"})
    for each in (engine, of_tenant):  # in both, as SQLite looks into the one when a table is not in the other
        Base.metadata.create_all(each)
    with Session(of_tenant) as session:
        user = User()
        user.picture.from_blob(picture())
        session.add(user)
        session.commit()
        user.picture.from_blob(picture("blue"))
        user.picture.thumbnail(width=10)
        session.commit()
        assert_in_step(of_tenant, store)
        session.delete(user)
        session.commit()
    assert not store.blobs
    engine.dispose()


def test_a_flush_without_images_costs_nothing(engine: Engine, store: FaultyStore, open_session: MakeSession) -> None:
    session = open_session(engine)
    user = User(name="Ann")
    session.add(user)
    session.commit()
    user.name = "Bob"
    with statements(engine) as sent:
        session.commit()
    assert [statement.split()[0] for statement in sent] == ["SELECT", "UPDATE"] or sent == ["UPDATE tx_user"]
    assert not store.calls
