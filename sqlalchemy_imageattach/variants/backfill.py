"""Thumbnails for the pictures that are there already, after a program has come to want another size or format.

::

    with Session(engine) as session:
        result = backfill(session, Base, [Rendition(width=300, format="webp")], store)
    assert result.ok, result.failures

Each owner is a transaction of its own, which is tried again where another one was in its way.  So it can be broken off
and started again at any time, while the application is running; what is there already costs a look at its row.

A thumbnail is there if there is one of its size, type and variant, as reckoned from the row of the original.  Rows of
1.x may have width and height of a photograph exchanged: if there is none by such a row, the file is looked at, and what
has been made of the upright picture is found.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Mapper, Session, selectinload

from ..arguments import wrong_type, wrong_value
from ..bulk.classes import own_attachments, owner_mappers
from ..bulk.failures import BulkResult, Failure
from ..bulk.rows import RowReader, bind_of, sync_session
from ..concurrency import run_blocking
from ..context import find_store
from ..entity import BaseImageSet, ImageAttachment, MultipleImageSet, is_conflict
from ..errors import InvalidValueError
from ..imaging import Rendition
from ..store import Store

__all__ = ["BackfillResult", "Failure", "backfill"]

#: The longest pauses, in seconds, before an owner whom another transaction got in the way of is tried again.
_PAUSES = (0.05, 0.2, 0.8, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillResult(BulkResult):
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


def backfill(
    session: Session,
    declarative_base: Any,
    renditions: Sequence[Rendition],
    store: Store,
    *,
    regenerate: bool = False,
    reuse_original: bool = False,
    classes: Collection[type[Any] | str] = (),
    progress: Callable[[BackfillResult], object] | None = None,
) -> BackfillResult:
    """Afterwards each picture has a thumbnail of each rendition, but for those of the owners that failed.

    The pictures are decoded once for all their thumbnails, one owner after the other.

    :param session: a session that is in no transaction: for each owner one of its own is used on the same database
    :param declarative_base: the base class of the mapped classes, or their registry
    :param renditions: the thumbnails wanted
    :param store: the store that has the originals, and is to have the thumbnails
    :param regenerate: whether to make those anew that are there already, e.g. since the quality has changed
    :param reuse_original: whether an original will do that has the size and the type of a thumbnail; tables of 1.x have
        no room for both
    :param classes: the image classes to make thumbnails for, or their names; by default all
    :param progress: called with the result so far after each owner
    :raises InvalidTypeError: an argument is of the wrong type
    :raises InvalidValueError: there are no renditions, or the session is in a transaction
    """
    own, store = sync_session(session), find_store(store)
    if own.in_transaction():
        raise InvalidValueError("session: expected one that is in no transaction; commit it or roll it back first")
    if not renditions or not all(isinstance(rendition, Rendition) for rendition in renditions):
        raise wrong_type("renditions", renditions, "one Rendition or more", got=repr(renditions))
    work = _chosen(owner_mappers(declarative_base), set(classes))
    reader, result = RowReader(own), BackfillResult()
    for mapper, attachments in work.items():
        for identity in reader.identities(mapper):
            one = _Owner(own, mapper, identity, attachments, renditions, store, regenerate, reuse_original)
            result = one.backfill(result.counting(owners=1))
            if progress is not None:
                progress(result)
    return result


_Attachments = list[ImageAttachment[Any]]


def _chosen(mappers: Sequence[Mapper[Any]], classes: set[type[Any] | str]) -> dict[Mapper[Any], _Attachments]:
    """The owners, each with those of its attachments that have pictures of ``classes``."""
    of_all = {mapper: own_attachments(mapper) for mapper in mappers}
    known = {attachment.mapper.class_ for attachments in of_all.values() for attachment in attachments}
    names = {cls.__name__ for cls in known}
    if unknown := classes - known - names:
        shown = ", ".join(sorted(each if isinstance(each, str) else repr(each) for each in unknown))
        raise wrong_value("classes", unknown, f"some of the image classes {', '.join(sorted(names))}", got=shown)
    chosen = {cls for cls in known if not classes or cls in classes or cls.__name__ in classes}
    work = {mapper: [each for each in all_ if each.mapper.class_ in chosen] for mapper, all_ in of_all.items()}
    return {mapper: attachments for mapper, attachments in work.items() if attachments}


@dataclass(frozen=True, slots=True)
class _Owner:
    """One owner, and what its pictures are to have."""

    session: Session
    mapper: Mapper[Any]
    identity: tuple[Any, ...]
    attachments: _Attachments
    renditions: Sequence[Rendition]
    store: Store
    regenerate: bool
    reuse_original: bool

    def backfill(self, result: BackfillResult) -> BackfillResult:
        try:
            pictures, generated = self._until_it_succeeds()
        except DBAPIError as error:
            if not isinstance(error, IntegrityError) and not is_conflict(error):
                raise  # the database failed, and not the picture
            return result.with_failure(Failure(error, self.mapper.class_, self.identity))
        except Exception as error:
            return result.with_failure(Failure(error, self.mapper.class_, self.identity))
        return result.counting(pictures=pictures, generated=generated)

    def _until_it_succeeds(self) -> tuple[int, int]:
        for pause in _PAUSES:
            try:
                return self._attempt()
            except Exception as error:  # somebody else was at it: see what is there now
                if not isinstance(error, IntegrityError) and not is_conflict(error):
                    raise
            run_blocking(time.sleep, pause * random.random())
        return self._attempt()

    def _attempt(self) -> tuple[int, int]:
        with Session(bind_of(self.session, self.mapper)) as private:
            options = [selectinload(attachment.class_attribute) for attachment in self.attachments]
            owner = private.get(self.mapper.class_, self.identity, options=options)
            values = [] if owner is None else [getattr(owner, attachment.key) for attachment in self.attachments]
            sets = [each for images in values for each in _image_sets(images) if each.original is not None]
            generated = sum(map(self._generate, sets))
            private.commit()
            return len(sets), generated

    def _generate(self, image_set: BaseImageSet[Any]) -> int:
        there = {id(image) for image in image_set}
        if self.regenerate:
            made = image_set.generate_thumbnails(
                self.renditions, self.store, regenerate=True, reuse_original=self.reuse_original
            )
        else:
            made = image_set.thumbnails(self.renditions, self.store, reuse_original=self.reuse_original)
        return len({id(image) for image in made} - there)


def _image_sets(images: Any) -> Sequence[BaseImageSet[Any]]:
    return images.image_sets if isinstance(images, MultipleImageSet) else [images]
