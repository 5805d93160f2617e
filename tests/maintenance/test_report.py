from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session

from sqlalchemy_imageattach.bulk import keyset
from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.errors import ContextError, InvalidTypeError, InvalidValueError, StoreError
from sqlalchemy_imageattach.key import ImageKey, new_revision
from sqlalchemy_imageattach.maintenance import ProblemKind, SweepRefusedError, check, sweep
from sqlalchemy_imageattach.store import ListingNotSupportedError, Store, StoredBlob, key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from tests.migrating import (
    Base,
    Hooked,
    LegacyBase,
    ListingFourMethodStore,
    User,
    UserPicture,
    attach,
    database,
    fill,
    fill_legacy,
    picture,
    row_of,
)
from tests.onex import FourMethodStore

NOW = timedelta(0)
ORPHAN = ImageKey("user-picture", 999, 640, 480, "image/jpeg", "orphan")


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
def store() -> Hooked:
    return Hooked()


def put(store: Store, key: ImageKey, blob: bytes = b"nobody's") -> None:
    store.put(key, io.BytesIO(blob), reproducible=False)


def problems(report: Any) -> list[tuple[str, str]]:
    with report:
        return [(problem.kind.name, problem.name) for problem in report]


# --- check -----------------------------------------------------------------------------------------------------------


def test_where_all_agrees_there_is_nothing_to_report(engine, session, store) -> None:
    fill(engine, store, 20)
    with check(session, Base, store, checksum=True, grace=NOW) as report:
        assert list(report) == []
        assert (report.rows, report.blobs, report.in_grace, report.ok) == (20, 20, 0, True)
        assert report.blob_bytes == sum(map(len, store.blobs.values()))
        assert report.counts == {}
    assert set(store.operations) <= {"put", "get", "list", "listed"}


def test_an_empty_database_and_an_empty_store_agree(session, store) -> None:
    assert problems(check(session, Base, store)) == []


def test_a_row_without_a_blob_is_found(engine, session, store) -> None:
    keys = fill(engine, store, 5)
    store.delete_key(keys[2])
    with check(session, Base, store) as report:
        [problem] = report
    assert problem.kind is ProblemKind.MISSING_BLOB
    assert (problem.key, problem.image_class, problem.identity) == (
        keys[2],
        UserPicture,
        (3, 640, 480, "image/jpeg", ""),
    )
    assert not report.ok
    assert report.counts == {ProblemKind.MISSING_BLOB: 1}


def test_a_row_of_which_the_name_of_the_blob_tells_no_key_is_found(engine, session, store) -> None:
    # without a revision, the type of this one has a dot where a revision would end
    key = ImageKey("user-picture", 1, 640, 480, "application/vnd.ms-photo")
    with engine.begin() as connection:
        connection.execute(insert(User), [{"id": 1, "name": ""}])
        connection.execute(insert(UserPicture), [row_of(key, b"a picture", user_id=1)])
    with check(session, Base, store) as report:
        [problem] = report
    assert (problem.kind, problem.key, problem.name) == (ProblemKind.MISSING_BLOB, key, key.object_name())


def test_a_blob_without_a_row_is_found(engine, session, store) -> None:
    fill(engine, store, 5)
    put(store, ORPHAN)
    with check(session, Base, store, grace=NOW) as report:
        [problem] = report
    assert (problem.kind, problem.key, problem.byte_size) == (ProblemKind.ORPHAN, ORPHAN, 8)
    assert not report.ok


def test_a_blob_of_another_length_is_found(engine, session, store) -> None:
    keys = fill(engine, store, 5)
    store.delete_key(keys[0])
    put(store, keys[0], b"short")
    with check(session, Base, store, checksum=True, grace=NOW) as report:
        [problem] = report
    assert (problem.kind, problem.expected, problem.found) == (ProblemKind.WRONG_SIZE, "9 bytes", "5 bytes")


def test_other_bytes_of_the_same_length_are_found_only_by_reading_them(engine, session, store) -> None:
    keys = fill(engine, store, 5)
    store.delete_key(keys[0])
    put(store, keys[0], b"picture ?")
    assert problems(check(session, Base, store, grace=NOW)) == []
    assert problems(check(session, Base, store, grace=NOW, checksum=True)) == [
        ("WRONG_CHECKSUM", keys[0].object_name())
    ]


