"""``imageattach check`` and ``imageattach sweep``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click
from sqlalchemy.orm import Session

from .. import maintenance
from ..maintenance import GRACE, Report
from ..store import Store
from .exits import FAILURES, FINE, PROBLEMS
from .output import Output, values_of
from .params import database_options, output_options, store_if_any, workers_option

__all__ = ["check_command", "sweep_command"]

_grace_option = click.option(
    "--grace",
    type=click.FloatRange(0),
    metavar="HOURS",
    default=GRACE / timedelta(hours=1),
    show_default=True,
    help="How old a blob without a row must be to count as an orphan.",
)


@click.command("check")
@click.argument("store", metavar="[STORE]", required=False, callback=store_if_any)
@click.option("--checksum", is_flag=True, help="Read all blobs, and compare them with the checksums of their rows.")
@click.option("--repair", is_flag=True, help="Copy misplaced blobs to where their rows say; with --write, really.")
@click.option("--write", is_flag=True, help="With --repair: copy; without, only say what would be copied.")
@_grace_option
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
        session, models, store, grace=_hours(grace), workers=workers, progress=_phases(output), **mode
    ) as report:
        _show(report, output)
        if report.failed:
            return FAILURES
        return FINE if report.ok else PROBLEMS


@click.command("sweep")
@click.argument("store", metavar="[STORE]", required=False, callback=store_if_any)
@click.option("--delete", is_flag=True, help="Delete; without, only say what would be deleted.")
@_grace_option
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
        session, models, store, dry_run=not delete, grace=_hours(grace), progress=_phases(output), **options
    ) as report:
        _show(report, output)
        if report.failed:
            return FAILURES
        return FINE if report.ok else PROBLEMS


# --- what they share -------------------------------------------------------------------------------------------------


def _hours(hours: float) -> timedelta:
    try:
        return timedelta(hours=hours)
    except (OverflowError, ValueError) as error:
        raise click.UsageError(f"--grace: expected a number of hours, got {hours}") from error


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
    output.result(text, counts=counts, stores=list(map(repr, report.stores)), **values_of(report, names))
