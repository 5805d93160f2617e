"""A service of years ago, which knows no flexible checksums: stores must get on with it, over TLS too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import BlobNotFoundError, StoreAccessDeniedError, StoreError
from sqlalchemy_imageattach.stores.s3 import S3SandboxStore, S3Store
from sqlalchemy_imageattach.stores.s3.transfer import PART_SIZE
from tests.stores.servers.juicefs import JuiceFSGateway
from tests.stores.servers.proxy import Fault, FaultProxy
from tests.stores.servers.tls import make_certificates

from .support import BLOB, OLD, fetch, fresh_key, pattern, put, read, url_of


@pytest.fixture(scope="module")
def tls(juicefs: JuiceFSGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultProxy, Path]]:
    """The gateway behind TLS, as it is where it is used in earnest."""
    certificates = make_certificates(tmp_path_factory.mktemp("tls"))
    with FaultProxy(juicefs.port, certificates.server_context()) as proxy:
        yield proxy, certificates.authority


@pytest.fixture(params=["http", "https"])
def store(request: pytest.FixtureRequest, juicefs: JuiceFSGateway, tls: tuple[FaultProxy, Path]) -> S3Store:
    options: dict[str, Any] = {"endpoint_url": juicefs.endpoint}
    if request.param == "https":
        options = {"endpoint_url": tls[0].endpoint, "ca_bundle": str(tls[1])}
    return old_store(juicefs, **options)


def old_store(juicefs: JuiceFSGateway, **options: Any) -> S3Store:
    defaults: dict[str, Any] = {"region": "us-east-1", "max_retry": 0}
    return S3Store(juicefs.bucket, juicefs.access_key, juicefs.secret_key, **defaults | options)


@pytest.mark.parametrize("size", [0, 100, PART_SIZE, 2 * PART_SIZE + 17])
def test_blobs_are_stored_read_and_deleted(size: int, store: S3Store) -> None:
    key = fresh_key()
    put(store, key, pattern(0, size))
    assert read(store, key) == pattern(0, size)
    assert store.has_key(key)
    store.delete_key(key)
    store.delete_key(key)
    with pytest.raises(BlobNotFoundError):
        read(store, key)


def test_without_the_default_the_service_refuses_and_the_message_has_the_remedy(
    juicefs: JuiceFSGateway, tls: tuple[FaultProxy, Path]
) -> None:
    store = old_store(
        juicefs,
        endpoint_url=tls[0].endpoint,
        ca_bundle=str(tls[1]),
        request_checksum_calculation="when_supported",
    )
    with pytest.raises(StoreError, match="request_checksum_calculation='when_required' is needed"):
        put(store, fresh_key())


def test_no_request_has_what_the_service_does_not_know(juicefs: JuiceFSGateway, tls: tuple[FaultProxy, Path]) -> None:
    proxy = tls[0]
    proxy.arrange(Fault())
    store, key = old_store(juicefs, endpoint_url=proxy.endpoint, ca_bundle=str(tls[1])), fresh_key()
    put(store, key, pattern(0, PART_SIZE + 1))
    put(store, OLD)
    store.delete_key(key)
    store.delete_key(OLD)
    assert {"PUT", "POST", "DELETE"} == {request.method for request in proxy.requests}
    for request in proxy.requests:
        assert not {"x-amz-trailer", "transfer-encoding", "if-none-match", "x-amz-acl"} & request.headers.keys()
        assert "aws-chunked" not in request.headers.get("content-encoding", "")
        if request.method == "PUT":
            assert "content-md5" in request.headers


def test_bytes_that_change_on_their_way_are_refused(juicefs: JuiceFSGateway) -> None:
    with FaultProxy(juicefs.port) as proxy:
        store, key = old_store(juicefs, endpoint_url=proxy.endpoint), fresh_key()
        proxy.arrange(Fault(replace=(BLOB[10:18], b"tampered")))
        with pytest.raises(StoreError, match="BadDigest"):
            put(store, key)
        assert not store.has_key(key)


def test_urls_are_signed_for_it(juicefs: JuiceFSGateway) -> None:
    store, key = old_store(juicefs, endpoint_url=juicefs.endpoint, public=False), fresh_key()
    put(store, key)
    assert fetch(url_of(store, key)) == (200, BLOB)
    assert fetch(url_of(store, key).replace(".jpe", ".png"))[0] == 403


def test_its_list_is_complete_and_missing_buckets_and_wrong_keys_are_told(juicefs: JuiceFSGateway) -> None:
    store = old_store(juicefs, endpoint_url=juicefs.endpoint, prefix="list")
    keys = {fresh_key() for _ in range(5)}
    for key in keys:
        put(store, key)
    assert {blob.key for blob in store.list_blobs()} == keys
    missing = S3Store("no-such-bucket", juicefs.access_key, juicefs.secret_key, endpoint_url=juicefs.endpoint)
    with pytest.raises(StoreError, match="has no bucket 'no-such-bucket'"):
        put(missing, OLD)
    with pytest.raises(StoreAccessDeniedError):
        put(S3Store(juicefs.bucket, juicefs.access_key, "wrong-secret", endpoint_url=juicefs.endpoint), OLD)


def test_a_sandbox_works_although_the_service_forgets_the_type_of_its_marks(juicefs: JuiceFSGateway) -> None:
    options: dict[str, Any] = {"endpoint_url": juicefs.endpoint, "region": "us-east-1"}
    sandbox = S3SandboxStore(
        juicefs.bucket, juicefs.bucket, juicefs.access_key, juicefs.secret_key, 60, "under", "over", **options
    )
    for key in (OLD, fresh_key()):
        put(sandbox.underlying, key)
        assert sandbox.delete_key(key)
        assert not sandbox.has_key(key)
        with pytest.raises(BlobNotFoundError):
            sandbox.get(key)
        assert read(sandbox.underlying, key) == BLOB