def test_a_blob_that_cannot_be_read_is_found_by_reading_it(engine, session, store) -> None:
    def fail(operation: str) -> None:
        if operation == "get":
            msg = "bad sector"
            raise StoreError(msg)

    keys = fill(engine, store, 1)
    store.hook = fail
    with check(session, Base, store, checksum=True) as report:
        [problem] = report
    assert (problem.kind, problem.key, problem.found) == (ProblemKind.UNREADABLE, keys[0], "StoreError: bad sector")


def test_a_row_that_cannot_name_a_blob_is_found(engine, session, store) -> None:
    fill(engine, store, 2)
    with engine.begin() as connection:
        connection.execute(update(UserPicture).where(UserPicture.user_id == 1).values(mimetype="nonsense"))
    with check(session, Base, store, grace=NOW) as report:
        kinds = {problem.kind: problem for problem in report}
    assert set(kinds) == {ProblemKind.INVALID_ROW, ProblemKind.ORPHAN}
    assert "expected a mimetype" in str(kinds[ProblemKind.INVALID_ROW])


def test_what_is_not_ours_is_only_worth_knowing(engine, session, tmp_path) -> None:
    store = FileSystemStore(tmp_path / "images", "/", fsync=False)
    fill(engine, store, 2)
    put(store, ImageKey("of-another-program", 1, 1, 1, "image/png", "x"))
    (tmp_path / "images" / "README").write_text("do not delete")
    with check(session, Base, store, grace=NOW) as report:
        assert report.counts == {ProblemKind.UNMAPPED: 1, ProblemKind.FOREIGN: 1}
        assert report.ok


def test_rows_without_a_checksum_are_counted(session, store) -> None:
    engine = database(base=LegacyBase)
    fill_legacy(engine, store, 3)
    with Session(engine) as session, check(session, LegacyBase, store, checksum=True, grace=NOW) as report:
        assert (report.rows, report.without_checksum, report.ok) == (3, 3, True)
    engine.dispose()


def test_problems_come_in_the_order_of_their_names(engine, session, store) -> None:
    for number in (5, 1, 3):
        put(store, ImageKey("user-picture", number, 1, 1, "image/png", "x"))
    names = [name for _, name in problems(check(session, Base, store, grace=NOW))]
    assert names == sorted(names)
    assert len(names) == 3


def test_the_counts_outlive_the_report(engine, session, store) -> None:
    put(store, ORPHAN)
    report = check(session, Base, store, grace=NOW)
    report.close()
    report.close()
    assert report.counts == {ProblemKind.ORPHAN: 1}


# --- while the application is running --------------------------------------------------------------------------------


def test_what_is_attached_replaced_or_deleted_meanwhile_is_no_problem(engine, store) -> None:
    keys = fill(engine, store, 10)

    def write(operation: str) -> None:
        if operation != "list":
            return
        store.hook = lambda operation: None
        with Session(engine, info={"image_store": store}) as other:
            attach(other, store, picture())
            other.delete(other.get(User, 3))
            replaced = other.get(User, 5)
            assert replaced is not None
            replaced.picture.from_blob(picture(12))
            other.commit()

    store.hook = write
    with Session(engine) as session:
        assert problems(check(session, Base, store, checksum=True)) == []
    assert keys[2] not in store
    assert keys[4] not in store


def test_blobs_of_a_transaction_that_goes_on_are_protected_by_the_grace_period(engine, store) -> None:
    with Session(engine, info={"image_store": store}) as writer:
        user = attach(writer, store, picture())
        writer.flush()
        key = key_of(user.picture.require_original())
        # SQLite: the writer would have to wait for nobody, and nobody for it, in another database
        other = database()
        with Session(other) as session, sweep(session, Base, store, dry_run=False, limit=1) as report:
            assert (report.deleted, report.in_grace) == (0, 1)
        other.dispose()
        writer.commit()
    assert key in store


