"""The contract kit, run over object stores."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.objectstore import ObjectStore
from sqlalchemy_imageattach.testing import Capabilities, StoreContract
from tests.stores.servers.azurite import Azurite
from tests.stores.servers.gcs import FakeGCS
from tests.stores.servers.seaweed import ADMIN, SeaweedFS


@pytest.fixture(scope="module")
def shared_container(azurite: Azurite) -> Iterator[str]:
    name = f"contract-{secrets.token_hex(6)}"
    with azurite.client() as client, client.create_container(name) as container:
        yield name
        assert list(container.list_blob_names()) == []
        container.delete_container()


@pytest.fixture(scope="module")
def shared_google_bucket(gcs: FakeGCS) -> Iterator[str]:
    name = f"contract-{secrets.token_hex(6)}"
    gcs.create_bucket(name)
    yield name
    assert gcs.objects(name) == {}
    assert gcs.unfinished == 0
    gcs.delete_bucket(name)


@pytest.fixture(scope="module")
def shared_s3_bucket(seaweed: SeaweedFS) -> Iterator[str]:
    name = f"contract-{secrets.token_hex(6)}"
    client = seaweed.client()
    client.create_bucket(Bucket=name)
    yield name
    assert "Contents" not in client.list_objects_v2(Bucket=name)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=name)
    client.delete_bucket(Bucket=name)


class _OfAll(StoreContract):
    """No service is asked for a former blob, and not all of them tell what they deleted."""

    capabilities = Capabilities(
        copies=False, revisions=True, never_overwrites=False, lists=True, pickles=True, exclusive=True
    )


class TestAzure(_OfAll):
    """A private container, with signed URLs."""

    capabilities = replace(_OfAll.capabilities, fetchable=True, uploadable=True)

    @pytest.fixture
    def store(self, azurite: Azurite, shared_container: str) -> Store:
        return ObjectStore(azurite.container(shared_container), prefix="images")


class TestGoogle(_OfAll):
    @pytest.fixture
    def store(self, gcs: FakeGCS, shared_google_bucket: str) -> Store:
        url = f"{gcs.endpoint}/{shared_google_bucket}"
        return ObjectStore(gcs.bucket(shared_google_bucket), prefix="images", public_base_url=url)


class TestS3(_OfAll):
    """A private bucket, with signed URLs."""

    capabilities = replace(_OfAll.capabilities, fetchable=True, uploadable=True)

    @pytest.fixture
    def store(self, seaweed: SeaweedFS, shared_s3_bucket: str) -> Store:
        from obstore.store import S3Store

        backend = S3Store(
            shared_s3_bucket,
            endpoint=seaweed.endpoint,
            region=seaweed.region,
            access_key_id=ADMIN.access_key,
            secret_access_key=ADMIN.secret_key,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        return ObjectStore(backend, prefix="images")


class TestDirectory(_OfAll):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        from obstore.store import LocalStore

        return ObjectStore(LocalStore(tmp_path), public_base_url="https://images.example.com")


class TestMemory(_OfAll):
    # what is in memory is in this process only
    capabilities = replace(_OfAll.capabilities, pickles=False)

    @pytest.fixture
    def store(self) -> Store:
        from obstore.store import MemoryStore

        return ObjectStore(MemoryStore(), prefix="images", public_base_url="https://images.example.com")
