from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sqlalchemy_imageattach.errors import BlobNotFoundError, InvalidTypeError
from sqlalchemy_imageattach.stores.s3 import S3Store
from sqlalchemy_imageattach.stores.s3.transfer import PART_SIZE
from tests.stores.servers.proxy import FaultProxy
from tests.stores.servers.seaweed import ADMIN, SeaweedFS

from .support import BLOB, OLD, Unrewindable, fresh_key, pattern, put, read, store_at, url_of


def test_a_blob_comes_back_as_it_was(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket), fresh_key()
    put(store, key)
    assert read(store, key) == BLOB


def test_a_blob_comes_back_as_it_was_through_tls(seaweed: SeaweedFS, bucket: str) -> None:
    authority = str(seaweed.certificates.authority)
    store, key = store_at(seaweed, bucket, endpoint_url=seaweed.tls_endpoint, ca_bundle=authority), fresh_key()
    put(store, key)
    assert read(store, key) == BLOB
    assert "ContentEncoding" not in seaweed.client().head_object(Bucket=bucket, Key=key.object_name())


def test_the_certificates_of_the_environment_are_trusted(
    seaweed: SeaweedFS, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(seaweed.certificates.authority))
    store, key = store_at(seaweed, bucket, endpoint_url=seaweed.tls_endpoint), fresh_key()
    put(store, key)
    assert read(store, key) == BLOB


@pytest.mark.parametrize("size", [0, 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE, 2 * PART_SIZE + 17])
def test_a_blob_of_any_size_comes_from_a_source_that_gives_little_at_a_time(
    size: int, seaweed: SeaweedFS, bucket: str
) -> None:
    store, key = store_at(seaweed, bucket), fresh_key()
    store.put(key, Unrewindable(size), reproducible=False)  # type: ignore[arg-type]
    assert read(store, key) == pattern(0, size)


@pytest.mark.parametrize("size", [100, 2 * PART_SIZE + 17])
@pytest.mark.parametrize("calculation", ["when_required", "when_supported"])
def test_checksums_of_both_kinds_go_through_tls(calculation: str, size: int, seaweed: SeaweedFS, bucket: str) -> None:
    store = store_at(
        seaweed,
        bucket,
        endpoint_url=seaweed.tls_endpoint,
        ca_bundle=str(seaweed.certificates.authority),
        request_checksum_calculation=calculation,
    )
    key = fresh_key()
    put(store, key, pattern(0, size))
    assert read(store, key) == pattern(0, size)


