"""What is known of the pictures of a class, kept in step with its rows.

A :class:`PictureIndex` has three parts, of which none knows the others: where the pictures come from
(:mod:`.sources`), what is computed of them (a :class:`Measure`), and the table that it is kept in (:mod:`.sidetable`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeVar, cast, get_args

from PIL import Image as Pillow
from sqlalchemy import Result, and_, delete, exists, func, insert, not_, or_, select
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Mapper, Session, aliased
from sqlalchemy.types import TypeEngine

from ..arguments import check_choice
from ..concurrency import run_blocking, run_side_by_side
from ..entity.identity import mapper_of
from ..errors import EmptyIndexError, MissingIndexError, OutdatedIndexError, RejectedImageError
from ..imaging import ImagePolicy
from ..spool import Spool
from .pixels import read_pixels
from .ranking import Execute
from .sidetable import SideTable
from .sources import Picture, PictureSource

__all__ = ["Fill", "Measure", "Measured", "PictureIndex", "Unreadable", "measure"]

Fill = Literal["commit", "flush", "never"]
Unreadable = Literal["refuse", "skip"]

_A = TypeVar("_A")
_R = TypeVar("_R")

#: So many keys are looked up by one statement; databases limit the number of parameters.
_LOOK_UP: Final = 100


class Measure(Protocol):
    """What is computed of a picture."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def column(self) -> tuple[str, TypeEngine[Any]]:
        """The name of the column of the value, and its type."""

    def prepare(self, picture: Pillow.Image) -> Any: ...
    def finish(self, prepared: Sequence[Any]) -> Sequence[Any]: ...


@dataclass(slots=True)
class Measured:
    """A picture that was looked at.

    :param picture: it
    :param checksum: of its bytes
    :param value: what was computed of it
    :param error: why nothing was
    :param is_new: whether it was computed now, rather than known of other rows with the same bytes
    """

    picture: Picture
    checksum: str | None = None
    value: Any = None
    error: Exception | None = None
    is_new: bool = False


@dataclass(slots=True)
class _Read:
    spool: Spool | None = None
    error: Exception | None = None


