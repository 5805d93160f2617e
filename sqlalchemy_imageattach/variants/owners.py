"""One owner after the other, each in a transaction of its own, tried again where another one was in its way."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Mapper, Session, selectinload

from ..arguments import wrong_value
from ..bulk.classes import own_attachments, owner_mappers
from ..bulk.failures import BulkResult, Failure
from ..bulk.places import Places
from ..bulk.rows import KeyRange, RowReader, Shard, bind_of
from ..concurrency import run_blocking
from ..entity import BaseImageSet, ImageAttachment, MultipleImageSet, is_conflict
from ..store import Store

__all__ = ["Owner", "chosen_owners", "owners", "owners_within", "places_of"]

ResultT = TypeVar("ResultT", bound=BulkResult)

#: The longest pauses, in seconds, before an owner whom another transaction got in the way of is tried again.
_PAUSES = (0.05, 0.2, 0.8, 2)

_Attachments = list[ImageAttachment[Any]]


@dataclass(frozen=True, slots=True)
class Owner:
    """One owner, and those of its attachments that matter."""

    session: Session
    mapper: Mapper[Any]
    identity: tuple[Any, ...]
    attachments: _Attachments

    def treat(self, result: ResultT, work: Callable[[BaseImageSet[Any]], Mapping[str, int]]) -> ResultT:
        """``result`` with what ``work`` counts of the owner's pictures, or with its failure; then nothing is kept."""
        try:
            counts = self._until_it_succeeds(work)
        except DBAPIError as error:
            if not isinstance(error, IntegrityError) and not is_conflict(error):
                raise  # the database failed, and not the picture
            return result.with_failure(Failure(error, self.mapper.class_, self.identity))
        except Exception as error:
            return result.with_failure(Failure(error, self.mapper.class_, self.identity))
        return result.counting(**counts)

    def _until_it_succeeds(self, work: Callable[[BaseImageSet[Any]], Mapping[str, int]]) -> Mapping[str, int]:
        for pause in _PAUSES:
            try:
                return self._attempt(work)
            except Exception as error:  # somebody else was at it: see what is there now
                if not isinstance(error, IntegrityError) and not is_conflict(error):
                    raise
            run_blocking(time.sleep, pause * random.random())
        return self._attempt(work)

    def _attempt(self, work: Callable[[BaseImageSet[Any]], Mapping[str, int]]) -> Mapping[str, int]:
        with Session(bind_of(self.session, self.mapper)) as private:
            options = [selectinload(attachment.class_attribute) for attachment in self.attachments]
            owner = private.get(self.mapper.class_, self.identity, options=options)
            values = [] if owner is None else [getattr(owner, attachment.key) for attachment in self.attachments]
            sets = [each for images in values for each in _image_sets(images) if each.original is not None]
            counts = {"pictures": len(sets)}
            for image_set in sets:
                for name, count in work(image_set).items():
                    counts[name] = counts.get(name, 0) + count
            private.commit()
            return counts


def owners(
    session: Session, declarative_base: Any, classes: Collection[type[Any] | str], shard: Shard | None = None
) -> Iterator[Owner]:
    """All owners of pictures of ``classes``, or of all classes if there are none, in the order of their keys.

    :raises InvalidValueError: one of ``classes`` is no image class
    """
    reader = RowReader(session)
    for mapper, attachments in chosen_owners(declarative_base, classes).items():
        for identity in reader.identities(mapper):
            # hash() would differ from one process to the next
            if shard is None or zlib.crc32(repr(identity).encode()) % shard.count == shard.index:
                yield Owner(session, mapper, identity, attachments)


def owners_within(
    session: Session,
    declarative_base: Any,
    classes: Collection[type[Any] | str],
    mapper: Mapper[Any],
    key_range: KeyRange,
) -> Iterator[Owner]:
    """Those of one class of owners whose keys are in ``key_range``, if they have pictures of ``classes``."""
    attachments = chosen_owners(declarative_base, classes).get(mapper)
    for identity in RowReader(session).identities(mapper, key_range) if attachments else ():
        yield Owner(session, mapper, identity, attachments or [])


def chosen_owners(declarative_base: Any, classes: Collection[type[Any] | str]) -> dict[Mapper[Any], _Attachments]:
    """The classes of owners, each with those of its attachments that have pictures of ``classes``.

    :raises InvalidValueError: one of ``classes`` is no image class
    """
    classes = set(classes)
    of_all = {mapper: own_attachments(mapper) for mapper in owner_mappers(declarative_base)}
    known = {attachment.mapper.class_ for attachments in of_all.values() for attachment in attachments}
    names = {cls.__name__ for cls in known}
    if unknown := classes - known - names:
        shown = ", ".join(sorted(each if isinstance(each, str) else repr(each) for each in unknown))
        raise wrong_value("classes", unknown, f"some of the image classes {', '.join(sorted(names))}", got=shown)
    chosen = {cls for cls in known if not classes or cls in classes or cls.__name__ in classes}
    work = {mapper: [each for each in all_ if each.mapper.class_ in chosen] for mapper, all_ in of_all.items()}
    return {mapper: attachments for mapper, attachments in work.items() if attachments}


def places_of(
    session: Session, declarative_base: Any, classes: Collection[type[Any] | str], store: Store | None
) -> Places:
    """The stores of ``classes``, or of all classes if there are none, so that none is missing when it is needed.

    :raises ContextError: there is no store for a class
    """
    places = Places(store, session)
    for attachments in chosen_owners(declarative_base, classes).values():
        for attachment in attachments:
            places.store_of(attachment.mapper.class_)
    return places


def _image_sets(images: Any) -> Sequence[BaseImageSet[Any]]:
    return images.image_sets if isinstance(images, MultipleImageSet) else [images]
