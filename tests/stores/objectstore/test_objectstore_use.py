"""Object stores at work: by URL, under a session, as the ends of a migration, checked and swept."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import generate_container_sas
from sqlalchemy import Engine, delete
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.errors import InvalidValueError, StoreError
from sqlalchemy_imageattach.maintenance import check, sweep
from sqlalchemy_imageattach.migration import migrate
from sqlalchemy_imageattach.store import Store, key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.objectstore import ObjectStore, azure_container, google_bucket
from sqlalchemy_imageattach.stores.s3 import S3Store
from tests.migrating import Base, User, UserPicture, attach, database, fill, picture
from tests.stores.s3.support import BLOB, OLD, fetch, fresh_key, put, read, url_of
from tests.stores.servers.azurite import Azurite
from tests.stores.servers.gcs import FakeGCS

from .support import Cloud


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = database(f"sqlite:///{tmp_path}/test.db")
    yield engine
    engine.dispose()


def names_of(images: list[Image]) -> set[str]:
    return {key_of(image).object_name() for image in images}


# --- by URL ----------------------------------------------------------------------------------------------------------


def test_a_store_on_azure_can_be_had_by_url(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", azurite.account_key)
    with azurite.client() as client, client.create_container("by-url") as container:
        options = f"account={azurite.account}&endpoint_url={azurite.endpoint}&url_lifetime=60&max_retry=0"
        store = ObjectStore.from_url(f"az://by-url/images?{options}&connect_timeout=1.5&read_timeout=9")
        key = fresh_key()
        put(store, key)
        assert list(container.list_blob_names()) == [key.object_name("images")]
        assert fetch(url_of(store, key)) == (200, BLOB)
        assert store.is_same_place(Store.from_url(f"az://by-url/images/?{options}&connect_timeout=1.5&read_timeout=9"))
        container.delete_container()


def test_a_store_on_google_can_be_had_by_url(gcs: FakeGCS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", gcs.token)
    gcs.create_bucket("by-url")
    store = ObjectStore.from_url(
        f"gs://by-url/a/b?endpoint_url={gcs.endpoint}&public_base_url=https://cdn.test&max_age=5"
    )
    put(store, OLD)
    assert set(gcs.objects("by-url")) == {OLD.object_name("a/b")}
    assert url_of(store, OLD) == "https://cdn.test/a/b/user-picture/1234/640x480.jpe"
    assert (store.prefix, store.max_age) == ("a/b", 5)
    gcs.delete_bucket("by-url")


def test_a_token_that_is_given_counts_and_not_the_key_of_the_environment(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    with azurite.client() as client, client.create_container("by-token") as container:
        monkeypatch.setenv(
            "ARCHIVE_AZURE_STORAGE_SAS_TOKEN",
            generate_container_sas(
                azurite.account,
                "by-token",
                account_key=azurite.account_key,
                permission="rw",
                expiry=datetime.now(UTC) + timedelta(hours=1),
            ),
        )
        options = f"account={azurite.account}&endpoint_url={azurite.endpoint}&public_base_url=https://cdn.test"
        store = Store.from_url(f"az://by-token?{options}&credentials=ARCHIVE")
        key = fresh_key()
        for each in (store, pickle.loads(pickle.dumps(store))):
            put(each, key := fresh_key())
            assert read(each, key) == BLOB
        assert "sig=" not in repr(store)
        container.delete_container()


@pytest.mark.parametrize(
    ("variable", "make"),
    [
        ("AZURE_STORAGE_ACCOUNT_KEY", lambda: azure_container("pictures", account="example", client_secret="secret")),
        ("AZURE_STORAGE_TOKEN", lambda: azure_container("pictures", account="example", account_key="secret")),
        ("GOOGLE_BEARER_TOKEN", lambda: google_bucket("pictures", service_account_key="secret")),
    ],
)
def test_credentials_that_the_environment_would_overrule_are_refused(
    variable: str, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "d3Jvbmc=")
    with pytest.raises(InvalidValueError, match=f"expected no {variable} in the environment") as caught:
        make()
    assert "secret" not in str(caught.value).replace("client_secret", "")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://", "gs: expected the name of a bucket"),
        ("gs:///images", "gs: expected the name of a bucket"),
        ("az://?account=example", "az: expected the name of a container"),
        ("az://pictures", "Account must be specified"),
        ("az://pictures?account_key=secret", "az: unknown option account_key; expected account, connect_timeout"),
        ("gs://pictures?account=example", "gs: unknown option account"),
        ("gs://pictures?max_retry=many", "gs: option max_retry: expected an integer, got 'many'"),
        ("gs://pictures?read_timeout=long", "gs: option read_timeout: expected a number, got 'long'"),
        ("gs://pictures?read_timeout=nan", "read_timeout: expected seconds"),
        ("gs://pictures?endpoint_url=ftp://x", "endpoint_url: expected a URL"),
        ("gs://pictures/a//b", "prefix: expected one or more plain segments"),
        ("gs://user:secret@pictures", "no user name and no password"),
    ],
)
def test_a_url_that_cannot_be_understood_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Store.from_url(url)


def test_a_url_of_s3_can_have_timeouts_and_certificates(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    store = S3Store.from_url(f"s3://pictures?region=us-east-1&connect_timeout=0.5&read_timeout=7&ca_bundle={bundle}")
    config = store.client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (0.5, 7)
    with pytest.raises(InvalidValueError, match="there is no '/no/such.pem'"):
        Store.from_url("s3://pictures?ca_bundle=/no/such.pem")


# --- under a session -------------------------------------------------------------------------------------------------


def test_a_picture_is_attached_shown_replaced_and_deleted(cloud: Cloud, engine: Engine) -> None:
    store = cloud.store(prefix="images")
    with Session(engine, info={SESSION_STORE_KEY: store}) as session:
        user = attach(session, store, picture(60))
        session.flush()
        thumbnail = user.picture.generate_thumbnail(width=20, store=store)
        session.commit()
        former = {f"images/{name}" for name in names_of([*user.picture])}
        assert cloud.names() == former
        with thumbnail.open_file(store) as file:
            assert file.read() == thumbnail.make_blob(store)
        user.picture.from_blob(picture(50), store)
        session.flush()
        assert len(cloud.names()) == 3
        session.rollback()
        assert cloud.names() == former
        user.picture.from_blob(picture(50), store)
        session.commit()
        assert cloud.names() == {f"images/{name}" for name in names_of([*user.picture])}
        session.delete(user)
        session.commit()
        assert cloud.names() == set()


def test_a_bucket_that_refuses_leaves_no_row(cloud: Cloud, engine: Engine) -> None:
    with Session(engine) as session:
        attach(session, cloud.store(bucket="no-such-bucket"), picture())
        with pytest.raises(StoreError, match="no such bucket"):
            session.commit()
        session.rollback()
        assert session.query(UserPicture).count() == 0


def test_the_event_loop_goes_on_while_a_picture_is_stored(cloud: Cloud, engine: Engine) -> None:
    async def main() -> tuple[int, bytes]:
        turns, done = 0, asyncio.Event()

        async def turn() -> None:
            nonlocal turns
            while not done.is_set():
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(turn())
        sessions = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}")
        store = cloud.store()
        async with AsyncSession(sessions, expire_on_commit=False) as session:
            user = User(name="")
            await user.picture.afrom_blob(picture(), store)
            session.add(user)
            before = turns
            await session.commit()
            during = turns - before
            blob = await user.picture.amake_blob(store)
        done.set()
        await other
        await sessions.dispose()
        return during, blob

    turns, blob = asyncio.run(main())
    assert turns > 10
    assert blob == picture()
    assert len(cloud.names()) == 1


# --- moved, checked and swept ----------------------------------------------------------------------------------------


def test_pictures_move_there_and_back(cloud: Cloud, engine: Engine, tmp_path: Path) -> None:
    directory, back = (FileSystemStore(tmp_path / name, "https://images.test/") for name in ("there", "back"))
    store = cloud.store(prefix="images")
    keys = fill(engine, directory, 30)
    with Session(engine) as session:
        assert migrate(session, Base, directory, store, workers=4).execute().copied == 30
        assert migrate(session, Base, directory, store, workers=4).execute().copied == 0
        assert migrate(session, Base, store, back, workers=4).execute().copied == 30
        with pytest.raises(InvalidValueError, match="two different stores"):
            migrate(session, Base, store, cloud.store(prefix="images"))
    assert cloud.names() == {key.object_name("images") for key in keys}
    assert {read(back, key) for key in keys} == {f"picture {number}".encode() for number in range(1, 31)}


def test_what_nobody_needs_is_found_and_swept_and_nothing_else(cloud: Cloud, engine: Engine) -> None:
    store, other = cloud.store(prefix="images"), cloud.store(prefix="images2")
    keys = fill(engine, store, 10)
    orphan, foreign = fresh_key(), fresh_key()
    put(store, orphan)
    put(other, foreign)
    with Session(engine) as session:
        session.execute(delete(UserPicture).where(UserPicture.user_id == 3))
        store.delete_key(keys[4])
        session.commit()
        report = check(session, Base, store, checksum=True, grace=timedelta(0))
        assert {kind.value: count for kind, count in report.counts.items()} == {"orphan": 2, "missing blob": 1}
        session.rollback()
        assert sweep(session, Base, store, grace=timedelta(0)).deleted == 0
        assert sweep(session, Base, store, grace=timedelta(0), dry_run=False).deleted == 2
    left = {key.object_name("images") for key in keys} - {keys[2].object_name("images"), keys[4].object_name("images")}
    assert cloud.names() == left | {foreign.object_name("images2")}
