"""Copies within S3: of what was read and of nothing else, by the word of the service; or else none."""

from __future__ import annotations

import hashlib
import io

import pytest

from sqlalchemy_imageattach.errors import StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.stores.s3 import S3Store
from sqlalchemy_imageattach.testing.sources import ONE_MD5
from tests.stores.servers.juicefs import JuiceFSGateway
from tests.stores.servers.proxy import Fault, FaultProxy
from tests.stores.servers.seaweed import SeaweedFS

from .support import BLOB, OLD, fresh_key, objects_of, put, read, store_at

_NOT_IMPLEMENTED = (
    b"HTTP/1.1 501 Not Implemented\r\nContent-Type: application/xml\r\nContent-Length: 93\r\nConnection: close\r\n\r\n"
    b"<Error><Code>NotImplemented</Code><Message>x-amz-checksum-algorithm: SHA256</Message></Error>"
)
_FORBIDDEN = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 68\r\nConnection: close\r\n\r\n"
    b"<Error><Code>AccessDenied</Code><Message>Not yours</Message></Error>"
)


def copy(store: S3Store, source: ImageKey, target: ImageKey, content: bytes) -> bool:
    """Whether the store copied it."""
    checksum = hashlib.sha256(content).hexdigest()
    return store.copy_from(store, source, target, checksum=checksum, reproducible=False)


def requests_of(store: S3Store) -> list[str]:
    """The names of the requests that it makes from now on."""
    made: list[str] = []
    store.client.meta.events.register("before-call.s3", lambda model, **_: made.append(model.name))
    return made


@pytest.fixture
def aws(seaweed: SeaweedFS, bucket: str) -> S3Store:
    """A store whose service tells what it has copied."""
    store = store_at(seaweed, bucket)
    seaweed.tell_checksums(store.client)
    return store


def test_a_copy_is_one_request_where_the_service_tells_its_checksum(aws: S3Store) -> None:
    target = fresh_key()
    put(aws, OLD)
    requests = requests_of(aws)
    assert copy(aws, OLD, target, BLOB)
    assert requests == ["CopyObject"]
    assert read(aws, target) == BLOB


def test_another_content_of_one_etag_is_not_copied(aws: S3Store) -> None:
    target = fresh_key()
    tags = []
    for content in ONE_MD5:
        put(aws, OLD, content)
        head = aws._head(OLD)
        assert head is not None
        tags.append(head["ETag"])
    assert tags[0] == tags[1] == f'"{hashlib.md5(ONE_MD5[0]).hexdigest()}"', "which is all that an ETag tells"
    assert not copy(aws, OLD, target, ONE_MD5[0])
    assert not aws.has_key(target)
    assert copy(aws, OLD, target, ONE_MD5[1])
    assert read(aws, target) == ONE_MD5[1]


