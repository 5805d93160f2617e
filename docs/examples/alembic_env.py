"""The ``env.py`` of Alembic, as ``alembic init`` makes it but for two lines."""

from __future__ import annotations

from alembic import context
from sqlalchemy import engine_from_config, pool

import models  # or import each module that declares image classes, so that their tables are known

target_metadata = models.Base.metadata

section = context.config.get_section(context.config.config_ini_section, {})
engine = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
