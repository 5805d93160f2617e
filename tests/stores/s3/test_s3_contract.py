"""The contract kit, run over the stores on S3."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.s3 import S3SandboxStore
from sqlalchemy_imageattach.testing import Capabilities, StoreContract
from tests.stores.servers.seaweed import PREVIEWER, PRODUCTION, SANDBOX, SeaweedFS

from .support import store_at


@pytest.fixture(scope="module")
def shared_bucket(seaweed: SeaweedFS) -> Iterator[str]:
    """One for all rules, in which nothing may be left."""
    name = f"contract-{secrets.token_hex(6)}"
    client = seaweed.client()
    client.create_bucket(Bucket=name)
    yield name
    assert "Contents" not in client.list_objects_v2(Bucket=name)
    client.delete_bucket(Bucket=name)


class TestS3(StoreContract):
    """A private bucket, with signed URLs.  S3 looks for no former blob, and does not tell what it deleted."""

    capabilities = Capabilities(
        revisions=True,
        never_overwrites=False,
        lists=True,
        pickles=True,
        fetchable=True,
        exclusive=True,
        uploadable=True,
        copies=True,
    )

    @pytest.fixture
    def store(self, seaweed: SeaweedFS, shared_bucket: str) -> Store:
        store = store_at(seaweed, shared_bucket, public=False, prefix="images")
        seaweed.tell_checksums(store.client)
        return store


class TestSandbox(StoreContract):
    """Two buckets as one, with credentials that may only read the underlying one."""

    capabilities = Capabilities(revisions=True, never_overwrites=False, lists=True, copies=False)

    @pytest.fixture
    def store(self, seaweed: SeaweedFS) -> Store:
        return S3SandboxStore(
            PRODUCTION,
            SANDBOX,
            PREVIEWER.access_key,
            PREVIEWER.secret_key,
            endpoint_url=seaweed.endpoint,
            region=seaweed.region,
            max_retry=0,
        )
