"""What all tests share: how Hypothesis runs, what ImageMagick may read, the database servers, and a browser.

Each run of pytest has a database of its own, dropped at its end.
"""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tests.browser import Browser, browser
from tests.needs import CI, unavailable
from tests.stores.servers.azurite import Azurite
from tests.stores.servers.gcs import FakeGCS
from tests.stores.servers.juicefs import JuiceFSGateway
from tests.stores.servers.seaweed import SeaweedFS

POSTGRESQL = os.environ.get("IMAGEATTACH_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
MARIADB = os.environ.get("IMAGEATTACH_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/mysql?charset=utf8mb4")

# No time limits: machines are slow at times.  CI tries the same examples each time, so that only a change can break it.
settings.register_profile(
    "project", deadline=None, derandomize=CI, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")


# Of several policies ImageMagick obeys the last one read, and that of the user's configuration comes after Debian's
# /etc/ImageMagick-6/policy.xml, which forbids PDF.
_ALLOW_PDF = '<policymap><policy domain="coder" rights="read" pattern="PDF" /></policymap>\n'


@pytest.fixture(scope="session", autouse=True)
def magick_policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """ImageMagick reads its policy once for each process, when any test first uses it: it has to be there before."""
    home = tmp_path_factory.mktemp("config")
    (home / "ImageMagick").mkdir()
    (home / "ImageMagick" / "policy.xml").write_text(_ALLOW_PDF)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home))
        yield


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[URL]:
    """The address of an empty PostgreSQL database; for an async engine ``.set(drivername="postgresql+asyncpg")``."""
    yield from _scratch_database(
        "PostgreSQL", "IMAGEATTACH_POSTGRESQL", POSTGRESQL, drop="DROP DATABASE {} WITH (FORCE)"
    )


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[URL]:
    """The address of an empty MariaDB database; for an async engine ``.set(drivername="mysql+asyncmy")``."""
    yield from _scratch_database("MariaDB", "IMAGEATTACH_MARIADB", MARIADB, drop="DROP DATABASE {}")


def _scratch_database(server: str, variable: str, address: str, drop: str) -> Iterator[URL]:
    name = f"imageattach_test_{secrets.token_hex(6)}"
    admin = create_engine(make_url(address), isolation_level="AUTOCOMMIT")
    try:
        try:
            with admin.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
        except DBAPIError as error:
            unavailable(f"no {server} in which to create a database at {admin.url!r} (set {variable}): {error.orig}")
        yield admin.url.set(database=name)
        with admin.connect() as connection:
            connection.execute(text(drop.format(name)))
    finally:
        admin.dispose()


# --- servers of stores: started when first needed, one of each for the whole run --------------------------------------


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def juicefs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JuiceFSGateway]:
    server = JuiceFSGateway(tmp_path_factory.mktemp("juicefs"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    server = Azurite(tmp_path_factory.mktemp("azurite"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGCS]:
    server = FakeGCS(tmp_path_factory.mktemp("gcs"))
    yield server
    server.kill()


@pytest.fixture
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser of the test's own."""
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def shared_window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser of all tests of a module: each begins with the page that the former one has left."""
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what is there before the first test: ten thousand tests, and all modules."""
    gc.collect()
    gc.freeze()
