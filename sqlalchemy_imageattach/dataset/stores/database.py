"""A dataset in a database of SQLAlchemy, its blobs in an image store."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

from sqlalchemy import Table, delete, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from ...arguments import wrong_type
from ...context import find_store, store_context
from ...errors import DatasetError
from ...search.fingerprint import HammingDistance
from ...store import Store, key_of
from ..attach import attach
from ..labels import LabelledImage, failures_of, labels_of
from ..picking import random_sample
from ..sample import Failure, Picture, Provenance, Sample, source_key
from .protocol import Item

__all__ = ["SQLAlchemyDataset"]

_PAGE = 200

#: How databases say that a table or a column is missing: SQLite, PostgreSQL, MariaDB.
_NOT_THERE = re.compile(
    r"no such (?:table|column)|has no column|(?:relation|column) .* does not exist|(?:doesn't exist|Unknown column)"
)


class SQLAlchemyDataset:
    """Keeps each picture as a row, and its bytes in the image store.  Each call is a transaction of its own.

    ::

        fruit = SQLAlchemyDataset(sessionmaker(engine), Fruit, store)
        fruit.count("Apple"), fruit.random("Apple").read()

    Threads and processes can work on one dataset at once: the database decides who was first.

    :param sessions: makes sessions, such as a :class:`~sqlalchemy.orm.sessionmaker`
    :param cls: the class of the rows
    :param store: the store of the bytes; by default the one that is found for the session
    :raises InvalidTypeError: ``cls`` is no :class:`LabelledImage` class, or ``sessions`` makes none
    """

    def __init__(self, sessions: sessionmaker[Session], cls: type[LabelledImage], store: Store | None = None) -> None:
        if not (isinstance(cls, type) and issubclass(cls, LabelledImage) and inspect(cls, raiseerr=False) is not None):
            raise wrong_type("cls", cls, "a mapped class with the LabelledImage mixin")
        if isinstance(sessions, Session) or not callable(sessions):
            raise wrong_type("sessions", sessions, "a sessionmaker", "sessionmaker(engine)")
        self.cls = cls
        self._sessions = sessions
        self._store = store

    def add(self, label: str, uri: str, picture: Picture, provenance: Provenance) -> bool:
        key = source_key(label, uri)
        failures = failures_of(self.cls)
        try:
            with self._session() as session:
                if self._row(session, key) is not None:
                    return False
                attach(session, self.cls, label, uri, picture, provenance, store=self._store)
                session.execute(delete(failures).where(failures.c.source_key == key))
                session.commit()
        except IntegrityError:
            with self._session() as session:
                if self._row(session, key) is None:
                    raise  # it is about something else
                return False
        return True

    def add_many(self, items: Sequence[Item]) -> list[bool]:
        keys = [source_key(item.label, item.uri) for item in items]
        failures = failures_of(self.cls)
        try:
            with self._session() as session:
                there = set(session.scalars(select(self.cls.source_key).where(self.cls.source_key.in_(keys))))
                new = [key not in there for key in keys]
                for item, is_new in zip(items, new, strict=True):
                    if is_new:
                        attach(session, self.cls, *item, store=self._store)
                session.execute(delete(failures).where(failures.c.source_key.in_(keys)))
                session.commit()
        except IntegrityError:  # another one has added some meanwhile
            return [self.add(*item) for item in items]
        return new

    def look_up(self, pictures: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Failure | None]:
        keys = {source_key(*pair): pair for pair in pictures}
        failures = failures_of(self.cls)
        with self._session() as session:
            failed = session.execute(select(failures).where(failures.c.source_key.in_(keys))).all()
            there = session.scalars(select(self.cls.source_key).where(self.cls.source_key.in_(keys))).all()
        return {keys[row.source_key]: _failure(row) for row in failed} | {keys[key]: None for key in there}

    def get(self, label: str, uri: str) -> Sample | None:
        with self._session() as session:
            row = self._row(session, source_key(label, uri))
            return None if row is None else self._sample(session, row)

    def has(self, label: str, uri: str) -> bool:
        return self._exists(self.cls.source_key == source_key(label, uri))

    def remove(self, label: str, uri: str) -> bool:
        with self._session() as session:
            row = self._row(session, source_key(label, uri))
            if row is None:
                return False
            session.delete(row)
            session.commit()
        return True

    def count(self, label: str) -> int:
        counters = labels_of(self.cls)
        with self._session() as session:
            return session.scalar(select(counters.c.total).where(counters.c.label == label)) or 0

    def labels(self) -> Mapping[str, int]:
        counters = labels_of(self.cls)
        with self._session() as session:
            found = session.execute(select(counters.c.label, counters.c.total).order_by(counters.c.label)).all()
        return {label: total for label, total in found if total > 0}

    def random(self, label: str, source: random.Random | None = None) -> Sample | None:
        with self._session() as session:
            row = random_sample(session, self.cls, label, source)
            return None if row is None else self._sample(session, row)

    def iterate(self, label: str | None = None) -> Iterator[Sample]:
        last = 0
        while True:
            with self._session() as session:
                statement = select(self.cls).where(self.cls.id > last).order_by(self.cls.id).limit(_PAGE)
                if label is not None:
                    statement = statement.where(self.cls.label == label)
                page = [(row.id, self._sample(session, row)) for row in session.scalars(statement)]
            if not page:
                return
            for last, sample in page:  # noqa: B007  # the next page goes on after it
                yield sample

    def has_content(self, label: str, checksums: Collection[str]) -> set[str]:
        statement = select(self.cls.checksum).where(self.cls.label == label, self.cls.checksum.in_(checksums))
        with self._session() as session:
            return {str(found) for found in session.scalars(statement)}

    def has_alike(self, label: str, likeness: int, distance: int) -> bool:
        near = HammingDistance.of(inspect(self.cls).c.likeness, likeness) <= distance
        return self._exists(self.cls.label == label, self.cls.likeness.is_not(None), near)

    def failure(self, label: str, uri: str) -> Failure | None:
        failures = failures_of(self.cls)
        with self._session() as session:
            row = session.execute(select(failures).where(failures.c.source_key == source_key(label, uri))).first()
        return None if row is None else _failure(row)

    def note(self, failure: Failure) -> None:
        self.note_many([failure])

    def note_many(self, failures: Sequence[Failure]) -> None:
        table, now = failures_of(self.cls), datetime.now(UTC)
        rows = [_row_of(failure) | {"failed_at": now} for failure in failures]
        try:
            with self._session() as session:
                session.execute(delete(table).where(table.c.source_key.in_([row["source_key"] for row in rows])))
                session.execute(insert(table), rows)
                session.commit()
        except IntegrityError:  # another one has noted some meanwhile
            for row in rows:
                self._note(table, row)

    def _note(self, table: Table, row: dict[str, Any]) -> None:
        changed = update(table).where(table.c.source_key == row["source_key"]).values(row)
        with self._session() as session:
            if not session.execute(changed).rowcount:  # type: ignore[attr-defined]
                try:
                    with session.begin_nested():
                        session.execute(insert(table).values(row))
                except IntegrityError:  # another one was first
                    session.execute(changed)
            session.commit()

    def failures(self, label: str | None = None) -> Iterator[Failure]:
        table, last = failures_of(self.cls), ""
        while True:
            statement = select(table).where(table.c.source_key > last).order_by(table.c.source_key).limit(_PAGE)
            if label is not None:
                statement = statement.where(table.c.label == label)
            with self._session() as session:
                page = session.execute(statement).all()
            if not page:
                return
            yield from map(_failure, page)
            last = page[-1].source_key

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with self._sessions() as session, nullcontext() if self._store is None else store_context(self._store):
                yield session
        except (OperationalError, ProgrammingError) as error:
            if _NOT_THERE.search(str(error.orig)):
                raise DatasetError(
                    f"the tables of {self.cls.__name__} are not those of this version"
                    f" ({str(error.orig).splitlines()[0]}): make those that are missing by metadata.create_all(), and"
                    " bring others up to date by a migration of Alembic"
                ) from error
            raise

    def _row(self, session: Session, key: str) -> LabelledImage | None:
        return session.scalars(select(self.cls).where(self.cls.source_key == key)).one_or_none()

    def _exists(self, *where: Any) -> bool:
        with self._session() as session:
            return session.scalar(select(self.cls.id).where(*where).limit(1)) is not None

    def _sample(self, session: Session, row: LabelledImage) -> Sample:
        store = find_store(self._store, session.info, type(row))
        return sample_of(row, store)


def sample_of(row: LabelledImage, store: Store) -> Sample:
    """What ``row`` stands for, independent of its session."""
    key = key_of(row)
    provenance = Provenance(
        page=row.page, title=row.title, licence=row.licence, fetched_at=row.fetched_at, status=row.http_status
    )
    opening: partial[IO[bytes]] = partial(store.get, key)
    return Sample(row.label, row.uri, row.mimetype, row.size, row.checksum or "", provenance, opening)


def _row_of(failure: Failure) -> dict[str, Any]:
    return {
        "source_key": source_key(failure.label, failure.uri),
        "label": failure.label,
        "uri": failure.uri,
        "reason": failure.reason,
        "detail": failure.detail,
        "attempts": failure.attempts,
        "is_final": failure.is_final,
    }


def _failure(row: Any) -> Failure:
    return Failure(row.label, row.uri, row.reason, row.detail, row.attempts, row.is_final)