@pytest.mark.parametrize("last", [17, PART_SIZE])
def test_parts_are_of_the_same_size_but_for_the_last_one(
    last: int, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store = store_at(seaweed, bucket, endpoint_url=proxy.endpoint)
    store.put(fresh_key(), Unrewindable(PART_SIZE + last), reproducible=False)  # type: ignore[arg-type]
    sizes = [int(each.headers["content-length"]) for each in proxy.requests if "partNumber" in each.target]
    assert sizes == [PART_SIZE, last]


def test_what_is_stored_is_the_rest_of_the_file(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket), fresh_key()
    file = io.BytesIO(b"read already" + BLOB)
    file.seek(len(b"read already"))
    store.put(key, file, reproducible=False)
    assert read(store, key) == BLOB


def test_a_file_is_read_line_by_line_and_can_be_made_seekable(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket), fresh_key()
    put(store, key, b"first\nsecond\n")
    with store.get(key) as file:
        assert list(file) == [b"first\n", b"second\n"]
        assert not file.seekable()
    with store.get(key, use_seek=True) as file:
        assert file.seek(6) == 6
        assert file.read() == b"second\n"


def test_a_file_that_is_closed_early_leaves_the_store_usable(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket), fresh_key()
    put(store, key, pattern(0, 3 * 2**20))
    for _ in range(5):
        with store.get(key) as file:
            assert file.read(4) == pattern(0, 4)
    assert read(store, key) == pattern(0, 3 * 2**20)


def test_without_a_revision_the_last_writer_wins_and_the_layout_is_that_of_1_x(seaweed: SeaweedFS, bucket: str) -> None:
    store = store_at(seaweed, bucket, prefix="images/")
    put(store, OLD, b"first")
    put(store, OLD, b"second")
    answer = seaweed.client().get_object(Bucket=bucket, Key="images/user-picture/1234/640x480.jpe")
    assert answer["Body"].read() == b"second" == read(store, OLD)


def test_a_deleted_blob_is_not_found_and_deleting_it_again_is_no_error(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket), fresh_key()
    put(store, key)
    assert store.has_key(key)
    for _ in range(2):
        assert store.delete_key(key) is None
    assert not store.has_key(key)
    with pytest.raises(BlobNotFoundError, match=key.revision) as caught:
        store.get(key)
    assert isinstance(caught.value, OSError)


def test_headers_are_those_of_an_immutable_picture_and_no_acl_is_sent(
    seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store, key = store_at(seaweed, bucket, endpoint_url=proxy.endpoint), fresh_key()
    put(store, key)
    [request] = proxy.requests
    assert request.headers["content-type"] == "image/jpeg"
    assert request.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert not [name for name in request.headers if name.startswith("x-amz-") and name not in SIGNATURE]
    head = seaweed.client().head_object(Bucket=bucket, Key=key.object_name())
    assert (head["ContentType"], head["CacheControl"]) == ("image/jpeg", "public, max-age=31536000, immutable")


SIGNATURE = {"x-amz-date", "x-amz-content-sha256"}


def test_a_picture_without_a_revision_is_not_declared_immutable(seaweed: SeaweedFS, bucket: str) -> None:
    put(store_at(seaweed, bucket, max_age=60), OLD)
    head = seaweed.client().head_object(Bucket=bucket, Key=OLD.object_name())
    assert head["CacheControl"] == "public, max-age=60"


def test_only_the_browser_may_keep_what_has_signed_urls(seaweed: SeaweedFS, bucket: str) -> None:
    key = fresh_key()
    put(store_at(seaweed, bucket, public=False), key)
    head = seaweed.client().head_object(Bucket=bucket, Key=key.object_name())
    assert head["CacheControl"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize("size", [100, PART_SIZE + 1])
def test_options_are_sent_with_small_and_large_blobs(
    size: int, seaweed: SeaweedFS, bucket: str, proxy: FaultProxy
) -> None:
    store = store_at(
        seaweed,
        bucket,
        endpoint_url=proxy.endpoint,
        acl="private",
        storage_class="STANDARD_IA",
        reproducible_storage_class="REDUCED_REDUNDANCY",
        server_side_encryption="AES256",
    )
    original, thumbnail = fresh_key(), replace(fresh_key(), mimetype="image/svg+xml")
    put(store, original, pattern(0, size))
    put(store, thumbnail, pattern(0, size), reproducible=True)
    for key, storage_class in ((original, "STANDARD_IA"), (thumbnail, "REDUCED_REDUNDANCY")):
        request = next(each for each in proxy.requests if key.object_name() in each.target)
        assert request.headers["x-amz-acl"] == "private"
        assert request.headers["x-amz-storage-class"] == storage_class
        assert request.headers["x-amz-server-side-encryption"] == "AES256"
        assert request.headers["content-type"] == key.mimetype
        assert request.headers["cache-control"].endswith("immutable")
        assert read(store, key) == pattern(0, size)


def test_the_same_storage_class_is_for_all_unless_there_is_one_for_reproducible_blobs(
    seaweed: SeaweedFS, bucket: str
) -> None:
    store, key = store_at(seaweed, bucket, storage_class="STANDARD_IA"), fresh_key()
    put(store, key, reproducible=True)
    head = seaweed.client().head_object(Bucket=bucket, Key=key.object_name())
    assert head["StorageClass"] == "STANDARD_IA"


def test_an_encryption_key_is_sent_with_kms(seaweed: SeaweedFS, bucket: str, proxy: FaultProxy) -> None:
    store = store_at(
        seaweed, bucket, endpoint_url=proxy.endpoint, server_side_encryption="aws:kms", sse_kms_key_id="our-key"
    )
    with pytest.raises(OSError, match="store"):  # this server has no such key
        put(store, fresh_key())
    assert proxy.requests[0].headers["x-amz-server-side-encryption-aws-kms-key-id"] == "our-key"


def test_threads_share_a_store(seaweed: SeaweedFS, bucket: str) -> None:
    store = store_at(seaweed, bucket)
    keys = [replace(fresh_key(), object_id=number) for number in range(60)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda key: put(store, key, str(key.object_id).encode()), keys))
        assert list(pool.map(lambda key: read(store, key), keys)) == [str(n).encode() for n in range(60)]


def test_a_store_is_as_good_after_pickling(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket), fresh_key()
    put(store, key)
    url_of(store, key)
    again = pickle.loads(pickle.dumps(store))
    assert read(again, key) == BLOB
    assert url_of(again, key) == url_of(store, key)
    assert again.__dict__.keys() == store.__dict__.keys()


def test_a_store_with_a_client_of_its_own_says_why_it_cannot_be_pickled(seaweed: SeaweedFS, bucket: str) -> None:
    with pytest.raises(InvalidTypeError, match="client of its own cannot be pickled"):
        pickle.dumps(S3Store(bucket, client=seaweed.client()))


def test_a_client_and_a_session_are_used_as_they_are(seaweed: SeaweedFS, bucket: str) -> None:
    import boto3

    key = fresh_key()
    client = seaweed.client()
    store = S3Store(bucket, client=client)
    put(store, key)
    assert store.client is client
    session = boto3.session.Session(ADMIN.access_key, ADMIN.secret_key, region_name="us-east-1")
    assert read(S3Store(bucket, session=session, endpoint_url=seaweed.endpoint), key) == BLOB


def test_credentials_come_from_the_environment_and_from_profiles(
    seaweed: SeaweedFS, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = fresh_key()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ADMIN.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ADMIN.secret_key)
    put(S3Store(bucket, endpoint_url=seaweed.endpoint, region="us-east-1"), key)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    credentials = tmp_path / "credentials"
    credentials.write_text(
        f"[pictures]\naws_access_key_id={ADMIN.access_key}\naws_secret_access_key={ADMIN.secret_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_PROFILE", "pictures")
    assert read(S3Store(bucket, endpoint_url=seaweed.endpoint, region="us-east-1"), key) == BLOB


FORKING = """
import os, sys
from tests.stores.s3.support import put, read, fresh_key
from sqlalchemy_imageattach.stores.s3 import S3Store

store = S3Store(sys.argv[1], "{access_key}", "{secret_key}", region="us-east-1", endpoint_url="{endpoint}")
keys = [fresh_key() for _ in range(8)]
put(store, keys[0], b"parent")
parent_client = store.client
children = []
for key in keys[1:]:
    child = os.fork()
    if not child:
        assert store.client is not parent_client
        for _ in range(20):
            put(store, key, key.revision.encode())
            assert read(store, key) == key.revision.encode()
        os._exit(0)
    children.append(child)
for _ in range(20):
    assert read(store, keys[0]) == b"parent"
assert store.client is parent_client
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_forked_processes_share_a_store_but_no_connection(seaweed: SeaweedFS, bucket: str) -> None:
    script = FORKING.format(access_key=ADMIN.access_key, secret_key=ADMIN.secret_key, endpoint=seaweed.endpoint)
    run = subprocess.run([sys.executable, "-c", script, bucket], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


ROOT = Path(__file__).parents[3]

MEASURING = """
import resource, sys
from tests.stores.s3.support import Unrewindable, put, read, fresh_key, pattern
from sqlalchemy_imageattach.file import read_chunks
from sqlalchemy_imageattach.stores.s3 import S3Store

class Zeros(Unrewindable):
    def readinto(self, buffer):
        size = min(len(buffer), self.left, 65536)
        buffer[:size] = bytes(size)
        self.left -= size
        return size

store = S3Store(sys.argv[1], "{access_key}", "{secret_key}", region="us-east-1", endpoint_url="{endpoint}", {options})
key = fresh_key()
put(store, key, b"warm up")
read(store, key)
store.put(key, Zeros(9 * 2**20), reproducible=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.put(key, Zeros(160 * 2**20), reproducible=False)
with store.get(key) as file:
    assert sum(map(len, read_chunks(file))) == 160 * 2**20
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
store.delete_key(key)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
@pytest.mark.parametrize("tls", [False, True])
def test_a_blob_of_160_mb_takes_no_more_memory_than_one_of_9_mb(tls: bool, seaweed: SeaweedFS, bucket: str) -> None:
    script = MEASURING.format(
        access_key=ADMIN.access_key,
        secret_key=ADMIN.secret_key,
        endpoint=seaweed.tls_endpoint if tls else seaweed.endpoint,
        options=f"ca_bundle={str(seaweed.certificates.authority)!r}" if tls else "",
    )
    run = subprocess.run([sys.executable, "-c", script, bucket], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) <= 8, f"{run.stdout} MiB"
