"""Servers that die, stall, lie and forget, and networks that break."""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Callable
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import BlobNotFoundError, StoreError
from sqlalchemy_imageattach.stores.s3.transfer import PART_SIZE
from tests.stores.servers.proxy import Fault, FaultProxy
from tests.stores.servers.seaweed import SeaweedFS

from .support import BLOB, OLD, Unrewindable, fresh_key, pattern, put, read, store_at

LARGE = 2 * PART_SIZE + 17
QUICK: dict[str, Any] = {"read_timeout": 0.5, "connect_timeout": 0.5}


def leftovers(seaweed: SeaweedFS, bucket: str) -> tuple[list[str], list[str]]:
    """The names of objects, and of the uploads that were begun."""
    client = seaweed.client()
    objects = client.list_objects_v2(Bucket=bucket).get("Contents", ())
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    return [each["Key"] for each in objects], [each["Key"] for each in uploads]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(refuse=True),
        Fault(cut_request_after=0),
        Fault(cut_request_after=900),
        Fault(lose_response=True),
        Fault(cut_response_after=10),
        Fault(answer=b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        Fault(answer=b"HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [1000, LARGE])
def test_what_breaks_once_or_twice_is_tried_again(
    size: int, fault: Fault, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store, key = store_at(seaweed, bucket, endpoint_url=proxy.endpoint, max_retry=3), fresh_key()
    proxy.arrange(fault, times=2)
    put(store, key, pattern(0, size))
    proxy.arrange(fault, times=2)
    if fault.cut_response_after is None:
        assert read(store, key) == pattern(0, size)
    else:
        assert store.has_key(key)
    proxy.arrange(fault, times=2)
    store.delete_key(key)
    for blob in store.list_blobs():
        # that of the upload's beginning: S3 began a second one, and the store never heard of the first one
        assert fault.lose_response or fault.cut_response_after
        assert store.discard_temporary(blob)
    assert leftovers(seaweed, bucket) == ([], [])


@pytest.mark.parametrize("max_retry", [0, 2])
def test_there_are_no_more_attempts_than_were_allowed(
    max_retry: int, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint, max_retry=max_retry)
    proxy.arrange(Fault(answer=b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), times=99)
    with pytest.raises(StoreError, match=rf"\({max_retry + 1} attempts\)"):
        store.delete_key(fresh_key())
    assert len(proxy.requests) == max_retry + 1


@pytest.mark.parametrize("fault", [Fault(stall_response_after=0), Fault(stall_response_after=20)], ids=str)
def test_a_server_that_says_nothing_is_given_up_after_the_timeout(
    fault: Fault, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint, **QUICK, max_retry=1)
    proxy.arrange(fault, times=99)
    for operate in (read, lambda store, key: store.delete_key(key)):
        with pytest.raises(StoreError, match="did not answer in time; .* raise connect_timeout and") as caught:
            operate(store, fresh_key())
        assert caught.value.errno == errno.ETIMEDOUT
    assert proxy.connections == 4


def test_a_server_that_stalls_within_a_blob_is_given_up_too(seaweed: SeaweedFS, bucket: str, proxy: FaultProxy) -> None:
    store, key = store_at(seaweed, bucket, endpoint_url=proxy.endpoint, **QUICK), fresh_key()
    put(store, key, pattern(0, 10**6))
    proxy.arrange(Fault(stall_response_after=500_000))
    with store.get(key) as file, pytest.raises(StoreError, match="did not answer in time"):
        file.read()


def test_a_slow_server_is_waited_for_as_long_as_it_sends(seaweed: SeaweedFS, bucket: str, proxy: FaultProxy) -> None:
    store, key = store_at(seaweed, bucket, endpoint_url=proxy.endpoint, read_timeout=1), fresh_key()
    put(store, key, pattern(0, 100_000))
    proxy.arrange(Fault(drip=0.08), times=99)
    began = time.monotonic()
    assert read(store, key) == pattern(0, 100_000)
    assert time.monotonic() - began > 1  # longer than the timeout


@pytest.mark.parametrize("missing", [1, 10_000, 999_000])
def test_a_truncated_answer_is_an_error_and_no_short_blob(
    missing: int, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store, key = store_at(seaweed, bucket, endpoint_url=proxy.endpoint, max_retry=3), fresh_key()
    put(store, key, pattern(0, 10**6))
    proxy.arrange(Fault())
    read(store, key)
    head = answer_size(store, key, proxy) - 10**6
    for reading in (
        lambda file: file.read(),
        lambda file: list(file),
        lambda file: list(iter(lambda: file.read(10), b"")),
    ):
        proxy.arrange(Fault(cut_response_after=head + 10**6 - missing))
        with store.get(key) as file, pytest.raises(StoreError, match="the connection to .* broke") as caught:
            reading(file)
        assert caught.value.errno == errno.ECONNRESET
        assert not isinstance(caught.value, BlobNotFoundError)
    proxy.arrange(Fault(cut_response_after=head + 10**6 - missing))
    with pytest.raises(StoreError):
        store.get(key, use_seek=True)


def answer_size(store, key, proxy: FaultProxy) -> int:
    """How many bytes the whole answer has, with its head."""
    low, high = 10**6, 10**6 + 5000
    while low < high:
        middle = (low + high) // 2
        proxy.arrange(Fault(cut_response_after=middle))
        try:
            read(store, key)
        except StoreError:
            low = middle + 1
        else:
            high = middle
    return low


@pytest.mark.parametrize("size", [100_000, PART_SIZE + 100_000])
def test_bytes_that_change_on_their_way_are_refused(
    size: int, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store, key = store_at(seaweed, bucket, endpoint_url=proxy.endpoint), fresh_key()
    blob = pattern(0, size)
    needle = blob[-50_000:-49_992]
    proxy.arrange(Fault(replace=(needle, b"tampered")), times=99)
    with pytest.raises(StoreError):
        put(store, key, blob)
    assert leftovers(seaweed, bucket) == ([], [])
    proxy.arrange(Fault())
    put(store, key, blob)
    assert read(store, key) == blob


# --- nothing is left behind ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails_at", [0, 1000, PART_SIZE, PART_SIZE + 1000, 2 * PART_SIZE + 1000])
def test_a_source_that_fails_leaves_nothing(fails_at: int, seaweed: SeaweedFS, bucket: str) -> None:
    source = Unrewindable(3 * PART_SIZE, fails_at)
    with pytest.raises(OSError, match="the source is gone"):
        store_at(seaweed, bucket).put(fresh_key(), source, reproducible=False)  # type: ignore[arg-type]
    assert leftovers(seaweed, bucket) == ([], [])


def test_an_interrupt_leaves_nothing(seaweed: SeaweedFS, bucket: str) -> None:
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > PART_SIZE:
                raise KeyboardInterrupt
            return super().read(size)

    with pytest.raises(KeyboardInterrupt):
        store_at(seaweed, bucket).put(fresh_key(), Interrupted(bytes(LARGE)), reproducible=False)
    assert leftovers(seaweed, bucket) == ([], [])


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_blob_that_was_stored_although_the_answer_got_lost_is_deleted(
    size: int, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    source = LosingTheLastAnswer(pattern(0, size), proxy)
    with pytest.raises(StoreError):
        store.put(fresh_key(), source, reproducible=False)
    assert source.arranged
    assert leftovers(seaweed, bucket) == ([], [])


def test_a_blob_without_a_revision_that_may_have_been_stored_stays(
    seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    """It may be the one before, and that one is somebody's."""
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    proxy.arrange(Fault(lose_response=True))
    with pytest.raises(StoreError):
        put(store, OLD)
    assert read(store, OLD) == BLOB


class LosingTheLastAnswer(io.BytesIO):
    """Its last bytes are followed by a connection whose answer gets lost."""

    def __init__(self, blob: bytes, proxy: FaultProxy) -> None:
        super().__init__(blob)
        self.proxy = proxy
        self.arranged = False

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data and not self.arranged:
            self.arranged = True
            self.proxy.arrange(Fault(lose_response=True))
        return data


def test_an_upload_that_cannot_be_aborted_is_logged_and_its_own_error_raised(
    seaweed: SeaweedFS, bucket: str, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    class Unplugging(Unrewindable):
        def readinto(self, buffer):
            if self.given > PART_SIZE:
                proxy.arrange(Fault(refuse=True), times=99)
            return super().readinto(buffer)

    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    with pytest.raises(StoreError, match="cannot store"):
        store.put(fresh_key(), Unplugging(LARGE), reproducible=False)  # type: ignore[arg-type]
    assert "cannot abort the upload of" in caplog.text
    objects, uploads = leftovers(seaweed, bucket)
    assert (objects, len(uploads)) == ([], 1)
    [blob] = store_at(seaweed, bucket).list_blobs()
    assert blob.is_temporary  # so the sweeper gets it


@pytest.mark.parametrize("at", [1000, PART_SIZE + 1000])
def test_a_server_that_dies_in_the_middle_of_an_upload_keeps_no_part_of_it(
    at: int, own_seaweed: Callable[[], SeaweedFS]
) -> None:
    server = own_seaweed()
    server.client().create_bucket(Bucket="pictures")
    safe, lost = fresh_key(), fresh_key()
    put(store_at(server, "pictures"), safe)

    class Killing(Unrewindable):
        def readinto(self, buffer):
            if self.given > at:
                server.kill()
            return super().readinto(buffer)

    with pytest.raises(StoreError, match="cannot store"):
        store_at(server, "pictures", max_retry=1).put(lost, Killing(LARGE), reproducible=False)  # type: ignore[arg-type]
    again = own_seaweed()
    store = store_at(again, "pictures")
    assert read(store, safe) == BLOB
    assert not store.has_key(lost)
    assert [blob.key for blob in store.list_blobs() if not blob.is_temporary] == [safe]


def test_a_server_that_dies_while_a_blob_is_read_is_an_error(own_seaweed: Callable[[], SeaweedFS]) -> None:
    server = own_seaweed()
    server.client().create_bucket(Bucket="pictures")
    store, key = store_at(server, "pictures"), fresh_key()
    put(store, key, pattern(0, 3 * PART_SIZE))
    with store.get(key) as file:
        assert file.read(1000) == pattern(0, 1000)
        server.kill()
        with pytest.raises(StoreError, match="broke"):
            file.read()


def test_a_server_that_comes_back_serves_the_same_store_object(own_seaweed: Callable[[], SeaweedFS]) -> None:
    first = own_seaweed()
    first.client().create_bucket(Bucket="pictures")
    with FaultProxy(first.port) as proxy:
        store, key = store_at(first, "pictures", endpoint_url=proxy.endpoint, max_retry=0), fresh_key()
        put(store, key)
        first.kill()
        with pytest.raises(StoreError):
            read(store, key)
        proxy.redirect(own_seaweed().port)
        assert read(store, key) == BLOB
