"""Migration to a real bucket: killed and continued, and refused; what came of it is read by a bare client."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.errors import StoreAccessDeniedError
from sqlalchemy_imageattach.maintenance import ProblemKind, check, sweep
from sqlalchemy_imageattach.migration import migrate
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from tests.migrating import Base, attach, content_of, fill
from tests.stores.servers.seaweed import READER, WRITER, SeaweedFS

from .support import kill, large_picture, objects_of, store_at, uploads_of, url_at
from .victim import COPIES

#: More than two migrations copy before they are killed.
COUNT = 5 * COPIES


@pytest.fixture(params=["a directory", "a bucket"])
def source(request: pytest.FixtureRequest, tmp_path: Path, seaweed: SeaweedFS, bucket: str) -> tuple[Store, str]:
    """A store to migrate from, and its URL."""
    if request.param == "a directory":
        return FileSystemStore(tmp_path / "images", "/", fsync=False), f"file://{tmp_path}/images"
    return store_at(seaweed, bucket, prefix="old"), url_at(seaweed, bucket, "old")


def listed(store: Store) -> set[Any]:
    """What there is and when it was written."""
    return set(store.list_blobs())


def test_a_migration_that_is_killed_again_and_again_copies_everything_whole(
    source: tuple[Store, str], engine: Engine, seaweed: SeaweedFS, other_bucket: str
) -> None:
    store, url = source
    fill(engine, store, COUNT)
    with Session(engine) as session:
        attach(session, store, large_picture())
        session.commit()
    client, destination = seaweed.client(), store_at(seaweed, other_bucket, prefix="new")
    content, before = content_of(store), listed(store)
    expected = {f"new/{name}": blob for name, blob in content.items()}

    there: dict[str, bytes] = {}
    for moment in ("after some copies", "after some copies", "within a copy"):
        kill(moment, engine, url, url_at(seaweed, other_bucket, "new"))
        earlier, there = there, objects_of(client, other_bucket)
        assert earlier.items() < there.items() < expected.items()
        # other threads have copied some more
        assert moment == "within a copy" or len(there) - len(earlier) >= COPIES
    assert len(uploads_of(client, other_bucket)) == 1

    with Session(engine) as session:
        result = migrate(session, Base, store, destination, workers=3).execute()
        assert (result.ok, result.present, result.copied) == (True, len(there), COUNT + 1 - len(there))
        assert objects_of(client, other_bucket) == expected
        again = migrate(session, Base, store, destination, workers=3, verify="read-back").execute()
        assert (again.ok, again.present, again.copied) == (True, COUNT + 1, 0)

        # the upload that was killed is all that is left over
        with check(session, Base, destination, grace=timedelta(0), checksum=True) as report:
            assert report.counts == {ProblemKind.TEMPORARY: 1}
        with sweep(session, Base, destination, dry_run=False, grace=timedelta(0)) as report:
            assert (report.deleted, report.ok) == (1, True)
    assert uploads_of(client, other_bucket) == set()
    assert objects_of(client, other_bucket) == expected
    assert listed(store) == before
    assert content_of(store) == content


def test_objects_are_what_a_session_would_have_made_of_them(
    source: tuple[Store, str], engine: Engine, seaweed: SeaweedFS, other_bucket: str
) -> None:
    """Their types and how long they can be cached go with them."""
    store, _ = source
    [key] = fill(engine, store, 1)
    with Session(engine) as session:
        migrate(session, Base, store, store_at(seaweed, other_bucket, max_age=60)).execute()
    head = seaweed.client().head_object(Bucket=other_bucket, Key=key.object_name())
    assert (head["ContentType"], head["CacheControl"]) == ("image/jpeg", "public, max-age=60, immutable")


@pytest.mark.parametrize("give_up_after", [None, 5])
def test_a_destination_that_may_not_be_written_to_is_a_failure_of_each_blob(
    give_up_after: int | None, source: tuple[Store, str], engine: Engine, seaweed: SeaweedFS, other_bucket: str
) -> None:
    store, _ = source
    fill(engine, store, COUNT)
    content, before = content_of(store), listed(store)
    destination = store_at(seaweed, other_bucket, READER)
    with Session(engine) as session:
        plan = migrate(session, Base, store, destination, workers=3, give_up_after=give_up_after)
        result = plan.execute()
    assert (result.ok, result.copied, result.gave_up) == (False, 0, give_up_after is not None)
    assert result.failed == COUNT if give_up_after is None else 5 <= result.failed < COUNT
    assert len({failure.key for failure in result.failures}) == result.failed
    assert {type(failure.error) for failure in result.failures} == {StoreAccessDeniedError}
    assert objects_of(seaweed.client(), other_bucket) == {}
    assert listed(store) == before
    assert content_of(store) == content


def test_a_destination_that_may_only_be_written_to_gets_everything(
    source: tuple[Store, str], engine: Engine, seaweed: SeaweedFS, other_bucket: str
) -> None:
    store, _ = source
    fill(engine, store, COUNT)
    with Session(engine) as session:
        result = migrate(session, Base, store, store_at(seaweed, other_bucket, WRITER), workers=3).execute()
    assert (result.ok, result.copied) == (True, COUNT)
    assert objects_of(seaweed.client(), other_bucket) == content_of(store)
