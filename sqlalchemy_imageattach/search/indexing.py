"""Building an index from what is there: in pages, each a transaction of its own, so that it can be broken off.

What is indexed already costs a look at its row; so the same call goes on from where an earlier one was broken off, and
brings an index into line with whatever has happened without the ORM's notice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, lazyload

from ..arguments import check_type
from ..bulk.failures import without_traceback
from ..bulk.keyset import key_columns, page_after
from ..bulk.rows import bind_of, sync_session
from ..store import Store
from .index import Measured, PictureIndex, measure

__all__ = ["IndexFailure", "IndexResult", "IndexingThread", "build_index", "total_of"]

_log = logging.getLogger(__name__)

#: So many rows are one transaction.
PAGE: Final = 64

#: So many failures are kept in detail; all are counted.
FAILURES_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class IndexFailure:
    """A picture that could not be indexed.

    :param cls: its class
    :param identity: its primary key
    :param error: why; without its traceback
    """

    cls: type[Any]
    identity: tuple[Any, ...]
    error: Exception

    def __str__(self) -> str:
        return f"{self.cls.__name__} {self.identity}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class IndexResult:
    """What :func:`build_index` has done.

    :param examined: rows that it came across
    :param indexed: pictures that it put into the index
    :param computed: how many of these had to be computed; of the others, equal bytes were known
    :param present: pictures that were in the index already
    :param ignored: rows without a picture to be indexed
    :param removed: entries that it took out, since their rows are gone
    :param failed: pictures that could not be read or decoded
    :param failures: the first 1,000 of these
    """

    examined: int = 0
    indexed: int = 0
    computed: int = 0
    present: int = 0
    ignored: int = 0
    removed: int = 0
    failed: int = 0
    failures: tuple[IndexFailure, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether each picture is indexed now."""
        return not self.failed


def total_of(results: Sequence[IndexResult]) -> IndexResult:
    """All of them together."""
    names = [each.name for each in fields(IndexResult)]
    values: dict[str, Any] = {name: getattr(results[0], name) for name in names}
    for result in results[1:]:
        values = {name: values[name] + getattr(result, name) for name in names}
    return IndexResult(**values)


def build_index(
    index: PictureIndex,
    session: Session,
    store: Store | None = None,
    *,
    anew: bool = False,
    progress: Callable[[IndexResult], object] | None = None,
) -> IndexResult:
    """Afterwards each picture of the class is in the index, but for those that failed, and nothing else is.

    The table is made if it is not there.  Rows that are added meanwhile are indexed by their own transactions.

    :param index: of embeddings or fingerprints
    :param session: tells the database; rows are read and written by sessions of their own.  End its transaction
        first: SQLite would wait for that, and give up
    :param store: the store that has the pictures; that of the session or the current one by default
    :param anew: whether to read all pictures again, and not only those that are not indexed under their present name
    :param progress: called with the result so far after each page
    :raises ContextError: there is no store
    """
    check_type("index", index, PictureIndex)
    own = sync_session(session)
    bind = bind_of(own, index.mapper)
    index.table.create(bind, checkfirst=True)
    result = IndexResult()
    after: tuple[Any, ...] | None = None
    while True:
        with Session(bind, info=dict(own.info), autoflush=False) as private:
            rows = _page(private, index, after, bind.dialect.name)
            if not rows:
                break
            after = tuple(index.mapper.primary_key_from_instance(rows[-1]))
            result = _index_page(index, private, rows, store, anew, result)
        if progress is not None:
            progress(result)
    with Session(bind) as private:
        result = replace(result, removed=result.removed + index.prune(private))
        if result.ok:
            index.forget_other_versions(private)
        private.commit()
    return result


def _page(session: Session, index: PictureIndex, after: tuple[Any, ...] | None, dialect: str) -> list[Any]:
    columns = key_columns(index.mapper, index.cls)
    statement = page_after(select(index.cls), columns, after, dialect).limit(PAGE)
    return list(session.scalars(statement.options(lazyload("*"))))


def _index_page(
    index: PictureIndex, session: Session, rows: list[Any], store: Store | None, anew: bool, result: IndexResult
) -> IndexResult:
    found = [(row, index.source.find(row, store, session)) for row in rows]
    identities = [tuple(index.mapper.primary_key_from_instance(row)) for row in rows]
    known = index.sources(session, identities)
    pictures = [picture for _, picture in found if picture is not None]
    wanted = [picture for picture in pictures if anew or known.get(picture.identity) != picture.source]
    ignored = [identity for identity, (_, picture) in zip(identities, found, strict=True) if picture is None]
    stale = [identity for identity in ignored if identity in known]
    measured = measure(index, session, wanted, side_by_side=True) if wanted else []
    session.rollback()  # nothing is held while others may want to write
    _write(index, session, measured, stale)
    failures = [
        IndexFailure(index.cls, each.picture.identity, without_traceback(each.error))
        for each in measured
        if each.error is not None
    ]
    return replace(
        result,
        examined=result.examined + len(rows),
        indexed=result.indexed + len(measured) - len(failures),
        computed=result.computed + len({each.checksum for each in measured if each.is_new and each.error is None}),
        present=result.present + len(pictures) - len(wanted),
        ignored=result.ignored + len(ignored),
        removed=result.removed + len(stale),
        failed=result.failed + len(failures),
        failures=(*result.failures, *failures)[:FAILURES_KEPT],
    )


def _write(index: PictureIndex, session: Session, measured: list[Measured], stale: list[tuple[Any, ...]]) -> None:
    try:
        index.remove(session, stale)
        index.write(session, measured)
        session.commit()
    except IntegrityError:  # a row of the page was deleted, or indexed by its own transaction: find out which
        session.rollback()
        for each in measured:
            try:
                index.write(session, [each])
                session.commit()
            except IntegrityError:
                session.rollback()


class IndexingThread(threading.Thread):
    """What is done meanwhile.

    :param work: gives the result
    """

    def __init__(self, work: Callable[[], IndexResult]) -> None:
        super().__init__(name="imageattach-index", daemon=True)
        self._work, self._context = work, copy_context()
        self._result: IndexResult | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._context.run(self._work)
        except BaseException as error:  # handed to whoever waits
            self._error = error
            _log.exception("indexing has failed")

    def result(self) -> IndexResult:
        """Wait for its end.

        :raises Exception: what it failed with
        """
        self.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result
