from __future__ import annotations

import itertools
import re
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_imageattach.errors import StoreAccessDeniedError, StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.stores.bucket import quoted
from sqlalchemy_imageattach.stores.s3 import S3Store
from sqlalchemy_imageattach.stores.s3.signer import Signer, moment_of
from tests.stores.servers.seaweed import READER, SeaweedFS

from .support import BLOB, OLD, fetch, fresh_key, put, store_at, url_of

KEY = replace(OLD, revision="Xk3v9QpLm2w")
NAME = "user-picture/1234/640x480.Xk3v9QpLm2w.jpe"


class NoNetwork(socket.socket):
    """A socket that cannot be used."""

    def connect(self, address):
        msg = f"a connection to {address}"
        raise AssertionError(msg)

    connect_ex = connect


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", NoNetwork)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "https://pictures.s3.amazonaws.com/"),
        ({"region": "us-east-1"}, "https://pictures.s3.amazonaws.com/"),
        ({"region": "eu-west-1"}, "https://pictures.s3.eu-west-1.amazonaws.com/"),
        ({"region": "cn-north-1"}, "https://pictures.s3.cn-north-1.amazonaws.com.cn/"),
        ({"region": "us-gov-west-1"}, "https://pictures.s3.us-gov-west-1.amazonaws.com/"),
        ({"region": "eu-west-1", "addressing_style": "path"}, "https://s3.eu-west-1.amazonaws.com/pictures/"),
        ({"region": "eu-west-1", "prefix": "images/"}, "https://pictures.s3.eu-west-1.amazonaws.com/images/"),
        ({"bucket": "pictures.example.com"}, "https://s3.amazonaws.com/pictures.example.com/"),
        ({"endpoint_url": "https://minio.example.com"}, "https://minio.example.com/pictures/"),
        ({"endpoint_url": "https://minio.example.com/"}, "https://minio.example.com/pictures/"),
        ({"endpoint_url": "http://127.0.0.1:9000", "addressing_style": "auto"}, "http://127.0.0.1:9000/pictures/"),
        (
            {"endpoint_url": "https://fra1.digitaloceanspaces.com", "addressing_style": "virtual"},
            "https://pictures.fra1.digitaloceanspaces.com/",
        ),
        ({"public_base_url": "https://d1.cloudfront.net"}, "https://d1.cloudfront.net/"),
        (
            {"public_base_url": "https://d1.cloudfront.net/p/", "prefix": "images"},
            "https://d1.cloudfront.net/p/images/",
        ),
        ({"public_base_url": "https://d1.cloudfront.net", "public": False}, "https://d1.cloudfront.net/"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_a_public_url_is_that_of_the_bucket_or_of_the_cdn(options: dict, expected: str) -> None:
    store = S3Store(**{"bucket": "pictures"} | options)
    assert url_of(store, KEY) == expected + NAME


@pytest.mark.usefixtures("no_network")
def test_the_service_and_the_region_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    assert url_of(S3Store("pictures"), KEY) == f"https://pictures.s3.ap-south-1.amazonaws.com/{NAME}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://minio.example.com")
    assert url_of(S3Store("pictures"), KEY) == f"https://minio.example.com/pictures/{NAME}"


def test_urls_are_those_of_a_client_that_was_given(seaweed: SeaweedFS, bucket: str) -> None:
    assert url_of(S3Store(bucket, client=seaweed.client()), KEY) == f"{seaweed.endpoint}/{bucket}/{NAME}"


STYLES = [None, "auto", "path", "virtual"]
ENDPOINTS = [None, "https://minio.example.com:9000", "http://minio.example.com/s3/", "http://127.0.0.1:9000"]
BUCKETS = ["pictures", "pictures.example.com", "Our_Pictures"]
GRID = [
    each
    for each in itertools.product(BUCKETS, ENDPOINTS, STYLES)
    # for this one boto3 asks "pictures.example.com.127.0.0.1", which is nowhere
    if each != ("pictures.example.com", "http://127.0.0.1:9000", "virtual")
]


