"""Operations on all classes at once, where some classes have a store of their own."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from sqlalchemy_imageattach.cli import main
from sqlalchemy_imageattach.context import current_store, set_default_store, store_context
from sqlalchemy_imageattach.entity import Image, SingleImageSet, image_attachment
from sqlalchemy_imageattach.errors import BlobNotFoundError, ContextError, InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.imaging import Rendition
from sqlalchemy_imageattach.jobs import Job, JobRunner, Work, encode_key
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.maintenance import ProblemKind, SweepRefusedError, check, check_jobs, repair, sweep
from sqlalchemy_imageattach.migration import migrate, migrate_class, migration_jobs
from sqlalchemy_imageattach.store import ListingNotSupportedError, Store, key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.variants import Variant, backfill_jobs, bring_up_to_date
from sqlalchemy_imageattach.variants.backfill import backfill
from sqlalchemy_imageattach.variants.eager import KIND
from tests.migrating import database, picture
from tests.onex import FourMethodStore

NOW = timedelta(0)


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "shop"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[SingleImageSet[Photo]] = image_attachment()
    logo: Mapped[SingleImageSet[Logo]] = image_attachment()
    deed: Mapped[SingleImageSet[Deed]] = image_attachment()


class Photo(Base, Image):
    """In whatever store there is."""

    __tablename__ = "photo"
    shop_id: Mapped[int] = mapped_column(ForeignKey(Shop.id), primary_key=True)


class Logo(Base, Image):
    """In a store of its own."""

    __tablename__ = "logo"
    image_variants = {"icon": Variant(widths=(16,), make="later")}
    shop_id: Mapped[int] = mapped_column(ForeignKey(Shop.id), primary_key=True)


class Deed(Base, Image):
    """In a store of its own, which is found when it is needed."""

    __tablename__ = "deed"
    shop_id: Mapped[int] = mapped_column(ForeignKey(Shop.id), primary_key=True)


class World:
    """A database, and three stores in directories: the usual one, and those of two classes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = f"sqlite:///{path}/test.db"
        self.engine: Engine = database(self.database, Base)
        self.usual, self.logos, self.deeds = (self.directory(name) for name in ("usual", "logos", "deeds"))
        self.asked = 0
        self.sessions = sessionmaker(self.engine, info={"image_store": self.usual})

    def directory(self, name: str) -> FileSystemStore:
        return FileSystemStore(str(self.path / name), f"https://{name}/", fsync=False)

    def url(self, name: str) -> str:
        return f"file://{self.path}/{name}?fsync=false"

    def store_of_deeds(self) -> Store:
        self.asked += 1
        return self.directory("deeds")  # another object each time

    def fill(self, count: int = 3) -> None:
        with self.sessions() as session:
            for _ in range(count):
                session.add(shop := Shop())
                for images in (shop.photo, shop.logo, shop.deed):
                    images.from_blob(picture())
            session.commit()

    def names(self) -> list[int]:
        return [len(names(store)) for store in (self.usual, self.logos, self.deeds)]

    def run(self, command: str, *arguments: str) -> int:
        return main([command, *arguments, "--database", self.database, "--models", f"{__name__}:Base"])


def names(store: Store) -> set[str]:
    return {blob.name for blob in store.list_blobs()}


def put(store: Store, object_type: str, revision: str = "orphan") -> ImageKey:
    key = ImageKey(object_type, 999, 1, 1, "image/png", revision)
    store.put(key, io.BytesIO(b"nobody's"), reproducible=False)
    return key


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path)
    monkeypatch.setattr(Logo, "image_store", world.logos, raising=False)
    monkeypatch.setattr(Deed, "image_store", staticmethod(world.store_of_deeds), raising=False)
    yield world
    world.engine.dispose()


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    with Session(world.engine) as session:
        yield session


# --- check -----------------------------------------------------------------------------------------------------------


def test_each_class_is_compared_with_its_own_store(world: World, session: Session) -> None:
    world.fill()
    assert world.names() == [3, 3, 3]
    world.asked = 0
    with check(session, Base, world.usual, checksum=True, grace=NOW) as report:
        assert list(report) == []
        assert (report.rows, report.blobs, report.without_checksum) == (9, 9, 0)
        assert set(map(repr, report.stores)) == set(map(repr, (world.usual, world.logos, world.deeds)))
    assert world.asked == 1, "a function that makes stores is asked once"


