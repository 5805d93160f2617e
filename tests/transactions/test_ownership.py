"""No session ever touches a blob that another session owns."""

from __future__ import annotations

import io

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.errors import BlobExistsError
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.testing import FaultyStore

from .conftest import MakeSession
from .helpers import assert_in_step, picture
from .models import User, UserPicture


def test_a_blob_that_is_there_already_is_not_deleted_when_the_flush_fails(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    """Two revisions are never equal by chance; were they by mistake, the blob of the first must survive the second."""
    theirs: list[object] = []

    def take_the_place(mapper: object, connection: object, image: UserPicture) -> None:
        key = key_of(image)
        store.put(key, io.BytesIO(b"of another session"), reproducible=False)
        theirs.append(key)

    session: Session = open_session(engine)
    user = User(name="Ann")
    user.picture.from_blob(picture())
    session.add(user)
    event.listen(UserPicture, "after_insert", take_the_place)
    try:
        with pytest.raises(BlobExistsError):
            session.flush()
    finally:
        event.remove(UserPicture, "after_insert", take_the_place)
    session.rollback()
    assert {key: blob for key, blob in store.blobs.items() if key in theirs} == {theirs[0]: b"of another session"}


def test_a_session_with_the_info_of_another_one_keeps_accounts_of_its_own(
    engine: Engine, store: FaultyStore, open_session: MakeSession
) -> None:
    first = open_session(engine)
    user = User()
    user.picture.from_blob(picture("red"))
    first.add(user)
    first.commit()
    first.connection()
    second = open_session(engine, info=first.info)
    user = User()
    user.picture.from_blob(picture("blue"))
    second.add(user)
    second.commit()
    first.rollback()
    assert_in_step(engine, store)
    assert len(store.blobs) == 2
