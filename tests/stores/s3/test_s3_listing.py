from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sqlalchemy_imageattach.errors import InvalidValueError, StoreAccessDeniedError, StoreError
from sqlalchemy_imageattach.store import StoredBlob
from tests.stores.servers.proxy import Fault, FaultProxy
from tests.stores.servers.seaweed import READER, WRITER, SeaweedFS

from .support import BLOB, OLD, fresh_key, put, read, store_at


def test_a_list_has_the_keys_sizes_and_times_of_what_is_below_the_prefix(seaweed: SeaweedFS, bucket: str) -> None:
    store = store_at(seaweed, bucket, prefix="images")
    keys = [OLD, fresh_key(), replace(fresh_key(), object_type="deep/er/picture", mimetype="image/webp")]
    for number, key in enumerate(keys):
        put(store, key, b"x" * (number + 1))
    put(store_at(seaweed, bucket, prefix="images2"), fresh_key())
    put(store_at(seaweed, bucket), fresh_key())
    seaweed.client().put_object(Bucket=bucket, Key="images/notes.txt", Body=b"junk")
    listed = {blob.name: blob for blob in store.list_blobs()}
    assert {blob.key: blob.byte_size for blob in listed.values()} == {keys[0]: 1, keys[1]: 2, keys[2]: 3, None: 4}
    assert set(listed) == {key.object_name() for key in keys} | {"notes.txt"}
    for blob in listed.values():
        assert not blob.is_temporary
        assert abs(datetime.now(UTC) - blob.modified_at) < timedelta(minutes=5)


def test_a_list_can_be_limited_to_a_part(seaweed: SeaweedFS, bucket: str) -> None:
    store = store_at(seaweed, bucket, prefix="images")
    mine, other = fresh_key(), replace(fresh_key(), object_type="item-picture")
    put(store, mine)
    put(store, other)
    assert [blob.key for blob in store.list_blobs("user-picture/")] == [mine]


def test_an_empty_bucket_gives_an_empty_list(seaweed: SeaweedFS, bucket: str) -> None:
    assert list(store_at(seaweed, bucket).list_blobs()) == []


def test_a_list_goes_on_after_the_first_page(seaweed: SeaweedFS, bucket: str) -> None:
    client = seaweed.client()
    names = {f"user-picture/{number}/1x1.png" for number in range(1010)}
    for name in names:
        client.put_object(Bucket=bucket, Key=name, Body=b"")
    listed = [blob.name for blob in store_at(seaweed, bucket).list_blobs()]
    assert len(listed) == 1010
    assert set(listed) == names


def test_a_list_that_breaks_in_the_middle_raises(seaweed: SeaweedFS, bucket: str, proxy: FaultProxy) -> None:
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    client = seaweed.client()
    for number in range(1010):
        client.put_object(Bucket=bucket, Key=f"user-picture/{number}/1x1.png", Body=b"")
    listed = store.list_blobs()
    next(listed)
    proxy.arrange(Fault(refuse=True), times=99)
    with pytest.raises(StoreError, match="cannot list"):
        list(listed)


def test_a_list_that_is_refused_or_of_no_bucket_raises(seaweed: SeaweedFS, bucket: str) -> None:
    with pytest.raises(StoreAccessDeniedError, match="cannot list the bucket"):
        list(store_at(seaweed, bucket, WRITER).list_blobs())
    with pytest.raises(StoreError, match="has no bucket 'no-such-bucket'"):
        list(store_at(seaweed, "no-such-bucket").list_blobs())


def test_unfinished_uploads_are_listed_as_temporary_and_can_be_discarded(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket, prefix="images"), fresh_key()
    put(store, OLD)
    client = seaweed.client()
    target = {"Bucket": bucket, "Key": key.object_name("images")}
    target["UploadId"] = client.create_multipart_upload(**target)["UploadId"]
    for number in (1, 2):
        client.upload_part(**target, PartNumber=number, Body=io.BytesIO(b"x" * 5 * 2**20))
    [blob] = [blob for blob in store.list_blobs() if blob.is_temporary]
    assert (blob.key, blob.byte_size) == (None, 10 * 2**20)
    assert blob.name.startswith(key.object_name())
    assert abs(datetime.now(UTC) - blob.modified_at) < timedelta(minutes=5)
    assert store.discard_temporary(blob)
    assert not [blob for blob in store.list_blobs() if blob.is_temporary]
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert read(store, OLD) == BLOB


def test_only_unfinished_uploads_can_be_discarded(seaweed: SeaweedFS, bucket: str) -> None:
    store = store_at(seaweed, bucket)
    put(store, OLD)
    [blob] = store.list_blobs()
    with pytest.raises(InvalidValueError, match="expected an unfinished upload"):
        store.discard_temporary(blob)
    temporary = StoredBlob("user-picture/1/1x1.png.tmp", 0, datetime.now(UTC), None, is_temporary=True)
    with pytest.raises(InvalidValueError, match="expected an unfinished upload"):
        store.discard_temporary(temporary)
    assert read(store, OLD) == BLOB


def test_who_may_only_read_gets_the_list_of_blobs_all_the_same(seaweed: SeaweedFS, bucket: str) -> None:
    put(store_at(seaweed, bucket), OLD)
    assert [blob.key for blob in store_at(seaweed, bucket, READER).list_blobs()] == [OLD]


NOT_LISTED = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\nContent-Type: application/xml\r\n\r\n%s"


@pytest.mark.parametrize(("status", "code"), [(b"403 Forbidden", b"AccessDenied"), (b"501 None", b"NotImplemented")])
def test_a_service_that_does_not_list_uploads_is_taken_to_have_none(
    status: bytes, code: bytes, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    put(store, OLD)
    listed = store.list_blobs()
    blobs = [next(listed)]
    body = b"<Error><Code>%s</Code></Error>" % code
    proxy.arrange(Fault(answer=NOT_LISTED % (status, len(body), body)), times=99)
    blobs.extend(listed)
    assert [blob.key for blob in blobs] == [OLD]
    assert "unfinished uploads are not known" in caplog.text
