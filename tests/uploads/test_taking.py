"""A picture that a browser has sent to the store by itself: attached once, by whom it belongs to, or left alone."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from io import BytesIO

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, selectinload

from sqlalchemy_imageattach.errors import (
    ContextError,
    PolicyViolationError,
    RejectedImageError,
    StoreError,
    UnreadableImageError,
    UploadError,
)
from sqlalchemy_imageattach.maintenance import check, sweep
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.s3 import S3Store
from sqlalchemy_imageattach.uploads import Uploads, set_default_uploads
from tests.pictures import picture
from tests.stores.servers.seaweed import SeaweedFS

from .conftest import SECRET, Site, site_of
from .models import Base, Photo, Picture, Post, User

JPEG = picture(60, 40, "red", "JPEG")
PNG = picture(30, 30, "blue", "PNG")


def user(session: Session, id: int = 1) -> User:
    found = session.get(User, id)
    assert found is not None
    return found


def sent(site: Site, content: bytes = JPEG, **options) -> str:
    """The token of an upload that has arrived."""
    permit = site.uploads.direct_upload(Picture, user=1, **options)
    assert 200 <= site.send(permit, content) < 300
    return permit.token


def code_of(session: Session, token: str, **options) -> str:
    with pytest.raises(UploadError) as caught:
        user(session).picture.from_upload(token, **({"user": 1} | options))
    assert str(caught.value)
    return caught.value.code


def test_an_upload_becomes_the_picture_and_leaves_nothing_behind(site: Site, session: Session) -> None:
    token = sent(site)
    assert (site.quarantined(), site.pictures()) == (1, 0)
    original = user(session).picture.from_upload(token, user=1)
    assert original.size == (60, 40)
    assert original.make_blob() == JPEG, "before the flush, too"
    session.commit()
    assert user(session).picture.make_blob() == JPEG
    assert (original.mimetype, original.byte_size) == ("image/jpeg", len(JPEG))
    assert (site.quarantined(), site.pictures()) == (1, 1), "the mark that it was used"
    with check(session, Base, site.store, checksum=True) as report:
        assert report.ok
        assert not list(report)


def test_it_is_what_its_bytes_are_whatever_it_was_declared_to_be(site: Site, session: Session) -> None:
    permit = site.uploads.direct_upload(Picture, user=1)
    assert site.send(permit, PNG) < 300
    user(session).picture.from_upload(permit.token, user=1)
    session.commit()
    assert user(session).picture.mimetype == "image/png"


def test_a_token_is_of_one_use_also_if_the_file_is_sent_again(site: Site, session: Session) -> None:
    permit = site.uploads.direct_upload(Picture, user=1)
    site.send(permit, JPEG)
    user(session).picture.from_upload(permit.token, user=1)
    session.commit()
    assert code_of(session, permit.token) == "upload_used"
    assert site.send(permit, PNG) < 300, "the request is signed for an hour"
    assert code_of(session, permit.token) == "upload_used"
    assert user(session).picture.make_blob() == JPEG


def test_a_rollback_gives_the_upload_back(site: Site, session: Session) -> None:
    token = sent(site)
    for end in (session.rollback, session.close):
        user(session).picture.from_upload(token, user=1)
        session.flush()
        assert (site.quarantined(), site.pictures()) == (2, 1)
        end()
        assert (site.quarantined(), site.pictures()) == (1, 0)
    with session.begin_nested() as savepoint:
        user(session).picture.from_upload(token, user=1)
        session.flush()
        savepoint.rollback()
    user(session).picture.from_upload(token, user=1)
    session.commit()
    assert user(session).picture.make_blob() == JPEG
    assert site.pictures() == 1


def test_an_upload_survives_a_flush_that_failed(site: Site, session: Session) -> None:
    token = sent(site)
    site.store.fail("put", on=1)
    user(session).picture.from_upload(token, user=1)
    with pytest.raises(StoreError, match="told to fail"):
        session.commit()
    session.rollback()
    assert (site.quarantined(), site.pictures()) == (1, 0)
    user(session).picture.from_upload(token, user=1)
    session.commit()
    assert site.pictures() == 1


def test_it_is_one_users_and_one_class_s(site: Site, session: Session) -> None:
    token = sent(site)
    assert code_of(session, token, user=2) == "other_user"
    assert code_of(session, token, user="1 ") == "other_user"
    with pytest.raises(UploadError) as caught:  # a visitor without a name must not make it the program's fault
        user(session).picture.from_upload(token)
    assert caught.value.code == "other_user"
    assert "no user= was given" in caught.value.__notes__[0]
    session.add(post := Post(id=1))
    with pytest.raises(UploadError) as caught:
        post.photos.get_image_set(position=1).from_upload(token, user=1)
    assert caught.value.code == "other_class"
    assert not user(session).picture
    user(session).picture.from_upload(token, user=1)
    session.commit()


def test_an_upload_of_nobody_is_taken_by_nobody_in_particular(site: Site, session: Session) -> None:
    permit = site.uploads.direct_upload(Photo)
    site.send(permit, JPEG)
    session.add(post := Post(id=1))
    photo = post.photos.get_image_set(position=1)
    with pytest.raises(UploadError):
        photo.from_upload(permit.token, user=1)
    photo.from_upload(permit.token)
    session.commit()
    assert photo.make_blob() == JPEG


def test_tokens_that_were_not_made_here_are_refused_without_asking_the_store(site: Site, session: Session) -> None:
    token = sent(site)
    before = len(site.store.calls)
    payload, expiry, signature = token.split(".")
    others = Uploads("another secret of more than 32 bytes!", MemoryStore(), endpoint="/")
    later, unsigned = f"{payload}.{int(expiry) + 9}.{signature}", f"{payload}.{expiry}."
    forged = others.direct_upload(Picture, user=1).token
    for each in ("", "x", later, unsigned, forged, f"{token} "):
        assert code_of(session, each) == "upload_unknown"
    expired = site.uploads._token(site.uploads.check(token), 1)
    assert code_of(session, expired) == "upload_expired"
    assert len(site.store.calls) == before


def test_a_secret_can_be_rotated(site: Site, session: Session) -> None:
    token = sent(site)
    newer = Uploads(["a newer secret, of more than 32 bytes", SECRET], site.store, endpoint="/")
    user(session).picture.from_upload(token, user=1, uploads=newer)
    session.commit()
    assert user(session).picture.make_blob() == JPEG


def test_what_was_never_sent_is_missing_and_can_be_sent_later(site: Site, session: Session) -> None:
    permit = site.uploads.direct_upload(Picture, user=1)
    assert code_of(session, permit.token) == "not_uploaded"
    site.send(permit, JPEG)
    user(session).picture.from_upload(permit.token, user=1)


def test_what_is_no_picture_is_refused_and_the_set_is_as_it_was(site: Site, session: Session) -> None:
    user(session).picture.from_blob(PNG)
    session.commit()
    token = sent(site, JPEG[:200])
    with pytest.raises(UnreadableImageError):
        user(session).picture.from_upload(token, user=1)
    session.commit()
    assert user(session).picture.make_blob() == PNG
    assert site.quarantined() == 1, "no mark, so it may be sent again"


def test_what_is_too_long_is_refused_at_the_latest_when_it_is_taken(site: Site, session: Session) -> None:
    permit = site.uploads.direct_upload(Picture, user=1)
    long = JPEG + bytes(200_000)
    status = site.send(permit, long)
    assert (status >= 400) == permit.target.limits_size
    with pytest.raises((UploadError, PolicyViolationError)) as caught:
        user(session).picture.from_upload(permit.token, user=1)
    assert caught.value.code == ("not_uploaded" if permit.target.limits_size else "too_many_bytes")


def test_what_a_browser_says_of_its_file_is_checked_before_anything_is_sent(site: Site) -> None:
    for said in ({"byte_size": 200_001}, {"mimetype": "image/svg+xml"}):
        with pytest.raises(PolicyViolationError):
            site.uploads.direct_upload(Picture, user=1, **said)
    permit = site.uploads.direct_upload(Picture, user=1, mimetype="image/jpeg", byte_size=len(JPEG))
    assert permit.mimetypes == {"image/jpeg"}
    assert permit.accept == "image/jpeg"


def test_of_two_transactions_that_use_a_token_at_once_one_can(site: Site, engine: Engine, session: Session) -> None:
    token = sent(site)
    session.close()
    meeting = threading.Barrier(2)
    outcomes: list[str] = []

    def use(id: int) -> None:
        with Session(engine, info={"image_store": site.store, "image_uploads": site.uploads}) as own:
            user(own, id).picture.from_upload(token, user=1)
            meeting.wait()
            try:
                own.commit()
            except UploadError as error:
                outcomes.append(error.code)
            else:
                outcomes.append("done")

    threads = [threading.Thread(target=use, args=(id,)) for id in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "upload_used"]
    assert site.pictures() == 1


def test_what_is_sent_after_the_look_is_not_what_is_attached(site: Site, session: Session) -> None:
    permit = site.uploads.direct_upload(Picture, user=1)
    site.send(permit, JPEG)
    user(session).picture.from_upload(permit.token, user=1)
    site.send(permit, PNG)
    session.commit()
    assert user(session).picture.make_blob() == JPEG
    with check(session, Base, site.store, checksum=True) as report:
        assert report.ok


def test_what_nobody_took_is_swept_after_a_while(site: Site, session: Session) -> None:
    sent(site)
    user(session).picture.from_upload(sent(site), user=1)
    session.commit()
    assert site.quarantined() == 2
    with sweep(session, Base, site.store, dry_run=False) as report:
        assert (report.deleted, report.in_grace) == (0, 2)
    with sweep(session, Base, site.store, dry_run=False, grace=timedelta(0)) as report:
        assert report.deleted == 2
        assert report.ok
    assert site.quarantined() == 0
    assert user(session).picture.make_blob() == JPEG


def test_a_store_of_nothing_but_uploads_is_swept_by_itself(site: Site, session: Session) -> None:
    token = sent(site)
    user(session).picture.from_upload(sent(site), user=1)
    session.commit()
    assert site.uploads.sweep() == 0, "they are young"
    assert site.quarantined() == 2
    assert site.uploads.sweep(grace=timedelta(0)) == 2
    assert (site.quarantined(), site.pictures()) == (0, 1)
    assert code_of(session, token) == "not_uploaded"


def test_what_cannot_be_deleted_after_the_commit_is_left_for_the_sweeper(site: Site, session: Session) -> None:
    token = sent(site)
    site.store.fail("delete")
    user(session).picture.from_upload(token, user=1)
    session.commit()
    site.store.heal()
    assert site.quarantined() == 2
    assert code_of(session, token) == "upload_used"


def test_a_file_of_a_form_that_was_refused_is_kept_for_the_next_one(site: Site, session: Session) -> None:
    token = site.uploads.keep(Picture, BytesIO(JPEG), user=1)
    assert site.quarantined() == 1
    with pytest.raises(RejectedImageError):
        site.uploads.keep(Picture, BytesIO(b"no picture"), user=1)
    assert site.quarantined() == 1
    user(session).picture.from_upload(token, user=1)
    session.commit()
    assert user(session).picture.make_blob() == JPEG


def test_without_uploads_there_is_an_error_that_names_the_ways(session: Session) -> None:
    del session.info["image_uploads"]
    with pytest.raises(ContextError, match="set_default_uploads"):
        user(session).picture.from_upload("token")


def test_uploads_can_be_those_of_the_process(site: Site, engine: Engine, session: Session) -> None:
    token = sent(site)
    set_default_uploads(site.uploads)
    try:
        new = User(id=3)  # in no session yet
        new.picture.from_upload(token, user=1)
        session.add(new)
        session.commit()
    finally:
        set_default_uploads(None)
    assert new.picture.make_blob() == JPEG


@pytest.mark.parametrize("tells", [True, False], ids=["checksums told", "not told"])
def test_the_service_copies_by_itself_where_it_tells_what_it_copied(
    tells: bool, seaweed: SeaweedFS, s3_store: S3Store, engine: Engine
) -> None:
    site = site_of(s3_store)
    if tells:
        seaweed.tell_checksums(s3_store.client)
    received: list[str] = []
    s3_store.client.meta.events.register("before-call.s3", lambda model, **_: received.append(model.name))
    for id in (1, 2):
        token = sent(site)
        received.clear()
        with Session(engine, info={"image_store": s3_store, "image_uploads": site.uploads}) as session:
            session.add(owner := User(id=id))
            owner.picture.from_upload(token, user=1)
            assert received == ["HeadObject", "GetObject"], "is it used already; what is it"
            received.clear()
            session.commit()
            head = s3_store._head(key_of(owner.picture.require_original()))
        # the first time, a service that does not tell has copied it in vain
        asked = ["CopyObject", "DeleteObject"] * (not tells and id == 1)
        mark, picture, end = ["HeadObject", "PutObject"], ["CopyObject" if tells else "PutObject"], ["DeleteObject"]
        assert sorted(received[:-1]) == sorted([*asked, *mark, *picture, *end])
        assert head is not None
        assert (head["ContentType"], head["ContentLength"]) == ("image/jpeg", len(JPEG))
        assert "immutable" in head["CacheControl"]
        assert "ContentDisposition" not in head


def test_pictures_may_be_in_another_store_than_uploads(site: Site, engine: Engine) -> None:
    first, second = MemoryStore(), MemoryStore()
    for store in (first, MirrorStore(first, second)):
        with Session(engine, info={"image_store": store, "image_uploads": site.uploads}) as session:
            session.add(owner := User())
            owner.picture.from_upload(sent(site), user=1)
            session.commit()
            assert owner.picture.make_blob() == JPEG
    assert (len(first), len(second)) == (2, 1)
    assert site.pictures() == 0


def test_it_can_be_awaited(site: Site, tmp_path) -> None:
    token = sent(site)
    create_engine(f"sqlite:///{tmp_path}/async.db").dispose()

    async def use() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/async.db")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine, info={"image_store": site.store, "image_uploads": site.uploads}) as session:
            session.add(User(id=1))
            await session.commit()
            owner = await session.get_one(User, 1, options=[selectinload(User.picture)])
            await owner.picture.afrom_upload(token, user=1)
            await session.commit()
            owner = await session.get_one(User, 1, options=[selectinload(User.picture)], populate_existing=True)
            assert await owner.picture.amake_blob() == JPEG
        await engine.dispose()

    asyncio.run(use())
