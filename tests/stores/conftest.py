"""The server that tests of several stores share: started when first needed, one for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores.servers.seaweed import SeaweedFS


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed"))
    yield server
    server.kill()
