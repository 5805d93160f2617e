"""The table beside a class of pictures: what was computed of each picture, and of which bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from ..arguments import wrong_value
from ..errors import VectorDimensionError
from .column import Vector

__all__ = ["SideTable"]

#: A primary key that SQLite numbers by itself has to be an INTEGER there.
_KEY: Final = BigInteger().with_variant(Integer(), "sqlite")
_LONGEST: Final = 63


class SideTable:
    """A table with one row for each picture, attribute, extractor and version.

    =====================  ===========================================================================================
    column                 content
    =====================  ===========================================================================================
    ``id``                 a number of its own
    ``of_…``               the primary key of the picture; the row goes when the picture does
    ``attribute``          which picture of the row, where it has several
    ``extractor``          what made the value
    ``version``            which version of it
    ``source``             what the picture was called when it was read: if it is called otherwise now, the row does
                           not count
    ``source_sha256``      of the bytes that were read
    ``vector``, ``dhash``  the value
    =====================  ===========================================================================================

    :param mapper: of the class of pictures
    :param name: of the table; it is shared by all who name it
    :param value: name of the column of the value
    :param kind: its type
    """

    def __init__(self, mapper: Mapper[Any], name: str, value: str, kind: TypeEngine[Any]) -> None:
        self._mapper = mapper
        self._value = value
        owner = mapper.primary_key[0].table
        assert isinstance(owner, Table)
        key = name if owner.schema is None else f"{owner.schema}.{name}"
        found = owner.metadata.tables.get(key)
        self.table = self._check(found, kind) if found is not None else self._make(owner, name, kind)

    def _make(self, owner: Table, name: str, kind: TypeEngine[Any]) -> Table:
        keys = [Column(f"of_{key.name}", key.type, nullable=False) for key in self._mapper.primary_key]
        table = Table(
            name,
            owner.metadata,
            Column("id", _KEY, primary_key=True),
            *keys,
            Column("attribute", String(64), nullable=False),
            Column("extractor", String(100), nullable=False),
            Column("version", String(100), nullable=False),
            Column("source", Text, nullable=False),
            Column("source_sha256", String(64), nullable=False, index=True),
            Column(self._value, kind, nullable=False),
            UniqueConstraint(*keys, "attribute", "extractor", "version", name=_short(f"uq_{name}")),
            ForeignKeyConstraint(
                keys,
                list(self._mapper.primary_key),
                ondelete="CASCADE",
                onupdate="CASCADE",
                name=_short(f"fk_{name}"),
            ),
            # with the keys, so that no database takes it for as good as the other and reads all that it leaves:
            # of a new table, PostgreSQL has no statistics
            Index(_short(f"ix_{name}_version"), "extractor", "attribute", "version", *(key.name for key in keys)),
            schema=owner.schema,
        )
        return table

    def _check(self, table: Table, kind: TypeEngine[Any]) -> Table:
        if self._value not in table.columns or "source_sha256" not in table.columns:
            raise wrong_value("table_name", table.name, f"the name of a table of {self._value}s, or of none yet")
        there = table.columns[self._value].type
        if isinstance(there, Vector) and isinstance(kind, Vector) and there.dimension != kind.dimension:
            raise VectorDimensionError(
                f"the table {table.name!r} has vectors of {there.dimension:,} dimensions: expected an extractor of as"
                f" many, got one of {kind.dimension:,}; give this one a table of its own by table_name"
            )
        return table

    @property
    def value(self) -> Column[Any]:
        """The column of the value."""
        return self.table.columns[self._value]

    def owner_columns(self, table: Any = None) -> list[ColumnElement[Any]]:
        """The columns with the primary key of the picture, of the table or an alias of it."""
        columns = (self.table if table is None else table).columns
        return [columns[f"of_{key.name}"] for key in self._mapper.primary_key]

    def is_of(self, identity: Sequence[Any], table: Any = None) -> ColumnElement[bool]:
        """The condition that a row is of the picture with this primary key, given by values or by columns."""
        return and_(*(column == key for column, key in zip(self.owner_columns(table), identity, strict=True)))


def _short(name: str) -> str:
    # the shortest limit of the databases known here
    return name[:_LONGEST]