def test_a_row_that_comes_between_listing_and_deleting_keeps_its_blob(engine, session, store) -> None:
    fill(engine, store, 3)
    put(store, ORPHAN)
    late = ImageKey("user-picture", 1, 5, 5, "image/png", "late")
    put(store, late)

    def restore(operation: str) -> None:
        if operation == "listed":
            with engine.begin() as connection:
                connection.execute(insert(UserPicture), row_of(late, b"nobody's", user_id=1))

    store.hook = restore
    with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert report.deleted == 1
    assert late in store
    assert ORPHAN not in store


def test_a_blob_without_a_revision_that_was_written_anew_since_it_was_listed_stays(engine, session, store) -> None:
    fill(engine, store, 3)
    old = ImageKey("user-picture", 1, 5, 5, "image/png")
    put(store, old)

    def overwrite(operation: str) -> None:
        if operation == "listed" and store.operations.count("listed") == 1:
            put(store, old, b"new")

    store.hook = overwrite
    with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert (report.deleted, report.in_grace, list(report)) == (0, 1, [])
    assert store.blobs[old] == b"new"


# --- sweep -----------------------------------------------------------------------------------------------------------


def test_a_sweep_is_a_dry_run_unless_it_is_told_otherwise(engine, session, store) -> None:
    fill(engine, store, 3)
    put(store, ORPHAN)
    before = store.blobs
    with sweep(session, Base, store, grace=NOW) as report:
        assert [problem.key for problem in report] == [ORPHAN]
        assert (report.dry_run, report.deleted, report.ok) == (True, 0, False)
    assert store.blobs == before
    assert "delete" not in store.operations


def test_a_sweep_deletes_the_orphans_and_nothing_else(engine, session, store) -> None:
    keys = fill(engine, store, 3)
    put(store, ORPHAN)
    with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert (report.deleted, report.deleted_bytes, report.failed, report.ok) == (1, 8, 0, True)
        [problem] = report
        assert problem.deleted
        assert str(problem).endswith("deleted")
    assert set(store.blobs) == set(keys)
    assert problems(check(session, Base, store, grace=NOW)) == []


@pytest.mark.parametrize("bulk", ["delete(UserPicture)", "raw SQL"])
def test_orphans_of_a_bulk_delete_are_found_and_removed(engine, store, bulk) -> None:
    with Session(engine, info={"image_store": store}) as session:
        for _ in range(6):
            attach(session, store, picture()).picture.generate_thumbnail(width=10)
        session.commit()
        if bulk == "raw SQL":
            session.execute(text("DELETE FROM user_picture WHERE user_id <= 2"))
        else:
            session.execute(delete(UserPicture).where(UserPicture.user_id <= 2))
        session.commit()
    assert len(store) == 12
    with Session(engine) as session, sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert report.deleted == 4
    assert {key.object_id for key in store.blobs} == {3, 4, 5, 6}


def test_what_is_younger_than_the_grace_period_stays(engine, session, store) -> None:
    fill(engine, store, 2)
    put(store, ORPHAN)
    with sweep(session, Base, store, dry_run=False, grace=timedelta(minutes=5)) as report:
        assert (report.deleted, report.in_grace, report.ok) == (0, 1, True)
    store._modified[ORPHAN] = datetime.now(UTC) - timedelta(minutes=6)
    with sweep(session, Base, store, dry_run=False, grace=timedelta(minutes=5)) as report:
        assert (report.deleted, report.in_grace) == (1, 0)


def test_a_blob_from_the_future_stays(engine, session, store) -> None:
    fill(engine, store, 2)
    put(store, ORPHAN)
    store._modified[ORPHAN] = datetime.now(UTC) + timedelta(days=400)
    with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert (report.deleted, report.in_grace) == (0, 1)


def test_blobs_of_1x_are_swept_too(store) -> None:
    engine = database(base=LegacyBase)
    keys = fill_legacy(engine, store, 4)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM old_picture WHERE owner_id = 2"))
    with Session(engine) as session, sweep(session, LegacyBase, store, dry_run=False, grace=NOW) as report:
        assert report.deleted == 1
    assert set(store.blobs) == {keys[0], keys[2], keys[3]}
    engine.dispose()


