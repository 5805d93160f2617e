from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sqlalchemy_imageattach.errors import (
    BlobNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    StoreError,
)
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.objectstore import ObjectStore, azure_container, google_bucket
from tests.stores.s3.support import BLOB, OLD, Unrewindable, fetch, fresh_key, pattern, put, read, url_of
from tests.stores.servers.azurite import Azurite
from tests.stores.servers.gcs import FakeGCS

from .support import Cloud, put_from

PART = 8 * 2**20


# --- what is stored, and as what -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 17])
def test_a_blob_of_any_length_is_stored_and_read(cloud: Cloud, size: int) -> None:
    store, key = cloud.store(), fresh_key()
    put_from(store, key, Unrewindable(size))
    with store.get(key) as file:
        assert file.read(5) == pattern(0, size)[:5]
        assert file.read() == pattern(0, size)[5:]


@pytest.mark.parametrize("object_type", ["user-picture", "a b/c%20d", "täst~[x]{y}^`#&=+,;@'()!$"])
def test_names_are_those_of_keys_to_the_letter(cloud: Cloud, object_type: str) -> None:
    store = cloud.store(prefix="images/süß")
    key = replace(fresh_key(), object_type=object_type)
    put(store, key)
    assert cloud.names() == {key.object_name("images/süß")}
    assert [blob.key for blob in store.list_blobs()] == [key]
    assert read(store, key) == BLOB
    store.delete_key(key)
    assert cloud.names() == set()


def test_google_knows_the_type_and_how_long_caches_may_keep_it(gcs: FakeGCS) -> None:
    gcs.create_bucket("types")
    store = ObjectStore(gcs.bucket("types"), public_base_url=gcs.endpoint, max_age=60)
    png, svg = replace(fresh_key(), mimetype="image/png"), replace(OLD, mimetype="image/svg+xml")
    put(store, png)
    put_from(store, svg, Unrewindable(PART + 1))
    said = {name: (each["contentType"], each["cacheControl"]) for name, each in gcs.objects("types").items()}
    assert said == {
        png.object_name(): ("image/png", "public, max-age=60, immutable"),
        svg.object_name(): ("image/svg+xml", "public, max-age=60"),
    }
    gcs.delete_bucket("types")


def test_azure_knows_the_type_and_how_long_caches_may_keep_it(azurite: Azurite) -> None:
    png, svg = replace(fresh_key(), mimetype="image/png"), replace(OLD, mimetype="image/svg+xml")
    with azurite.client() as client, client.create_container("types") as container:
        store = ObjectStore(azurite.container("types"), max_age=60)
        put(store, png)
        put_from(store, svg, Unrewindable(PART + 1))
        said = {}
        for name in container.list_blob_names():
            settings = container.get_blob_client(name).get_blob_properties().content_settings
            said[name] = settings.content_type, settings.cache_control
        container.delete_container()
    assert said == {
        png.object_name(): ("image/png", "private, max-age=60, immutable"),
        svg.object_name(): ("image/svg+xml", "private, max-age=60"),
    }


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_has_the_keys_sizes_and_times_of_what_is_below_the_prefix(cloud: Cloud) -> None:
    store = cloud.store(prefix="images")
    keys = [OLD, fresh_key(), replace(fresh_key(), object_type="deep/er/picture", mimetype="image/webp")]
    for number, key in enumerate(keys):
        put(store, key, b"x" * (number + 1))
    put(cloud.store(prefix="images2"), fresh_key())
    put(cloud.store(), fresh_key())
    listed = {blob.name: blob for blob in store.list_blobs()}
    assert {blob.key: blob.byte_size for blob in listed.values()} == {keys[0]: 1, keys[1]: 2, keys[2]: 3}
    assert set(listed) == {key.object_name() for key in keys}
    for blob in listed.values():
        assert not blob.is_temporary
        assert abs(datetime.now(UTC) - blob.modified_at) < timedelta(minutes=5)


@pytest.mark.parametrize(
    "prefix", ["user-picture/", "user-picture", "user-pic", "u", "user-picture/12", f"{OLD.object_name()[:-3]}"]
)
def test_a_list_can_be_limited_to_names_that_start_in_some_way(cloud: Cloud, prefix: str) -> None:
    store = cloud.store(prefix="images")
    for key in (OLD, replace(OLD, object_type="item-picture"), replace(OLD, object_type="other/user-picture")):
        put(store, key)
    assert [blob.key for blob in store.list_blobs(prefix)] == [OLD]


