"""How long the migration takes that the guide has for tables of 1.x, with a million rows: scripts/bench upgrade.

Since machines differ, it is told as well how long the database takes to copy the table.  Databases that do not run on
this machine are left out.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import harness
import sqlalchemy as sa

ROWS = int(os.environ.get("IMAGEATTACH_BENCH_ROWS", "1_000_000"))
RECIPE = Path(__file__).parents[1] / "docs" / "examples" / "alembic_upgrade.py"
SERVERS = {
    "PostgreSQL": os.environ.get("IMAGEATTACH_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1/postgres"),
    "MariaDB": os.environ.get("IMAGEATTACH_MARIADB", "mysql+pymysql://root@127.0.0.1/mysql"),
}

#: 1,000,000 numbers from 1 on, as each database has them.
NUMBERS = {
    "postgresql": f"SELECT n FROM generate_series(1, {ROWS}) AS t (n)",
    "mysql": f"SELECT seq AS n FROM seq_1_to_{ROWS}",
    "sqlite": f"WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {ROWS}) SELECT n FROM t",
}


def tables() -> tuple[sa.Table, sa.Table]:
    """A table of owners, and one of pictures as 1.x made it."""
    metadata = sa.MetaData()
    owner = sa.Table("user", metadata, sa.Column("id", sa.Integer, primary_key=True))
    picture = sa.Table(
        "user_picture",
        metadata,
        sa.Column("width", sa.Integer, primary_key=True),
        sa.Column("height", sa.Integer, primary_key=True),
        sa.Column("mimetype", sa.String(255), nullable=False),
        sa.Column("original", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("user.id"), primary_key=True),
    )
    return owner, picture


def fill(engine: sa.Engine) -> None:
    """Half as many users as there are pictures: each has an original and a thumbnail."""
    owner, picture = tables()
    owner.metadata.create_all(engine)
    numbers, quoted = NUMBERS[engine.dialect.name], engine.dialect.identifier_preparer.quote("user")
    with engine.begin() as connection:
        connection.execute(sa.text(f"INSERT INTO {quoted} (id) SELECT n FROM ({numbers}) AS s WHERE n <= {ROWS // 2}"))
        connection.execute(
            sa.text(
                "INSERT INTO user_picture (width, height, mimetype, original, created_at, user_id)"
                " SELECT 640 - 480 * odd, 480 - 360 * odd, 'image/jpeg', odd = 0, CURRENT_TIMESTAMP, half"
                f" FROM (SELECT n, n % 2 AS odd, CAST((n + n % 2) / 2 AS INTEGER) AS half FROM ({numbers}) AS s) AS t"
            )
        )
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")


@contextmanager
def server(url: str) -> Iterator[sa.Engine]:
    """An engine of a database of its own."""
    name = f"imageattach_bench_{secrets.token_hex(6)}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine = sa.create_engine(admin.url.set(database=name))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}")
        admin.dispose()


@contextmanager
def sqlite() -> Iterator[sa.Engine]:
    """An engine of a file."""
    with tempfile.TemporaryDirectory() as directory:
        engine = sa.create_engine(f"sqlite:///{directory}/bench.db")
        yield engine
        engine.dispose()


def upgrade(engine: sa.Engine) -> None:
    """The step of the guide, for one table."""
    spec = importlib.util.spec_from_file_location("alembic_upgrade", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    recipe.TABLES = {"user_picture": None}
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        recipe.upgrade()


def measure(name: str, engine: sa.Engine) -> None:
    """Fill, copy, upgrade."""
    fill(engine)

    def copy() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE copy AS SELECT * FROM user_picture")

    copied, upgraded = harness.once(copy), harness.once(lambda: upgrade(engine))
    with engine.connect() as connection:
        rows = connection.scalar(sa.text("SELECT count(*) FROM user_picture WHERE variant = '' AND revision IS NULL"))
    assert rows == ROWS, f"{rows} rows are as they should be"
    version = ".".join(map(str, engine.dialect.server_version_info or ()))
    title = f"upgrade of a table of {ROWS:,} rows, {name} {version}"
    # most of it is done by the server
    harness.report(title, {"copy of the table": copied, "upgrade": upgraded}, "copy of the table", by="wall")


def main() -> None:
    """Print the figures."""
    harness.require(alembic="alembic>=1.13", psycopg="psycopg[binary]>=3.1", pymysql="pymysql>=1.1")
    importlib.import_module("alembic.migration")  # not among what is timed
    importlib.import_module("alembic.operations")
    with sqlite() as engine:
        measure("SQLite", engine)
    for name, url in SERVERS.items():
        try:
            sa.create_engine(url).connect().close()
        except sa.exc.OperationalError:
            print(f"{name:12}  is not there")
            continue
        with server(url) as engine:
            measure(name, engine)


if __name__ == "__main__":
    sys.exit(main())