def test_a_type_outside_the_table_is_deleted_by_its_own_key(engine, session, store) -> None:
    fill(engine, store, 4)
    odd = [
        ImageKey("user-picture", 9, 1, 1, "image/vnd.a.b"),
        ImageKey("user-picture", 9, 1, 1, "image/vnd.a.b", "r"),
        ImageKey("user-picture", 9, 1, 1, "video/x-thing", "r"),
    ]
    for key in odd:
        put(store, key)
    with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert report.deleted == 3
    assert not set(odd) & set(store.blobs)


def test_a_name_that_the_store_itself_would_never_give_is_not_its_own(engine, session) -> None:
    store = ListingFourMethodStore()
    fill(engine, store, 3)
    there = ImageKey("user-picture", 1, 640, 480, "image/jpeg")
    alien = ImageKey("user-picture", 1, 640, 480, "image/jpeg", "of-another-store")
    store.extra = (StoredBlob(alien.object_name(), 1, datetime(2020, 1, 1, tzinfo=UTC), alien),)
    with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert report.counts == {ProblemKind.FOREIGN: 1}
        assert report.deleted == 0
    assert store.get(there).read() == b"picture 1"


def test_what_cannot_be_deleted_is_reported_and_the_rest_goes(engine, session, store) -> None:
    fill(engine, store, 8)
    for number in range(4):
        put(store, ImageKey("user-picture", 900 + number, 1, 1, "image/png", "x"))

    def fail_once(operation: str) -> None:
        if operation == "delete" and store.operations.count("delete") == 2:
            msg = "access denied"
            raise StoreError(msg)

    store.hook = fail_once
    with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert (report.deleted, report.failed, report.ok) == (3, 1, False)
        assert "StoreError: access denied" in str(report.failures[0])
        assert sorted(problem.deleted for problem in report) == [False, True, True, True]


# --- files -----------------------------------------------------------------------------------------------------------


def test_temporary_files_of_other_object_types_stay(engine, session, tmp_path) -> None:
    store = FileSystemStore(tmp_path / "images", "/", fsync=False)
    fill(engine, store, 2)
    others = tmp_path / "images" / "user-picture2" / "1" / "0" / f".1.640x480.abc.jpe.{'0' * 16}.tmp"
    others.parent.mkdir(parents=True)
    others.write_bytes(b"half")
    os.utime(others, (0, 0))
    with sweep(session, Base, store, dry_run=False) as report:
        assert (report.counts, report.deleted, report.ok) == ({ProblemKind.UNMAPPED: 1}, 0, True)
    assert others.exists()


def test_stale_temporary_files_are_deleted_and_young_ones_stay(engine, session, tmp_path) -> None:
    store = FileSystemStore(tmp_path / "images", "/", fsync=False)
    fill(engine, store, 2)
    directory = tmp_path / "images" / "user-picture" / "1" / "0"
    stale, young = (directory / f".1.640x480.abc.jpe.{digit * 16}.tmp" for digit in "01")
    foreign = directory / ".1.640x480.abc.jpe.tmp"
    for path in (stale, young, foreign):
        path.write_bytes(b"half")
    old = datetime.now().timestamp() - 7200
    for path in (stale, foreign):
        os.utime(path, (old, old))
    with check(session, Base, store, grace=timedelta(hours=1)) as report:
        assert report.counts == {ProblemKind.TEMPORARY: 1, ProblemKind.FOREIGN: 1}
        assert not report.ok
    with sweep(session, Base, store, dry_run=False, grace=timedelta(hours=1)) as report:
        assert (report.deleted, report.in_grace) == (1, 1)
    assert not stale.exists()
    assert young.exists()
    assert foreign.exists()


SEGMENT = st.sampled_from(
    [
        "user-picture",
        "user-picture2",
        "post-photo",
        "x",
        "1",
        "0",
        "01",
        "-1",
        "images",
        ".git",
        "été",
        "a b",
        "USER-PICTURE",
    ]
)
FILE = st.one_of(
    st.builds(
        "{}{}.{}x{}{}{}".format,
        st.sampled_from(["", "0", ".", "-", "x"]),
        st.sampled_from([1, 2, 1001]),
        st.sampled_from(["640", "0640", "1", ""]),
        st.sampled_from(["480", "+1", "2"]),
        st.sampled_from(["", ".rev", ".r e v", "..", ".a.b"]),
        st.sampled_from([".jpe", ".jpg", ".png", "", ".JPE", ".tmp", ".jpe~", ".jpe.0123456789abcdef.tmp"]),
    ),
    st.sampled_from(["README", "Thumbs.db", ".DS_Store", "640x480.jpe", "1.640x480.jpe"]),
)
PATHS = st.builds(lambda segments, name: "/".join([*segments, name]), st.lists(SEGMENT, max_size=4), FILE)