def test_an_empty_bucket_gives_an_empty_list(cloud: Cloud) -> None:
    assert list(cloud.store().list_blobs()) == []


def test_deleting_what_is_not_there_is_no_error(cloud: Cloud) -> None:
    store = cloud.store()
    put(store, OLD)
    store.delete_key(OLD)
    assert store.delete_key(OLD) is False
    assert not store.has_key(OLD)
    with pytest.raises(BlobNotFoundError, match="no such blob: user-picture/1234/640x480.jpe"):
        store.get(OLD)


# --- URLs ------------------------------------------------------------------------------------------------------------


def test_a_signed_url_of_azure_opens_one_blob_and_no_other(azurite: Azurite) -> None:
    with azurite.client() as client, client.create_container("signed") as container:
        store = ObjectStore(azurite.container("signed"), prefix="images", url_lifetime=60)
        mine, other = fresh_key(), fresh_key()
        put(store, mine)
        put(store, other)
        url = url_of(store, mine)
        assert fetch(url) == (200, BLOB)
        past = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ")
        expires = dict(parse_qsl(urlsplit(url).query))["se"]
        later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ")
        for tampered in (
            url.replace(str(mine.revision), str(other.revision)),
            url.replace(quote(expires, safe=""), past),
            url.replace(quote(expires, safe=""), later),
            url.partition("?")[0],
        ):
            assert tampered != url
            assert fetch(tampered)[0] in {403, 404, 409}
        assert datetime.fromisoformat(expires) - datetime.now(UTC) < timedelta(seconds=61)
        container.delete_container()


@pytest.mark.parametrize("prefix", ["a b", "ä", "a%20b", "{}"])
def test_names_that_azure_would_not_take_signed_are_refused(azurite: Azurite, prefix: str) -> None:
    with azurite.client() as client, client.create_container("unsigned") as container:
        put(ObjectStore(azurite.container("unsigned"), prefix=prefix), OLD)
        with pytest.raises(StoreError, match="give public_base_url"):
            url_of(ObjectStore(azurite.container("unsigned"), prefix=prefix), OLD)
        container.delete_container()