class PictureIndex:
    """One thing that is known of each picture of a class.

    :param cls: the mapped class
    :param source: where its pictures are
    :param measure: what is computed of them
    :param attribute: which of several pictures of a row
    :param table_name: of the side table
    :param unreadable: what becomes of a flush with a picture that cannot be decoded
    :param fill: when pictures are looked at
    """

    def __init__(
        self,
        cls: type[Any],
        source: PictureSource,
        measure: Measure,
        *,
        attribute: str,
        table_name: str | None,
        unreadable: Unreadable,
        fill: Fill = "flush",
    ) -> None:
        check_choice("unreadable", unreadable, get_args(Unreadable))
        check_choice("fill", fill, get_args(Fill))
        self.cls, self.source, self.measure = cls, source, measure
        self.mapper: Mapper[Any] = mapper_of(cls)
        self.attribute, self.unreadable, self.fill = attribute, unreadable, fill
        name, kind = measure.column
        owner = self.mapper.primary_key[0].table
        suffix = "embedding" if name == "vector" else "fingerprint"
        self.side = SideTable(self.mapper, table_name or f"{cast('Any', owner).name}_{suffix}", name, kind)

    @property
    def table(self) -> Any:
        """The side table."""
        return self.side.table

    # --- conditions --------------------------------------------------------------------------------------------------

    def is_ours(self, table: Any = None) -> Any:
        """The condition that a row of the side table is of this index, in this version."""
        columns = (self.table if table is None else table).columns
        return and_(self._is_of_extractor(table), columns.version == self.measure.version)

    def is_current(self, entity: Any, table: Any = None, *, key: Any = None) -> Any:
        """The condition that a row of the side table tells of the picture that ``entity`` has now.

        :param key: the column with the primary key, if it is not that of ``entity``
        """
        keys = [key] if key is not None else self._keys_of(entity)
        conditions = [self.side.is_of(keys, table), self.is_ours(table)]
        called = self.source.column(entity) if key is None else None
        if called is not None:
            conditions.append((self.table if table is None else table).columns.source == called)
        return and_(*conditions)

    def _keys_of(self, entity: Any) -> list[Any]:
        return [getattr(entity, self.mapper.get_property_by_column(key).key) for key in self.mapper.primary_key]

    def _is_of_extractor(self, table: Any = None) -> Any:
        columns = (self.table if table is None else table).columns
        return and_(columns.extractor == self.measure.name, columns.attribute == self.attribute)

    # --- writing -----------------------------------------------------------------------------------------------------

    def before_write(self, session: Session, measured: Sequence[Measured]) -> None:
        """Called when a flush has brought new pictures; what it raises refuses them."""

    def write(self, session: Session, measured: Iterable[Measured]) -> None:
        """Put down what was found of pictures, in place of what was known of them before."""
        found = list(measured)
        self.remove(session, [each.picture.identity for each in found])
        rows = [self._row(each) for each in found if each.error is None]
        if rows:
            self._execute(session, insert(self.table), rows)

    def _row(self, measured: Measured) -> dict[str, Any]:
        keys = dict(zip((column.name for column in self.side.owner_columns()), measured.picture.identity, strict=True))
        return {
            **keys,
            "attribute": self.attribute,
            "extractor": self.measure.name,
            "version": self.measure.version,
            "source": measured.picture.source,
            "source_sha256": measured.checksum,
            self.side.value.name: measured.value,
        }

    def remove(self, session: Session, identities: Sequence[tuple[Any, ...]], *, all_versions: bool = False) -> None:
        """Forget what is known of the pictures with these primary keys."""
        ours = self._is_of_extractor() if all_versions else self.is_ours()
        for start in range(0, len(identities), _LOOK_UP):
            some = identities[start : start + _LOOK_UP]
            self._execute(session, delete(self.table).where(ours, or_(*map(self.side.is_of, some))))

    def prune(self, session: Session) -> int:
        """Forget the pictures of rows that are gone, without the ORM's notice."""
        owner = aliased(self.cls)
        current = exists(
            select(1).select_from(owner).where(self.side.is_of(self._keys_of(owner))).correlate(self.table)
        )
        result = self._execute(session, delete(self.table).where(self._is_of_extractor(), not_(current)))
        return max(int(cast("Any", result).rowcount), 0)

    def clear(self, session: Session) -> None:
        """Forget everything."""
        self._execute(session, delete(self.table).where(self._is_of_extractor()))

    # --- looking -----------------------------------------------------------------------------------------------------

    def find(self, session: Session, checksums: Iterable[str]) -> dict[str, Any]:
        """What is known of bytes already, whatever picture they were of."""
        wanted = sorted(set(checksums))
        known: dict[str, Any] = {}
        for start in range(0, len(wanted), _LOOK_UP):
            columns = self.table.columns
            statement = select(columns.source_sha256, self.side.value).where(
                columns.extractor == self.measure.name,
                columns.version == self.measure.version,
                columns.source_sha256.in_(wanted[start : start + _LOOK_UP]),
            )
            known.update((row.source_sha256, row[-1]) for row in self._execute(session, statement))
        return known

    def sources(self, session: Session, identities: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
        """What pictures were called when they were indexed, by their primary keys."""
        known: dict[tuple[Any, ...], str] = {}
        for start in range(0, len(identities), _LOOK_UP):
            some = identities[start : start + _LOOK_UP]
            statement = select(*self.side.owner_columns(), self.table.columns.source).where(
                self.is_ours(), or_(*map(self.side.is_of, some))
            )
            known.update({tuple(row[:-1]): row[-1] for row in self._execute(session, statement)})
        return known

    def check(self, execute: Execute) -> None:
        """There is something to compare with, and nothing that cannot be compared.

        :param execute: that of a connection
        :raises MissingIndexError: the database does not have the table
        :raises EmptyIndexError: no picture is indexed
        :raises OutdatedIndexError: there are pictures of which another version of the extractor alone has a vector
        """
        columns = self.table.columns
        # each by itself, which an index answers without reading the versions between
        least_and_most = [
            select(extreme(columns.version)).where(self._is_of_extractor()).scalar_subquery()
            for extreme in (func.min, func.max)
        ]
        with _explained(self):
            least, most = execute(select(*least_and_most)).one()
        called = f"{self.cls.__name__}{f'.{self.attribute}' if self.attribute else ''}"
        if least is None:
            raise EmptyIndexError(
                f"no picture of {called} is indexed by {self.measure.name!r} yet: run index_model(), or"
                " `imageattach index`"
            )
        version = self.measure.version
        if least == most == version or self._is_superseded(execute):
            return
        raise OutdatedIndexError(
            f"pictures of {called} were indexed by version {least if least != version else most!r} of"
            f" {self.measure.name!r}, which is now {version!r}: run index_model(), or `imageattach index`"
        )

    def _is_superseded(self, execute: Execute) -> bool:
        """Whether each picture with a value of another version has one of this version too."""
        table, newer = self.table, self.table.alias()
        is_there = exists(
            select(1).where(self.side.is_of(self.side.owner_columns(), newer), self.is_ours(newer)).correlate(table)
        )
        other = select(table.columns.id).where(
            self._is_of_extractor(), table.columns.version != self.measure.version, not_(is_there)
        )
        return execute(other.limit(1)).first() is None

    def forget_other_versions(self, session: Session) -> None:
        """Delete what other versions of the extractor have made."""
        self._execute(
            session,
            delete(self.table).where(self._is_of_extractor(), self.table.columns.version != self.measure.version),
        )

    def _execute(self, session: Session, statement: Any, rows: Any = None) -> Result[Any]:
        # past the session, which would flush, and may be in the middle of a flush
        connection = session.connection(bind_arguments={"mapper": self.mapper})
        with _explained(self):
            return connection.execute(statement, rows)


class _explained:
    """An error of the database may be that it has no such table."""

    def __init__(self, index: PictureIndex) -> None:
        self._index = index

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        name = self._index.table.name
        if isinstance(error, OperationalError | ProgrammingError) and name in str(error.orig):
            text = str(error.orig).lower()
            if any(sign in text for sign in ("no such table", "does not exist", "doesn't exist")):
                raise MissingIndexError(
                    f"the database has no table {name!r}: create it by metadata.create_all(), a migration of Alembic,"
                    " or index_model(), which makes it"
                ) from error


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(
    index: PictureIndex, session: Session, pictures: Sequence[Picture], *, side_by_side: bool = False
) -> list[Measured]:
    """What is to be known of pictures; equal bytes are computed once, and not at all if they are known already.

    :param side_by_side: whether to use several threads
    """
    found = [Measured(picture, picture.checksum) for picture in pictures]
    # a checksum in the row saves even the reading
    known = index.find(session, [each.checksum for each in found if each.checksum is not None])
    unknown = [each for each in found if each.checksum not in known]
    reads = run_blocking(_read_all, [each.picture for each in unknown], index.source.policy, side_by_side)
    for each, read in zip(unknown, reads, strict=True):
        each.error = read.error
        each.checksum = each.checksum if read.spool is None else read.spool.checksum
    known |= index.find(session, [each.checksum for each in unknown if each.checksum and each.checksum not in known])
    spools = {
        each.checksum: read.spool
        for each, read in zip(unknown, reads, strict=True)
        if read.spool is not None and each.checksum not in known
    }
    values = run_blocking(_compute, index.measure, cast("dict[str, Spool]", spools), index.source.policy, side_by_side)
    for each in found:
        if each.error is not None or each.checksum is None:
            continue
        value = known[each.checksum] if each.checksum in known else values[each.checksum]
        each.is_new = each.checksum not in known
        if isinstance(value, Exception):
            each.error = value
        else:
            each.value = value
    return found


def _read_all(pictures: Sequence[Picture], policy: ImagePolicy, side_by_side: bool) -> list[_Read]:
    def read(picture: Picture) -> _Read:
        try:
            with picture.open() as file:
                return _Read(Spool.read_from(file, policy.max_bytes))
        except (OSError, RejectedImageError) as error:
            return _Read(error=error)

    return _all(read, pictures, side_by_side)


def _compute(
    measure: Measure, spools: dict[str, Spool], policy: ImagePolicy, side_by_side: bool
) -> dict[str, Any | Exception]:
    def prepare(spool: Spool) -> Any:
        try:
            with spool.open() as file:
                return measure.prepare(read_pixels(file, policy))
        except RejectedImageError as error:
            return error

    def compute(batch: Sequence[Spool]) -> list[Any]:
        prepared = [prepare(spool) for spool in batch]
        values = iter(measure.finish(good) if (good := [each for each in prepared if not _is_error(each)]) else [])
        return [each if _is_error(each) else next(values) for each in prepared]

    # a model is asked by few threads with batches, rather than by many with single pictures
    size = max(1, -(-len(spools) // (os.cpu_count() or 1)))
    ordered = list(spools.values())
    batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    outcomes = _all(compute, batches, side_by_side)
    return dict(zip(spools, (value for batch in outcomes for value in batch), strict=True))


def _is_error(value: Any) -> bool:
    return isinstance(value, RejectedImageError)


def _all(function: Callable[[_A], _R], items: Sequence[_A], side_by_side: bool) -> list[_R]:
    if not side_by_side:
        return [function(item) for item in items]
    outcomes = run_side_by_side([partial(function, item) for item in items])
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast("list[_R]", outcomes)
