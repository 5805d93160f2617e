from __future__ import annotations

import builtins
import importlib.util
import os
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import boto3
import pytest

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, MissingExtraError
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores import s3
from sqlalchemy_imageattach.stores.s3 import S3Request, S3SandboxStore, S3Store
from tests.stores.servers.seaweed import ADMIN, SeaweedFS

from .support import BLOB, fresh_key, put, read, store_at, url_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bucket": ""}, "bucket: expected the plain name"),
        ({"bucket": "s3://pictures"}, "bucket: expected the plain name"),
        ({"bucket": "pictures/images"}, "bucket: expected the plain name"),
        ({"bucket": "pic tures"}, "bucket: expected the plain name"),
        ({"access_key": "key"}, "got access_key only; give secret_key too"),
        ({"secret_key": "key"}, "got secret_key only; give access_key too"),
        ({"max_age": -1}, "max_age: expected seconds, 0 or more, got -1"),
        ({"max_retry": -1}, "max_retry: expected a number of retries, 0 or more, got -1"),
        ({"prefix": "/images"}, "prefix: expected one or more plain segments"),
        ({"prefix": "/"}, "prefix: expected one or more plain segments"),
        ({"prefix": "a//b"}, "prefix: expected one or more plain segments"),
        ({"prefix": "a/../b"}, "prefix: expected one or more plain segments"),
        ({"prefix": "a\nb"}, "prefix: expected one or more plain segments"),
        ({"public_base_url": "https://cdn.test/?a=b"}, "public_base_url: expected a URL without query"),
        ({"public_base_url": ""}, "public_base_url: expected a URL"),
        ({"endpoint_url": "minio.example.com:9000"}, "endpoint_url: expected a URL such as"),
        ({"addressing_style": "virtual-host"}, "addressing_style: expected one of 'auto', 'path', 'virtual', got"),
        ({"request_checksum_calculation": "never"}, "expected one of 'when_required', 'when_supported', got 'never'"),
        ({"url_lifetime": 60}, "url_lifetime is for signed URLs, and these are plain"),
        ({"url_lifetime": 60, "public": False, "public_base_url": "https://cdn.test"}, "these are plain"),
        ({"url_lifetime": 0, "public": False}, "url_lifetime: expected seconds, 1 to 604800, got 0"),
        ({"url_lifetime": 604801, "public": False}, "url_lifetime: expected seconds, 1 to 604800, got 604801"),
        ({"sse_kms_key_id": "key"}, "expected server_side_encryption='aws:kms' with it, got None"),
        ({"connect_timeout": 0}, "connect_timeout: expected seconds"),
        ({"read_timeout": float("nan")}, "read_timeout: expected seconds"),
        ({"ca_bundle": "/no/such/ca.pem"}, "there is no '/no/such/ca.pem'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        S3Store(**{"bucket": "pictures"} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bucket": None}, "bucket: expected the name of a bucket"),
        ({"prefix": None}, "prefix: expected"),
        ({"max_age": "60"}, "max_age: expected seconds, 0 or more, got str"),
        ({"max_age": 1.5}, "max_age: expected seconds, 0 or more, got float"),
        ({"max_retry": True}, "max_retry: expected a number of retries"),
        ({"region": 1}, "region: expected str or None, got int"),
        ({"public_base_url": 1}, "public_base_url: expected a URL"),
        ({"read_timeout": "30"}, "read_timeout: expected seconds"),
        ({"session": "profile"}, "session: expected a boto3.session.Session, got str"),
        ({"client": boto3}, "client: expected an S3 client of boto3, got module"),
    ],
)
def test_a_type_that_cannot_be_used_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        S3Store(**{"bucket": "pictures"} | options)


@pytest.mark.parametrize(
    "options",
    [
        {"region": "eu-west-1"},
        {"access_key": "a", "secret_key": "b"},
        {"max_retry": 1},
        {"endpoint_url": "https://x.test"},
    ],
)
def test_what_a_client_has_already_is_not_given_again(options: dict[str, Any]) -> None:
    client = boto3.client("s3", region_name="us-east-1")
    with pytest.raises(InvalidValueError, match="the client has been made already"):
        S3Store("pictures", client=client, **options)
    with pytest.raises(InvalidValueError, match="expected client or session, got both"):
        S3Store("pictures", client=client, session=boto3.session.Session())


def test_a_session_has_its_own_credentials() -> None:
    with pytest.raises(InvalidValueError, match="expected access_key or session, got both"):
        S3Store("pictures", "key", "secret", session=boto3.session.Session())


def test_parameters_of_1_x_are_taken_by_their_positions_and_kept_as_attributes() -> None:
    store = S3Store("pictures", "key", "secret", 60, "images/", "https://cdn.test/", "eu-west-1", 5)
    assert (store.bucket, store.access_key, store.secret_key, store.max_age) == ("pictures", "key", "secret", 60)
    assert (store.prefix, store.public_base_url, store.region) == ("images", "https://cdn.test", "eu-west-1")
    assert store.client.meta.config.retries["total_max_attempts"] == 6
    sandbox = S3SandboxStore("under", "over", "key", "secret", 60, "under-images", "over-images", "eu-west-1", 5)
    assert (sandbox.underlying.bucket, sandbox.underlying.prefix) == ("under", "under-images")
    assert (sandbox.overriding.bucket, sandbox.overriding.prefix) == ("over", "over-images")
    assert sandbox.overriding.region == "eu-west-1"
    assert sandbox.overriding.max_age == 60


