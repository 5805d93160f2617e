from __future__ import annotations

import builtins
import errno
from collections.abc import Callable
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import BlobNotFoundError, StoreAccessDeniedError, StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.stores.s3 import S3Store
from tests.stores.servers.process import free_ports
from tests.stores.servers.proxy import Fault, FaultProxy
from tests.stores.servers.seaweed import ADMIN, READER, WRITER, Identity, SeaweedFS

from .support import BLOB, fresh_key, put, read, store_at

OPERATIONS: list[tuple[str, Callable[[S3Store, ImageKey], Any]]] = [
    ("store", put),
    ("read", read),
    ("delete", lambda store, key: store.delete_key(key)),
    ("list", lambda store, key: list(store.list_blobs())),
]
each_operation = pytest.mark.parametrize(("doing", "operate"), OPERATIONS, ids=[name for name, _ in OPERATIONS])


@each_operation
def test_a_missing_bucket_is_named_with_its_service(doing: str, operate: Callable, seaweed: SeaweedFS) -> None:
    store = store_at(seaweed, "no-such-bucket")
    with pytest.raises(StoreError, match=f"cannot {doing} .*{seaweed.endpoint} has no bucket 'no-such-bucket'; create"):
        operate(store, fresh_key())


def test_a_bucket_that_is_not_there_is_told_before_its_blobs_are_missed(seaweed: SeaweedFS, bucket: str) -> None:
    with pytest.raises(StoreError, match="has no bucket 'no-such-bucket'"):
        store_at(seaweed, "no-such-bucket").require_presence()
    store_at(seaweed, bucket).require_presence()
    # who may not list it is not told
    store_at(seaweed, bucket, Identity("NOBODY", "secret", ())).require_presence()


def test_a_missing_bucket_is_no_missing_blob(seaweed: SeaweedFS) -> None:
    with pytest.raises(StoreError) as caught:
        read(store_at(seaweed, "no-such-bucket"), fresh_key())
    assert not isinstance(caught.value, BlobNotFoundError)


@each_operation
@pytest.mark.parametrize(
    ("identity", "hint"),
    [
        (Identity("NOBODY", "secret", ()), "the access key is not known to .*: check access_key"),
        (Identity(ADMIN.access_key, "wrong", ()), "the secret key does not belong to the access key"),
    ],
    ids=["unknown access key", "wrong secret key"],
)
def test_wrong_credentials_are_told_apart(
    identity: Identity, hint: str, doing: str, operate: Callable, seaweed: SeaweedFS, bucket: str
) -> None:
    with pytest.raises(StoreAccessDeniedError, match=f"cannot {doing} .*{hint}") as caught:
        operate(store_at(seaweed, bucket, identity), fresh_key())
    assert isinstance(caught.value, PermissionError)
    assert caught.value.errno == errno.EACCES


@pytest.mark.parametrize(("doing", "operate"), [OPERATIONS[0], OPERATIONS[2]])
def test_who_may_only_read_is_denied_changes(doing: str, operate: Callable, seaweed: SeaweedFS, bucket: str) -> None:
    key = fresh_key()
    put(store_at(seaweed, bucket), key)
    with pytest.raises(StoreAccessDeniedError, match=f"cannot {doing} .*{bucket}.*access denied.*check the policies"):
        operate(store_at(seaweed, bucket, READER), key)
    assert read(store_at(seaweed, bucket, READER), key) == BLOB


def test_who_may_only_write_is_denied_reading_and_told_that_the_blob_may_be_missing(
    seaweed: SeaweedFS, bucket: str
) -> None:
    store, key = store_at(seaweed, bucket, WRITER), fresh_key()
    put(store, key)
    for each in (key, fresh_key()):
        with pytest.raises(StoreAccessDeniedError, match="without s3:ListBucket, there is no such object"):
            read(store, each)
    with pytest.raises(StoreAccessDeniedError):
        store.has_key(key)


def test_no_message_has_the_secret(seaweed: SeaweedFS, bucket: str) -> None:
    identity = Identity(ADMIN.access_key, "wrong-and-secret", ())
    store = store_at(seaweed, bucket, identity)
    with pytest.raises(StoreError) as caught:
        read(store, fresh_key())
    assert "wrong-and-secret" not in repr(caught.value) + repr(caught.value.__cause__) + repr(store) + str(
        vars(store._client)
    )


@each_operation
def test_without_credentials_the_ways_to_give_them_are_told(doing: str, operate: Callable, seaweed: SeaweedFS) -> None:
    store = S3Store("pictures", endpoint_url=seaweed.endpoint, region="us-east-1")
    with pytest.raises(
        StoreError, match=f"cannot {doing} .*no credentials; give access_key and secret_key, or a session"
    ):
        operate(store, fresh_key())


