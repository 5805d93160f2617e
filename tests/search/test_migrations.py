"""Alembic and the tables of vectors: what was created is what is declared, and what is missing is added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Engine, text

from .photos import Base, looks


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    Base.metadata.drop_all(engine)
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        connection.commit()
        yield connection
        connection.rollback()
        Base.metadata.drop_all(connection)
        connection.commit()


def context(connection: Connection) -> MigrationContext:
    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or name in Base.metadata.tables

    options = {"include_name": is_ours, "user_module_prefix": "search.", "target_metadata": Base.metadata}
    return MigrationContext.configure(connection, opts=options)


def test_what_was_created_needs_no_migration(connection: Connection) -> None:
    assert compare_metadata(context(connection), Base.metadata) == []


def test_a_column_of_vectors_is_added_by_a_migration(connection: Connection) -> None:
    table = looks.table
    for index in table.indexes:
        if table.c.vector in index.columns.values() and connection.engine.url.database == "postgres":
            connection.execute(text(f"DROP INDEX IF EXISTS {index.name}"))
    connection.execute(text(f"ALTER TABLE {table.name} DROP COLUMN vector"))
    connection.commit()
    here = context(connection)
    script = produce_migrations(here, Base.metadata)
    assert script.upgrade_ops is not None
    code = render_python_code(script.upgrade_ops, user_module_prefix="search.", migration_context=here)
    assert f"op.add_column('{table.name}', sa.Column('vector', search.Vector(48), nullable=False))" in code
    import sqlalchemy as sa

    from sqlalchemy_imageattach import search

    body = "\n".join(line.strip() for line in code.splitlines() if not line.strip().startswith("#"))
    if connection.dialect.name == "sqlite":  # which adds no column that has no value
        body = body.replace("nullable=False", "nullable=False, server_default=sa.text(\"x''\")")
    exec(body, {"op": Operations(here), "sa": sa, "search": search})  # as Alembic runs it
    connection.commit()
    assert compare_metadata(context(connection), Base.metadata) == []