def test_timeouts_and_retries_are_those_that_are_stated() -> None:
    config = S3Store("pictures", region="eu-west-1").client.meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (5, 30, 4)


def test_no_secret_is_in_what_is_printed() -> None:
    store = S3Store("pictures", "key", "the-secret", prefix="images")
    assert repr(store) == "S3Store('pictures', prefix='images')"
    assert "the-secret" not in repr(store._client.connection)


def test_a_store_comes_from_a_url(seaweed: SeaweedFS, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ADMIN.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ADMIN.secret_key)
    store = Store.from_url(f"s3://{bucket}/images?region=us-east-1&endpoint_url={seaweed.endpoint}&public=false")
    key = fresh_key()
    put(store, key)
    assert read(store_at(seaweed, bucket, prefix="images"), key) == BLOB
    assert "X-Amz-Signature" in url_of(store, key)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'SQLAlchemy-ImageAttach\[s3\]'") as caught:
        S3Store("pictures")
    assert isinstance(caught.value, builtins.ImportError)
    assert caught.value.name == "boto3"


def test_boto3_is_imported_when_it_is_needed_and_no_sooner() -> None:
    script = (
        "import sys\n"
        "from sqlalchemy_imageattach.stores.s3 import S3Store\n"
        "store = S3Store('pictures', public_base_url='https://cdn.test')\n"
        "assert store.get_url('x', 1, 2, 3, 'image/png') == 'https://cdn.test/x/1/2x3.png'\n"
        "assert not {'boto3', 'botocore'} & set(sys.modules)\n"
        "store.client\n"
        "assert 'boto3' in sys.modules\n"
    )
    environment = os.environ | {"AWS_DEFAULT_REGION": "us-east-1"}
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr


# --- what 1.x had ----------------------------------------------------------------------------------------------------


def test_the_documented_constants_are_there() -> None:
    assert s3.DEFAULT_MAX_AGE == 31536000
    assert S3SandboxStore.DELETED_MARK_MIMETYPE == "application/x-sqlalchemy-imageattach-sandbox-deleted"
    with pytest.warns(DeprecationWarning, match="BASE_URL_FORMAT is deprecated") as warned:
        assert s3.BASE_URL_FORMAT == "https://{}{}.s3.amazonaws.com"
    assert warned[0].filename == __file__, "the warning is about the line that asks for it"
    with pytest.raises(AttributeError, match="no attribute 'S3Region'"):
        s3.S3Region  # noqa: B018


@pytest.mark.parametrize("cls", [S3Store, S3SandboxStore])
def test_stores_are_known_by_where_they_are_imported_from(cls: type) -> None:
    assert f"{cls.__module__}.{cls.__qualname__}" == f"sqlalchemy_imageattach.stores.s3.{cls.__name__}"


def request(*args: Any, **kwargs: Any) -> S3Request:
    with pytest.warns(DeprecationWarning, match="S3Request is deprecated; use boto3"):
        return S3Request(*args, **kwargs)


def test_a_request_of_1_x_is_signed_and_answered(seaweed: SeaweedFS, bucket: str) -> None:
    url = f"{seaweed.endpoint}/{bucket}/a%20picture.png"
    credentials = (bucket, ADMIN.access_key, ADMIN.secret_key)
    headers = {"Cache-Control": "max-age=60"}
    upload = request(url, *credentials, data=BLOB, headers=headers, content_type="image/png")
    assert upload.get_method() == "PUT"
    with urllib.request.urlopen(upload) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(request(url, *credentials)) as answer:
        assert answer.read() == BLOB
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("image/png", "max-age=60")
    with urllib.request.urlopen(request(url, *credentials, method="DELETE")) as answer:
        assert answer.status == 204
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(request(url, bucket, ADMIN.access_key, "wrong"))
    caught.value.close()


@pytest.mark.parametrize(
    ("url", "expected", "region"),
    [
        ("/a.png", "https://pictures.s3.amazonaws.com/a.png", "us-east-1"),
        ("https://pictures.s3.eu-west-1.amazonaws.com/a.png", None, "eu-west-1"),
        ("https://s3-eu-west-1.amazonaws.com/pictures/a.png", None, "eu-west-1"),
    ],
)
def test_a_request_of_1_x_goes_to_its_bucket_and_region(url: str, expected: str | None, region: str) -> None:
    made = request(url, "pictures", "key", "secret")
    assert made.full_url == (expected or url)
    assert f"/{region}/s3/aws4_request" in dict(made.header_items())["Authorization"]


def test_importing_the_names_of_1_x_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from sqlalchemy_imageattach.stores.s3 import (  # noqa: F401
            DEFAULT_MAX_AGE,
            S3Request,
            S3SandboxStore,
            S3Store,
        )
