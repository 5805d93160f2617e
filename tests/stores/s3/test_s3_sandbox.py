"""The sandbox, with credentials that may only read production: that it is never written is not left to our word."""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import BlobNotFoundError, InvalidValueError, StoreAccessDeniedError, StoreError
from sqlalchemy_imageattach.stores.overlay import MARK, OverlayStore
from sqlalchemy_imageattach.stores.s3 import S3SandboxStore, S3Store
from tests.stores.servers.proxy import Fault, FaultProxy
from tests.stores.servers.seaweed import ADMIN, PREVIEWER, PRODUCTION, SANDBOX, SeaweedFS

from .support import BLOB, OLD, fetch, fresh_key, put, read, store_at, url_of

MARK_TYPE = S3SandboxStore.DELETED_MARK_MIMETYPE


@pytest.fixture
def prefix() -> str:
    """One of its own for each test, in the two buckets that the credentials are for."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def production(seaweed: SeaweedFS, prefix: str) -> S3Store:
    return store_at(seaweed, PRODUCTION, prefix=prefix)


@pytest.fixture
def make_sandbox(seaweed: SeaweedFS, prefix: str) -> Callable[..., S3SandboxStore]:
    def make(**options: Any) -> S3SandboxStore:
        defaults: dict[str, Any] = {"region": seaweed.region, "endpoint_url": seaweed.endpoint, "max_retry": 0}
        return S3SandboxStore(
            PRODUCTION,
            SANDBOX,
            PREVIEWER.access_key,
            PREVIEWER.secret_key,
            underlying_prefix=prefix,
            overriding_prefix=f"over/{prefix}",
            **defaults | options,
        )

    return make


@pytest.fixture
def sandbox(make_sandbox: Callable[..., S3SandboxStore]) -> S3SandboxStore:
    return make_sandbox()


@pytest.fixture(params=["without revision", "with revision"])
def key(request: pytest.FixtureRequest):
    return OLD if request.param == "without revision" else fresh_key()


def test_the_credentials_cannot_change_production(sandbox: S3SandboxStore, production: S3Store, key) -> None:
    """Or else the tests below would prove nothing."""
    put(production, key)
    with pytest.raises(StoreAccessDeniedError):
        put(sandbox.underlying, key)
    with pytest.raises(StoreAccessDeniedError):
        sandbox.underlying.delete_key(key)
    assert read(sandbox.underlying, key) == BLOB


def test_pictures_are_seen_replaced_and_deleted_and_production_stays(
    sandbox: S3SandboxStore, production: S3Store, key
) -> None:
    put(production, key)
    assert read(sandbox, key) == BLOB
    mine = fresh_key() if key.revision else key
    put(sandbox, mine, b"replaced")
    assert read(sandbox, mine) == b"replaced"
    assert sandbox.delete_key(key) is True
    for gone in (key, mine) if mine == key else (key,):
        assert not sandbox.has_key(gone)
        with pytest.raises(BlobNotFoundError):
            sandbox.get(gone)
    assert sandbox.delete_key(key) is False
    assert read(production, key) == BLOB
    assert [blob.key for blob in production.list_blobs()] == [key]


def test_a_mark_has_the_documented_type(sandbox: S3SandboxStore, production: S3Store, seaweed: SeaweedFS, key) -> None:
    put(production, key)
    sandbox.delete_key(key)
    mark = seaweed.client().get_object(Bucket=SANDBOX, Key=key.object_name(sandbox.overriding.prefix))
    assert mark["ContentType"] == MARK_TYPE == "application/x-sqlalchemy-imageattach-sandbox-deleted"
    assert mark["Body"].read() == MARK


def test_a_mark_of_1_x_is_understood(sandbox: S3SandboxStore, production: S3Store, seaweed: SeaweedFS) -> None:
    put(production, OLD)
    name = OLD.object_name(sandbox.overriding.prefix)
    seaweed.client().put_object(Bucket=SANDBOX, Key=name, Body=b"", ContentType=MARK_TYPE)
    with pytest.raises(BlobNotFoundError, match="is deleted in this sandbox"):
        sandbox.get(OLD)
    assert not sandbox.has_key(OLD)
    assert sandbox.delete_key(OLD) is False
    assert list(sandbox.list_blobs()) == []
    put(sandbox, OLD, b"again")
    assert read(sandbox, OLD) == b"again"


def test_a_list_has_what_can_be_seen(sandbox: S3SandboxStore, production: S3Store) -> None:
    seen, deleted, own = fresh_key(), fresh_key(), fresh_key()
    put(production, seen)
    put(production, deleted)
    put(production, OLD)
    put(sandbox, own)
    put(sandbox, OLD, b"x" * len(MARK))
    sandbox.delete_key(deleted)
    assert sorted((blob.key.revision or "", blob.byte_size) for blob in sandbox.list_blobs() if blob.key) == sorted(
        [(seen.revision, len(BLOB)), (own.revision, len(BLOB)), ("", len(MARK))]
    )


def test_urls_lead_to_where_the_picture_is(
    make_sandbox: Callable[..., S3SandboxStore], production: S3Store, key
) -> None:
    sandbox = make_sandbox(public=False, url_lifetime=60)
    put(production, key)
    assert fetch(url_of(sandbox, key)) == (200, BLOB)
    assert f"/{PRODUCTION}/" in url_of(sandbox, key)
    mine = fresh_key()
    put(sandbox, mine, b"mine")
    assert fetch(url_of(sandbox, mine)) == (200, b"mine")
    if key.revision is None:
        put(sandbox, key, b"replaced")
        assert fetch(url_of(sandbox, key)) == (200, b"replaced")


def test_where_a_picture_with_a_revision_is_is_asked_once(
    make_sandbox: Callable[..., S3SandboxStore], production: S3Store, proxy: FaultProxy
) -> None:
    sandbox, key = make_sandbox(endpoint_url=proxy.endpoint), fresh_key()
    put(production, key)
    for _ in range(3):
        url_of(sandbox, key)
    assert [request.method for request in proxy.requests] == ["HEAD"]


def test_reading_takes_no_more_requests_than_there_are_buckets(
    make_sandbox: Callable[..., S3SandboxStore], production: S3Store, proxy: FaultProxy
) -> None:
    sandbox, key = make_sandbox(endpoint_url=proxy.endpoint), fresh_key()
    put(production, key)
    assert read(sandbox, key) == BLOB
    put(sandbox, OLD)
    proxy.requests.clear()
    assert read(sandbox, OLD) == BLOB
    assert [request.method for request in proxy.requests] == ["GET"]


def test_a_failure_of_the_overriding_bucket_is_no_absence(
    make_sandbox: Callable[..., S3SandboxStore], production: S3Store, proxy: FaultProxy
) -> None:
    sandbox, key = make_sandbox(endpoint_url=proxy.endpoint), fresh_key()
    put(production, key)
    for operate in (read, url_of, S3SandboxStore.has_key, S3SandboxStore.delete_key):
        proxy.arrange(Fault(answer=b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
        with pytest.raises(StoreError, match="try again later"):
            operate(sandbox, key)
    assert read(sandbox, key) == BLOB


def test_a_sandbox_is_an_overlay_and_can_be_pickled(sandbox: S3SandboxStore, production: S3Store, key) -> None:
    put(production, key)
    again = pickle.loads(pickle.dumps(sandbox))
    assert isinstance(again, OverlayStore)
    assert read(again, key) == BLOB


def test_any_two_buckets_can_be_overlaid_with_credentials_of_their_own(
    seaweed: SeaweedFS, production: S3Store, prefix: str, key
) -> None:
    put(production, key)
    overlay = OverlayStore(
        store_at(seaweed, SANDBOX, ADMIN, prefix=f"over/{prefix}"),
        store_at(seaweed, PRODUCTION, PREVIEWER, prefix=prefix),
    )
    assert read(overlay, key) == BLOB
    assert overlay.delete_key(key) is True
    assert not overlay.has_key(key)
    assert read(production, key) == BLOB
    # and a sandbox understands the marks
    sandbox = S3SandboxStore(
        PRODUCTION,
        SANDBOX,
        PREVIEWER.access_key,
        PREVIEWER.secret_key,
        underlying_prefix=prefix,
        overriding_prefix=f"over/{prefix}",
        endpoint_url=seaweed.endpoint,
    )
    assert not sandbox.has_key(key)
    assert list(sandbox.list_blobs()) == []


@pytest.mark.parametrize("prefixes", [("", ""), ("images", "images/")])
def test_a_bucket_is_not_laid_over_itself(prefixes: tuple[str, str]) -> None:
    with pytest.raises(InvalidValueError, match="expected two buckets, or two prefixes"):
        S3SandboxStore("pictures", "pictures", underlying_prefix=prefixes[0], overriding_prefix=prefixes[1])


def test_a_picture_of_another_type_is_another_picture(sandbox: S3SandboxStore, production: S3Store, key) -> None:
    webp = replace(key, mimetype="image/webp")
    put(production, key)
    put(production, webp, b"webp")
    sandbox.delete_key(key)
    assert read(sandbox, webp) == b"webp"
    assert not sandbox.has_key(key)
