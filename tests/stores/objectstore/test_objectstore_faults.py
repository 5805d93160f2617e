"""Services that refuse, break, stall and forget."""

from __future__ import annotations

import errno
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from sqlalchemy_imageattach.errors import StoreAccessDeniedError, StoreError
from tests.stores.s3.support import BLOB, OLD, Unrewindable, fresh_key, pattern, put, read
from tests.stores.servers.azurite import Azurite
from tests.stores.servers.gcs import FakeGCS
from tests.stores.servers.proxy import Fault, FaultProxy

from .support import Cloud, put_from

PART = 8 * 2**20
QUICK = {
    "client_options": {"allow_http": True, "read_timeout": timedelta(seconds=0.5)},
    "retry_config": {"max_retries": 0},
}
AGAIN: dict[str, Any] = {"retry_config": {"max_retries": 3, "backoff": {"init_backoff": timedelta(milliseconds=1)}}}
BUSY = Fault(answer=b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
FULL = Fault(answer=b"HTTP/1.1 507 Full\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("fails_at", [0, 1000, PART, PART + 1, 2 * PART + 5])
def test_a_source_that_fails_stores_nothing_and_raises_its_own_error(cloud: Cloud, gcs: FakeGCS, fails_at: int) -> None:
    with pytest.raises(OSError, match="^the source is gone$") as caught:
        put_from(cloud.store(), fresh_key(), Unrewindable(3 * PART, fails_at))
    assert not isinstance(caught.value, StoreError)
    assert cloud.names() == set()
    assert gcs.unfinished == 0


def test_ctrl_c_while_the_source_is_read_stores_nothing(cloud: Cloud, gcs: FakeGCS) -> None:
    class Interrupted(Unrewindable):
        def readinto(self, buffer: Any) -> int:
            if self.given > PART:
                raise KeyboardInterrupt
            return super().readinto(buffer)

    with pytest.raises(KeyboardInterrupt):
        put_from(cloud.store(), fresh_key(), Interrupted(3 * PART))
    assert cloud.names() == set()
    assert gcs.unfinished == 0


@pytest.mark.parametrize("size", [1000, PART + 1])
def test_a_busy_service_is_asked_again(cloud: Cloud, size: int) -> None:
    with FaultProxy(cloud.port) as proxy:
        store, key = cloud.store(port=proxy.port, options=AGAIN), fresh_key()
        proxy.arrange(BUSY, times=2)
        put(store, key, pattern(0, size))
        proxy.arrange(BUSY, times=2)
        assert read(store, key) == pattern(0, size)
        proxy.arrange(BUSY, times=2)
        assert [blob.key for blob in store.list_blobs()] == [key]
        proxy.arrange(BUSY, times=2)
        store.delete_key(key)
    assert cloud.names() == set()


@pytest.mark.parametrize("fault", [Fault(refuse=True), Fault(cut_request_after=0), Fault(lose_response=True)], ids=str)
@pytest.mark.parametrize("options", [None, AGAIN], ids=["at once", "again"])
def test_a_network_that_breaks_leaves_nothing_half_done(cloud: Cloud, fault: Fault, options: Any) -> None:
    """Which requests are made again is obstore's to decide, and differs with the moment of the break."""
    with FaultProxy(cloud.port) as proxy:
        store, key = cloud.store(port=proxy.port, options=options), fresh_key()
        proxy.arrange(fault, times=2)
        try:
            put(store, key)
        except StoreError:
            assert cloud.names() <= {key.object_name()}  # it could not always be taken back
            put(store, key)
        proxy.arrange(fault, times=2)
        with suppress(StoreError):
            assert read(store, key) == BLOB
        proxy.arrange(fault, times=2)
        with suppress(StoreError):
            assert [blob.key for blob in store.list_blobs()] == [key]
        proxy.arrange(Fault())
        assert read(store, key) == BLOB
        proxy.arrange(fault, times=2)
        with suppress(StoreError):
            store.delete_key(key)
            assert cloud.names() == set()


@pytest.mark.parametrize("size", [1000, PART + 1])
def test_a_blob_whose_answer_got_lost_is_taken_back(cloud: Cloud, gcs: FakeGCS, size: int) -> None:
    with FaultProxy(cloud.port) as proxy:
        store = cloud.store(port=proxy.port)
        proxy.arrange(Fault(lose_response=True), times=1)
        with pytest.raises(StoreError, match="cannot store"):
            put(store, fresh_key(), pattern(0, size))
        assert len(proxy.requests) > 1  # the second one took it back, or ended the upload
    assert cloud.names() == set()
    if size == 1000:
        assert gcs.unfinished == 0


def test_what_stood_there_before_is_not_taken_back(cloud: Cloud) -> None:
    put(cloud.store(), OLD, b"former")
    with FaultProxy(cloud.port) as proxy:
        store = cloud.store(port=proxy.port)
        proxy.arrange(Fault(refuse=True), times=99)
        with pytest.raises(StoreError, match="cannot store"):
            put(store, OLD, b"new")
    assert read(cloud.store(), OLD) == b"former"


@pytest.mark.parametrize("fault", [Fault(stall_response_after=0), Fault(stall_response_after=20)], ids=str)
def test_a_service_that_says_nothing_is_given_up_after_the_timeout(cloud: Cloud, fault: Fault) -> None:
    with FaultProxy(cloud.port) as proxy:
        store = cloud.store(port=proxy.port, options=QUICK)
        for use in (lambda: store.get(OLD), lambda: put(store, OLD), lambda: list(store.list_blobs())):
            proxy.arrange(fault, times=9)
            with pytest.raises(StoreError, match="raise the timeouts") as caught:
                use()
            assert caught.value.errno == errno.ETIMEDOUT


@pytest.mark.parametrize("after", [100, 5000, 100_000])
def test_an_answer_that_is_cut_is_never_taken_for_the_whole(cloud: Cloud, after: int) -> None:
    key = fresh_key()
    put(cloud.store(), key, pattern(0, 300_000))
    for _ in range(50):
        put(cloud.store(), fresh_key(), b"")
    with FaultProxy(cloud.port) as proxy:
        store = cloud.store(port=proxy.port)
        proxy.arrange(Fault(cut_response_after=after), times=9)
        with pytest.raises(StoreError, match="cannot read"), store.get(key) as file:
            file.read()
        if after < 10_000:  # the list is longer
            proxy.arrange(Fault(cut_response_after=after), times=9)
            with pytest.raises(StoreError, match="cannot list"):
                list(store.list_blobs())


def test_a_reader_goes_on_after_the_connection_broke(cloud: Cloud) -> None:
    key = fresh_key()
    put(cloud.store(), key, pattern(0, 3_000_000))
    with FaultProxy(cloud.port) as proxy:
        store = cloud.store(port=proxy.port, options=AGAIN)
        proxy.arrange(Fault(cut_response_after=1_000_000), times=1)
        assert read(store, key) == pattern(0, 3_000_000)


@pytest.mark.parametrize("size", [1000, PART + 1])
def test_a_bucket_that_is_not_there_is_said_to_be_missing(cloud: Cloud, size: int) -> None:
    store = cloud.store(bucket="no-such-bucket")
    with pytest.raises(StoreError, match="no such bucket or container; create it") as caught:
        put(store, fresh_key(), pattern(0, size))
    assert caught.value.errno == errno.ENOENT


def test_a_container_of_azure_that_is_not_there_is_no_missing_blob(azurite: Azurite) -> None:
    from sqlalchemy_imageattach.stores.objectstore import ObjectStore

    store = ObjectStore(azurite.container("no-such-container"))
    for use in (lambda: store.get(OLD), lambda: store.delete_key(OLD), lambda: list(store.list_blobs())):
        with pytest.raises(StoreError, match="no such bucket or container") as caught:
            use()
        assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("use", ["put", "get", "list", "delete", "has"])
def test_who_may_not_is_told_so(cloud: Cloud, gcs: FakeGCS, use: str) -> None:
    put(cloud.store(), OLD, b"former")
    secret = {"bearer_token": "wrong"} if cloud.port == gcs.port else {"account_key": "d3Jvbmc="}
    store = cloud.store(options=secret)
    uses = {
        "put": lambda: put(store, OLD),
        "get": lambda: store.get(OLD),
        "list": lambda: list(store.list_blobs()),
        "delete": lambda: store.delete_key(OLD),
        "has": lambda: store.has_key(OLD),
    }
    with pytest.raises(StoreAccessDeniedError, match="access denied: check which credentials are in use"):
        uses[use]()
    assert read(cloud.store(), OLD) == b"former"


def test_a_service_without_space_says_so(cloud: Cloud) -> None:
    with FaultProxy(cloud.port) as proxy:
        store = cloud.store(port=proxy.port)
        proxy.arrange(FULL, times=9)
        with pytest.raises(StoreError, match="no space left") as caught:
            put(store, OLD)
    assert caught.value.errno == errno.ENOSPC


def test_a_bucket_that_is_not_there_is_told_before_its_blobs_are_missed(cloud: Cloud) -> None:
    cloud.store().require_presence()
    with pytest.raises(StoreError, match="no-such-bucket"):
        cloud.store(bucket="no-such-bucket").require_presence()