def test_what_is_missing_is_missing_in_the_store_of_its_class(world: World, session: Session) -> None:
    world.fill()
    logo = session.scalars(select(Logo)).all()[0]
    world.logos.delete_key(key_of(logo))
    put(world.usual, "photo")
    put(world.deeds, "deed")
    session.rollback()
    with check(session, Base, world.usual, grace=NOW) as report:
        found = {(problem.kind, repr(problem.store)) for problem in report}
    assert found == {
        (ProblemKind.MISSING_BLOB, repr(world.logos)),
        (ProblemKind.ORPHAN, repr(world.usual)),
        (ProblemKind.ORPHAN, repr(world.deeds)),
    }


@pytest.mark.parametrize("named", ["argument", "current", "context", "session", "process"])
def test_the_store_of_the_rest_is_found_as_always(world: World, named: str) -> None:
    world.fill()
    info = {"image_store": world.usual} if named == "session" else {}
    other = MemoryStore()
    with Session(world.engine, info=info) as session:
        if named == "argument":
            with store_context(other):
                report = check(session, Base, world.usual)
        elif named == "current":
            with store_context(world.usual):
                report = check(session, Base, current_store)
        elif named == "context":
            with store_context(world.usual):
                report = check(session, Base)
        elif named == "session":
            report = check(session, Base)
        else:
            set_default_store(world.usual)
            try:
                report = check(session, Base)
            finally:
                set_default_store(None)
    with report:
        assert report.ok
        assert report.rows == 9


def test_without_a_store_for_each_class_nothing_is_done(world: World, session: Session) -> None:
    world.fill()
    for operation in (check, sweep, repair, bring_up_to_date):
        with pytest.raises(ContextError, match="image_store"):
            operation(session, Base)
    with pytest.raises(ContextError, match="image_store"):
        backfill(session, Base, [Rendition(width=10)])
    assert backfill(session, Base, [Rendition(width=10)], classes=["Logo", Deed]).generated == 6


def test_where_all_classes_have_their_own_none_need_be_named(
    world: World, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Photo, "image_store", world.usual, raising=False)
    world.fill()
    with check(session, Base) as report:
        assert (report.ok, report.rows, len(report.stores)) == (True, 9, 3)
    extra = MemoryStore()
    put(extra, "photo")
    with check(session, Base, extra) as report:  # it is looked into, since it was named
        assert [problem.kind for problem in report] == [ProblemKind.UNMAPPED]


