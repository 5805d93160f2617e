"""``imageattach dataset``: collect, count, pick, divide and export labelled pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
from sqlalchemy.orm import Session, sessionmaker

from ..dataset import (
    Candidate,
    Collection,
    LabelledImage,
    Split,
    SQLAlchemyDataset,
    check_label,
    collect,
    count,
    export,
    from_csv,
    from_folder,
    from_json_lines,
    from_serpapi,
    from_urls,
    labelled_classes,
    sample,
    split,
)
from ..errors import ImageAttachError
from ..store import Store
from .exits import FINE, PROBLEMS
from .output import Output, values_of
from .params import database_options, output_options, store_of_url

__all__ = ["dataset_command"]

_FAILURE = ("label", "uri", "reason", "detail", "attempts", "is_final")
_KINDS = ("urls", "csv", "json-lines", "serpapi", "folder")
_BY_NAME = {".csv": "csv", ".jsonl": "json-lines", ".ndjson": "json-lines", ".json": "serpapi", ".txt": "urls"}


def _label(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    try:
        return None if text is None else check_label(text)
    except ImageAttachError as error:
        raise click.BadParameter(str(error)) from error


def _labels(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str | None, ...]:
    return tuple(_label(context, parameter, text) for text in texts)


def _parts(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> Split | None:
    try:
        shares = {name: float(share) for name, _, share in (text.partition("=") for text in texts)}
        return Split(seed=0, **shares) if shares else None
    except (ValueError, ImageAttachError) as error:
        raise click.BadParameter(f"expected shares such as train=0.8 ({error})") from error


_class_option = click.option("--class", "name", metavar="NAME", help="The class, if the models have several datasets.")
_parts_option = click.option(
    "--part", "parts", metavar="NAME=SHARE", multiple=True, callback=_parts, help="Such as train=0.8.  Can be repeated."
)


@click.group("dataset")
def dataset_command() -> None:
    """Collects labelled pictures for training and analysis."""


@dataset_command.command("collect")
@click.argument("store", metavar="STORE", callback=store_of_url)
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True, allow_dash=True))
@click.argument("label", metavar="[LABEL]", required=False, callback=_label)
@click.option("--kind", type=click.Choice(_KINDS), help="What SOURCE is; by default what its name says.")
@click.option("--connections", type=click.IntRange(1), default=8, show_default=True, help="Pictures fetched at a time.")
@click.option("--per-host", type=click.IntRange(1), default=2, show_default=True, help="Of them, from one host.")
@click.option("--attempts", type=click.IntRange(1), default=3, show_default=True, help="How often to try a picture.")
@click.option(
    "--near-duplicates",
    type=click.Choice(["keep", "skip", "flag"]),
    default="keep",
    show_default=True,
    help="What becomes of pictures that look alike.",
)
@click.option("--ignore-robots", is_flag=True, help="Take pictures too whose server does not want them used so.")
@click.option("--most", type=click.IntRange(0), help="How many to add at most.")
@_class_option
@database_options
@output_options
def collect_command(
    session: Session,
    output: Output,
    models: Any,
    store: Store,
    source: str,
    label: str | None,
    kind: str | None,
    name: str | None,
    ignore_robots: bool,
    **options: Any,
) -> int:
    """Add the pictures of SOURCE to the dataset, their bytes to STORE.

    SOURCE is a file of URLs, one a line (``-`` for the standard input); a table (.csv) or JSON lines (.jsonl) with the
    columns uri and label; a saved answer of SerpApi (.json); or a folder of pictures, whose folders are the labels if
    no LABEL is given.  What is there already is passed over.  Exit code 1 if some could not be had.
    """
    cls = _class_of(models, name)

    def progress(report: Collection) -> None:
        output.progress(f"{report.added:,} added, {report.failed:,} failed, {report.seen:,} seen")

    with _candidates(source, kind, label) as candidates:
        report = collect(
            sessionmaker(session.get_bind(mapper=cls)),
            candidates,
            label,
            into=cls,
            store=store,
            honour_robots=not ignore_robots,
            progress=progress if output.is_watched else None,
            **options,
        )
    for failure in report.failures:
        output.item("failure", f"{failure.uri}: {failure.reason}: {failure.detail}", **values_of(failure, _FAILURE))
    if report.source_error is not None:
        output.item("source_error", f"{source}: {report.source_error}", error=str(report.source_error))
    output.result(
        f"{report.added:,} added ({report.added_bytes:,} bytes), {report.present:,} there already,"
        f" {report.duplicates:,} with the same bytes, {report.alike:,} that look alike, {report.failed:,} failed,"
        f" {report.known_failures:,} known to fail",
        **values_of(report, ("added", "added_bytes", "present", "duplicates", "alike", "failed", "known_failures")),
        reasons=dict(report.reasons),
    )
    return PROBLEMS if report.failed or report.source_error is not None else FINE


@dataset_command.command("count")
@click.argument("label", metavar="[LABEL]", required=False, callback=_label)
@_class_option
@database_options
@output_options
def count_command(session: Session, output: Output, models: Any, label: str | None, name: str | None) -> None:
    """Say how many pictures there are of each label, or of LABEL."""
    cls = _class_of(models, name)
    if label is None:
        for each, number in SQLAlchemyDataset(sessionmaker(session.get_bind(mapper=cls)), cls).labels().items():
            output.item("label", f"{number:>9,}  {each}", label=each, count=number)
    number = count(session, cls, label)
    output.result(f"{number:>9,}  {'in all' if label is None else label}", label=label, count=number)


@dataset_command.command("sample")
@click.argument("store", metavar="STORE", callback=store_of_url)
@click.argument("number", metavar="NUMBER", type=click.IntRange(0))
@click.option("--label", "labels", multiple=True, callback=_labels, help="Only this label.  Can be repeated.")
@click.option("--balanced", is_flag=True, help="As many of each label.")
@click.option("--seed", type=int, help="Pick the same pictures each time.")
@_class_option
@database_options
@output_options
def sample_command(
    session: Session,
    output: Output,
    models: Any,
    store: Store,
    number: int,
    labels: tuple[str, ...],
    balanced: bool,
    seed: int | None,
    name: str | None,
) -> None:
    """Pick NUMBER pictures at random, and say where they are in STORE."""
    source = None if seed is None else random.Random(seed)
    found = sample(session, _class_of(models, name), number, labels=labels or None, balanced=balanced, source=source)
    for row in found:
        url = row.locate(store)
        output.item("picture", f"{row.label}\t{url}", label=row.label, uri=row.uri, url=url, checksum=row.checksum)
    output.result(f"{len(found):,} pictures", count=len(found))


@dataset_command.command("split")
@_parts_option
@click.option("--label", callback=_label, help="Only this label.")
@_class_option
@database_options
@output_options
def split_command(
    session: Session, output: Output, models: Any, parts: Split | None, label: str | None, name: str | None
) -> None:
    """Say which part each picture belongs to: by its bytes, so that it stays there when others come."""
    totals: dict[str, int] = {}
    shares = parts or Split(train=0.8, test=0.2)
    for part, row in split(session, _class_of(models, name), shares, label=label):
        totals[part] = totals.get(part, 0) + 1
        output.item("picture", f"{part}\t{row.label}\t{row.uri}", part=part, label=row.label, uri=row.uri)
        session.expunge(row)
    output.result(", ".join(f"{total:,} {part}" for part, total in totals.items()) or "no pictures", parts=totals)


@dataset_command.command("export")
@click.argument("store", metavar="STORE", callback=store_of_url)
@click.argument("target", metavar="DIRECTORY", type=click.Path(file_okay=False))
@click.option(
    "--form", type=click.Choice(["folder", "csv", "webdataset", "parquet"]), default="folder", show_default=True
)
@click.option("--shard-size", type=click.IntRange(1), default=1000, show_default=True, help="Pictures of one file.")
@click.option("--label", callback=_label, help="Only this label.")
@_parts_option
@_class_option
@database_options
@output_options
def export_command(
    session: Session, output: Output, models: Any, store: Store, target: str, name: str | None, **options: Any
) -> None:
    """Write the pictures of the dataset, which are in STORE, into DIRECTORY.  Doing it again goes on where it was."""
    cls = _class_of(models, name)
    source = SQLAlchemyDataset(sessionmaker(session.get_bind(mapper=cls)), cls, store)
    watched: Callable[[int], None] | None = None
    if output.is_watched:
        watched = lambda number: output.progress(f"{number:,} pictures")  # noqa: E731
    number = export(source, target, progress=watched, **options)
    output.result(f"{number:,} pictures in {target}", count=number, directory=str(target))


def _class_of(models: Any, name: str | None) -> type[LabelledImage]:
    classes = labelled_classes(models)
    if name is None and len(classes) == 1:
        return next(iter(classes.values()))
    if name not in classes:
        known = ", ".join(classes) or "none"
        msg = f"expected --class with a class that has the LabelledImage mixin, got {name}; there are: {known}"
        raise click.UsageError(msg)
    return classes[name]


@contextmanager
def _candidates(source: str, kind: str | None, label: str | None) -> Iterator[Iterator[Candidate]]:
    """The candidates of a source, whose file is open meanwhile."""
    path = Path(source)
    kind = kind or ("folder" if path.is_dir() else _BY_NAME.get(path.suffix.lower(), "urls"))
    if kind == "folder":
        yield from_folder(source, labels=label is None)
        return
    if label is None and kind in {"urls", "serpapi"}:
        raise click.UsageError("expected a LABEL for the pictures of SOURCE, which gives them none")
    with click.open_file(source, encoding="utf-8") as file:
        yield _from_serpapi(source, file) if kind == "serpapi" else _READERS[kind](file)


_READERS: dict[str, Callable[[IO[str]], Iterator[Candidate]]] = {
    "urls": from_urls,
    "csv": from_csv,
    "json-lines": from_json_lines,
}


def _from_serpapi(source: str, file: IO[str]) -> Iterator[Candidate]:
    try:
        return from_serpapi(json.load(file))
    except ValueError as error:
        raise click.UsageError(f"{source}: expected the JSON of an answer of SerpApi ({error})") from error
