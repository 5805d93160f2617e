from __future__ import annotations

import builtins
import importlib.util
import os
import pickle
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, MissingExtraError, StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores import s3
from sqlalchemy_imageattach.stores.s3 import S3Request, S3SandboxStore, S3Store
from sqlalchemy_imageattach.stores.s3.errors import S3Object, s3_errors
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
    sandbox = S3SandboxStore("under", "over", "key", "secret", 60, "under-images", "over-images", "a", "eu-west-1", 5)
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
        assert s3.BASE_URL_FORMAT.format("pictures") == "https://pictures.s3.amazonaws.com"
    assert warned[0].filename == __file__, "the warning is about the line that asks for it"
    with pytest.raises(AttributeError, match="no attribute 'S3Region'"):
        s3.S3Region  # type: ignore[attr-defined]  # noqa: B018


def test_setting_the_url_format_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValueError, match="endpoint_url="):
        s3.BASE_URL_FORMAT = "http://localhost/{0}"
    with pytest.warns(DeprecationWarning, match="BASE"), pytest.raises(InvalidValueError, match="cannot be set"):
        monkeypatch.setattr(s3, "BASE_URL_FORMAT", "http://localhost/{0}")


def test_a_sandbox_takes_two_regions_by_name_and_by_position() -> None:
    by_name = S3SandboxStore("a", "b", underlying_region="eu-west-1", overriding_region="us-west-2", max_retry=1)
    by_position = S3SandboxStore("a", "b", "key", "secret", 60, "under", "over", "eu-west-1", "us-west-2", 1)
    for store in (by_name, by_position):
        assert (store.underlying.region, store.overriding.region) == ("eu-west-1", "us-west-2")
        assert (store.underlying.max_retry, store.overriding.max_retry) == (1, 1)
    assert (by_position.underlying.prefix, by_position.overriding.prefix) == ("under", "over")
    both = S3SandboxStore("a", "b", region="eu-west-1", overriding_region="us-west-2")
    assert (both.underlying.region, both.overriding.region) == ("eu-west-1", "us-west-2")


def test_requests_of_1_1_are_signed_by_version_4() -> None:
    with pytest.warns(DeprecationWarning, match="S3RequestV4 is deprecated"):
        four = s3.S3RequestV4("/a.jpe", "pictures", "eu-west-1", "key", "secret")
    with pytest.warns(DeprecationWarning, match="S3RequestV2 is deprecated"):
        two = s3.S3RequestV2("https://pictures.s3.eu-west-1.amazonaws.com/a.jpe", "pictures", "key", "secret")
    for request in (four, two):
        assert "/eu-west-1/s3/aws4_request" in request.headers["Authorization"]
    assert issubclass(s3.S3Request, s3.S3RequestV2)


def test_a_region_that_wants_another_signature_is_told_by_the_error_of_1_1() -> None:
    message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    answer: Any = {"Error": {"Code": "InvalidRequest", "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    with (
        pytest.raises(s3.AuthMechanismError, match="signature_version='s3v4'") as caught,
        s3_errors("read", S3Object("pictures", None, "a.jpe")),
    ):
        raise ClientError(answer, "GetObject")
    assert isinstance(caught.value, StoreError)


# --- credentials -----------------------------------------------------------------------------------------------------


def test_an_endpoint_with_a_password_is_refused_and_not_told() -> None:
    with pytest.raises(InvalidValueError, match="endpoint_url: expected a URL") as caught:
        S3Store("pictures", endpoint_url="https://user:hunter2@s3.example.com")
    assert "hunter2" not in str(caught.value)


def test_each_url_can_name_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVE", "ARCHIVE"):
        monkeypatch.setenv(f"{name}_AWS_ACCESS_KEY_ID", f"{name}-key")
        monkeypatch.setenv(f"{name}_AWS_SECRET_ACCESS_KEY", f"{name}-secret")
    monkeypatch.setenv("ARCHIVE_AWS_SESSION_TOKEN", "the token")
    live, archive = (
        Store.from_url(f"s3://pictures?region=eu-west-1&public=no&credentials={n}") for n in ("LIVE", "ARCHIVE")
    )
    key = ImageKey("user-picture", 1, 2, 3, "image/png")
    assert "LIVE-key" in live.url_of(key)
    assert "Security-Token" not in live.url_of(key)
    assert "ARCHIVE-key" in archive.url_of(key)
    assert "X-Amz-Security-Token=the%20token" in archive.url_of(key)
    assert "secret" not in repr(archive)


def test_a_url_can_name_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[archive]\naws_access_key_id = theirs\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = Store.from_url("s3://pictures?region=eu-west-1&public=no&profile=archive")
    key = ImageKey("user-picture", 1, 2, 3, "image/png")
    assert "X-Amz-Credential=theirs" in store.url_of(key)
    assert "X-Amz-Credential=theirs" in pickle.loads(pickle.dumps(store)).url_of(key)
    with pytest.raises(InvalidValueError, match="access_key or profile, got both"):
        S3Store("pictures", "key", "secret", profile="archive")
    with pytest.raises(StoreError, match="nobody"):
        Store.from_url("s3://pictures?public=no&profile=nobody").url_of(key)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_credentials_that_are_not_there_are_told_by_their_names(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(
        InvalidValueError, match="expected ARCHIVE_(AWS|GOOGLE|AZURE)_[A-Z_]+.* in the environment"
    ) as caught:
        Store.from_url(f"{scheme}://pictures?credentials=ARCHIVE")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InvalidValueError, match="the beginning of names") as caught:
        Store.from_url(f"{scheme}://pictures?credentials=hunter-2")
    assert "hunter" not in str(caught.value)


def test_google_and_azure_take_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    store = Store.from_url("az://pictures?account=example&credentials=ARCHIVE")
    assert "sig=" in store.url_of(ImageKey("user-picture", 1, 2, 3, "image/png"))
    monkeypatch.setenv("ARCHIVE_GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/archive.json")
    with pytest.raises(InvalidValueError, match="archive.json|No such file|credentials"):
        Store.from_url("gs://pictures?credentials=ARCHIVE")


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
