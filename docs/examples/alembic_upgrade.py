"""Adds to tables of SQLAlchemy-ImageAttach 1.x what version 2 keeps of each picture.

This is a revision for Alembic.  Copy it into the ``versions`` directory of your migrations, let ``down_revision`` be
your latest revision, and name your tables of images in ``TABLES``.  Then let the image classes inherit from ``Image``
instead of ``LegacyImage``, and ``alembic upgrade head``.

Rows and files stay as they are: a row without a revision means a file under the name that 1.x gave it.  Pictures
attached from now on get a revision, and pictures that are replaced or deleted take their old files with them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "7a1c2e5d9b04"
down_revision = None
branch_labels = None
depends_on = None

#: The tables of images, as ``{table: schema}``; the schema is ``None`` for the default one.
TABLES: dict[str, str | None] = {"user_picture": None, "post_photo": None}

COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "revision": sa.String(64),
    "byte_size": sa.BigInteger(),
    "checksum": sa.String(64),
    "frames": sa.Integer(),
    "focal_x": sa.Float(),
    "focal_y": sa.Float(),
    "dominant_color": sa.String(9),
    "thumbhash": sa.String(48),
    "made_for": sa.String(64),
}


def upgrade() -> None:
    for table, schema in TABLES.items():
        with op.batch_alter_table(table, schema) as batch:
            for name, type_ in COLUMNS.items():
                batch.add_column(sa.Column(name, type_, nullable=True))
            batch.add_column(sa.Column("variant", sa.String(32), nullable=False, server_default=""))
        # so that one size of a picture can be there as JPEG and as WebP, and cut in two ways
        set_primary_key(table, schema, lambda key: [*key, "mimetype", "variant"])


def downgrade() -> None:
    for table, schema in TABLES.items():
        refuse_if_used(table, schema)
    for table, schema in TABLES.items():
        set_primary_key(table, schema, lambda key: [name for name in key if name not in {"mimetype", "variant"}])
        with op.batch_alter_table(table, schema) as batch:
            for name in ("variant", *reversed(COLUMNS)):
                batch.drop_column(name)


def refuse_if_used(table: str, schema: str | None) -> None:
    """Version 1.x would not find the files of pictures that have a revision."""
    rows = sa.table(table, sa.column("revision"), schema=schema)
    statement = sa.select(sa.func.count()).select_from(rows).where(rows.c.revision.is_not(None))
    if count := op.get_bind().scalar(statement):
        msg = f"{table} has {count} pictures that were attached by version 2: delete them, or do not go back"
        raise RuntimeError(msg)


def set_primary_key(table, schema, change) -> None:  # type: ignore[no-untyped-def]
    bind = op.get_bind()
    former = sa.inspect(bind).get_pk_constraint(table, schema)
    columns = change(former["constrained_columns"])
    name = former["name"] or f"pk_{table}"
    if bind.dialect.name == "sqlite":
        # SQLite cannot change a key: the table is written anew, from a description that has the new one
        described = sa.Table(table, sa.MetaData(), schema=schema, autoload_with=bind)
        for column in described.columns:
            column.primary_key = False
        described.append_constraint(sa.PrimaryKeyConstraint(*columns, name=name))
        with op.batch_alter_table(table, schema, recreate="always", copy_from=described):
            pass
    elif bind.dialect.name in {"mysql", "mariadb"}:
        # at once, since a foreign key of the table may need the index at any moment
        quote = bind.dialect.identifier_preparer.quote
        full_name = quote(table) if schema is None else f"{quote(schema)}.{quote(table)}"
        op.execute(f"ALTER TABLE {full_name} DROP PRIMARY KEY, ADD PRIMARY KEY ({', '.join(map(quote, columns))})")
    else:
        op.drop_constraint(name, table, schema=schema, type_="primary")
        op.create_primary_key(name, table, columns, schema=schema)