def test_a_wrong_store_is_refused(world: World, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for operation in (check, sweep, repair):
        with pytest.raises(InvalidTypeError, match="expected a store"):
            operation(session, Base, "s3://bucket")  # type: ignore[arg-type]
    monkeypatch.setattr(Logo, "image_store", lambda: "s3://bucket")
    for operation in (check, sweep, repair):
        with pytest.raises(InvalidTypeError, match="expected a store"):
            operation(session, Base, world.usual)


def test_classes_in_one_place_are_compared_with_it_together(
    world: World, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deed, "image_store", None)
    monkeypatch.setattr(Logo, "image_store", world.directory("usual"))  # another object, the same directory
    world.fill()
    assert world.names() == [9, 0, 0]
    with check(session, Base, world.usual, grace=NOW) as report:
        assert (report.ok, report.rows, report.blobs, len(report.stores)) == (True, 9, 9, 1)


# --- sweep -----------------------------------------------------------------------------------------------------------


def test_a_sweep_deletes_what_nobody_names_in_each_store_and_nothing_else(world: World, session: Session) -> None:
    world.fill()
    put(world.usual, "photo")
    put(world.logos, "logo")
    put(world.deeds, "deed")
    strangers = {"logo": world.usual, "photo": world.logos}
    for object_type, store in strangers.items():
        put(store, object_type, "elsewhere")  # of a class that is in another store: not ours to judge
    with sweep(session, Base, world.usual, grace=NOW) as report:
        assert report.counts == {ProblemKind.ORPHAN: 3, ProblemKind.UNMAPPED: 2}
    assert world.names() == [5, 5, 4], "a dry run"
    with sweep(session, Base, world.usual, grace=NOW, dry_run=False) as report:
        assert (report.deleted, report.failed) == (3, 0)
    assert world.names() == [4, 4, 3]
    for object_type, store in strangers.items():
        assert any("elsewhere" in name for name in names(store)), object_type
    with check(session, Base, world.usual, checksum=True) as report:
        assert ProblemKind.MISSING_BLOB not in report.counts


def test_a_sweep_for_some_classes_leaves_the_blobs_of_one_that_has_moved_out(
    world: World, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class was given a store of its own, and its blobs are still where they were: nothing of them may go."""
    monkeypatch.setattr(Logo, "image_store", None)
    world.fill()
    monkeypatch.setattr(Logo, "image_store", world.logos)
    os.mkdir(world.logos.path)
    before = names(world.usual)
    with sweep(session, Base, world.usual, grace=NOW, limit=1, dry_run=False) as report:
        assert report.deleted == 0
    assert names(world.usual) == before
    with check(session, Base, world.usual) as report:
        assert report.counts == {ProblemKind.MISSING_BLOB: 3, ProblemKind.UNMAPPED: 3}
    # they are brought there by a migration, as its class says
    assert migrate(session, Base, world.usual, world.logos).execute().copied == 6, "photos are nobody else's"
    with check(session, Base, world.usual) as report:
        assert ProblemKind.MISSING_BLOB not in report.counts


def test_a_type_that_two_classes_share_is_swept_by_the_rows_of_both(
    world: World, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same object type in two stores: what a row of the one names is nobody's orphan in the other's store."""
    monkeypatch.setattr(Logo, "object_type", "photo")
    with world.sessions() as filling:
        for number in (1, 2):
            filling.add(shop := Shop(id=number))
            (shop.photo if number == 1 else shop.logo).from_blob(picture())
        filling.commit()
    logo = session.scalars(select(Logo)).one()
    copy = key_of(logo)
    with world.logos.get(copy) as file:
        world.usual.put(copy, file, reproducible=False)  # as a migration under way leaves it
    moved = ImageKey(copy.object_type, 777, copy.width, copy.height, copy.mimetype, copy.revision)
    with world.logos.get(copy) as file:
        world.usual.put(moved, file, reproducible=False)
    orphan = put(world.usual, "photo")
    session.rollback()
    with sweep(session, Base, world.usual, grace=NOW, limit=1, dry_run=False) as report:
        assert [(problem.key, problem.deleted) for problem in report] == [(orphan, True)]
    assert len(names(world.usual)) == 3
    with check(session, Base, world.usual, grace=NOW) as report:
        assert report.ok
        assert report.rows == 2


def test_nothing_is_deleted_anywhere_if_one_store_makes_no_sense(world: World, session: Session) -> None:
    world.fill()
    put(world.usual, "photo")
    session.execute(delete(Deed))
    session.commit()
    before = world.names()
    with pytest.raises(SweepRefusedError, match="3 of the 3 blobs of 'deed' have no row"):
        sweep(session, Base, world.usual, grace=NOW, dry_run=False)
    assert world.names() == before


def test_the_types_that_have_to_be_mapped_may_be_in_any_store(world: World, session: Session) -> None:
    world.fill()
    types = ["photo", "logo", "deed"]
    with sweep(session, Base, world.usual, dry_run=False, object_types=types) as report:
        assert report.ok
    with pytest.raises(SweepRefusedError, match="'letter', only 'deed', 'logo', 'photo' are known"):
        sweep(session, Base, world.usual, dry_run=False, object_types=["letter"])


def test_a_misplaced_blob_is_repaired_in_its_own_store(world: World, session: Session) -> None:
    world.fill(1)
    logo = session.scalars(select(Logo)).one()
    key = key_of(logo)
    wrong = ImageKey("logo", 5, key.width, key.height, key.mimetype, key.revision)
    with world.logos.get(key) as file:
        world.logos.put(wrong, file, reproducible=False)
    world.logos.delete_key(key)
    session.rollback()
    with repair(session, Base, world.usual, grace=NOW, dry_run=False) as report:
        assert (report.repaired, report.failed) == (1, 0)
        assert [problem.store for problem in report] == [world.logos]
    assert key.object_name() in {each.key.object_name() for each in world.logos.list_blobs() if each.key}


def test_a_class_in_a_mirror_is_looked_for_in_both_of_its_stores(
    world: World, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = MemoryStore(), MemoryStore()
    mirror = MirrorStore(first, second)
    monkeypatch.setattr(Logo, "image_store", mirror)
    monkeypatch.setattr(Deed, "image_store", None)
    with Session(world.engine) as filling:
        filling.add(shop := Shop())
        for images in (shop.photo, shop.logo, shop.deed):
            images.from_blob(picture(), None if images is shop.logo else first)
        filling.commit()
    assert (len(first), len(second)) == (3, 1)
    with sweep(session, Base, first, grace=NOW, limit=1, dry_run=False) as report:
        assert report.deleted == 0
        assert report.stores == (first, second)
    with check(session, Base, first, grace=NOW) as report:
        assert report.ok
        assert (report.rows, report.blobs) == (4, 4), "the logo in each"
    assert (len(first), len(second)) == (3, 1)
    for key in second.blobs:
        second.delete_key(key)
    put(first, "logo")
    put(second, "logo")
    with sweep(session, Base, first, grace=NOW, limit=1, dry_run=False) as report:
        assert report.deleted == 2
    with check(session, Base, first, grace=NOW) as report:
        assert [(problem.kind, problem.store) for problem in report] == [(ProblemKind.MISSING_BLOB, second)]
    with pytest.raises(ListingNotSupportedError, match="one by one"):
        check(session, Base, mirror)


# --- migrate, backfill, variants -------------------------------------------------------------------------------------


def test_a_migration_leaves_classes_with_another_store_alone(world: World, session: Session) -> None:
    world.fill()
    destination = MemoryStore()
    plan = migrate(session, Base, world.usual, destination)
    result = plan.execute()
    assert (result.copied, result.elsewhere, result.failed, result.ok, result.examined) == (3, 6, 0, True, 9)
    assert {key.object_type for key in map(_key, destination.list_blobs())} == {"photo"}
    assert migrate(session, Base, world.logos, destination, classes=["Logo"]).execute().copied == 3
    assert migrate_class(session, Deed, world.deeds, destination).execute().copied == 3
    assert len(destination) == 9
    with pytest.raises(InvalidValueError, match="Deed, Logo, Photo"):
        migrate(session, Base, world.logos, destination, classes=["Letter"])


@pytest.mark.parametrize("own", ["source", "destination", "both"])
def test_a_migration_takes_a_class_along_whose_store_is_either(
    world: World, session: Session, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = MemoryStore(), MemoryStore()
    monkeypatch.setattr(Logo, "image_store", source)
    with world.sessions() as filling:
        filling.add(shop := Shop())
        shop.logo.from_blob(picture())
        filling.commit()
    stores = {"source": source, "destination": destination, "both": MirrorStore(destination, source)}
    monkeypatch.setattr(Logo, "image_store", stores[own])
    assert migrate(session, Base, source, destination).execute().copied == 1


def test_thumbnails_go_where_their_class_says(world: World, session: Session) -> None:
    world.fill(2)
    result = backfill(session, Base, [Rendition(width=10)], world.usual)
    assert (result.generated, result.failed) == (6, 0)
    assert world.names() == [4, 4, 4]
    upkeep = bring_up_to_date(session, Base, world.usual, dry_run=False)
    assert (upkeep.generated, upkeep.failed) == (2, 0)
    assert world.names() == [4, 6, 4]
    with check(session, Base, world.usual, checksum=True, grace=NOW) as report:
        assert report.ok


# --- jobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", ["session", "runner"])
def test_jobs_go_where_their_class_says(world: World, bound: str) -> None:
    world.fill(2)
    sessions = world.sessions if bound == "session" else sessionmaker(world.engine)
    runner = JobRunner(sessions, Base, world.usual if bound == "runner" else None)
    with world.sessions() as session:
        for logo in session.scalars(select(Logo)):
            identity = tuple(map(encode_key, Logo.__mapper__.primary_key_from_instance(logo)))
            runner.run(Job(KIND, f"{__name__}:Logo", identity, logo.revision))
    assert world.names() == [2, 4, 2]


def test_spread_work_goes_where_its_classes_say(world: World) -> None:
    world.fill(4)
    destination = MemoryStore()
    runner = JobRunner(world.sessions, Base, stores={"usual": world.usual, "new": destination})
    with world.sessions() as session:
        jobs = [
            *check_jobs(session, Base, parts=2),
            *check_jobs(session, Base, store="usual", parts=2),
            *backfill_jobs(session, Base, parts=2),
            *migration_jobs(session, Base, source="usual", destination="new", parts=2),
        ]
    results = [runner.find_handler(job.kind)(Work(job, runner)) for job in jobs]
    of_kind: dict[str, list[Any]] = {}
    for job, result in zip(jobs, results, strict=True):
        of_kind.setdefault(job.kind, []).append(result)
    checks = of_kind["imageattach.check"]
    assert [part["counts"] for part in checks] == [{}] * len(checks)
    assert sum(part["rows"] for part in checks) == 2 * 12
    upkeep = of_kind["imageattach.upkeep"]
    assert (sum(part["generated"] for part in upkeep), sum(part["failed"] for part in upkeep)) == (4, 0)
    assert world.names() == [4, 8, 4]
    moved = of_kind["imageattach.migrate"]
    assert sum(part["copied"] for part in moved) == 4
    assert sum(part["elsewhere"] for part in moved) == 12
    assert sum(part["failed"] for part in moved) == 0


# --- the command line ------------------------------------------------------------------------------------------------


def test_commands_find_the_store_of_each_class(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(2)
    usual = world.url("usual")
    assert world.run("check", usual, "--checksum") == 0
    assert "looked into" in capsys.readouterr().out
    assert world.run("thumbnails", usual, "--width", "10") == 0
    assert world.run("variants", usual, "--apply") == 0
    assert world.names() == [4, 6, 4]
    orphan = put(world.logos, "logo")
    capsys.readouterr()
    assert world.run("check", usual, "--grace", "0", "--json") == 1
    *problems, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(each["problem"]["kind"], each["problem"]["store"]) for each in problems] == [("orphan", repr(world.logos))]
    assert len(last["result"]["stores"]) == 3
    assert world.run("sweep", usual, "--grace", "0") == 1
    assert repr(world.logos) in capsys.readouterr().out
    assert world.run("sweep", usual, "--grace", "0", "--delete") == 0
    with pytest.raises(BlobNotFoundError):
        world.logos.get(orphan)
    assert world.names() == [4, 6, 4]
    capsys.readouterr()
    assert world.run("migrate", usual, world.url("new"), "--json") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["result"]
    assert (result["copied"], result["elsewhere"]) == (4, 10)
    assert world.run("migrate", world.url("logos"), world.url("new"), "--class", "Logo") == 0
    assert "6 copied" in capsys.readouterr().out
    assert world.run("migrate", world.url("logos"), world.url("new"), "--class", "Letter") == 2


@pytest.mark.parametrize(
    "arguments", [["check"], ["sweep"], ["thumbnails", "--width", "10"], ["variants"]], ids=lambda each: each[0]
)
def test_a_command_needs_a_store_only_if_a_class_has_none(
    world: World, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(1)
    assert world.run(*arguments) == 2
    assert "expected a store" in capsys.readouterr().err
    monkeypatch.setattr(Photo, "image_store", world.usual, raising=False)
    assert world.run(*arguments) == 0


def test_a_store_that_cannot_list_says_so(world: World, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Logo, "image_store", FourMethodStore())
    with pytest.raises(ListingNotSupportedError):
        check(session, Base, world.usual)


def _key(blob: Any) -> ImageKey:
    assert blob.key is not None
    return blob.key


def test_where_the_store_depends_on_the_tenant_no_tenant_s_sweep_deletes_what_a_row_means(
    world: World, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of all tenants are in one table: those of the others are missing in this one's store, and no more."""
    tenants, current = {name: MemoryStore(f"https://{name}/") for name in ("ada", "bob")}, ["ada"]
    monkeypatch.setattr(Deed, "image_store", staticmethod(lambda: tenants[current[0]]), raising=False)
    for name in tenants:
        current[0] = name
        with world.sessions() as one:
            one.add(shop := Shop())
            shop.deed.from_blob(picture())
            one.commit()
        put(tenants[name], "deed")
    for name in tenants:
        current[0] = name
        with sweep(session, Base, world.usual, dry_run=False, grace=NOW, limit=1) as report:
            assert report.deleted == 1
        with check(session, Base, world.usual, grace=NOW) as report:
            assert [problem.kind for problem in report] == [ProblemKind.MISSING_BLOB]
    assert [len(store) for store in tenants.values()] == [1, 1]
