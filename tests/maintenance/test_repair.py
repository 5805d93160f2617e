"""Blobs that are not where their rows say: named by check, spared by sweep, put right by repair."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import Engine, String, create_engine, delete, insert, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_imageattach.entity import Image, LegacyImage
from sqlalchemy_imageattach.errors import ContextError, InvalidTypeError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.maintenance import ProblemKind, SweepRefusedError, check, repair, sweep
from sqlalchemy_imageattach.store import Store, key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import FaultyStore
from tests.migrating import Hooked, picture
from tests.onex import FourMethodStore

NOW = timedelta(0)
SHAPE = {"width": 40, "height": 40, "mimetype": "image/png", "original": True}


class Base(DeclarativeBase):
    pass


class Portrait(Base, Image):
    __tablename__ = "portrait"

    owner: Mapped[str] = mapped_column(String(40), primary_key=True)


class OldPortrait(Base, LegacyImage):
    __tablename__ = "old_portrait"

    owner_id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    is_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/test.db" if is_file else request.getfixturevalue(f"{request.param}_url")
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture
def store() -> Hooked:
    return Hooked()


def row(engine: Engine, cls: type[Any], **columns: Any) -> Any:
    """A committed row, as an object that is in no session."""
    values = SHAPE | {"created_at": datetime(2020, 1, 1, tzinfo=UTC)} | columns
    with engine.begin() as connection:
        connection.execute(insert(cls), [values])
    return cls(**values)


def put(store: Store, key: ImageKey, blob: bytes) -> ImageKey:
    store.put(key, io.BytesIO(blob), reproducible=False)
    return key


def recorded(blob: bytes) -> dict[str, Any]:
    return {"byte_size": len(blob), "checksum": hashlib.sha256(blob).hexdigest()}


UUID = str(uuid.UUID(int=0x6F9619FF8B86D011B42D00CF4FC964FF))


@pytest.mark.parametrize(
    ("given", "read_back"),
    [
        ("Ada@Example.org", "ada@example.org"),
        ("  ada", "ada"),
        ("ada   ", "ada"),
        (UUID.upper(), UUID),
        (UUID.replace("-", ""), UUID),
    ],
)
def test_the_blob_of_a_key_that_was_changed_is_named_spared_and_repaired(
    engine, session, store, given, read_back
) -> None:
    blob = picture()
    image = row(engine, Portrait, owner=read_back, revision="r1", **recorded(blob))
    key = put(store, key_of(Portrait(**SHAPE, owner=given, revision="r1")), blob)
    assert key != key_of(image)
    with check(session, Base, store, grace=NOW) as report:
        [problem] = report
    assert (problem.kind, problem.key, problem.row_key) == (ProblemKind.MISPLACED, key, key_of(image))
    assert (problem.identity or ())[0] == read_back
    assert problem.name == key.file_path()
    assert str(problem).startswith(f"misplaced blob: {key.file_path()!r} of Portrait")
    assert f"says '{key_of(image).object_name()}'" in str(problem)
    assert not report.ok

    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=1) as swept:
        assert (swept.deleted, swept.counts) == (0, {ProblemKind.MISPLACED: 1})
    with repair(session, Base, store) as dry:
        assert (dry.repaired, dry.ok, set(store.blobs)) == (0, False, {key})
    with repair(session, Base, store, dry_run=False, grace=NOW) as report:
        [problem] = report
    assert (report.repaired, report.failed, report.ok, problem.repaired) == (1, 0, True, True)
    assert store.blobs == {key: blob, key_of(image): blob}

    # what it was copied from goes with the next sweep, and nothing else does
    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=0) as report:
        assert (report.counts, report.deleted, report.ok) == ({ProblemKind.SPARE: 1}, 1, True)
    assert store.blobs == {key_of(image): blob}
    with check(session, Base, store, checksum=True, grace=NOW) as report:
        assert list(report) == []


@pytest.mark.parametrize("name", ["1.40x40.tif", "1.40x40None", "1.40x40.mpo", "1.40x40.jpg"])
def test_a_blob_of_1x_with_another_extension_is_never_swept(engine, session, tmp_path, name) -> None:
    row(engine, OldPortrait, owner_id=1, mimetype="image/tiff")
    directory = tmp_path / "images" / "old-portrait" / "1" / "0"
    directory.mkdir(parents=True)
    blob = io.BytesIO()
    from PIL import Image as Pillow

    Pillow.new("RGB", (40, 40)).save(blob, "TIFF")
    (directory / name).write_bytes(blob.getvalue())
    os.utime(directory / name, (1e9, 1e9))
    store = FileSystemStore(tmp_path / "images", "http://x/")
    for _ in range(2):
        with sweep(session, Base, store, dry_run=False, limit=1) as report:
            assert report.deleted == 0
        assert (directory / name).read_bytes() == blob.getvalue()
    with repair(session, Base, store, dry_run=False) as report:
        assert report.failed == 0
    if ProblemKind.MISPLACED in report.counts:
        with store.open(OldPortrait(**SHAPE | {"mimetype": "image/tiff"}, owner_id=1)) as file:
            assert file.read() == blob.getvalue()


def test_a_blob_without_a_revision_is_not_taken_for_one_of_another_type(engine, session, store) -> None:
    image = row(engine, OldPortrait, owner_id=1, mimetype="image/webp")
    key = put(store, ImageKey("old-portrait", 1, 40, 40, "image/x-odd"), picture())
    with repair(session, Base, store, dry_run=False, grace=NOW) as report:
        [failure] = report.failures
    assert "expected a file of image/webp, as the row says, got one of image/png" in str(failure)
    assert (report.repaired, report.failed, report.ok) == (0, 1, False)
    assert (failure.mapped_class, failure.key, failure.name) == (OldPortrait, key_of(image), key.file_path())
    assert set(store.blobs) == {key}


def test_a_blob_that_may_be_that_of_a_row_without_one_is_spared(engine, session, store) -> None:
    """A key without a revision that was changed: all that speaks for the row is the type and the size."""
    row(engine, OldPortrait, owner_id=1)
    doubtful = put(store, ImageKey("old-portrait", 17, 40, 40, "image/png"), picture())
    orphan = put(store, ImageKey("old-portrait", 17, 20, 20, "image/png"), picture())
    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=1) as report:
        assert report.counts == {ProblemKind.DOUBTFUL: 1, ProblemKind.ORPHAN: 1}
        assert (report.deleted, report.ok) == (1, False)
    assert set(store.blobs) == {doubtful}
    assert orphan not in store


def test_orphans_stay_orphans_where_every_row_has_its_blob(engine, session, store) -> None:
    blob = picture()
    image = row(engine, OldPortrait, owner_id=1)
    put(store, key_of(image), blob)
    put(store, ImageKey("old-portrait", 1, 40, 40, "image/webp"), blob)
    put(store, ImageKey("old-portrait", 2, 40, 40, "image/png"), blob)
    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=1) as report:
        assert (report.deleted, report.ok) == (2, True)
    assert set(store.blobs) == {key_of(image)}


def test_a_spare_copy_that_is_no_copy_is_not_deleted(engine, session, store) -> None:
    blob = picture()
    image = row(engine, Portrait, owner="ada", revision="r1", **recorded(blob))
    put(store, key_of(image), blob[:-1] + b"x")  # it has been damaged since
    other = put(store, key_of(Portrait(**SHAPE, owner="Ada", revision="r1")), blob)
    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=1) as report:
        assert report.deleted == 0
    assert store.blobs[other] == blob


def test_a_damaged_blob_is_not_put_in_the_place_of_a_row(engine, session, store) -> None:
    blob = picture()
    image = row(engine, Portrait, owner="ada", revision="r1", **recorded(blob))
    key = put(store, key_of(Portrait(**SHAPE, owner="Ada", revision="r1")), blob[:-1])
    with repair(session, Base, store, dry_run=False, grace=NOW) as report:
        assert (report.repaired, report.failed) == (0, 1)
        assert "BlobMismatchError" in str(report.failures[0])
    assert set(store.blobs) == {key}
    assert key_of(image) not in store


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_row_that_goes_while_its_blob_is_copied_gets_no_copy(engine, session, store, change) -> None:
    blob = picture()
    image = row(engine, Portrait, owner="ada", revision="r1", **recorded(blob))
    key = put(store, key_of(Portrait(**SHAPE, owner="Ada", revision="r1")), blob)

    def interfere(operation: str) -> None:
        if operation == "put":
            store.hook = lambda _: None
            statement = delete(Portrait) if change == "deleted" else update(Portrait).values(revision="r2")
            with engine.begin() as connection:
                connection.execute(statement)

    store.hook = interfere
    with repair(session, Base, store, dry_run=False, grace=NOW, workers=1) as report:
        assert (report.repaired, report.failed) == (0, 1)
        assert "ConcurrentReplacementError" in str(report.failures[0])
    assert set(store.blobs) == {key}
    assert key_of(image) not in store


def test_a_row_that_comes_to_mean_a_blob_before_it_is_deleted_keeps_it(engine, session, store) -> None:
    blob = picture()
    key = put(store, key_of(Portrait(**SHAPE, owner="Ada", revision="r1")), blob)

    def come(operation: str) -> None:
        if operation == "listed":
            row(engine, Portrait, owner="ada", revision="r1", **recorded(blob))

    store.hook = come
    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=1) as report:
        assert report.deleted == 0
    assert set(store.blobs) == {key}


def test_a_store_that_takes_no_revisions_is_repaired_too(engine, session) -> None:
    class Listing(MemoryStore):
        accepts_revision = False

    blob, store = picture(), Listing()
    image = row(engine, OldPortrait, owner_id=1)
    key = put(store, ImageKey("old-portrait", 1, 40, 40, "image/x-png"), blob)
    with repair(session, Base, store, dry_run=False, grace=NOW) as report:
        assert (report.repaired, report.ok) == (1, True)
    assert store.blobs == {key: blob, key_of(image): blob}


def test_it_refuses_a_session_that_might_show_old_rows_and_what_is_no_store(session, store) -> None:
    session.connection()
    with pytest.raises(SweepRefusedError, match="the session is in a transaction"):
        repair(session, Base, store, dry_run=False)
    repair(session, Base, store).close()
    with pytest.raises(InvalidTypeError, match="expected a store"):
        repair(session, Base, "s3://bucket")  # type: ignore[arg-type]
    with pytest.raises(ContextError, match="no image store is set"):
        repair(session, Base)
    with pytest.raises(NotImplementedError):
        repair(session, Base, FourMethodStore())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("when", ["before", "midway", "after"])
def test_a_repair_that_is_interrupted_is_finished_by_another_one(
    engine: Engine, session: Session, error: type[BaseException], when: Literal["before", "midway", "after"]
) -> None:
    """And a sweep in between takes nothing that is still to be copied."""
    store = FaultyStore(MemoryStore())
    wanted = {}
    for number in range(12):
        blob = picture()
        image = row(engine, Portrait, owner=f"o{number}", revision=f"r{number}", **recorded(blob))
        put(store, key_of(Portrait(**SHAPE, owner=f"O{number}", revision=f"r{number}")), blob)
        wanted[key_of(image)] = blob
    store.fail("put", on=3, when=when, error=error)
    is_interrupted = False
    try:
        with repair(session, Base, store, dry_run=False, grace=NOW) as report:
            is_interrupted = report.failed == 1
    except (KeyboardInterrupt, SystemExit):
        is_interrupted = True
    assert is_interrupted
    store.heal()
    session.rollback()
    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=1):
        assert len({key.revision for key in store.blobs}) == 12
    with repair(session, Base, store, dry_run=False, grace=NOW) as report:
        assert report.ok
    with sweep(session, Base, store, dry_run=False, grace=NOW, limit=1):
        assert store.blobs == wanted