@settings(max_examples=60)
@given(junk=st.sets(PATHS, max_size=12), orphans=st.integers(0, 4))
def test_whatever_else_lies_there_only_orphans_are_deleted(tmp_path_factory, junk, orphans) -> None:
    root = tmp_path_factory.mktemp("sweep")
    engine, store = database(), FileSystemStore(root / "images", "/", fsync=False)
    keys = fill(engine, store, 4)
    doomed = [ImageKey("user-picture", 1 + n * 1000, 9, 9, "image/png", new_revision()) for n in range(orphans)]
    for key in doomed:
        put(store, key)
    for name in junk:
        path = root / "images" / name
        # a name of ours that no row has is an orphan, by whoever made it; all that is not one is junk
        key_here = ImageKey.parse_file_path(name)
        if key_here is not None and key_here.object_type in {"user-picture", "post-photo"}:
            continue
        if path.exists() or any(parent.is_file() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"junk")
        os.utime(path, (0, 0))
    before = {path.relative_to(root / "images").as_posix() for path in (root / "images").rglob("*") if path.is_file()}
    mapped = ("user-picture/", "post-photo/")
    temporary = {blob.name for blob in store.list_blobs() if blob.is_temporary and blob.name.startswith(mapped)}
    with Session(engine) as session, sweep(session, Base, store, dry_run=False, grace=NOW, limit=1) as report:
        assert report.failed == 0
    after = {path.relative_to(root / "images").as_posix() for path in (root / "images").rglob("*") if path.is_file()}
    assert before - after == {key.file_path() for key in doomed} | temporary
    assert all(".0123456789abcdef.tmp" in name for name in temporary)
    assert {key.file_path() for key in keys} <= after
    engine.dispose()


CHILD = """
import os, signal, sys
sys.path.insert(0, {root!r})
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from tests.migrating import attach, picture

class Dying:
    def read(self, size=-1):
        if self.__dict__.setdefault("asked", False):
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked = True
        return b"half of a picture"

store = FileSystemStore({path!r}, "/")
with Session(create_engine({url!r})) as session:
    attach(session, store, picture())
    session.flush()
    if {where!r} == "before the commit":
        os.kill(os.getpid(), signal.SIGKILL)
    session.commit()
    store.put(ImageKey("user-picture", 77, 1, 1, "image/png", "r"), Dying(), reproducible=False)
"""


@pytest.mark.parametrize(
    ("where", "kind"), [("before the commit", ProblemKind.ORPHAN), ("while writing", ProblemKind.TEMPORARY)]
)
def test_what_a_killed_process_leaves_is_found_and_removed_and_nothing_else(engine, tmp_path, where, kind) -> None:
    store = FileSystemStore(tmp_path / "images", "/")
    fill(engine, store, 5, first=100)
    code = CHILD.format(root=str(Path(__file__).parents[2]), path=store.path, url=str(engine.url), where=where)
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert child.returncode == -signal.SIGKILL
    with Session(engine) as session:
        with check(session, Base, store, grace=NOW) as report:
            assert report.counts == {kind: 1}
        with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
            assert (report.deleted, report.ok) == (1, True)
        with check(session, Base, store, grace=NOW, checksum=True) as report:
            assert report.counts == {}
            assert report.rows == report.blobs == (5 if kind is ProblemKind.ORPHAN else 6)


# --- refusals --------------------------------------------------------------------------------------------------------


def assert_refused(session: Any, store: Hooked, message: str, base: Any = Base, **options: Any) -> None:
    before = store.blobs
    with pytest.raises(SweepRefusedError, match=message):
        sweep(session, base, store, dry_run=False, grace=NOW, **options)
    assert store.blobs == before
    assert "delete" not in store.operations


