from __future__ import annotations

import errno
import io
import os
import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from botocore.exceptions import ProfileNotFound
from sqlalchemy import Engine, ForeignKey, ForeignKeyConstraint, Table, delete, event, insert, select, update
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    scoped_session,
    sessionmaker,
)

from sqlalchemy_imageattach.bulk import keyset
from sqlalchemy_imageattach.context import current_store, store_context
from sqlalchemy_imageattach.entity import Image
from sqlalchemy_imageattach.errors import (
    BlobNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    StoreError,
)
from sqlalchemy_imageattach.key import ImageKey, new_revision
from sqlalchemy_imageattach.migration import (
    BlobMismatchError,
    Failure,
    MigrationPlan,
    MigrationResult,
    migrate,
    migrate_class,
)
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.s3 import S3Store
from tests.migrating import (
    Base,
    Hooked,
    LegacyBase,
    ListingFourMethodStore,
    OldPicture,
    Post,
    PostPhoto,
    User,
    UserPicture,
    attach,
    content_of,
    database,
    fill,
    fill_legacy,
    picture,
    read,
    row_of,
)
from tests.onex import FourMethodStore


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = database(f"sqlite:///{tmp_path}/test.db")
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture
def source() -> Hooked:
    return Hooked()


@pytest.fixture
def destination() -> Hooked:
    return Hooked()


def corrupt(store: MemoryStore, key: ImageKey, blob: bytes) -> None:
    store.delete_key(key)
    store.put(key, io.BytesIO(blob), reproducible=False)


# --- as documented ---------------------------------------------------------------------------------------------------


def test_a_plan_does_nothing_until_it_is_executed(session, engine, source, destination) -> None:
    fill(engine, source, 3)
    plan = migrate(session, Base, source, destination)
    assert isinstance(plan, MigrationPlan)
    assert not destination.operations
    assert plan.execute().copied == 3
    assert content_of(destination) == content_of(source)


def test_iterating_over_a_plan_gives_each_image_that_was_copied(session, engine, source, destination) -> None:
    keys = fill(engine, source, 25)
    seen = set()
    for image in migrate(session, Base, source, destination):
        assert isinstance(image, UserPicture)
        assert read(destination, ImageKey("user-picture", image.user_id, 640, 480, "image/jpeg", image.revision))
        seen.add(image.object_id)
    assert seen == {key.object_id for key in keys}


def test_a_callback_is_called_with_each_image_that_was_copied(session, engine, source, destination) -> None:
    fill(engine, source, 5)
    images: list[Any] = []
    migrate(session, Base, source, destination).execute(images.append)
    assert sorted(image.user_id for image in images) == [1, 2, 3, 4, 5]


def test_a_plan_can_be_made_of_a_function_as_in_1x() -> None:
    images = [UserPicture(), UserPicture()]
    plan = MigrationPlan(lambda: iter(images))
    assert list(plan) == images
    seen: list[Any] = []
    plan.execute(seen.append)
    assert seen == images


def test_migrating_a_class_leaves_the_others_alone(session, engine, source, destination) -> None:
    fill(engine, source, 2)
    post = Post()
    with store_context(source):
        post.photos.get_image_set(order_index=1).from_blob(picture())
        session.add(post)
        session.commit()
        result = migrate_class(session, PostPhoto, source, destination).execute()
    assert result.copied == 1
    assert {key.object_type for key in destination.blobs} == {"post-photo"}


def test_thumbnails_are_stored_as_reproducible(session, source) -> None:
    told: dict[int, bool] = {}

    class Telling(MemoryStore):
        def put_file(self, file, object_type, object_id, width, height, mimetype, reproducible, **kwargs: Any) -> None:
            told[width] = reproducible
            super().put_file(file, object_type, object_id, width, height, mimetype, reproducible, **kwargs)

    user = attach(session, source, picture(40))
    user.picture.generate_thumbnail(width=10, store=source)
    session.commit()
    migrate(session, Base, source, Telling()).execute()
    assert told == {40: False, 10: True}


