"""The command line: ``imageattach``, or ``python -m sqlalchemy_imageattach``.

.. code-block:: console

   $ export IMAGEATTACH_DATABASE=postgresql+psycopg://app@db/app IMAGEATTACH_MODELS=app.models:Base
   $ imageattach migrate file:///srv/images s3://bucket/images?region=eu-west-1 --workers 8
   $ imageattach check s3://bucket/images?region=eu-west-1
   $ imageattach sweep s3://bucket/images?region=eu-west-1            # says what it would delete
   $ imageattach sweep s3://bucket/images?region=eu-west-1 --delete
   $ imageattach thumbnails s3://bucket/images?region=eu-west-1 --width 160 --width 640 --format webp
   $ imageattach index --store s3://bucket/images?region=eu-west-1
   $ imageattach search query.jpg
   $ imageattach duplicates

Stores are given by their URLs: see :mod:`sqlalchemy_imageattach.stores.by_url`.

Results go to the standard output, as lines to read or, with ``--json``, as lines of JSON: one for each problem,
failure or violation, and at last one with the ``result``.  Errors go to the standard error, and so does progress on a
terminal.

====  ============================================================================================================
code  meaning
====  ============================================================================================================
0     it is done, and all is well
1     it is done, and problems were found (``check``, ``stores``, ``duplicates``, or a dry run of ``sweep`` with
      something to delete)
2     the command line is wrong: an unknown option, store URL or model, no store where one is needed, or a store
      migrated onto itself
3     it could not be done, or not for all: the database or a store failed, or the sweep was refused; or its results
      could not be written
130   it was interrupted; what was done stays done, and the same command goes on from there
====  ============================================================================================================
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import import_module
from itertools import zip_longest
from typing import Any, ClassVar, get_args

import click
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .. import maintenance
from ..errors import ContextError, ImageAttachError, InvalidTypeError, InvalidValueError
from ..imaging import Rendition
from ..imaging.rendition import Fit
from ..maintenance import Report
from ..migration import MigrationResult, migrate
from ..store import Store
from ..testing import check_store
from ..variants.backfill import BackfillResult, backfill
from ..variants.upkeep import UpkeepResult, bring_up_to_date
from ..version import VERSION
from .output import Output
from .params import (
    database_options,
    grace_option,
    hours_of,
    output_options,
    shard_of_text,
    store_if_any,
    store_of_url,
    workers_option,
)
from .search import COMMANDS

__all__ = ["cli", "main"]

FINE, PROBLEMS, USAGE, FAILURES, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    :param arguments: without the name of the program; by default those that it was started with
    :return: the exit code
    """
    try:
        code = cli.main(arguments, prog_name="imageattach", standalone_mode=False)
        sys.stdout.flush()  # otherwise the interpreter does, when its exit code is no more ours
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("imageattach: interrupted\n")
        return INTERRUPTED
    except (SystemExit, BrokenPipeError):  # the former is click's, with 1 as its code
        # nobody reads what is written any more: what is left of it must not be flushed once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURES
    except ContextError:
        sys.stderr.write("imageattach: expected a store, since there are classes that have none of their own\n")
        return USAGE
    except (InvalidValueError, InvalidTypeError) as error:
        return _complain(error, USAGE)
    except (ImageAttachError, OSError, SQLAlchemyError) as error:
        return _complain(error, FAILURES)
    except Exception:  # Python's own exit code would be 1, which says something else here
        traceback.print_exc()
        return FAILURES
    return code if isinstance(code, int) else FINE


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"imageattach: {type(error).__name__}: {error}\n")
    return code


# --- commands --------------------------------------------------------------------------------------------------------


class _Commands(click.Group):
    """Commands that need an extra are imported when they are called."""

    _later: ClassVar = {"dataset": "dataset"}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._later:
            return super().get_command(ctx, cmd_name)
        module = import_module(f".{self._later[cmd_name]}", __name__)
        found: click.Command = getattr(module, cmd_name)
        return found


