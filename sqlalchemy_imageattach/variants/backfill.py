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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ..arguments import wrong_type
from ..bulk.failures import BulkResult, Failure
from ..bulk.rows import sync_session
from ..entity import BaseImageSet
from ..errors import InvalidValueError
from ..imaging import Rendition
from ..store import Store
from .owners import owners, places_of

__all__ = ["BackfillResult", "Failure", "backfill"]


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
    store: Store | None = None,
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
    :param store: the store that has the originals and is to have the thumbnails, of those classes that have no
        :attr:`~sqlalchemy_imageattach.entity.Image.image_store`; by default the one of the context, of the session or
        of the process
    :param regenerate: whether to make those anew that are there already, e.g. since the quality has changed
    :param reuse_original: whether an original will do that has the size and the type of a thumbnail; tables of 1.x have
        no room for both
    :param classes: the image classes to make thumbnails for, or their names; by default all
    :param progress: called with the result so far after each owner
    :raises ContextError: there is no store for a class
    :raises InvalidTypeError: an argument is of the wrong type
    :raises InvalidValueError: there are no renditions, or the session is in a transaction
    """
    own = sync_session(session)
    if own.in_transaction():
        raise InvalidValueError("session: expected one that is in no transaction; commit it or roll it back first")
    if not renditions or not all(isinstance(rendition, Rendition) for rendition in renditions):
        raise wrong_type("renditions", renditions, "one Rendition or more", got=repr(renditions))
    result, places = BackfillResult(), places_of(own, declarative_base, classes, store)

    def make(image_set: BaseImageSet[Any]) -> Mapping[str, int]:
        there, store = {id(image) for image in image_set}, places.store_of(image_set.image_class)
        if regenerate:
            made = image_set.generate_thumbnails(renditions, store, regenerate=True, reuse_original=reuse_original)
        else:
            made = image_set.thumbnails(renditions, store, reuse_original=reuse_original)
        return {"generated": len({id(image) for image in made} - there)}

    for owner in owners(own, declarative_base, classes):
        result = owner.treat(result.counting(owners=1), make)
        if progress is not None:
            progress(result)
    return result