# --- only what is missing or differs ---------------------------------------------------------------------------------


def test_a_second_run_copies_nothing_and_reads_no_blob(session, engine, source, destination) -> None:
    fill(engine, source, 30)
    plan = migrate(session, Base, source, destination)
    plan.execute()
    source.operations.clear()
    destination.operations.clear()
    result = plan.execute()
    assert (result.copied, result.present, result.ok) == (0, 30, True)
    assert source.operations == []
    assert destination.operations == ["list", "listed"]


def test_a_later_run_copies_what_is_missing(session, engine, source, destination) -> None:
    keys = fill(engine, source, 30)
    migrate(session, Base, source, destination).execute()
    for key in keys[3:7]:
        destination.delete_key(key)
    result = migrate(session, Base, source, destination).execute()
    assert (result.copied, result.present) == (4, 26)
    assert content_of(destination) == content_of(source)


def test_a_later_run_copies_what_has_another_length(session, engine, source, destination) -> None:
    keys = fill(engine, source, 3)
    migrate(session, Base, source, destination).execute()
    corrupt(destination, keys[1], b"truncat")
    result = migrate(session, Base, source, destination).execute()
    assert (result.copied, result.present) == (1, 2)
    assert content_of(destination) == content_of(source)


def test_reading_back_finds_what_has_the_same_length_but_other_bytes(session, engine, source, destination) -> None:
    keys = fill(engine, source, 3)
    migrate(session, Base, source, destination).execute()
    corrupt(destination, keys[1], read(source, keys[1])[::-1])
    assert migrate(session, Base, source, destination).execute().copied == 0
    result = migrate(session, Base, source, destination, verify="read-back").execute()
    assert (result.copied, result.present) == (1, 2)
    assert content_of(destination) == content_of(source)


def test_what_somebody_else_has_copied_meanwhile_counts_as_there(session, engine, source) -> None:
    keys = fill(engine, source, 2)

    def other_shard(operation: str) -> None:
        if operation == "put" and not shared.blobs:
            shared.hook = lambda operation: None
            for key in keys:
                shared.put(key, io.BytesIO(read(source, key)), reproducible=False)

    shared = Hooked(other_shard)
    result = migrate(session, Base, source, shared, workers=1).execute()
    assert (result.copied, result.present, result.failed) == (0, 2, 0)


def test_a_dry_run_writes_nothing_and_says_what_it_would(session, engine, source, destination) -> None:
    fill(engine, source, 4, blob=b"12345")
    result = migrate(session, Base, source, destination, dry_run=True).execute()
    assert (result.copied, result.copied_bytes, result.dry_run) == (4, 20, True)
    assert not destination.blobs
    assert "get" not in source.operations


def test_breaking_off_keeps_what_was_copied(session, engine, source, destination) -> None:
    fill(engine, source, 40)
    plan = migrate(session, Base, source, destination, workers=3)
    for number, _ in enumerate(plan):
        if number == 9:
            break
    copied = len(destination)
    assert 10 <= copied < 40
    result = plan.execute()
    assert (result.copied, result.present) == (40 - copied, copied)


# --- verification ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damaged", [b"", b"picture 7", b"picture 2 and more"])
def test_a_damaged_blob_is_a_failure_and_is_not_copied(session, engine, source, destination, damaged) -> None:
    keys = fill(engine, source, 3)
    corrupt(source, keys[1], damaged)
    result = migrate(session, Base, source, destination).execute()
    assert (result.copied, result.failed, result.ok) == (2, 1, False)
    [failure] = result.failures
    assert (failure.mapped_class, failure.key) == (UserPicture, keys[1])
    assert isinstance(failure.error, BlobMismatchError)
    assert isinstance(failure.error, OSError)
    assert "expected 9 bytes with SHA-256" in str(failure.error)
    assert keys[1] not in destination
    assert pickle.loads(pickle.dumps(failure.error)).args == failure.error.args