@click.group(cls=_Commands)
@click.version_option(VERSION, package_name="SQLAlchemy-ImageAttach")
def cli() -> None:
    """Moves, checks and cleans up the stores of SQLAlchemy-ImageAttach.

    Exit codes: 0 fine, 1 problems found, 2 wrong command line, 3 failures, 130 interrupted.
    """
    # modules of the project are found as by `python -m`
    if "" not in sys.path:
        sys.path.insert(0, "")


@cli.command("migrate")
@click.argument("source", metavar="SOURCE", callback=store_of_url)
@click.argument("destination", metavar="DESTINATION", callback=store_of_url)
@workers_option
@click.option("--dry-run", is_flag=True, help="Only find out what would be copied.")
@click.option(
    "--verify",
    type=click.Choice(["none", "copy", "read-back"]),
    default="copy",
    show_default=True,
    help="Compare bytes with what rows record: not at all, on their way, or also what the destination gives back.",
)
@click.option(
    "--shard",
    metavar="I/N",
    callback=shard_of_text,
    help="Only part I of N, from 0/N on: so that processes can share the work.",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="Only this image class, also if it has a store of its own.  Can be repeated.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first blob that cannot be copied.")
@output_options
@database_options
def migrate_command(
    session: Session, output: Output, models: Any, source: Store, destination: Store, fail_fast: bool, **options: Any
) -> int:
    """Copy all blobs from the store SOURCE to the store DESTINATION, but for those of classes with another store of
    their own.

    What is there already is passed over, so a migration that was broken off is continued by starting it again.  The
    source is not changed.
    """

    def progress(result: MigrationResult) -> None:
        output.progress(f"{result.examined:,} of {result.total or 0:,} rows, {result.copied_bytes / 2**20:,.1f} MiB")

    plan = migrate(
        session,
        models,
        source,
        destination,
        on_error="raise" if fail_fast else "collect",
        progress=progress if output.is_watched else None,
        **options,
    )
    names = ("copied", "copied_bytes", "present", "elsewhere", "vanished", "failed", "dry_run", "gave_up", "ok")
    output.so_far = lambda: _values(plan.result, names)
    result = plan.execute()
    output.failures(result.failures)
    output.result(
        f"{result.copied:,} {'to copy' if result.dry_run else 'copied'} ({result.copied_bytes:,} bytes),"
        f" {result.present:,} there already, {result.vanished:,} gone meanwhile, {result.failed:,} failed"
        + (f"; {result.elsewhere:,} rows of classes with another store of their own" if result.elsewhere else "")
        + ("; gave up, since the destination failed again and again" if result.gave_up else ""),
        **_values(result, names),
    )
    return FINE if result.ok else FAILURES


@cli.command("check")
@click.argument("store", metavar="[STORE]", required=False, callback=store_if_any)
@click.option("--checksum", is_flag=True, help="Read all blobs, and compare them with the checksums of their rows.")
@click.option("--repair", is_flag=True, help="Copy misplaced blobs to where their rows say; with --write, really.")
@click.option("--write", is_flag=True, help="With --repair: copy; without, only say what would be copied.")
@grace_option
@workers_option
@output_options
@database_options
def check_command(
    session: Session,
    output: Output,
    models: Any,
    store: Store | None,
    checksum: bool,
    repair: bool,
    write: bool,
    grace: float,
    workers: int | None,
) -> int:
    """Compare all image rows with what their stores have.  Nothing is changed, unless by --repair with --write.

    STORE is the store of those classes that have none of their own.
    """
    if write and not repair:
        raise click.UsageError("--write: expected --repair with it")
    if checksum and repair:
        raise click.UsageError("--repair: expected no --checksum with it; what is copied is verified in any case")
    mode: dict[str, Any] = {"dry_run": not write} if repair else {"checksum": checksum}
    with (maintenance.repair if repair else maintenance.check)(
        session, models, store, grace=hours_of(grace), workers=workers, progress=_phases(output), **mode
    ) as report:
        _show(report, output)
        if report.failed:
            return FAILURES
        return FINE if report.ok else PROBLEMS


