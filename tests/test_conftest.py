from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from tests import conftest

ROOT = Path(__file__).parent.parent

NEEDS_SERVERS = """
def test_on_postgresql(postgresql_url): pass
def test_on_mariadb(mariadb_url): pass
"""


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_a_run_has_an_empty_database_of_its_own(server: str, request: pytest.FixtureRequest) -> None:
    used: URL = request.getfixturevalue(f"{server}_url")
    # a new one, as other tests of this run may have left tables in theirs
    drop = "DROP DATABASE {} WITH (FORCE)" if server == "postgresql" else "DROP DATABASE {}"
    scratch = conftest._scratch_database(server, "", getattr(conftest, server.upper()), drop)
    url = next(scratch)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        assert inspect(connection).get_table_names() == []
    engine.dispose()
    assert url != used
    assert list(scratch) == []
    with pytest.raises(DBAPIError):
        create_engine(url).connect()


@pytest.mark.parametrize(("ci", "outcome", "code"), [("", "2 skipped", 0), ("true", "2 errors", 1)])
def test_a_missing_server_skips_loudly_or_fails_under_ci(ci: str, outcome: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "test_servers.py").write_text(NEEDS_SERVERS)
    nowhere = {
        "CI": ci,
        "PYTHONPATH": str(ROOT),
        "IMAGEATTACH_POSTGRESQL": "postgresql+psycopg://postgres@127.0.0.1:1/postgres",
        "IMAGEATTACH_MARIADB": "mysql+pymysql://root@127.0.0.1:1/mysql",
    }
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | nowhere,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == code, run.stdout + run.stderr
    assert outcome in run.stdout
    for server, variable in (("PostgreSQL", "IMAGEATTACH_POSTGRESQL"), ("MariaDB", "IMAGEATTACH_MARIADB")):
        assert f"no {server} in which to create a database" in run.stdout
        assert f"set {variable}" in run.stdout