def test_a_profile_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(StoreError, match=r"cannot connect to AWS S3: .*no-such-profile"):
        put(S3Store("pictures"), fresh_key())


def test_a_region_that_cannot_be_one_is_named() -> None:
    with pytest.raises(StoreError, match="not a region"):
        put(S3Store("pictures", region="not a region"), fresh_key())


@each_operation
def test_a_service_that_is_not_there_is_named(doing: str, operate: Callable) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    store = S3Store("pictures", "key", "secret", endpoint_url=endpoint, region="us-east-1", max_retry=0)
    with pytest.raises(
        StoreError, match=f"cannot {doing} .*{endpoint} cannot be reached .*check endpoint_url"
    ) as caught:
        operate(store, fresh_key())
    assert caught.value.errno == errno.ECONNREFUSED


def test_a_certificate_that_is_not_trusted_is_refused(seaweed: SeaweedFS, bucket: str) -> None:
    store = store_at(seaweed, bucket, endpoint_url=seaweed.tls_endpoint)
    with pytest.raises(StoreError, match="certificate of .* is not trusted; give ca_bundle="):
        put(store, fresh_key())


def test_a_certificate_of_another_authority_is_refused(seaweed: SeaweedFS, bucket: str, tmp_path) -> None:
    from tests.stores.servers.tls import make_certificates

    other = make_certificates(tmp_path)
    store = store_at(seaweed, bucket, endpoint_url=seaweed.tls_endpoint, ca_bundle=str(other.authority))
    with pytest.raises(StoreError, match="is not trusted"):
        put(store, fresh_key())


def answer(status: str, code: str = "", headers: str = "") -> bytes:
    body = f"<Error><Code>{code}</Code><Message>told so</Message></Error>" if code else ""
    headers += f"Connection: close\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{headers}\r\n{body}".encode()


@each_operation
@pytest.mark.parametrize(
    ("reply", "message", "number"),
    [
        (
            answer("301 Moved", "PermanentRedirect", "x-amz-bucket-region: eu-west-1\r\n"),
            "in another region than the one asked; it is in 'eu-west-1': give region='eu-west-1'",
            errno.EREMOTE,
        ),
        (answer("400 Bad Request", "IllegalLocationConstraintException"), "in another region", errno.EREMOTE),
        (answer("403 Forbidden", "RequestTimeTooSkewed"), "clock differs too much", errno.EACCES),
        (answer("400 Bad Request", "ExpiredToken"), "temporary credentials have expired", errno.EACCES),
        (answer("403 Forbidden"), "access denied", errno.EACCES),
        (answer("507 Insufficient Storage", "XMinioStorageFull"), "no space left", errno.ENOSPC),
        (answer("403 Forbidden", "QuotaExceeded"), "no space left", errno.ENOSPC),
        (answer("501 Not Implemented", "NotImplemented"), "request_checksum_calculation='when_required'", errno.EIO),
        (answer("411 Length Required", "MissingContentLength"), "request_checksum_calculation=", errno.EIO),
        (answer("503 Slow Down", "SlowDown"), r"SlowDown: told so \(1 attempts\); try again later", errno.EIO),
        (answer("500 Oops"), "try again later", errno.EIO),
        (answer("418 Teapot", "Tea"), "answered Tea: told so", errno.EIO),
        (b"this is no HTTP at all\r\n\r\n", "connection to .* broke", errno.ECONNRESET),
    ],
    ids=lambda value: None if isinstance(value, int) else str(value)[:40],
)
def test_what_a_service_says_becomes_an_error_with_a_remedy(
    reply: bytes, message: str, number: int, doing: str, operate: Callable, seaweed: SeaweedFS, proxy: FaultProxy
) -> None:
    proxy.arrange(Fault(answer=reply), times=99)
    with pytest.raises(StoreError, match=f"cannot {doing} .*{message}") as caught:
        operate(store_at(seaweed, "pictures", endpoint_url=proxy.endpoint), fresh_key())
    assert caught.value.errno == number
    assert not isinstance(caught.value, BlobNotFoundError)
    assert isinstance(caught.value, PermissionError) is (number == errno.EACCES)


def test_an_error_of_the_source_passes_as_it_is(seaweed: SeaweedFS, bucket: str) -> None:
    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise builtins.ConnectionResetError(errno.ECONNRESET, "the upload was cancelled")

    store = store_at(seaweed, bucket)
    with pytest.raises(ConnectionResetError, match="the upload was cancelled") as caught:
        store.put(fresh_key(), Broken(), reproducible=False)  # type: ignore[arg-type]
    assert not isinstance(caught.value, StoreError)
    assert list(store.list_blobs()) == []