@cli.command("sweep")
@click.argument("store", metavar="[STORE]", required=False, callback=store_if_any)
@click.option("--delete", is_flag=True, help="Delete; without, only say what would be deleted.")
@grace_option
@click.option(
    "--limit",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="The largest part of the blobs of any object type that may go: a guard against the wrong database.",
)
@click.option(
    "--object-type",
    "object_types",
    multiple=True,
    metavar="NAME",
    help="An object type that has to be mapped, or nothing is deleted.  Can be repeated.",
)
@workers_option
@output_options
@database_options
def sweep_command(
    session: Session, output: Output, models: Any, store: Store | None, delete: bool, grace: float, **options: Any
) -> int:
    """Delete blobs that no row names, and what unfinished writes have left behind, from the stores of all classes.

    STORE is the store of those classes that have none of their own.  Without --delete it only says what it would
    delete.  Other files and other object types are never touched.
    """
    with maintenance.sweep(
        session, models, store, dry_run=not delete, grace=hours_of(grace), progress=_phases(output), **options
    ) as report:
        _show(report, output)
        if report.failed:
            return FAILURES
        return FINE if report.ok else PROBLEMS


@cli.command("thumbnails")
@click.argument("store", metavar="[STORE]", required=False, callback=store_if_any)
@click.option("--width", "widths", type=click.IntRange(1), multiple=True, help="Pixels.  Can be repeated.")
@click.option(
    "--height", "heights", type=click.IntRange(1), multiple=True, help="Pixels.  As many as widths, or without these."
)
@click.option("--square", "squares", type=click.IntRange(1), multiple=True, help="Pixels of a side, cut to fill it.")
@click.option(
    "--fit",
    type=click.Choice(get_args(Fit)),
    default="contain",
    show_default=True,
    help="How a picture fits into width and height: within, around, or cut to fill them.",
)
@click.option(
    "--format", "formats", multiple=True, help="E.g. webp; by default what suits the original.  Can be repeated."
)
@click.option("--quality", type=click.IntRange(1, 100), help="Of the encoder.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Only of this image class.  Can be repeated.")
@click.option("--regenerate", is_flag=True, help="Make those anew that are there already.")
@click.option(
    "--reuse-original",
    is_flag=True,
    help="Take the original where it has the size and the type of a thumbnail.  It says where it was taken.",
)
@output_options
@database_options
def thumbnails_command(
    session: Session,
    output: Output,
    models: Any,
    store: Store | None,
    widths: tuple[int, ...],
    heights: tuple[int, ...],
    squares: tuple[int, ...],
    formats: tuple[str, ...],
    classes: tuple[str, ...],
    regenerate: bool,
    reuse_original: bool,
    **options: Any,
) -> int:
    """Make the thumbnails that are missing, of each size in each format.

    STORE is the store of those classes that have none of their own.  None is made larger than its picture.  It can be
    done while the application is running, and broken off and started again at any time.
    """
    boxes = [size | {"fit": options["fit"]} for size in _sizes(widths, heights)]
    boxes += [{"width": side, "height": side, "fit": "fill"} for side in squares]
    if not boxes:
        raise click.UsageError("expected a --width, --height or --square, got none of them")
    renditions = [
        Rendition(**box, format=format_, quality=options["quality"], upscale=False)
        for box in boxes
        for format_ in formats or (None,)
    ]
    result, names = BackfillResult(), ("owners", "pictures", "generated", "failed", "ok")
    output.so_far = lambda: _values(result, names)

    def progress(so_far: BackfillResult) -> None:
        nonlocal result
        result = so_far
        output.progress(f"{result.owners:,} owners, {result.pictures:,} pictures, {result.generated:,} thumbnails made")

    result = backfill(
        session,
        models,
        renditions,
        store,
        regenerate=regenerate,
        reuse_original=reuse_original,
        classes=classes,
        progress=progress,
    )
    output.failures(result.failures)
    output.result(
        f"{result.generated:,} thumbnails made of {result.pictures:,} pictures, {result.failed:,} owners failed",
        **_values(result, names),
    )
    return FINE if result.ok else FAILURES


def _sizes(widths: tuple[int, ...], heights: tuple[int, ...]) -> list[dict[str, Any]]:
    if widths and heights and len(widths) != len(heights):
        msg = f"--height: expected one for each --width, or no --width, got {len(heights)} for {len(widths)}"
        raise click.UsageError(msg)
    return [
        {name: side for name, side in (("width", width), ("height", height)) if side is not None}
        for width, height in zip_longest(widths, heights)
    ]


