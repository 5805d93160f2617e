"""Pictures of a bucket over HTTP: what is asked of S3, and what is answered when S3 fails."""

from __future__ import annotations

import io
import urllib.request

import pytest
from werkzeug.middleware.lint import WSGIWarning

from sqlalchemy_imageattach.errors import StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.stores.endpoint import StoreEndpoint
from sqlalchemy_imageattach.stores.s3 import S3SandboxStore
from tests.serving.doors import DOORS, Door
from tests.stores.servers.proxy import Fault, FaultProxy
from tests.stores.servers.seaweed import ADMIN, SeaweedFS

from .support import store_at

KEY = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2wAbCdE")
PICTURE = bytes(range(256)) * 4000


@pytest.fixture(params=DOORS, ids=str)
def door(request: pytest.FixtureRequest) -> Door:
    found: Door = request.param
    return found


@pytest.fixture
def filled(seaweed: SeaweedFS, bucket: str) -> str:
    store_at(seaweed, bucket).put(KEY, io.BytesIO(PICTURE), reproducible=False)
    return bucket


def test_a_picture_is_one_request_and_a_range_is_asked_for_as_a_range(
    seaweed: SeaweedFS, filled: str, proxy: FaultProxy, door: Door
) -> None:
    endpoint = StoreEndpoint(store_at(seaweed, filled, endpoint_url=proxy.endpoint))
    assert door.ask(endpoint, KEY.object_name()).body == PICTURE
    assert [request.method for request in proxy.requests] == ["GET"]
    part = door.ask(endpoint, KEY.object_name(), headers={"Range": "bytes=1000-1999"})
    assert (part.status, part.body) == (206, PICTURE[1000:2000])
    _, head, get = proxy.requests
    assert (head.method, get.method, get.headers["range"]) == ("HEAD", "GET", "bytes=1000-1999")
    unchanged = door.ask(endpoint, KEY.object_name(), headers={"If-None-Match": f'"{KEY.revision}"'})
    assert (unchanged.status, len(proxy.requests)) == (304, 3)


def test_a_redirect_leads_to_a_signed_url(seaweed: SeaweedFS, filled: str, door: Door) -> None:
    endpoint = StoreEndpoint(store_at(seaweed, filled, public=False), send="redirect")
    location = door.ask(endpoint, KEY.object_name()).headers["location"]
    assert "X-Amz-Signature" in location
    with urllib.request.urlopen(location) as answer:
        assert answer.read() == PICTURE
    forged = location.replace("1234", "1235")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(forged)


def test_a_connection_that_breaks_in_the_middle_ends_the_answer(
    seaweed: SeaweedFS, filled: str, proxy: FaultProxy, door: Door
) -> None:
    endpoint = StoreEndpoint(store_at(seaweed, filled, endpoint_url=proxy.endpoint))
    proxy.arrange(Fault(cut_response_after=500_000), times=99)
    # the second says that less was sent than was announced
    with pytest.raises((StoreError, WSGIWarning)):
        door.ask(endpoint, KEY.object_name())


def test_a_bucket_that_cannot_be_reached_is_a_bad_gateway(
    seaweed: SeaweedFS, filled: str, proxy: FaultProxy, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = StoreEndpoint(store_at(seaweed, filled, endpoint_url=proxy.endpoint))
    proxy.arrange(Fault(refuse=True), times=99)
    answer = door.ask(endpoint, KEY.object_name())
    assert (answer.status, answer.body) == (502, b"BAD GATEWAY\n")
    # what is inside is for the log, and not for who asks
    assert str(proxy.endpoint) in caplog.text


def test_credentials_that_may_not_read_are_a_bad_gateway(seaweed: SeaweedFS, filled: str, door: Door) -> None:
    from sqlalchemy_imageattach.stores.s3 import S3Store

    options = {"endpoint_url": seaweed.endpoint, "region": seaweed.region, "max_retry": 0}
    store = S3Store(filled, ADMIN.access_key, "wrong", **options)  # type: ignore[arg-type]
    assert door.ask(StoreEndpoint(store), KEY.object_name()).status == 502


def test_a_sandbox_shows_what_is_under_it_until_that_is_deleted(
    seaweed: SeaweedFS, filled: str, other_bucket: str, door: Door
) -> None:
    sandbox = S3SandboxStore(
        filled, other_bucket, ADMIN.access_key, ADMIN.secret_key, endpoint_url=seaweed.endpoint, region=seaweed.region
    )
    endpoint = StoreEndpoint(sandbox)
    assert door.ask(endpoint, KEY.object_name(), headers={"Range": "bytes=10-19"}).body == PICTURE[10:20]
    sandbox.delete_key(KEY)
    for headers in ({}, {"Range": "bytes=10-19"}):
        assert door.ask(endpoint, KEY.object_name(), headers=headers).status == 404
    assert store_at(seaweed, filled).get(KEY).read() == PICTURE