def test_a_damaged_blob_is_copied_where_that_is_asked_for(session, engine, source, destination) -> None:
    keys = fill(engine, source, 1)
    corrupt(source, keys[0], b"damaged")
    assert migrate(session, Base, source, destination, verify="none").execute().ok
    assert content_of(destination) == content_of(source)


def test_a_destination_that_changes_bytes_is_found_by_reading_back(session, engine, source) -> None:
    class Bad(MemoryStore):
        def put_file(self, file, *args: Any, **kwargs: Any) -> None:
            super().put_file(io.BytesIO(file.read()[:-1] + b"?"), *args, **kwargs)

    fill(engine, source, 2)
    destination = Bad()
    result = migrate(session, Base, source, destination, verify="read-back").execute()
    assert (result.copied, result.failed) == (0, 2)
    assert all(isinstance(failure.error, BlobMismatchError) for failure in result.failures)
    assert not destination.blobs


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_missing_blob_does_not_stop_the_rest(session, engine, source, destination) -> None:
    keys = fill(engine, source, 5)
    source.delete_key(keys[2])
    result = migrate(session, Base, source, destination).execute()
    assert (result.copied, result.failed) == (4, 1)
    assert isinstance(result.failures[0].error, BlobNotFoundError)
    assert "UserPicture (3, 640, 480, 'image/jpeg', ''): BlobNotFoundError" in str(result.failures[0])
    assert result.failures[0].error.__traceback__ is None


def test_the_first_failure_is_raised_where_that_is_asked_for(session, engine, source, destination) -> None:
    keys = fill(engine, source, 5)
    source.delete_key(keys[2])
    plan = migrate(session, Base, source, destination, on_error="raise", workers=1)
    with pytest.raises(BlobNotFoundError):
        plan.execute()
    assert (plan.result.copied, plan.result.failed) == (2, 1)


def test_a_function_hears_of_each_failure(session, engine, source, destination) -> None:
    keys = fill(engine, source, 5)
    for key in keys[1:3]:
        source.delete_key(key)
    failures: list[Failure] = []
    result = migrate(session, Base, source, destination, on_error=failures.append).execute()
    assert {failure.key for failure in failures} == set(keys[1:3])
    assert result.copied == 3


def test_only_the_first_thousand_failures_are_kept_but_all_are_counted(session, engine, source, destination) -> None:
    for key in fill(engine, source, 1010):
        source.delete_key(key)
    result = migrate(session, Base, source, destination).execute()
    assert (result.failed, len(result.failures), result.gave_up) == (1010, 1000, False)


