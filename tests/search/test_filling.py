"""Embeddings are there, changed and gone in the transaction of their pictures."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.jobs import JobRunner, ThreadQueue
from sqlalchemy_imageattach.search import build_index
from sqlalchemy_imageattach.search.filling import UNREADABLE
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.statements import statements

from .support import Base, Picture, User, extractor, looks, picture, prints, user


def count(session: Session, index: Any = looks) -> int:
    return session.scalar(select(func.count()).select_from(index.table)) or 0


def found(session: Session, color: Any) -> list[int]:
    """The pictures that look just the same."""
    near = looks.distance(picture(color))
    return sorted(session.scalars(select(Picture.user_id).where(near < 1e-2)))


def test_an_attached_picture_is_found_before_the_commit_and_after_it(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(user(1))
        session.flush()
        assert found(session, "red") == [1]
        session.commit()
        assert found(session, "red") == [1]


def test_a_rollback_leaves_nothing(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(user(1))
        session.flush()
        assert count(session) == 1
        session.rollback()
        assert count(session) == count(session, prints) == 0


def test_a_savepoint_that_is_rolled_back_leaves_nothing(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(user(1, "red"))
        session.flush()
        with session.begin_nested() as savepoint:
            session.add(user(2, "blue"))
            session.flush()
            savepoint.rollback()
        session.commit()
        assert found(session, "red") == [1]
        assert found(session, "blue") == []


def test_a_replaced_picture_is_extracted_anew_and_the_one_before_is_forgotten(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(user(1, "red"))
        session.commit()
        session.get_one(User, 1).picture.from_blob(picture("blue"))
        session.commit()
        assert extractor.count == 2
        assert (found(session, "red"), found(session, "blue"), count(session)) == ([], [1], 1)


def test_a_replacement_that_is_rolled_back_leaves_what_was_there(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(user(1, "red"))
        session.commit()
        session.get_one(User, 1).picture.from_blob(picture("blue"))
        session.flush()
        assert found(session, "blue") == [1]
        session.rollback()
        assert (found(session, "red"), found(session, "blue")) == ([1], [])


def test_an_update_of_something_else_extracts_nothing_and_asks_nothing(sqlite: Engine) -> None:
    with Session(sqlite) as session:
        session.add(user(1))
        session.commit()
        owner = session.get_one(User, 1)
        owner.name = "another"
        original = owner.picture.original
        assert original is not None
        original.note = "another"
        extractor.count = 0
        with statements(sqlite) as sent:
            session.commit()
        assert extractor.count == 0
        assert not [statement for statement in sent if "embedding" in statement]


def test_equal_bytes_are_extracted_once(engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([user(1), user(2)])
        session.commit()
        session.add(user(3))
        session.commit()
        assert extractor.count == 1
        assert found(session, "red") == [1, 2, 3]


def test_thumbnails_are_not_indexed(sqlite: Engine) -> None:
    with Session(sqlite) as session:
        owner = user(1)
        owner.picture.generate_thumbnail(width=10)
        session.add(owner)
        session.commit()
        assert count(session) == 1


def test_a_deleted_picture_is_forgotten(engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([user(1), user(2)])
        session.commit()
        session.get_one(User, 1).picture.clear()
        session.commit()
        assert (found(session, "red"), count(session), count(session, prints)) == ([2], 1, 1)


def test_pictures_deleted_by_a_statement_are_forgotten(engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([user(1), user(2)])
        session.commit()
        session.execute(delete(Picture).where(Picture.user_id == 1))
        assert count(session) == 1
        session.rollback()
        assert count(session) == 2


def test_a_row_that_changed_behind_our_back_is_not_found_by_what_it_was(engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([user(1, "red"), user(2, "blue")])
        session.commit()
        table: Any = Picture.__table__
        with engine.begin() as connection:
            connection.execute(table.update().where(table.c.user_id == 1).values(revision="of-another-program"))
        assert found(session, "red") == []


def test_many_pictures_of_one_flush_are_extracted_together(sqlite: Engine) -> None:
    with Session(sqlite) as session:
        session.add_all([user(number, (number * 9, 0, 0)) for number in range(1, 21)])
        with statements(sqlite) as sent:
            session.commit()
        assert extractor.count == 20
        assert len([statement for statement in sent if statement.startswith("INSERT INTO search_picture_emb")]) == 1


# --- what cannot be decoded ------------------------------------------------------------------------------------------

BROKEN = picture("red", (300, 200)).replace(b"IDATx", b"IDAT\0")  # its header is whole


def test_a_picture_that_cannot_be_decoded_is_left_out(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with Session(engine) as session:
        owner = User(id=1)
        owner.picture.from_blob(BROKEN)
        session.add(owner)
        session.commit()
        assert count(session) == 0
        assert session.scalar(select(func.count()).select_from(Picture)) == 1
    assert "not indexed" in caplog.text


def test_a_session_can_refuse_what_cannot_be_decoded(engine: Engine, store: MemoryStore) -> None:
    with Session(engine, info={UNREADABLE: "refuse"}) as session:
        owner = User(id=1)
        owner.picture.from_blob(BROKEN)
        session.add(owner)
        with pytest.raises(RejectedImageError):
            session.commit()
        session.rollback()
        assert session.scalar(select(func.count()).select_from(Picture)) == 0


# --- all that is there -----------------------------------------------------------------------------------------------


def test_an_index_is_built_of_what_is_there_and_only_of_what_is_missing(engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([user(number, (number, 0, 0)) for number in range(1, 71)])
        session.commit()
        session.execute(looks.table.delete().where(looks.table.c.of_user_id > 60))
        session.commit()
        extractor.count = 0
        seen: list[Any] = []
        result = build_index(looks, session, progress=seen.append)
        assert (result.examined, result.indexed, result.computed, result.present) == (70, 10, 10, 60)
        assert (result.ok, extractor.count, len(seen)) == (True, 10, 2)
        again = build_index(looks, session)
        assert (again.indexed, again.present) == (0, 70)


def test_a_broken_picture_is_reported_and_the_others_are_indexed(engine: Engine) -> None:
    with Session(engine) as session:
        owner = User(id=2)
        owner.picture.from_blob(BROKEN)
        session.add_all([user(1), owner, user(3, "blue")])
        session.commit()
        session.execute(looks.table.delete())
        session.commit()
        result = build_index(looks, session)
        assert (result.indexed, result.failed) == (2, 1)
        (failure,) = result.failures
        assert failure.identity[0] == 2
        assert isinstance(failure.error, RejectedImageError)


def test_a_blob_that_is_gone_is_reported(sqlite: Engine, store: MemoryStore) -> None:
    with Session(sqlite) as session:
        session.add(user(1))
        session.commit()
        session.execute(looks.table.delete())
        session.commit()
        store.delete(session.scalars(select(Picture)).one())
        session.commit()  # SQLite has no commit of others beside a reader
        result = build_index(looks, session)
        assert (result.indexed, result.failed) == (0, 1)
        assert isinstance(result.failures[0].error, FileNotFoundError)


def test_an_index_that_is_broken_off_goes_on_from_there(sqlite: Engine) -> None:
    with Session(sqlite) as session:
        session.add_all([user(number, (number, 0, 0)) for number in range(1, 131)])
        session.commit()
        session.execute(looks.table.delete())
        session.commit()

        def stop(result: Any) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_index(looks, session, progress=stop)
        assert count(session) == 64
        session.commit()
        assert build_index(looks, session).indexed == 66


def test_rows_whose_pictures_are_gone_are_pruned(sqlite: Engine) -> None:
    with Session(sqlite) as session:
        session.add(user(1))
        session.commit()
        driver = sqlite.raw_connection()
        cursor = driver.cursor()
        for statement in ("PRAGMA foreign_keys = OFF", "DELETE FROM search_picture", "PRAGMA foreign_keys = ON"):
            cursor.execute(statement)
        driver.close()
        assert count(session) == 1
        session.rollback()
        assert build_index(looks, session).removed == 1


# --- after the commit ------------------------------------------------------------------------------------------------


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "fill", "commit")


@pytest.mark.usefixtures("later")
def test_pictures_can_be_indexed_after_the_outermost_commit(engine: Engine) -> None:
    with Session(engine) as session:
        with session.begin_nested():
            session.add(user(1))
        assert count(session) == 0
        session.commit()
        assert found(session, "red") == [1]
        session.add(user(2))
        session.flush()
        session.rollback()
        assert count(session) == 1


@pytest.mark.usefixtures("later")
def test_a_queue_does_it_where_the_session_has_one(postgresql: Engine, store: MemoryStore) -> None:
    from sqlalchemy.orm import sessionmaker

    sessions = sessionmaker(postgresql, info={"image_store": store})
    queue = ThreadQueue(JobRunner(sessions, Base))
    with Session(postgresql, info={"image_store": store, "image_queue": queue}) as session:
        session.add(user(1))
        session.commit()
        queue.close()
        assert found(session, "red") == [1]