def requested_url(store: S3Store, key: ImageKey) -> str:
    """Where a client sends its request for an object to, which is not sent."""
    asked: list[str] = []

    def note(request: Any, **_: Any) -> None:
        asked.append(request.url)
        raise InterruptedError

    events = store.client.meta.events
    events.register("before-send.s3.HeadObject", note, unique_id="note")
    with pytest.raises(StoreError):
        store.has_key(key)
    events.unregister("before-send.s3.HeadObject", unique_id="note")
    return asked[0]


@pytest.mark.parametrize(("bucket", "endpoint", "style"), GRID)
def test_browsers_are_sent_where_clients_go(bucket: str, endpoint: str | None, style: str | None) -> None:
    store = S3Store(bucket, session=SESSION, region="eu-west-1", endpoint_url=endpoint, addressing_style=style)
    assert url_of(store, KEY) == requested_url(store, KEY)


object_types = st.text(st.characters(exclude_characters='/\\:*?"<>|', exclude_categories=["Cs", "Cc"]), min_size=1)


@given(object_types.filter(lambda text: text not in {".", ".."} and not text.startswith((" ", "~"))))
def test_names_are_quoted_as_they_are_when_requests_are_made(object_type: str) -> None:
    key = replace(KEY, object_type=object_type, revision=None)
    assert url_of(STORE, key) == requested_url(STORE, key)


SESSION = boto3.session.Session("key", "secret")
STORE = S3Store("pictures", session=SESSION, region="eu-west-1", max_retry=0)


def test_pictures_with_odd_names_are_found_at_their_urls(seaweed: SeaweedFS, bucket: str) -> None:
    seaweed.client().put_bucket_policy(Bucket=bucket, Policy=EVERYBODY_READS % bucket)
    for object_type in ("plain", "a b", "a+b", "a%20b", "ü/é", "a&b=c", "~'!()"):
        for public in (True, False):
            store = store_at(seaweed, bucket, public=public)
            key = replace(fresh_key(), object_type=f"x{object_type}")
            put(store, key, object_type.encode())
            assert fetch(url_of(store, key)) == (200, object_type.encode())


EVERYBODY_READS = """{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::%s/*"}
]}"""


# --- signed URLs -----------------------------------------------------------------------------------------------------


def test_who_has_a_signed_url_can_read_that_blob_and_nobody_else_can(seaweed: SeaweedFS, bucket: str) -> None:
    store, key, other = store_at(seaweed, bucket, READER, public=False), fresh_key(), fresh_key()
    put(store_at(seaweed, bucket), key)
    put(store_at(seaweed, bucket), other)
    url = url_of(store, key)
    assert fetch(url) == (200, BLOB)
    assert fetch(url.partition("?")[0])[0] == 403
    assert fetch(url.replace(key.object_name(), other.object_name()))[0] == 403


def test_a_signed_url_goes_through_tls_too(seaweed: SeaweedFS, bucket: str) -> None:
    authority = str(seaweed.certificates.authority)
    store = store_at(seaweed, bucket, endpoint_url=seaweed.tls_endpoint, ca_bundle=authority, public=False)
    key = fresh_key()
    put(store, key)
    assert fetch(url_of(store, key), authority) == (200, BLOB)


