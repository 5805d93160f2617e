"""Thumbnails for the pictures that are there already, after a program has come to want another size or format.

::

    with Session(engine) as session:
        result = backfill(session, Base, [Rendition(width=300, format="webp")], store)
    assert result.ok, result.failures

Each owner is a transaction of its own, so it can be broken off and started again at any time, while the application is
running; what is there already costs a look at its row.

A thumbnail is there if there is an image of its size and type, as reckoned from the row of the original.  Rows of 1.x
may have width and height of a photograph exchanged: if there is none by such a row, the file is looked at, and what has
been made of the upright picture is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Mapper, Session, selectinload

from ..bulk.classes import own_attachments, owner_mappers
from ..bulk.failures import without_traceback
from ..bulk.keyset import between, key_columns
from ..bulk.rows import PAGE, bind_of, sync_session
from ..context import find_store
from ..entity import BaseImageSet, MultipleImageSet
from ..entity.thumbnails import generate_missing
from ..errors import ConcurrentReplacementError, InvalidTypeError, InvalidValueError
from ..imaging import Rendition
from ..store import Store

__all__ = ["BackfillFailure", "BackfillResult", "backfill"]

#: So many failures are kept in detail; all are counted.
FAILURES_KEPT = 1000


@dataclass(frozen=True, slots=True)
class BackfillFailure:
    """An owner whose thumbnails could not be made.

    :param owner_class: its class
    :param identity: its primary key
    :param error: why; without its traceback
    """

    owner_class: type[Any]
    identity: tuple[Any, ...]
    error: Exception

    def __str__(self) -> str:
        return f"{self.owner_class.__name__} {self.identity}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """What :func:`backfill` has done.

    :param owners: owners that it came across
    :param pictures: pictures that they have
    :param generated: thumbnails made
    :param failed: owners for which it failed; none of their thumbnails was kept
    :param failures: the first 1,000 of these
    """

    owners: int = 0
    pictures: int = 0
    generated: int = 0
    failed: int = 0
    failures: tuple[BackfillFailure, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether each picture has each thumbnail now."""
        return not self.failed


def backfill(
    session: Session,
    declarative_base: Any,
    renditions: Sequence[Rendition],
    store: Store,
    *,
    regenerate: bool = False,
    progress: Callable[[BackfillResult], object] | None = None,
) -> BackfillResult:
    """Afterwards each picture has a thumbnail of each rendition, but for those of the owners that failed.

    The pictures are decoded once for all their thumbnails, one owner after the other.

    :param session: a session that is in no transaction: for each owner one of its own is used on the same database
    :param declarative_base: the base class of the mapped classes, or their registry
    :param renditions: the thumbnails wanted; where one would be as large as the original, that will do
    :param store: the store that has the originals, and is to have the thumbnails
    :param regenerate: whether to make those anew that are there already, e.g. since the quality has changed
    :param progress: called with the result so far after each owner
    :raises InvalidTypeError: an argument is of the wrong type
    :raises InvalidValueError: there are no renditions, or the session is in a transaction
    """
    own, store = sync_session(session), find_store(store)
    if own.in_transaction():
        msg = "session: expected one that is in no transaction; commit it or roll it back first"
        raise InvalidValueError(msg)
    if not renditions or not all(isinstance(rendition, Rendition) for rendition in renditions):
        msg = f"renditions: expected one Rendition or more, got {renditions!r}"
        raise InvalidTypeError(msg)
    result = BackfillResult()
    for mapper in owner_mappers(declarative_base):
        for identity in _identities(own, mapper):
            result = _backfill_one(result, own, mapper, identity, renditions, store, regenerate)
            if progress is not None:
                progress(result)
    return result


def _identities(session: Session, mapper: Mapper[Any]) -> Iterator[tuple[Any, ...]]:
    columns = key_columns(mapper, mapper.class_)
    bind = bind_of(session, mapper)
    after: tuple[Any, ...] | None = None
    while True:
        statement = select(*columns).where(*between(columns, after, None, bind.dialect.name))
        with Session(bind) as private:
            page = [tuple(row) for row in private.execute(statement.order_by(*columns).limit(PAGE))]
        if not page:
            return
        yield from page
        after = page[-1]


def _backfill_one(
    result: BackfillResult,
    session: Session,
    mapper: Mapper[Any],
    identity: tuple[Any, ...],
    renditions: Sequence[Rendition],
    store: Store,
    regenerate: bool,
) -> BackfillResult:
    def attempt() -> tuple[int, int]:
        with Session(bind_of(session, mapper)) as private:
            pictures, generated = _generate(private, mapper, identity, renditions, store, regenerate)
            private.commit()
            return pictures, generated

    owners = result.owners + 1
    try:
        try:
            pictures, generated = attempt()
        except (ConcurrentReplacementError, IntegrityError):  # somebody else was at it: see what is there now
            pictures, generated = attempt()
    except OperationalError:
        raise  # the database failed, and not the picture
    except Exception as error:
        failure = BackfillFailure(mapper.class_, identity, without_traceback(error))
        failures = (*result.failures, failure)[:FAILURES_KEPT]
        return replace(result, owners=owners, failed=result.failed + 1, failures=failures)
    return replace(result, owners=owners, pictures=result.pictures + pictures, generated=result.generated + generated)


def _generate(
    session: Session,
    mapper: Mapper[Any],
    identity: tuple[Any, ...],
    renditions: Sequence[Rendition],
    store: Store,
    regenerate: bool,
) -> tuple[int, int]:
    own = own_attachments(mapper)
    options = [selectinload(attachment.class_attribute) for attachment in own]
    owner = session.get(mapper.class_, identity, options=options)
    pictures = generated = 0
    for attachment in own if owner is not None else ():
        for image_set in _image_sets(getattr(owner, attachment.key)):
            original = image_set.original
            if original is None:
                continue
            pictures += 1
            if regenerate:
                made = image_set.generate_thumbnails(renditions, store)
            else:
                made = generate_missing(image_set, renditions, store)
            generated += len({id(image) for image in made} - {id(original)})
    return pictures, generated


def _image_sets(images: Any) -> Sequence[BaseImageSet[Any]]:
    return images.image_sets if isinstance(images, MultipleImageSet) else [images]