class Full(MemoryStore):
    """A disk with room for so many blobs."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.tried = 0

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        self.tried += 1
        if len(self) >= self.room:
            raise StoreError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().put_file(*args, **kwargs)


def test_a_destination_that_fills_up_is_given_up_and_continued_when_there_is_room(session, engine, source) -> None:
    fill(engine, source, 300)
    before, destination = source.blobs, Full(20)
    result = migrate(session, Base, source, destination, workers=2, give_up_after=10).execute()
    assert (result.copied, result.gave_up, result.ok) == (20, True, False)
    assert {failure.error.errno for failure in result.failures} == {errno.ENOSPC}  # type: ignore[attr-defined]
    assert destination.tried < 50
    destination.room = 1000
    result = migrate(session, Base, source, destination).execute()
    assert (result.copied, result.present, result.ok) == (280, 20, True)
    assert source.blobs == before == destination.blobs


def test_a_full_destination_is_tried_to_the_end_where_that_is_asked_for(session, engine, source) -> None:
    fill(engine, source, 150)
    destination = Full(20)
    result = migrate(session, Base, source, destination, give_up_after=None).execute()
    assert (result.copied, result.failed, result.gave_up, destination.tried) == (20, 130, False, 150)


def test_a_destination_that_fails_now_and_then_is_not_given_up(engine, session, source) -> None:
    class Shaky(Full):
        def put_file(self, *args: Any, **kwargs: Any) -> None:
            self.room = len(self) + self.tried % 2
            super().put_file(*args, **kwargs)

    fill(engine, source, 40)
    result = migrate(session, Base, source, Shaky(0), workers=1, give_up_after=3).execute()
    assert (result.copied, result.failed, result.gave_up) == (20, 20, False)


def test_the_source_is_only_read(session, engine, source, destination) -> None:
    keys = fill(engine, source, 10)
    corrupt(source, keys[0], b"damaged")
    before = source.blobs
    source.operations.clear()
    for verify in ("copy", "none", "read-back"):
        migrate(session, Base, source, destination, verify=verify).execute()
        migrate(session, Base, source, Full(3), verify=verify).execute()
    assert set(source.operations) <= {"get"}
    assert source.blobs == before


def test_a_row_that_cannot_name_a_blob_is_a_failure(session, engine, source, destination) -> None:
    keys = fill(engine, source, 2)
    with engine.begin() as connection:
        connection.execute(update(UserPicture).where(UserPicture.user_id == 1).values(mimetype="nonsense"))
    result = migrate(session, Base, source, destination).execute()
    assert (result.copied, result.failed) == (1, 1)
    assert result.failures[0].key is None
    assert "expected a mimetype" in str(result.failures[0].error)
    assert set(destination.blobs) == {keys[1]}


# --- rows that go while their blobs are copied -----------------------------------------------------------------------


def test_a_row_that_is_deleted_meanwhile_is_no_failure(engine, destination) -> None:
    def remove(operation: str) -> None:
        if operation == "get":
            watched.hook = lambda operation: None
            with engine.begin() as connection:
                connection.execute(delete(UserPicture).where(UserPicture.user_id == 1))
            watched.delete_key(keys[0])

    watched = Hooked()
    keys = fill(engine, watched, 3)
    watched.hook = remove
    with Session(engine) as session:
        result = migrate(session, Base, watched, destination, workers=1, on_error="raise").execute()
    assert (result.copied, result.vanished, result.failed) == (2, 1, 0)
    assert set(destination.blobs) == set(keys[1:])


def test_a_copy_that_comes_too_late_is_taken_back(engine, source) -> None:
    def remove(operation: str) -> None:
        if operation == "put":
            destination.hook = lambda operation: None
            with engine.begin() as connection:
                connection.execute(delete(UserPicture).where(UserPicture.user_id == 1))
            source.delete_key(keys[0])  # and from the destination, by a mirror: which has it only after this

    keys = fill(engine, source, 3)
    destination = Hooked(remove)
    with Session(engine) as session:
        result = migrate(session, Base, source, destination, workers=1).execute()
    assert (result.copied, result.vanished, result.copied_bytes) == (2, 1, 18)
    assert set(destination.blobs) == set(keys[1:])


class TenantBase(DeclarativeBase):
    pass


class TenantPhoto(TenantBase, Image):
    __tablename__ = "tenant_photo"

    #: Without one, no object type can be told.
    tenant: ClassVar[str | None] = "acme"

    id: Mapped[int] = mapped_column(primary_key=True)

    @property
    def object_type(self) -> str:
        if self.tenant is None:
            msg = "the tenant is not known"
            raise LookupError(msg)
        return f"{self.tenant}-photo"


def test_the_copy_for_a_row_that_is_there_is_not_taken_back(tmp_path, source, destination, monkeypatch) -> None:
    engine = database(f"sqlite:///{tmp_path}/tenants.db", TenantBase)
    with engine.begin() as connection:
        for number in range(3):
            key = ImageKey("acme-photo", number, 640, 480, "image/jpeg", new_revision())
            source.put(key, io.BytesIO(b"a picture"), reproducible=False)
            connection.execute(insert(TenantPhoto), [row_of(key, b"a picture", id=number)])
    with Session(engine) as session:
        plan = migrate(session, TenantBase, source, destination, workers=1)
        # when they are looked up once more, the rows cannot say which blob is theirs
        result = plan.execute(lambda image: monkeypatch.setattr(TenantPhoto, "tenant", None))
    assert (result.copied, result.vanished) == (3, 0)
    assert destination.blobs == source.blobs
    engine.dispose()


# --- each row once ---------------------------------------------------------------------------------------------------


class MixedBase(DeclarativeBase):
    pass


class Media(MixedBase, Image):
    __tablename__ = "media"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "media"}


class Scan(Media):
    __mapper_args__ = {"polymorphic_identity": "scan"}


class Photo(Media):
    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    width: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    height: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    mimetype: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    __table_args__ = (
        ForeignKeyConstraint(
            ["id", "width", "height", "mimetype"], ["media.id", "media.width", "media.height", "media.mimetype"]
        ),
    )
    __mapper_args__ = {"polymorphic_identity": "photo"}

    @property
    def object_id(self) -> int:
        return self.number


def fill_mixed(engine: Engine, store: Store) -> list[ImageKey]:
    keys = []
    with engine.begin() as connection:
        for number, kind in enumerate(["media", "scan", "photo", "photo", "scan"], 1):
            is_photo = kind == "photo"
            key = ImageKey("photo" if is_photo else "media", number * (100 if is_photo else 1), 8, 6, "image/png", "x")
            store.put(key, io.BytesIO(b"blob"), reproducible=False)
            connection.execute(insert(cast("Table", Media.__table__)), row_of(key, b"blob", id=number, kind=kind))
            if is_photo:
                row = {"id": number, "width": 8, "height": 6, "mimetype": "image/png", "number": number * 100}
                connection.execute(insert(cast("Table", Photo.__table__)), row)
            keys.append(key)
    return keys


def test_rows_of_polymorphic_classes_are_counted_once_and_named_by_their_own_class(source, destination) -> None:
    engine = database(base=MixedBase)
    keys = fill_mixed(engine, source)
    with Session(engine) as session:
        result = migrate(session, MixedBase, source, destination).execute()
        assert (result.copied, result.present, result.failed) == (5, 0, 0)
        assert set(destination.blobs) == set(keys)
        for cls, count in ((Media, 5), (Scan, 2), (Photo, 2)):
            assert len(list(migrate_class(session, cls, source, MemoryStore()))) == count
    engine.dispose()


def test_pages_give_each_row_once_whatever_their_size(engine, session, source, monkeypatch) -> None:
    monkeypatch.setattr(keyset, "PAGE", 7)
    keys = fill(engine, source, 40)
    images = list(migrate(session, Base, source, MemoryStore()))
    assert sorted(image.object_id for image in images) == [key.object_id for key in keys]


def test_shards_share_the_work_without_a_gap_or_an_overlap(engine, session, source) -> None:
    fill(engine, source, 60)
    shares = []
    for index in range(4):
        share = Hooked()
        assert migrate(session, Base, source, share, shard=(index, 4)).execute().ok
        shares.append(set(share.blobs))
    assert all(shares)
    assert sum(map(len, shares)) == 60
    assert set().union(*shares) == set(source.blobs)


# --- 1.x -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def legacy_engine() -> Iterator[Engine]:
    engine = database(base=LegacyBase)
    yield engine
    engine.dispose()


def test_blobs_of_1x_go_from_one_four_method_store_to_another_in_one_thread(legacy_engine) -> None:
    source, destination = FourMethodStore(), FourMethodStore()
    fill_legacy(legacy_engine, source, 10)
    source.threads.clear()
    with Session(legacy_engine) as session:
        result = migrate(session, LegacyBase, source, destination).execute()
        assert (result.copied, result.ok) == (10, True)
        assert destination.blobs == source.blobs
        assert len(source.threads | destination.threads) == 1
        again = migrate(session, LegacyBase, source, destination).execute()
        assert (again.copied, again.present) == (0, 10)


def test_a_blob_of_1x_that_was_overwritten_since_is_copied_again(legacy_engine, destination) -> None:
    source = FourMethodStore()
    keys = fill_legacy(legacy_engine, source, 3)
    with Session(legacy_engine) as session:
        migrate(session, LegacyBase, source, destination).execute()
        source.put(keys[1], io.BytesIO(b"new picture 2"), reproducible=False)
        assert len(b"new picture 2") == len(b"old picture 2")
        result = migrate(session, LegacyBase, source, destination).execute()
    assert (result.copied, result.present) == (1, 2)
    assert read(destination, keys[1]) == b"new picture 2"


def test_blobs_with_revisions_fit_into_a_store_that_takes_none_and_back(engine, session, source, destination) -> None:
    fill(engine, source, 5)
    between = FourMethodStore()
    assert migrate(session, Base, source, between).execute().copied == 5
    assert migrate(session, Base, source, between).execute().present == 5
    assert migrate(session, Base, between, destination).execute().copied == 5
    assert destination.blobs == source.blobs


def test_a_place_that_can_be_overwritten_is_compared_by_its_bytes(engine, session, source) -> None:
    keys = fill(engine, source, 3)
    listing = ListingFourMethodStore()
    migrate(session, Base, source, listing).execute()
    listing.put(keys[1], io.BytesIO(b"picture X"), reproducible=False)
    result = migrate(session, Base, source, listing).execute()
    assert (result.copied, result.present) == (1, 2)
    assert read(listing, keys[1]) == read(source, keys[1])


def test_what_only_the_destination_still_has_counts_as_there(legacy_engine, destination) -> None:
    source = MemoryStore()
    keys = fill_legacy(legacy_engine, source, 2)
    with Session(legacy_engine) as session:
        migrate(session, LegacyBase, source, destination).execute()
        source.delete_key(keys[0])
        result = migrate(session, LegacyBase, source, destination).execute()
    assert (result.present, result.failed) == (2, 0)


def test_the_classes_of_1x_are_images_too(legacy_engine) -> None:
    fill_legacy(legacy_engine, source := MemoryStore(), 1)
    with Session(legacy_engine) as session:
        assert [type(image) for image in migrate(session, LegacyBase, source, MemoryStore())] == [OldPicture]


# --- the caller's session --------------------------------------------------------------------------------------------


def test_the_session_is_left_as_it_was(engine, source, destination) -> None:
    fill(engine, source, 2)
    with Session(engine) as session:
        user = session.get(User, 1)
        assert user is not None
        session.commit()
        assert "name" not in user.__dict__
        user.name = "changed"
        added = User(id=50)
        session.add(added)
        session.rollback()
        before = dict(session.identity_map)
        migrate(session, Base, source, destination).execute()
        assert not session.in_transaction()
        assert dict(session.identity_map) == before


def test_what_the_session_has_not_flushed_stays_so(engine, source, destination) -> None:
    fill(engine, source, 2)
    with Session(engine) as session:
        user = session.get(User, 1)
        assert user is not None
        user.name = "changed"
        session.add(User(id=50))
        migrate(session, Base, source, destination).execute()
        assert user in session.dirty
        assert len(session.new) == 1
        assert user.name == "changed"
        session.commit()
    with Session(engine) as session:
        assert session.get(User, 50) is not None


def test_what_the_session_has_flushed_is_seen_and_not_undone(engine, source, destination) -> None:
    with Session(engine) as session:
        user = attach(session, source, picture())
        session.flush()
        assert migrate(session, Base, source, destination).execute().copied == 1
        session.commit()
        assert session.get(User, user.id) is user
    with Session(engine) as session:
        assert len(session.scalars(select(UserPicture)).all()) == 1


def test_savepoints_of_the_session_survive(engine, source, destination) -> None:
    with Session(engine) as session:
        attach(session, source, picture())
        with session.begin_nested():
            attach(session, source, picture())
            session.flush()
            migrate(session, Base, source, destination).execute()
        session.commit()
    assert len(destination) == 2


def test_a_session_bound_to_a_connection_in_a_transaction_leaves_that_alone(engine, source, destination) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            attach(session, source, picture())
            session.commit()
            assert migrate(session, Base, source, destination).execute().copied == 1
        assert transaction.is_active
        assert len(connection.execute(select(UserPicture.user_id)).all()) == 1


def test_no_connection_is_held_between_pages(engine, source, destination) -> None:
    fill(engine, source, 3)
    with Session(engine) as session:
        for _ in migrate(session, Base, source, destination):
            assert engine.pool.checkedout() == 0


def test_a_scoped_session_will_do(engine, source, destination) -> None:
    fill(engine, source, 3)
    session = scoped_session(sessionmaker(engine))
    assert migrate(session, Base, source, destination).execute().copied == 3
    session.remove()


def test_images_given_are_in_no_session_and_have_their_columns(engine, session, source, destination) -> None:
    fill(engine, source, 1)
    [image] = migrate(session, Base, source, destination)
    assert image not in session
    assert (image.size, image.mimetype, image.original) == ((640, 480), "image/jpeg", True)


def test_relationships_that_are_loaded_eagerly_cost_nothing_here(source, destination) -> None:
    class EagerBase(DeclarativeBase):
        pass

    class Owner(EagerBase):
        __tablename__ = "owner"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Eager(EagerBase, Image):
        __tablename__ = "eager"
        owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
        joined: Mapped[Owner] = relationship(lazy="joined")
        selectin: Mapped[Owner] = relationship(lazy="selectin", viewonly=True)

    engine = database(base=EagerBase)
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda c, cursor, statement, *_: sent.append(statement))
    with Session(engine) as session:
        migrate(session, EagerBase, source, destination).execute()
    assert sent
    assert not [statement for statement in sent if "owner " in statement.lower().replace("owner_id", "")]
    engine.dispose()


# --- how it goes -----------------------------------------------------------------------------------------------------


def test_progress_hears_of_each_row_with_the_total(engine, session, source, destination) -> None:
    fill(engine, source, 12)
    heard: list[MigrationResult] = []
    result = migrate(session, Base, source, destination, progress=heard.append).execute()
    assert [each.examined for each in heard] == list(range(1, 13))
    assert {each.total for each in heard} == {12}
    assert heard[-1] == result


@pytest.mark.parametrize("workers", [1, 8])
def test_any_number_of_workers_copies_the_same(engine, session, source, destination, workers) -> None:
    fill(engine, source, 50)
    assert migrate(session, Base, source, destination, workers=workers).execute().copied == 50
    assert destination.blobs == source.blobs


def test_memory_does_not_grow_with_the_rows(engine, session, source, monkeypatch) -> None:
    class Nowhere(MemoryStore):
        def put_file(self, file, *args: Any, **kwargs: Any) -> None:
            assert file.read()

    monkeypatch.setattr(keyset, "PAGE", 50)

    def peak() -> int:
        tracemalloc.start()
        assert migrate(session, Base, source, Nowhere(), workers=2).execute().ok
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    fill(engine, source, 300)
    peak()  # what is loaded and cached once
    few = peak()
    fill(engine, source, 1200, first=301)
    assert peak() < few * 2


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "destination",
    [
        S3Store("pictures", endpoint_url="https://minio.example.com", region="eu-west-1"),
        S3Store("pictures", region="cn-north-1"),  # AWS in China knows nothing of other regions' buckets
        S3Store("pictures", region="eu-west-1", prefix="images"),
        S3Store("pictures2", region="eu-west-1"),
        FileSystemStore("pictures", "/"),
    ],
    ids=str,
)
def test_stores_that_merely_look_alike_are_two_places(session, destination) -> None:
    source = S3Store("pictures", region="eu-west-1")
    migrate(session, Base, source, destination)
    migrate(session, Base, destination, source)
    with store_context(source):
        assert current_store.is_same_place(source)
        assert not current_store.is_same_place(destination)


class NoProfile:
    """A session of boto3 that makes no client."""

    def client(self, *args: Any, **kwargs: Any) -> Any:
        raise ProfileNotFound(profile="no-such-profile")


class Alias(MemoryStore):
    """A store of a user's, which tells by itself what it is the same as."""

    def __init__(self, of: Store) -> None:
        super().__init__()
        self.of = of

    def is_same_place(self, other: Store) -> bool:
        return other is self.of