def test_a_copy_that_must_not_stay_and_cannot_be_deleted_is_an_error(
    seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    seaweed.tell_checksums(store.client)
    put(store, OLD, b"what was put in its place")
    store.client.meta.events.register(
        "before-call.s3.DeleteObject", lambda **_: proxy.arrange(Fault(refuse=True), times=1)
    )
    with pytest.raises(StoreError, match="cannot delete"):
        copy(store, OLD, fresh_key(), BLOB)


@pytest.mark.parametrize("service", ["SeaweedFS", "JuiceFS"])
def test_a_service_that_does_not_tell_is_asked_once(
    service: str, seaweed: SeaweedFS, bucket: str, request: pytest.FixtureRequest
) -> None:
    if service == "SeaweedFS":
        store = store_at(seaweed, bucket)
    else:
        server: JuiceFSGateway = request.getfixturevalue("juicefs")
        store = S3Store(server.bucket, server.access_key, server.secret_key, endpoint_url=server.endpoint, prefix="c")
    put(store, OLD)
    requests = requests_of(store)
    first, second = fresh_key(), fresh_key()
    assert not copy(store, OLD, first, BLOB)
    assert requests == ["CopyObject", "DeleteObject"]
    assert not copy(store, OLD, second, BLOB)
    assert len(requests) == 2
    assert not store.has_key(first)
    assert not store.has_key(second)
    store.delete_key(OLD)


def test_a_service_that_refuses_to_tell_is_asked_once(seaweed: SeaweedFS, bucket: str, proxy: FaultProxy) -> None:
    put(store_at(seaweed, bucket), OLD)
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    requests = requests_of(store)
    proxy.arrange(Fault(answer=_NOT_IMPLEMENTED))
    for _ in range(2):
        assert not copy(store, OLD, fresh_key(), BLOB)
    assert requests == ["CopyObject"], "nothing was done, and a request to delete might come late"
    assert list(objects_of(seaweed.client(), bucket)) == [OLD.object_name()]


def test_what_is_gone_or_may_not_be_read_is_not_copied_and_the_next_one_is(aws: S3Store) -> None:
    assert not copy(aws, OLD, fresh_key(), BLOB)
    put(aws, OLD)
    assert copy(aws, OLD, fresh_key(), BLOB)


def test_nothing_is_copied_to_where_a_former_picture_is(aws: S3Store) -> None:
    sent, picture = fresh_key(), OLD
    put(aws, sent, b"what was put in its place")
    put(aws, picture)
    requests = requests_of(aws)
    assert not copy(aws, sent, picture, b"what was looked at")
    assert requests == []
    assert read(aws, picture) == BLOB


def test_a_copy_whose_answer_is_lost_is_taken_back(seaweed: SeaweedFS, bucket: str, proxy: FaultProxy) -> None:
    put(store_at(seaweed, bucket), OLD)
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    proxy.arrange(Fault(lose_response=True))
    with pytest.raises(StoreError):
        copy(store, OLD, fresh_key(), BLOB)
    assert list(objects_of(seaweed.client(), bucket)) == [OLD.object_name()]


def test_a_copy_that_was_asked_for_twice_is_not_trusted(seaweed: SeaweedFS, bucket: str, proxy: FaultProxy) -> None:
    put(store_at(seaweed, bucket), OLD)
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint, max_retry=2)
    seaweed.tell_checksums(store.client)
    proxy.arrange(Fault(lose_response=True), times=1)
    with pytest.raises(StoreError, match="more than once"):
        copy(store, OLD, fresh_key(), BLOB)
    assert list(objects_of(seaweed.client(), bucket)) == [OLD.object_name()]


def test_what_may_not_be_deleted_is_stored_over(seaweed: SeaweedFS, bucket: str, proxy: FaultProxy) -> None:
    put(store_at(seaweed, bucket), OLD)
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)  # which does not tell
    store.client.meta.events.register(
        "before-call.s3.DeleteObject", lambda **_: proxy.arrange(Fault(answer=_FORBIDDEN), times=1)
    )
    requests = requests_of(store)
    for _ in range(2):
        assert not copy(store, OLD, fresh_key(), BLOB)
    assert requests == ["CopyObject", "DeleteObject"]


def test_another_store_of_the_service_is_copied_from_too(
    aws: S3Store, seaweed: SeaweedFS, other_bucket: str, juicefs: JuiceFSGateway
) -> None:
    inbox, target = store_at(seaweed, other_bucket, prefix="inbox"), fresh_key()
    put(inbox, OLD)
    checksum = hashlib.sha256(BLOB).hexdigest()
    assert aws.copy_from(inbox, OLD, target, checksum=checksum, reproducible=False)
    assert read(aws, target) == BLOB
    elsewhere = S3Store(juicefs.bucket, juicefs.access_key, juicefs.secret_key, endpoint_url=juicefs.endpoint)
    elsewhere.put(OLD, io.BytesIO(BLOB), reproducible=False)
    assert not aws.copy_from(elsewhere, OLD, fresh_key(), checksum=checksum, reproducible=False)
    elsewhere.delete_key(OLD)