def test_it_refuses_with_a_session_that_might_show_old_rows(engine, session, store) -> None:
    fill(engine, store, 3)
    put(store, ORPHAN)
    session.get(User, 1)
    assert_refused(session, store, "the session is in a transaction")
    with engine.connect() as connection, connection.begin(), Session(connection) as bound:
        assert_refused(bound, store, "the session is in a transaction")
    session.rollback()
    with sweep(session, Base, store, dry_run=False, grace=NOW) as report:
        assert report.deleted == 1


def test_it_refuses_when_the_database_looks_like_the_wrong_one(engine, session, store) -> None:
    fill(engine, store, 3)
    other = database()
    with Session(other) as wrong:
        assert_refused(wrong, store, "3 of the 3 blobs of 'user-picture' have no row.*limit of 50%")
    other.dispose()
    put(store, ORPHAN)
    assert_refused(session, store, "limit of 20%", limit=0.2)
    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=0.25) as report:
        assert report.deleted == 1


def test_it_refuses_when_classes_are_missing(engine, session, store) -> None:
    class EmptyBase(DeclarativeBase):
        pass

    fill(engine, store, 3)
    put(store, ORPHAN)
    assert_refused(session, store, "no image classes are mapped", EmptyBase)
    assert_refused(session, store, "no mapped class has the object type 'cover'", object_types=["cover", "post-photo"])
    with sweep(session, Base, store, dry_run=False, grace=NOW, object_types=["user-picture"]) as report:
        assert report.deleted == 1


def test_it_refuses_when_a_row_cannot_say_which_blob_is_its(engine, session, store) -> None:
    fill(engine, store, 3)
    with engine.begin() as connection:
        connection.execute(update(UserPicture).where(UserPicture.user_id == 1).values(mimetype="nonsense"))
    assert_refused(session, store, "1 rows cannot say which blob is theirs")


def test_nothing_is_deleted_when_the_store_cannot_be_listed_to_the_end(engine, session, store) -> None:
    def fail(operation: str) -> None:
        if operation == "listed":
            msg = "connection lost"
            raise StoreError(msg)

    fill(engine, store, 3)
    put(store, ORPHAN)
    store.hook = fail
    with pytest.raises(StoreError, match="connection lost"):
        sweep(session, Base, store, dry_run=False, grace=NOW)
    assert ORPHAN in store
    assert "delete" not in store.operations


@pytest.mark.parametrize("when", ["at once", "when they are read again"])
def test_nothing_is_deleted_when_the_rows_cannot_be_read(engine, session, store, when) -> None:
    def drop(operation: str = "listed") -> None:
        if operation == "listed":
            with engine.begin() as connection:
                connection.execute(text("DROP TABLE post_photo"))

    fill(engine, store, 3)
    put(store, ORPHAN)
    if when == "at once":
        drop()
    else:
        store.hook = drop
    with pytest.raises(OperationalError, match="post_photo"):
        sweep(session, Base, store, dry_run=False, grace=NOW)
    assert ORPHAN in store
    assert "delete" not in store.operations


def test_a_store_that_cannot_list_is_refused_by_its_name(session) -> None:
    for function in (check, sweep):
        with pytest.raises(ListingNotSupportedError, match=r"FourMethodStore cannot list its blobs") as caught:
            function(session, Base, FourMethodStore())
        assert isinstance(caught.value, OSError)
        assert isinstance(caught.value, NotImplementedError)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"session": None}, InvalidTypeError, "expected a Session"),
        ({"declarative_base": object}, InvalidTypeError, "expected a declarative base class"),
        ({"store": None}, ContextError, "no image store is set"),
        ({"store": "memory:"}, InvalidTypeError, "expected a store"),
        ({"grace": 24}, InvalidTypeError, "grace: expected a timedelta"),
        ({"grace": timedelta(seconds=-1)}, InvalidValueError, "grace: expected 0 or more"),
        ({"workers": 0}, InvalidValueError, "workers: expected 1 or more"),
        ({"progress": "bar"}, InvalidTypeError, "progress: expected a function"),
    ],
)
def test_a_wrong_argument_is_refused(session, options, error, message) -> None:
    arguments = {"session": session, "declarative_base": Base, "store": MemoryStore()} | options
    for function in (check, sweep):
        with pytest.raises(error, match=message):
            function(**arguments)


