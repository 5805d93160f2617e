"""Buckets for the tests of stores on S3."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.loaders
import botocore.session
import pytest
from sqlalchemy import Engine

from tests.migrating import database
from tests.stores.servers.proxy import FaultProxy
from tests.stores.servers.seaweed import SeaweedFS


@pytest.fixture
def own_seaweed(tmp_path: Path) -> Iterator[Callable[[], SeaweedFS]]:
    """Starts a server to be killed by the test, and then another one with what the first one left behind."""
    started: list[SeaweedFS] = []

    def start() -> SeaweedFS:
        started.append(SeaweedFS(tmp_path))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def bucket(seaweed: SeaweedFS) -> Iterator[str]:
    """An empty bucket, deleted with all that is in it: each one takes a share of the server's disk."""
    yield from _empty_bucket(seaweed)


@pytest.fixture
def other_bucket(seaweed: SeaweedFS) -> Iterator[str]:
    """Another one."""
    yield from _empty_bucket(seaweed)


def _empty_bucket(seaweed: SeaweedFS) -> Iterator[str]:
    name = f"pictures-{secrets.token_hex(6)}"
    client = seaweed.client()
    client.create_bucket(Bucket=name)
    yield name
    for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", ()):
        client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for entry in page.get("Contents", ()):
            client.delete_object(Bucket=name, Key=entry["Key"])
    client.delete_bucket(Bucket=name)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database that other processes can use as well."""
    engine = database(f"sqlite:///{tmp_path}/test.db")
    yield engine
    engine.dispose()


@pytest.fixture
def proxy(seaweed: SeaweedFS) -> Iterator[FaultProxy]:
    """A proxy in front of SeaweedFS."""
    with FaultProxy(seaweed.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def no_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing that is set up on the developer's machine is seen by the tests."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True, scope="session")
def descriptions_read_once() -> Iterator[None]:
    """boto3 reads its descriptions of the services once, and not for each of the hundreds of clients made here."""
    loader = botocore.loaders.create_loader()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(botocore.session, "create_loader", lambda search_path=None: loader)
        yield
