"""Stores that browsers send files to, each in its own way."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session
from werkzeug.test import Client

from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.objectstore import ObjectStore
from sqlalchemy_imageattach.stores.s3 import S3Store
from sqlalchemy_imageattach.testing import FaultyStore
from sqlalchemy_imageattach.uploads import Permit, UploadEndpoint, Uploads
from sqlalchemy_imageattach.uploads.quarantine import QUARANTINE
from tests.stores.servers.azurite import Azurite
from tests.stores.servers.seaweed import ADMIN, SeaweedFS

from .models import Base, User

SECRET = "a secret of these tests, of more than 32 bytes"

#: "aws" is S3 whose service tells the checksums of what it copies, as AWS does.
KINDS = ("memory", "directory", "s3", "aws", "azure")


@dataclass(frozen=True)
class Site:
    """A store, what gives permits for it, and a browser that does what a permit says."""

    store: FaultyStore
    uploads: Uploads
    send: Callable[[Permit, bytes], int]

    def quarantined(self) -> int:
        """How many blobs are in quarantine, marks included."""
        return len(list(self.store.list_blobs(f"{QUARANTINE}/")))

    def pictures(self) -> int:
        """How many blobs are pictures."""
        return sum(not blob.name.startswith(".") for blob in self.store.list_blobs())


@pytest.fixture
def s3_store(seaweed: SeaweedFS) -> Iterator[S3Store]:
    """In a bucket that is deleted with all that is in it: each one takes a share of the server's disk."""
    name = f"uploads-{secrets.token_hex(6)}"
    client = seaweed.client()
    client.create_bucket(Bucket=name)
    options = {"endpoint_url": seaweed.endpoint, "region": seaweed.region, "max_retry": 0}
    yield S3Store(name, ADMIN.access_key, ADMIN.secret_key, prefix="images", **options)  # type: ignore[arg-type]
    for entry in client.list_objects_v2(Bucket=name).get("Contents", ()):
        client.delete_object(Bucket=name, Key=entry["Key"])
    client.delete_bucket(Bucket=name)


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    store: Store
    if request.param in {"s3", "aws"}:
        store = s3_store = request.getfixturevalue("s3_store")
        if request.param == "aws":
            seaweed: SeaweedFS = request.getfixturevalue("seaweed")
            seaweed.tell_checksums(s3_store.client)
    elif request.param == "azure":
        azurite: Azurite = request.getfixturevalue("azurite")
        name = f"uploads-{secrets.token_hex(6)}"
        with azurite.client() as client:
            client.create_container(name)
        store = ObjectStore(azurite.container(name), prefix="images")
    elif request.param == "directory":
        store = FileSystemStore(tmp_path / "images", "https://images.example.com/", fsync=False)
    else:
        store = MemoryStore()
    return site_of(store)


def site_of(store: Store) -> Site:
    faulty = FaultyStore(store)
    uploads = Uploads(SECRET, faulty, endpoint="http://localhost/uploads")
    endpoint = Client(UploadEndpoint(uploads).wsgi)

    def send(permit: Permit, content: bytes) -> int:
        target = permit.target
        if target.url == uploads.endpoint:
            return endpoint.post("/uploads", data={**target.fields, "file": (io.BytesIO(content), "p.jpg")}).status_code
        if target.method == "PUT":
            return httpx.put(target.url, content=content, headers=dict(target.headers)).status_code
        answer = httpx.post(target.url, data=dict(target.fields), files={target.file_field: ("p.jpg", content)})
        return answer.status_code

    return Site(faulty, uploads, send)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database that two sessions can use at once."""
    engine = create_engine(f"sqlite:///{tmp_path}/users.db", connect_args={"timeout": 60})
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine, site: Site) -> Iterator[Session]:
    with Session(engine, info={"image_store": site.store, "image_uploads": site.uploads}) as session:
        session.add_all([User(id=1), User(id=2)])
        session.commit()
        yield session
