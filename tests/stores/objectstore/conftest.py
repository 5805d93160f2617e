"""Buckets and containers for the tests of object stores."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from tests.stores.servers.azurite import Azurite
from tests.stores.servers.gcs import FakeGCS

from .support import Cloud


@pytest.fixture(params=["azure", "google"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """An empty bucket or container on each of the two."""
    name = f"pictures-{secrets.token_hex(6)}"
    if request.param == "google":
        gcs: FakeGCS = request.getfixturevalue("gcs")
        gcs.create_bucket(name)
        yield Cloud(name, gcs.bucket, gcs.endpoint, gcs.port, lambda: set(gcs.objects(name)))
        gcs.delete_bucket(name)
        return
    azurite: Azurite = request.getfixturevalue("azurite")
    with azurite.client() as client, client.create_container(name) as container:
        yield Cloud(name, azurite.container, azurite.endpoint, azurite.port, lambda: set(container.list_blob_names()))
        container.delete_container()


@pytest.fixture(autouse=True)
def no_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is set up on the developer's machine is seen by the tests."""
    for name in os.environ:
        if name.startswith(("AZURE_", "GOOGLE_", "AWS_")):
            monkeypatch.delenv(name)