@pytest.mark.parametrize(
    ("original", "tampered"),
    [
        ("X-Amz-Expires=600", "X-Amz-Expires=6000"),
        ("/640x480.", "/641x480."),
        ("READERKEY", "ADMINKEY"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="),
    ],
)
def test_a_url_that_was_tampered_with_is_refused(original: str, tampered: str, seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket, READER, public=False, url_lifetime=600), fresh_key()
    put(store_at(seaweed, bucket), key)
    url = url_of(store, key)
    assert original in url
    assert fetch(url) == (200, BLOB)
    assert fetch(url.replace(original, tampered))[0] in {400, 403}


def test_a_signed_url_expires(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = store_at(seaweed, bucket, READER, public=False, url_lifetime=1), fresh_key()
    put(store_at(seaweed, bucket), key)
    url = url_of(store, key)
    signed_at = parse_qs(urlsplit(url).query)["X-Amz-Date"][0]
    end = datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() + 1
    while time.time() < end + 1:
        time.sleep(0.1)
    assert fetch(url)[0] == 403
    assert fetch(url_of(store, key)) == (200, BLOB)


@pytest.mark.usefixtures("no_network")
def test_a_signed_url_names_the_region_and_the_lifetime_and_is_made_without_a_request() -> None:
    store = S3Store("pictures", "AKEY", "secret", region="eu-west-1", public=False, url_lifetime=600)
    url = urlsplit(url_of(store, KEY))
    query = {name: value for name, [value] in parse_qs(url.query).items()}
    assert (url.scheme, url.netloc, url.path) == ("https", "pictures.s3.eu-west-1.amazonaws.com", f"/{NAME}")
    assert query["X-Amz-Expires"] == "600"
    assert query["X-Amz-Credential"].startswith("AKEY/")
    assert query["X-Amz-Credential"].endswith("/eu-west-1/s3/aws4_request")


@pytest.mark.usefixtures("no_network")
def test_the_token_of_temporary_credentials_is_in_signed_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TEMPORARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    query = parse_qs(urlsplit(url_of(S3Store("pictures", public=False), KEY)).query)
    assert query["X-Amz-Security-Token"] == ["token"]
    assert query["X-Amz-Credential"][0].endswith("/us-east-1/s3/aws4_request")


def test_a_client_that_was_given_signs_by_itself(seaweed: SeaweedFS, bucket: str) -> None:
    store, key = S3Store(bucket, client=seaweed.client(), public=False, url_lifetime=60), fresh_key()
    put(store, key)
    assert fetch(url_of(store, key)) == (200, BLOB)


def test_without_credentials_no_url_is_signed() -> None:
    with pytest.raises(StoreAccessDeniedError, match="no credentials; give access_key and secret_key"):
        url_of(S3Store("pictures", public=False), KEY)


def test_locate_adds_the_time_only_where_there_is_no_revision() -> None:
    class Picture:
        object_type, object_id, width, height, mimetype, original = "user-picture", 1234, 640, 480, "image/jpeg", True
        created_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        revision: str | None = "Xk3v9QpLm2w"

    store = S3Store("pictures")
    picture = Picture()
    assert store.locate(picture) == f"https://pictures.s3.amazonaws.com/{NAME}"
    picture.revision = None
    assert store.locate(picture).endswith("/user-picture/1234/640x480.jpe?_ts=20260102030405000000")


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
ENDPOINTS_TO_SIGN = [
    "https://b.s3.eu-west-1.amazonaws.com",
    "http://127.0.0.1:9000/b",
    "https://X.test:443/b",
    "http://[::1]:80/b",
]


@given(st.sampled_from(ENDPOINTS_TO_SIGN), texts, texts, st.none() | texts, st.integers(1, 604800))
def test_a_signature_is_that_of_boto3(endpoint: str, name: str, secret: str, token: str | None, lifetime: int) -> None:
    url = f"{endpoint}/{quoted(name)}"
    reference = AWSRequest("GET", url)
    credentials = Credentials("A/KEY+", secret, token or None)
    S3SigV4QueryAuth(credentials, "s3", "eu-west-1", lifetime).add_auth(reference)
    moment = parse_qs(urlsplit(reference.url).query)["X-Amz-Date"][0]
    signed = Signer("A/KEY+", secret, token or None, "eu-west-1", moment[:8]).sign(url, moment, lifetime)
    # the order in a URL is free, and is boto3's own where there is a token
    assert re.split("[?&]", signed)[0] == url
    assert sorted(re.split("[?&]", signed)) == sorted(re.split("[?&]", reference.url))


def test_a_moment_is_that_of_the_clock() -> None:
    assert moment_of(0) == "19700101T000000Z"
    assert moment_of(1767323045.9) == "20260102T030405Z"


def test_a_store_signs_anew_when_the_day_or_the_credentials_change(monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store("pictures", public=False)
    urls = []
    for key, now in (("FIRST", 0), ("SECOND", 0), ("SECOND", 86400)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        store._client._made = None  # credentials of the environment are read once
        urls.append(url_of(store, KEY))
        assert url_of(store, KEY) == urls[-1]
    assert ["X-Amz-Credential=FIRST%2F19700101" in url for url in urls] == [True, False, False]
    assert "X-Amz-Credential=SECOND%2F19700101" in urls[1]
    assert "X-Amz-Credential=SECOND%2F19700102" in urls[2]
