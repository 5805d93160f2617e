"""Check and sweep of a real bucket, after sessions, killed processes and bulk deletes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.maintenance import ProblemKind, Report, check, sweep
from sqlalchemy_imageattach.store import Store, key_of
from tests.migrating import Base, UserPicture, attach, picture
from tests.stores.servers.seaweed import SeaweedFS

from .support import begin_upload, fresh_key, kill, objects_of, put, store_at, uploads_of, url_at

NOW = timedelta(0)


def attach_some(engine: Engine, store: Store, count: int) -> list[ImageKey]:
    """Users with a picture and a thumbnail each; the keys of the pictures."""
    with Session(engine, info={"image_store": store}) as session:
        for number in range(count):
            attach(session, store, picture(40 + number)).picture.generate_thumbnail(width=9)
        session.commit()
        originals = select(UserPicture).where(UserPicture.original).order_by(UserPicture.user_id)
        return [key_of(image) for image in session.scalars(originals)]


class World:
    """A bucket with two stores and files of others, a database, and what is left behind in the first store.

    :param prefix: that of the first store; the second one has ``images2``
    """

    def __init__(self, engine: Engine, seaweed: SeaweedFS, bucket: str, prefix: str) -> None:
        self.engine = engine
        self.store = store_at(seaweed, bucket, prefix=prefix)
        self._client, self._bucket, self._root = seaweed.client(), bucket, f"{prefix}/" if prefix else ""
        self.keys = attach_some(engine, self.store, 6)
        self._add_others(store_at(seaweed, bucket, prefix="images2"))
        objects, uploads = self.content()
        kill("between put and commit", engine, url_at(seaweed, bucket, prefix))
        kill("within an upload", engine, url_at(seaweed, bucket, prefix))
        orphans = self.content()[0] - objects
        with Session(engine) as session:
            doomed = delete(UserPicture).where(UserPicture.user_id.in_([2, 3]))
            orphans |= {self.name(key_of(image)) for image in session.scalars(doomed.returning(UserPicture))}
            session.commit()
        self.missing, self.orphans = self.name(self.keys[4]), orphans
        [self.unfinished] = self.content()[1] - uploads
        self._client.delete_object(Bucket=bucket, Key=self.missing)

    def _add_others(self, neighbour: Store) -> None:
        client, bucket = self._client, self._bucket
        put(neighbour, key := fresh_key())
        self.neighbours = {key.object_name("images2"), fresh_key().object_name("images2")}
        begin_upload(client, bucket, max(self.neighbours - {key.object_name("images2")}))
        self.unmapped = self._root + replace(fresh_key(), object_type="unmapped").object_name()
        begin_upload(client, bucket, self.unmapped)
        begin_upload(client, bucket, f"{self._root}backup.tar")
        self.notes = f"{self._root}notes.txt"
        client.put_object(Bucket=bucket, Key=self.notes, Body=b"notes")

    def name(self, key: ImageKey) -> str:
        return self._root + key.object_name()

    def content(self) -> tuple[set[str], set[str]]:
        """The names of all objects and of all unfinished uploads in the bucket."""
        return set(objects_of(self._client, self._bucket)), uploads_of(self._client, self._bucket)

    def problems(self, report: Report) -> set[tuple[ProblemKind, str]]:
        """The kinds and the names of those in the report, by the names that they have in the bucket."""
        return {(problem.kind, self._root + problem.name.partition("?")[0]) for problem in report}

    @property
    def harmless(self) -> set[tuple[ProblemKind, str]]:
        """What is in the store's part of the bucket, but none of its business."""
        unmapped = {self.unmapped} | (set() if self._root else self.neighbours)
        return {(ProblemKind.FOREIGN, self.notes)} | {(ProblemKind.UNMAPPED, name) for name in unmapped}


@pytest.fixture(params=["images", ""])
def world(request: pytest.FixtureRequest, engine: Engine, seaweed: SeaweedFS, bucket: str) -> World:
    return World(engine, seaweed, bucket, request.param)


def test_just_what_was_left_behind_is_found_and_deleted(world: World) -> None:
    left = {(ProblemKind.ORPHAN, name) for name in world.orphans} | {(ProblemKind.TEMPORARY, world.unfinished)}
    missing = {(ProblemKind.MISSING_BLOB, world.missing)}
    before = world.content()
    assert len(world.orphans) == 5
    with Session(world.engine) as session:
        with check(session, Base, world.store, grace=NOW, checksum=True) as report:
            assert world.problems(report) == left | missing | world.harmless
            assert (report.rows, report.ok) == (8, False)
        with sweep(session, Base, world.store, grace=NOW) as report:
            assert world.problems(report) == left | world.harmless
            assert report.deleted == 0
        assert world.content() == before

        with sweep(session, Base, world.store, dry_run=False, grace=NOW) as report:
            assert {each for each in world.problems(report) if each in left} == left
            assert (report.deleted, report.failed, report.ok) == (6, 0, True)
        assert world.content() == (before[0] - world.orphans, before[1] - {world.unfinished})

        with check(session, Base, world.store, grace=NOW, checksum=True) as report:
            assert world.problems(report) == missing | world.harmless
        with sweep(session, Base, world.store, dry_run=False, grace=NOW) as report:
            assert report.deleted == 0


def test_what_is_young_stays(world: World) -> None:
    before = world.content()
    with Session(world.engine) as session:
        with sweep(session, Base, world.store, dry_run=False) as report:
            assert world.problems(report) == world.harmless
            assert (report.deleted, report.in_grace) == (0, 6)
        assert world.content() == before
