"""Brings what is stored to what the classes declare, after a declaration has changed.

::

    with Session(engine) as session:
        print(bring_up_to_date(session, Base, store))                      # what would be done
        result = bring_up_to_date(session, Base, store, dry_run=False)
    assert result.ok, result.failures

What is missing is made.  What was made for a declared variant and is part of none any more goes; what the application
has asked for by itself stays.  Each owner is a transaction of its own: it can be broken off and started again at any
time, while the application is running.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ..bulk.failures import BulkResult
from ..bulk.rows import Shard, sync_session
from ..entity import BaseImageSet
from ..entity.attaching import remove_some
from ..entity.declared import undeclared
from ..errors import InvalidValueError
from ..store import Store
from .owners import Owner, owners, places_of

__all__ = ["UpkeepResult", "bring_up_to_date", "treat_owners"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepResult(BulkResult):
    """What :func:`bring_up_to_date` has done, or would do.

    :param owners: owners that it came across
    :param pictures: pictures that they have
    :param generated: images made
    :param removed: images removed, since no variant declares them any more
    :param failed: owners for which it failed; nothing was changed for them
    :param failures: the first 1,000 of these
    """

    owners: int = 0
    pictures: int = 0
    generated: int = 0
    removed: int = 0


def bring_up_to_date(
    session: Session,
    declarative_base: Any,
    store: Store | None = None,
    *,
    dry_run: bool = True,
    on_demand: bool = False,
    classes: Collection[type[Any] | str] = (),
    shard: tuple[int, int] | None = None,
    progress: Callable[[UpkeepResult], object] | None = None,
) -> UpkeepResult:
    """Afterwards each picture has just the images that its class declares, but for owners that failed.

    :param session: a session that is in no transaction: for each owner one of its own is used on the same database
    :param declarative_base: the base class of the mapped classes, or their registry
    :param store: the store that has the originals and is to have the rest, of those classes that have no
        :attr:`~sqlalchemy_imageattach.entity.Image.image_store`; by default the one of the context, of the session or
        of the process
    :param dry_run: only count
    :param on_demand: whether to make those as well that wait until somebody wants them
    :param classes: the image classes, or their names; by default all
    :param shard: ``(i, n)`` for the owners of part ``i`` of ``n``, from 0, to share the work among processes
    :param progress: called with the result so far after each owner
    :raises ContextError: there is no store for a class
    :raises InvalidTypeError: an argument is of the wrong type
    :raises InvalidValueError: the session is in a transaction, or there is no such class or part
    """
    own = sync_session(session)
    if own.in_transaction():
        raise InvalidValueError("session: expected one that is in no transaction; commit it or roll it back first")
    places = places_of(own, declarative_base, classes, store)
    part = None if shard is None else Shard(*shard)
    found = owners(own, declarative_base, classes, part)
    return treat_owners(found, places.store_of, dry_run=dry_run, on_demand=on_demand, progress=progress)


def treat_owners(
    found: Iterable[Owner],
    store_of: Callable[[type[Any]], Store],
    *,
    dry_run: bool,
    on_demand: bool,
    progress: Callable[[UpkeepResult], object] | None = None,
) -> UpkeepResult:
    """Afterwards the pictures of these owners have just the images that their classes declare, but for those that
    failed.

    :param store_of: gives the store of each image class
    """
    result = UpkeepResult()

    def treat(image_set: BaseImageSet[Any]) -> Mapping[str, int]:
        names = _names(image_set, on_demand=on_demand)
        superfluous = undeclared(image_set)
        if dry_run:
            missing = {rendition for name in names for rendition in image_set.variant(name).missing}
            return {"generated": len(missing), "removed": len(superfluous)}
        store = store_of(image_set.image_class)
        there = {id(image) for image in image_set}
        made = image_set.make_variants(*names, store=store) if names else []
        remove_some(image_set, superfluous, store)
        return {"generated": len({id(image) for image in made} - there), "removed": len(superfluous)}

    for owner in found:
        result = owner.treat(result.counting(owners=1), treat)
        if progress is not None:
            progress(result)
    return result


def _names(image_set: BaseImageSet[Any], *, on_demand: bool) -> list[str]:
    variants = image_set.image_class.image_variants
    return [name for name, variant in variants.items() if on_demand or variant.make != "on demand"]
