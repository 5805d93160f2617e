"""``imageattach index``, ``imageattach search`` and ``imageattach duplicates``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.orm import Session, registry

from .. import search
from ..context import store_context
from ..search.index import PictureIndex
from ..search.registry import indexes_of
from ..store import Store
from .exits import FAILURES, FINE, PROBLEMS
from .output import Output, values_of
from .params import database_options, output_options, store_if_any

__all__ = ["duplicates_command", "index_command", "search_command"]

_store_option = click.option(
    "--store",
    metavar="STORE",
    callback=store_if_any,
    help="The store that has the pictures of classes with the Image mixin, but for those that have one of their own.",
)
_class_option = click.option("--class", "class_name", metavar="NAME", help="Only pictures of this class.")
_extractor_option = click.option(
    "--extractor", metavar="NAME", help="Only what this extractor makes; or MODULE:NAME, one to index all classes by."
)


@click.command("index")
@_store_option
@_class_option
@_extractor_option
@click.option("--anew", is_flag=True, help="Read all pictures again, and not only those that are not indexed yet.")
@database_options
@output_options
def index_command(
    session: Session,
    output: Output,
    models: Any,
    store: Store | None,
    class_name: str | None,
    extractor: str | None,
    anew: bool,
) -> int:
    """Index the pictures that are there, by what the models declare for them: embeddings and fingerprints.

    What is indexed already is passed over, so it can be broken off and started again at any time, while the application
    is running.  What is left of pictures that are gone is pruned, and so is what former versions of an extractor made.
    """
    failed, names = 0, ("examined", "indexed", "computed", "present", "ignored", "removed", "failed", "ok")
    with nullcontext() if store is None else store_context(store):
        for index in _indexes(models, class_name, extractor):
            name = _name(index)

            def progress(result: Any, name: str = name) -> None:
                output.progress(f"{name}: {result.examined:,} rows, {result.indexed:,} indexed")

            result = search.build_index(index, session, anew=anew, progress=progress)
            for failure in result.failures:
                output.item(
                    "failure",
                    failure,
                    image_class=failure.cls.__name__,
                    identity=failure.identity,
                    error=str(failure.error),
                )
            output.result(
                f"{name}: {result.indexed:,} indexed ({result.computed:,} of them computed), {result.present:,} there"
                f" already, {result.removed:,} removed, {result.failed:,} failed",
                image_class=index.cls.__name__,
                extractor=index.measure.name,
                **values_of(result, names),
            )
            failed += result.failed
    return FAILURES if failed else FINE


@click.command("search")
@click.argument("picture", metavar="PICTURE", type=click.Path(exists=True, dir_okay=False))
@_class_option
@_extractor_option
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, help="How many pictures.")
@click.option("--within", type=click.FloatRange(0, 2), help="Only pictures at most this far away, from 0 to 2.")
@database_options
@output_options
def search_command(
    session: Session,
    output: Output,
    models: Any,
    picture: str,
    class_name: str | None,
    extractor: str | None,
    limit: int,
    within: float | None,
) -> int:
    """Find the pictures that look most like the file PICTURE."""
    found: list[tuple[float, str, tuple[Any, ...]]] = []
    with open(picture, "rb") as file:
        blob = file.read()
    for index in _indexes(models, class_name, extractor):
        if isinstance(index, search.Embeddings):
            near = index.distance(blob)
            keys = [
                getattr(index.cls, index.mapper.get_property_by_column(key).key) for key in index.mapper.primary_key
            ]
            most = search.NOT_INDEXED - 1 if within is None else within
            statement = select(near.label("distance"), *keys).where(near <= most).order_by(near).limit(limit)
            found += [(row[0], index.cls.__name__, tuple(row[1:])) for row in session.execute(statement)]
    found.sort(key=lambda each: each[0])
    for distance, name, identity in found[:limit]:
        output.item(
            "picture", f"{distance:.4f}  {name} {identity}", distance=distance, image_class=name, identity=identity
        )
    output.result(f"{len(found[:limit]):,} found", found=len(found[:limit]))
    return FINE


@click.command("duplicates")
@_class_option
@click.option(
    "--threshold", type=click.IntRange(0, 64), help="How many of 64 bits may differ; by default as the models declare."
)
@database_options
@output_options
def duplicates_command(
    session: Session, output: Output, models: Any, class_name: str | None, threshold: int | None
) -> int:
    """List groups of pictures that look the same, of the classes that have fingerprints."""
    groups: list[search.DuplicateGroup] = []
    for index in _indexes(models, class_name, None):
        if isinstance(index, search.Fingerprints):
            groups += index.duplicates(session, threshold)
    for group in groups:
        text = f"{group.cls.__name__}: {', '.join(map(str, group.identities))}"
        output.item("group", text, image_class=group.cls.__name__, identities=group.identities)
    output.result(f"{len(groups):,} groups of pictures that look the same", groups=len(groups), ok=not groups)
    return PROBLEMS if groups else FINE


# --- what they share -------------------------------------------------------------------------------------------------


def _indexes(models: Any, class_name: str | None, extractor: str | None) -> list[PictureIndex]:
    classes = list(_classes(models, class_name))
    if extractor is not None and ":" in extractor:
        made = _extractor_of(extractor)
        bases = [cls for cls in classes if any(isinstance(index, search.Embeddings) for index in indexes_of(cls))]
        return [_with_extractor(cls, made, indexes_of(cls)) for cls in bases]
    found = [
        index
        for cls in classes
        for index in indexes_of(cls)
        if index.cls is cls and extractor in {None, index.measure.name}
    ]
    if not found:
        msg = (
            "expected models that declare something to be indexed, by embeddings_of(), fingerprints_of() or register()"
        )
        raise click.UsageError(msg)
    return found


def _with_extractor(cls: type[Any], extractor: Any, indexes: list[PictureIndex]) -> PictureIndex:
    like = next(index for index in indexes if isinstance(index, search.Embeddings))
    return search.Embeddings(cls, like.source, extractor, attribute=like.attribute, table_name=like.table.name)


def _extractor_of(text: str) -> Any:
    module, _, name = text.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise click.UsageError(f"--extractor: {error}") from error
    return found() if isinstance(found, type) else found


def _classes(models: Any, class_name: str | None) -> Iterator[type[Any]]:
    owner = models if isinstance(models, registry) else models.registry
    owner.configure()
    mappers = sorted(owner.mappers, key=lambda mapper: (mapper.class_.__name__, mapper.class_.__module__))
    names = {mapper.class_.__name__ for mapper in mappers}
    if class_name is not None and class_name not in names:
        raise click.UsageError(f"--class: expected one of {', '.join(sorted(names))}, got {class_name!r}")
    for mapper in mappers:
        if class_name in {None, mapper.class_.__name__}:
            yield mapper.class_


def _name(index: PictureIndex) -> str:
    attribute = f".{index.attribute}" if index.attribute else ""
    return f"{index.cls.__name__}{attribute} by {index.measure.name}"