def test_a_signed_url_of_google_is_signed_as_google_documents_it() -> None:
    """https://cloud.google.com/storage/docs/authentication/signatures, checked by the public key."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "pictures@example.iam.gserviceaccount.com",
        "private_key": pem.decode(),
        "private_key_id": "1",
        "gcs_base_url": "https://storage.googleapis.com",
        "disable_oauth": False,
    }
    backend = google_bucket("pictures", service_account_key=json.dumps(account))
    key = replace(OLD, object_type="ä b", revision="x")
    url = url_of(ObjectStore(backend, prefix="images", url_lifetime=600), key)
    parts = urlsplit(url)
    signed, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    query = dict(parse_qsl(signed))
    assert parts.netloc == "storage.googleapis.com"
    assert parts.path == "/pictures/images/%C3%A4%20b/1234/640x480.x.jpe"
    assert query["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256"
    assert query["X-Goog-Expires"] == "600"
    assert query["X-Goog-Credential"].startswith("pictures@example.iam.gserviceaccount.com/")
    scope = query["X-Goog-Credential"].partition("/")[2]
    canonical = "\n".join(["GET", parts.path, signed, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["GOOG4-RSA-SHA256", query["X-Goog-Date"], scope, digest])
    private.public_key().verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_a_plain_url_is_made_of_the_base_url_and_the_name(cloud: Cloud) -> None:
    store = cloud.store(prefix="images", public_base_url="https://cdn.example.com/x/")
    url = url_of(store, replace(OLD, object_type="ä b"))
    assert url == "https://cdn.example.com/x/images/%C3%A4%20b/1234/640x480.jpe"


def test_google_serves_a_public_bucket_at_plain_urls(gcs: FakeGCS) -> None:
    gcs.create_bucket("plain")
    # the emulator itself lets everybody read
    port = urlsplit(gcs.emulator_endpoint).port
    store = ObjectStore(gcs.bucket("plain"), prefix="a b", public_base_url=f"http://127.0.0.1:{port}/plain")
    put(store, OLD)
    assert fetch(url_of(store, OLD)) == (200, BLOB)
    gcs.delete_bucket("plain")


# --- what it is made of ----------------------------------------------------------------------------------------------


def test_a_copy_by_pickling_stands_for_the_same_place(cloud: Cloud) -> None:
    store = cloud.store(prefix="images")
    copy = pickle.loads(pickle.dumps(store))
    put(copy, OLD)
    assert read(store, OLD) == BLOB
    assert copy.is_same_place(store)
    assert not copy.is_same_place(cloud.store(prefix="other"))
    assert not copy.is_same_place(cloud.store(bucket="another", prefix="images"))
    assert not copy.is_same_place(MemoryStore())


def test_secrets_are_in_no_message(azurite: Azurite) -> None:
    secret = base64.b64encode(b"a secret that nobody may see").decode()
    store = ObjectStore(azurite.container("pictures", account_key=secret))
    with pytest.raises(OSError, match="denied") as caught:
        put(store, OLD)
    texts = [repr(store), str(store), str(caught.value), repr(caught.value), str(caught.value.__cause__)]
    sas = azure_container(
        "pictures", account=azurite.account, endpoint_url=azurite.endpoint, sas_key="sv=2024-01-01&sig=MYSECRET"
    )
    with pytest.raises(OSError, match="denied") as caught:
        put(ObjectStore(sas), OLD)
    texts += [str(sas), str(caught.value), str(caught.value.__cause__)]
    for text in texts:
        assert secret not in text
        assert "MYSECRET" not in text


@pytest.mark.parametrize("backend", [None, "gs://pictures", MemoryStore(), ObjectStore], ids=repr)
def test_what_is_no_store_of_obstore_is_refused(backend: object) -> None:
    with pytest.raises(InvalidTypeError, match="expected a store of obstore"):
        ObjectStore(backend)  # type: ignore[arg-type]


def test_where_nothing_can_be_signed_a_base_url_is_needed(tmp_path: Path) -> None:
    from obstore.store import HTTPStore, LocalStore
    from obstore.store import MemoryStore as Memory

    for backend in (Memory(), LocalStore(tmp_path), HTTPStore("https://images.example.com")):
        with pytest.raises(InvalidValueError, match="give public_base_url"):
            ObjectStore(backend)
        ObjectStore(backend, public_base_url="https://images.example.com")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prefix": "../x"}, InvalidValueError, "prefix: expected one or more plain segments"),
        ({"prefix": 1}, InvalidTypeError, "prefix: expected"),
        ({"public_base_url": "https://a b"}, InvalidValueError, "public_base_url: expected a URL"),
        ({"url_lifetime": 0}, InvalidValueError, "url_lifetime: expected seconds, 1 to 604800, got 0"),
        ({"url_lifetime": 604801}, InvalidValueError, "url_lifetime"),
        ({"url_lifetime": 1.5}, InvalidTypeError, "url_lifetime"),
        ({"url_lifetime": 5, "public_base_url": "https://a"}, InvalidValueError, "these are plain"),
        ({"max_age": -1}, InvalidValueError, "max_age: expected seconds, 0 or more, got -1"),
        ({"max_age": "1"}, InvalidTypeError, "max_age"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ObjectStore(google_bucket("pictures", bearer_token="x"), **options)


@pytest.mark.parametrize("make", [google_bucket, azure_container])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_retry": -1}, InvalidValueError, "max_retry: expected a number of retries"),
        ({"max_retry": 1.5}, InvalidTypeError, "max_retry"),
        ({"connect_timeout": 0}, InvalidValueError, "connect_timeout: expected seconds"),
        ({"read_timeout": float("inf")}, InvalidValueError, "read_timeout: expected seconds, 0.001 to 86400, got inf"),
        ({"read_timeout": "1"}, InvalidTypeError, "read_timeout: expected seconds"),
        ({"endpoint_url": "storage.example.com"}, InvalidValueError, "endpoint_url: expected a URL"),
        ({"no_such_option": "x"}, InvalidValueError, "no_such_option"),
    ],
)
def test_connections_that_cannot_be_are_refused(make, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make("pictures", **options)


@pytest.mark.parametrize("make", [google_bucket, azure_container])
def test_names_that_are_no_text_are_refused(make) -> None:
    with pytest.raises(InvalidTypeError, match="expected the name of a bucket or container"):
        make(None)


def test_options_of_obstore_have_the_types_that_it_wants() -> None:
    with pytest.raises(InvalidTypeError, match="GCSStore: .*'str'"):
        google_bucket("pictures", bearer_token=5)
    with pytest.raises(InvalidTypeError, match="AzureStore: .*'str'"):
        azure_container("pictures", account_key=5)


def test_an_account_is_needed() -> None:
    with pytest.raises(InvalidValueError, match="[Aa]ccount must be specified"):
        azure_container("pictures")


def test_requests_last_as_long_as_something_moves() -> None:
    for backend in (google_bucket("x", bearer_token="x"), azure_container("x", account="x", account_key="eA==")):
        options = backend.client_options
        assert options is not None
        assert options["timeout"] == "1day"
        assert options["connect_timeout"] == "5s"
        assert options["read_timeout"] == "1m"
    given = google_bucket("x", bearer_token="x", client_options={"read_timeout": "7s"}).client_options
    assert given is not None
    assert (given["read_timeout"], given["timeout"]) == ("7s", "1day")


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    for make in (lambda: google_bucket("pictures"), lambda: ObjectStore(None)):  # type: ignore[arg-type]
        with pytest.raises(MissingExtraError, match=r"pip install 'SQLAlchemy-ImageAttach\[objectstore\]'"):
            make()


# --- processes and memory --------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[3]

FORKING = """
import errno, os, sys
from sqlalchemy_imageattach.errors import StoreError
from sqlalchemy_imageattach.stores.objectstore import ObjectStore, azure_container
from tests.stores.s3.support import fresh_key, put, read
store = ObjectStore(azure_container(sys.argv[1], account="{account}", account_key="{key}", endpoint_url="{endpoint}"))
def use():
    key = fresh_key()
    put(store, key, b"mine")
    assert read(store, key) == b"mine"
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        use()
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 3
use()
child = os.fork()
if not child:
    for method in (use, lambda: list(store.list_blobs()), lambda: store.delete_key(fresh_key())):
        try:
            method()
        except StoreError as error:
            assert error.errno == errno.ENOTSUP
            assert "forked" in str(error)
        else:
            os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