@pytest.mark.parametrize("number", range(9))
def test_a_store_is_not_migrated_onto_itself(session, tmp_path, number) -> None:
    memory = MemoryStore()
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    files = FileSystemStore(tmp_path / "images", "/")
    pairs = [
        (memory, memory),
        (memory, current_store),
        (current_store, memory),
        (files, FileSystemStore(str(tmp_path / "images") + "/", "https://other.example.com/")),
        (files, FileSystemStore(tmp_path / "link", "/")),
        (S3Store("pictures", region="eu-west-1", prefix="a"), S3Store("pictures", region="us-east-1", prefix="a/")),
        # where they are cannot be told, since there is no such profile
        (S3Store("pictures", session=NoProfile()), S3Store("pictures", region="eu-west-1")),
        (Alias(memory), memory),
        (memory, Alias(memory)),
    ]
    with store_context(memory), pytest.raises(InvalidValueError, match="expected two different stores"):
        migrate(session, Base, *pairs[number])


def test_a_mirror_that_may_have_it_in_one_of_its_stores_only_is_no_destination(
    session, engine, source, destination
) -> None:
    fill(engine, source, 3)
    mirror = MirrorStore(source, destination)
    with store_context(mirror):
        for it in (mirror, current_store):
            with pytest.raises(InvalidValueError, match=r"migrate to its stores \(first, second\) one by one"):
                migrate(session, Base, source, it)
    assert migrate(session, Base, mirror, destination).execute().copied == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"session": None}, InvalidTypeError, "expected a Session"),
        ({"session": "sqlite://"}, InvalidTypeError, "expected a Session"),
        ({"declarative_base": object}, InvalidTypeError, "expected a declarative base class"),
        ({"declarative_base": UserPicture}, InvalidTypeError, "migrate_class"),
        ({"declarative_base": None}, InvalidTypeError, "expected a declarative base class"),
        ({"source": None}, InvalidTypeError, "source: expected a store"),
        ({"destination": None}, InvalidTypeError, "destination: expected a store"),
        ({"destination": "s3://bucket"}, InvalidTypeError, "expected a store"),
        ({"workers": 0}, InvalidValueError, "workers: expected 1 or more, got 0"),
        ({"workers": 2.0}, InvalidTypeError, "workers: expected an integer"),
        ({"workers": True}, InvalidTypeError, "workers: expected an integer"),
        ({"verify": True}, InvalidValueError, "verify: expected one of 'none', 'copy', 'read-back'"),
        ({"on_error": "ignore"}, InvalidValueError, "on_error: expected 'collect'"),
        ({"on_error": None}, InvalidValueError, "on_error: expected 'collect'"),
        ({"give_up_after": 0}, InvalidValueError, "give_up_after: expected 1 or more"),
        ({"shard": (2, 2)}, InvalidValueError, "0 <= i < n"),
        ({"shard": (-1, 2)}, InvalidValueError, "0 <= i < n"),
        ({"shard": (0, 0)}, InvalidValueError, "0 <= i < n"),
        ({"shard": ("0", "2")}, InvalidTypeError, "expected two integers"),
        ({"shard": 3}, InvalidTypeError, "expected two integers"),
        ({"progress": 3}, InvalidTypeError, "progress: expected a function"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(session, options, error, message) -> None:
    arguments = {"session": session, "declarative_base": Base, "source": MemoryStore(), "destination": MemoryStore()}
    with pytest.raises(error, match=message):
        migrate(**(arguments | options))


@pytest.mark.parametrize("cls", [User, object, Image, "UserPicture", None, Base])
def test_a_class_that_is_no_image_class_is_refused(session, cls) -> None:
    with pytest.raises(InvalidTypeError, match="expected a mapped class with the Image mixin"):
        migrate_class(session, cls, MemoryStore(), MemoryStore())


def test_other_wrong_arguments_are_refused_too(session) -> None:
    with pytest.raises(InvalidTypeError, match="callback: expected a function"):
        migrate(session, Base, MemoryStore(), MemoryStore()).execute("print")  # type: ignore[arg-type]
