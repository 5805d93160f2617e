"""What is to be migrated, and how: from arguments to a plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any, get_args

from sqlalchemy.orm import Mapper

from ..arguments import check_callable, check_choice, check_type, wrong_type, wrong_value
from ..bulk.classes import image_mappers, mapper_of_images
from ..bulk.rows import KeyRange, RowReader, Shard
from ..bulk.workers import check_count, worker_count
from ..context import find_store, own_store
from ..entity import Image
from ..store import Store, are_same_place
from .copier import Copier, Verify
from .result import MigrationResult
from .transfer import OnError, Options, Transfer

__all__ = ["MigrationPlan", "migrate", "migrate_class"]


class MigrationPlan:
    """A migration that is done by iterating over it, or by :meth:`execute`.  Doing it again continues or checks it.

    Iterating gives each image whose blob has just been copied; those that the destination had already are passed over.
    The images are in no session.  Breaking off leaves what was copied where it is.

    :param function: what does the work: it takes nothing, and returns an iterator of images
    """

    def __init__(self, function: Callable[[], Iterator[Image]]) -> None:
        self.function = function
        self._transfer: Transfer | None = None

    @property
    def result(self) -> MigrationResult:
        """What the last iteration has done so far."""
        return MigrationResult() if self._transfer is None else self._transfer.result

    def __iter__(self) -> Iterator[Image]:
        return self.function()

    def execute(self, callback: Callable[[Image], object] | None = None) -> MigrationResult:
        """Afterwards each blob is in the destination, or among the failures of the result.

        :param callback: called with each image whose blob has been copied, in the calling thread
        :raises InvalidTypeError: ``callback`` cannot be called
        """
        if callback is not None:
            check_callable("callback", callback, "a function that takes an image")
        for image in self:
            if callback is not None:
                callback(image)
        return self.result


def migrate(
    session: Any,
    declarative_base: Any,
    source: Store,
    destination: Store,
    *,
    workers: int | None = None,
    dry_run: bool = False,
    verify: Verify = "copy",
    on_error: OnError = "collect",
    give_up_after: int | None = 100,
    shard: tuple[int, int] | None = None,
    classes: Collection[type[Any] | str] = (),
    progress: Callable[[MigrationResult], object] | None = None,
) -> MigrationPlan:
    """A plan to copy the blobs of all image classes of ``declarative_base``; nothing is done before it is executed.

    A class that has a store of its own (:attr:`~sqlalchemy_imageattach.entity.Image.image_store`) is left out unless
    that is the source or the destination, or one that stands for either, or the class is named.

    ::

        for image in migrate(session, Base, source, destination):
            print("copied", image)

    The session is only read with, and as if by somebody else: it flushes, loads and expires nothing.

    :param session: a session of the database, and not of a replica, which may lack new rows; what it has not flushed is
        not seen, and what the application filters out of its own queries is
    :param declarative_base: the base class of the mapped classes, or their registry
    :param source: the store to copy from; it is never written to
    :param destination: the store to copy to; of a ``MirrorStore`` one of its stores
    :param workers: how many blobs to copy at a time, each in a thread of its own; the default is 4, but 1 if one of the
        stores was written for 1.x, whose interface did not ask for thread safety
    :param dry_run: only find out what would be copied
    :param verify: ``"copy"`` compares the bytes on their way with the length and the checksum that the row records;
        ``"read-back"`` moreover reads what was written, and also what was there before; ``"none"`` copies what there is
    :param on_error: ``"collect"`` goes on and reports failures in the result, the first 1,000 in detail; ``"raise"``
        stops at the first; a function is called with each :class:`Failure`
    :param give_up_after: after so many failures to write in a row the destination is taken to be full or broken, and
        the rest is not tried; ``None`` never gives up
    :param shard: ``(i, n)``: only the part ``i`` of ``n`` parts, counted from 0, into which all blobs fall by their
        names, so that ``n`` processes can share the work; each of them reads all rows
    :param classes: only these image classes, or their names, whatever stores they have; by default all
    :param progress: called in the calling thread with the result so far, whenever another row is settled
    :raises InvalidTypeError: an argument is of the wrong type, e.g. a store that is none
    :raises InvalidValueError: both stores are the same place, the destination is two, or another argument is out of
        range
    """
    mappers = image_mappers(declarative_base)
    source, destination = _stores(source, destination)
    copier = Copier(source, destination, _verification(verify), dry_run)
    threads = worker_count(workers, source, destination)
    options = _options(threads, on_error, give_up_after, shard, None, progress)
    named = _named(mappers, classes)
    if not named:
        return _plan(session, mappers, source, copier, replace(options, concerns=_concerned(source, destination)))
    chosen = [each for each in mappers if any(sub.class_ in named for sub in each.self_and_descendants)]
    options = replace(options, concerns=lambda cls: issubclass(cls, tuple(named)))
    return _plan(session, chosen, source, copier, options)


def migrate_class(
    session: Any,
    cls: type[Image],
    source: Store,
    destination: Store,
    *,
    workers: int | None = None,
    dry_run: bool = False,
    verify: Verify = "copy",
    on_error: OnError = "collect",
    give_up_after: int | None = 100,
    shard: tuple[int, int] | None = None,
    key_range: KeyRange | None = None,
    progress: Callable[[MigrationResult], object] | None = None,
) -> MigrationPlan:
    """A plan to copy the blobs of one image class and its subclasses; otherwise like :func:`migrate`.

    :param cls: the image class, whatever store it has
    :param key_range: only the rows with these primary keys, where others work on the others; see
        :func:`~sqlalchemy_imageattach.migration.migration_jobs`
    :raises InvalidTypeError: among others, if ``cls`` is no mapped image class
    """
    mappers = [mapper_of_images(cls)]
    source, destination = _stores(source, destination)
    copier = Copier(source, destination, _verification(verify), dry_run)
    threads = worker_count(workers, source, destination)
    options = _options(threads, on_error, give_up_after, shard, key_range, progress)
    return _plan(session, mappers, source, copier, options)


def migrate_range(
    session: Any, mapper: Mapper[Any], source: Store, destination: Store, key_range: KeyRange, verify: Verify
) -> MigrationPlan:
    """The part of what :func:`migrate` does that is about rows of one class with these primary keys."""
    source, destination = _stores(source, destination)
    options = _options(worker_count(None, source, destination), "collect", 100, None, key_range, None)
    options = replace(options, concerns=_concerned(source, destination))
    return _plan(session, [mapper], source, Copier(source, destination, _verification(verify), False), options)


def _concerned(source: Store, destination: Store) -> Callable[[type[Any]], bool]:
    """Tells whether a migration between these two is about the blobs of a class; each is asked for its store once."""
    known: dict[type[Any], bool] = {}

    def concerns(cls: type[Any]) -> bool:
        if cls not in known:
            own = own_store(cls)
            known[cls] = own is None or are_same_place(own, source) or are_same_place(own, destination)
        return known[cls]

    return concerns


# --- what was asked for ----------------------------------------------------------------------------------------------


def _plan(session: Any, mappers: list[Mapper[Any]], source: Store, copier: Copier, options: Options) -> MigrationPlan:
    reader = RowReader(session)

    def run() -> Iterator[Image]:
        plan._transfer = Transfer(reader, mappers, source, copier, options)
        return plan._transfer.run()

    plan = MigrationPlan(run)
    return plan


def _named(mappers: list[Mapper[Any]], classes: Collection[type[Any] | str]) -> set[type[Any]]:
    known = {each.class_ for mapper in mappers for each in mapper.self_and_descendants}
    names = {cls.__name__ for cls in known}
    if unknown := set(classes) - known - names:
        shown = ", ".join(sorted(each if isinstance(each, str) else repr(each) for each in unknown))
        raise wrong_value("classes", unknown, f"some of the image classes {', '.join(sorted(names))}", got=shown)
    return {cls for cls in known if cls in classes or cls.__name__ in classes}


def _verification(verify: Verify) -> Verify:
    check_choice("verify", verify, get_args(Verify))
    return verify


def _stores(source: Store, destination: Store) -> tuple[Store, Store]:
    source, destination = _store("source", source), _store("destination", destination)
    if destination.replicas():  # what one of its stores has would count as there
        advice = "migrate to its stores (first, second) one by one"
        raise wrong_value("destination", destination, "a single store", advice)
    # what several stores have together may be brought into one of them
    is_several = bool(source.parts()) and source != destination
    if not is_several and are_same_place(source, destination):
        came = f"{source!r} as the source and the destination: nothing to migrate"
        raise wrong_value("", source, "two different stores", got=came)
    return source, destination


def _options(
    workers: int,
    on_error: OnError,
    give_up_after: int | None,
    shard: tuple[int, int] | None,
    key_range: KeyRange | None,
    progress: Callable[[MigrationResult], object] | None,
) -> Options:
    if give_up_after is not None:
        check_count("give_up_after", give_up_after)
    if not callable(on_error) and on_error not in ("collect", "raise"):
        raise wrong_value("on_error", on_error, "'collect', 'raise' or a function that takes a Failure")
    if progress is not None and not callable(progress):
        raise wrong_type("progress", progress, "a function that takes a MigrationResult", got=repr(progress))
    if key_range is not None:
        check_type("key_range", key_range, KeyRange)
    return Options(workers, on_error, give_up_after, _shard(shard), key_range, progress)


def _shard(shard: tuple[int, int] | None) -> Shard | None:
    if shard is None:
        return None
    try:
        index, count = shard
    except (TypeError, ValueError):
        raise wrong_type("shard", shard, "two integers (i, n)", got=repr(shard)) from None
    return Shard(index, count)


def _store(name: str, store: Store) -> Store:
    if store is None:
        raise wrong_type(name, store, "a store", got="None")
    return find_store(store)