use()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not forked here")
def test_forked_processes_use_it_if_their_parent_did_not_and_say_so_otherwise(azurite: Azurite) -> None:
    script = FORKING.format(account=azurite.account, key=azurite.account_key, endpoint=azurite.endpoint)
    with azurite.client() as client, client.create_container("forked") as container:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, "forked"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        container.delete_container()
    assert run.returncode == 0, run.stderr


MEASURING = """
import resource, sys
from sqlalchemy_imageattach.file import read_chunks
from sqlalchemy_imageattach.stores.objectstore import ObjectStore, azure_container
from tests.stores.s3.support import Unrewindable, fresh_key

class Zeros(Unrewindable):
    def readinto(self, buffer):
        size = min(len(buffer), self.left, 65536)
        buffer[:size] = bytes(size)
        self.left -= size
        return size

store = ObjectStore(azure_container(sys.argv[1], account="{account}", account_key="{key}", endpoint_url="{endpoint}"))
key = fresh_key()
store.put(key, Zeros(33 * 2**20), reproducible=False)
with store.get(key) as file:
    assert sum(map(len, read_chunks(file))) == 33 * 2**20
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.put(key, Zeros(160 * 2**20), reproducible=False)
with store.get(key) as file:
    assert sum(map(len, read_chunks(file))) == 160 * 2**20
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak of memory has other units")
def test_a_blob_of_160_mb_takes_no_more_memory_than_one_of_33_mb(azurite: Azurite) -> None:
    script = MEASURING.format(account=azurite.account, key=azurite.account_key, endpoint=azurite.endpoint)
    with azurite.client() as client, client.create_container("long") as container:
        run = subprocess.run([sys.executable, "-c", script, "long"], cwd=ROOT, capture_output=True, text=True)
        container.delete_container()
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 24, f"{run.stdout} MiB more"


def test_closing_early_is_fine(cloud: Cloud) -> None:
    store = cloud.store()
    put_from(store, OLD, Unrewindable(PART))
    file = store.get(OLD)
    assert file.read(10) == pattern(0, 10)
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
    assert io.BytesIO(read(store, OLD)).getbuffer().nbytes == PART


def test_errors_have_numbers() -> None:
    store = ObjectStore(
        google_bucket("x", bearer_token="x", endpoint_url="http://127.0.0.1:1", max_retry=0), url_lifetime=5
    )
    with pytest.raises(OSError, match="cannot read user-picture/1234/640x480.jpe in .*cannot be reached") as caught:
        store.get(OLD)
    assert caught.value.errno == errno.ECONNREFUSED