@cli.command("variants")
@click.argument("store", metavar="[STORE]", required=False, callback=store_if_any)
@click.option("--apply", is_flag=True, help="Do it, instead of saying what would be done.")
@click.option("--on-demand", is_flag=True, help="Make those as well that wait until somebody wants them.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Only of this image class.  Can be repeated.")
@click.option("--shard", callback=shard_of_text, metavar="I/N", help="Only part I of N, from 0, of the owners.")
@output_options
@database_options
def variants_command(
    session: Session, output: Output, models: Any, store: Store | None, apply: bool, **options: Any
) -> int:
    """Bring what is in the stores to what the image classes declare in image_variants.

    STORE is the store of those classes that have none of their own.  What is missing is made, and what was made for a
    variant that is not declared any more is removed.  Without --apply it only says how much that is.  It can be done
    while the application is running, and broken off and started again.
    """

    def progress(result: UpkeepResult) -> None:
        output.progress(f"{result.owners:,} owners, {result.pictures:,} pictures, {result.generated:,} images made")

    result = bring_up_to_date(session, models, store, dry_run=not apply, progress=progress, **options)
    output.failures(result.failures)
    would = "" if apply else "would be "
    output.result(
        f"{result.generated:,} images {would}made of {result.pictures:,} pictures, {result.removed:,} {would}removed,"
        f" {result.failed:,} owners failed",
        **_values(result, ("owners", "pictures", "generated", "removed", "failed", "ok")),
    )
    return FINE if result.ok else FAILURES


@cli.command("stores")
@click.argument("store", metavar="STORE", callback=store_of_url)
@output_options
def stores_command(output: Output, store: Store) -> int:
    """Check that the store STORE keeps the contract of all stores.

    It writes some blobs of its own, reads them and deletes them again.
    """
    violations = check_store(store)
    for violation in violations:
        output.item("violation", violation, **asdict(violation))
    output.result(f"{len(violations):,} violations of the contract", violations=len(violations), ok=not violations)
    return PROBLEMS if violations else FINE


for command in COMMANDS:
    cli.add_command(command)


# --- what commands share ---------------------------------------------------------------------------------------------


def _values(result: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(result, name) for name in names}


def _phases(output: Output) -> Callable[[str, int], None]:
    done_so_far: dict[str, int] = {}
    output.so_far = lambda: {"done": done_so_far}

    def progress(phase: str, done: int) -> None:
        done_so_far[phase] = done
        output.progress(f"{phase}: {done:,}")

    return progress


def _show(report: Report, output: Output) -> None:
    for problem in report if not output.summary else ():
        where = f" in {problem.store!r}" if len(report.stores) > 1 else ""
        output.item(
            "problem",
            f"{problem}{where}",
            store=repr(problem.store),
            kind=problem.kind,
            name=problem.name,
            key=problem.key,
            image_class=problem.image_class and problem.image_class.__name__,
            identity=problem.identity,
            byte_size=problem.byte_size,
            modified_at=problem.modified_at,
            expected=problem.expected,
            found=problem.found,
            row_key=problem.row_key,
            deleted=problem.deleted,
            repaired=problem.repaired,
        )
    output.failures(report.failures)
    counts = {kind.value: count for kind, count in report.counts.items()}
    text = f"{report.rows:,} rows, {report.blobs:,} blobs ({report.blob_bytes:,} bytes), {report.in_grace:,} too young"
    text += "".join(f"\nlooked into {store!r}" for store in report.stores if len(report.stores) > 1)
    text += "".join(f"\n{count:,} × {kind}" for kind, count in counts.items())
    if not report.dry_run:
        text += (
            f"\n{report.repaired:,} repaired, {report.deleted:,} deleted ({report.deleted_bytes:,} bytes),"
            f" {report.failed:,} failed"
        )
    names = (
        "rows",
        "blobs",
        "blob_bytes",
        "in_grace",
        "without_checksum",
        "deleted",
        "deleted_bytes",
        "repaired",
        "failed",
        "dry_run",
        "ok",
    )
    output.result(text, counts=counts, stores=list(map(repr, report.stores)), **_values(report, names))