@pytest.mark.parametrize(
    ("limit", "error"), [(-0.1, InvalidValueError), (1.5, InvalidValueError), ("1", InvalidTypeError)]
)
def test_a_wrong_limit_is_refused(session, limit, error) -> None:
    with pytest.raises(error, match="limit: expected a number from 0 to 1"):
        sweep(session, Base, MemoryStore(), limit=limit)
    with pytest.raises(InvalidValueError, match="limit: expected a number from 0 to 1"):
        sweep(session, Base, MemoryStore(), limit=float("nan"))


def test_a_grace_period_longer_than_time_protects_everything(engine, session, store) -> None:
    put(store, ORPHAN)
    with sweep(session, Base, store, dry_run=False, grace=timedelta.max) as report:
        assert (report.deleted, report.in_grace) == (0, 1)


# --- how it goes -----------------------------------------------------------------------------------------------------


def test_progress_tells_what_is_being_done(engine, session, store) -> None:
    fill(engine, store, 5)
    put(store, ORPHAN)
    heard: list[tuple[str, int]] = []
    check(session, Base, store, checksum=True, progress=lambda *told: heard.append(told)).close()
    assert heard == [("rows", 5), ("blobs", 6), ("bytes", 5)]
    heard.clear()
    sweep(session, Base, store, dry_run=False, grace=NOW, progress=lambda *told: heard.append(told)).close()
    assert heard == [("rows", 5), ("blobs", 6), ("rows", 5), ("deleting", 1)]


def test_the_session_is_left_as_it_was(engine, session, store) -> None:
    fill(engine, store, 3)
    user = session.get(User, 1)
    assert user is not None
    user.name = "changed"
    session.add(User(id=50))
    check(session, Base, store).close()
    assert user in session.dirty
    assert len(session.new) == 1


def test_the_current_store_will_do(engine, session, store) -> None:
    from sqlalchemy_imageattach.context import current_store

    fill(engine, store, 3)
    with store_context(store), check(session, Base, current_store) as report:
        assert report.blobs == 3


@pytest.mark.asyncio
async def test_below_an_async_session_it_works_too(tmp_path, store) -> None:
    sync = database(f"sqlite:///{tmp_path}/test.db")
    fill(sync, store, 5)
    put(store, ORPHAN)
    sync.dispose()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    async with AsyncSession(engine) as session:
        report = await session.run_sync(lambda session: check(session, Base, store, checksum=True, grace=NOW))
        assert report.counts == {ProblemKind.ORPHAN: 1}
        report.close()
        report = await session.run_sync(lambda session: sweep(session, Base, store, dry_run=False, grace=NOW))
        assert report.deleted == 1
        report.close()
    await engine.dispose()


def test_memory_does_not_grow_with_rows_and_blobs(engine, session, monkeypatch) -> None:
    class Listing(MemoryStore):
        """Its list is made while it is read."""

        count = 0

        def list_blobs(self, prefix: str = "") -> Iterator[StoredBlob]:
            for number in range(self.count):
                key = ImageKey("user-picture", number, 1, 1, "image/png", "x")
                yield StoredBlob(key.file_path(), 1, datetime(2020, 1, 1, tzinfo=UTC), key)

    monkeypatch.setattr(keyset, "PAGE", 50)
    monkeypatch.setattr("sqlalchemy_imageattach.bulk.scratch.BATCH", 50)
    store = Listing()

    def peak() -> int:
        tracemalloc.start()
        with check(session, Base, store) as report:
            assert report.counts[ProblemKind.ORPHAN] == store.count
            assert report.counts[ProblemKind.MISSING_BLOB] == report.rows
            assert sum(1 for _ in report) == store.count + report.rows
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    for count, first in ((200, 1), (1400, 201)):
        fill(engine, MemoryStore(), count, first=first)
        store.count += count
        if first == 1:
            peak()  # what is loaded and cached once
            few = peak()
    assert peak() < few * 2
