"""``imageattach migrate``."""

from __future__ import annotations

from typing import Any

import click
from sqlalchemy.orm import Session

from ..migration import MigrationResult, migrate
from ..store import Store
from .exits import FAILURES, FINE
from .output import Output, values_of
from .params import database_options, output_options, shard_of_text, store_of_url, workers_option

__all__ = ["migrate_command"]


@click.command("migrate")
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
    output.so_far = lambda: values_of(plan.result, names)
    result = plan.execute()
    output.failures(result.failures)
    output.result(
        f"{result.copied:,} {'to copy' if result.dry_run else 'copied'} ({result.copied_bytes:,} bytes),"
        f" {result.present:,} there already, {result.vanished:,} gone meanwhile, {result.failed:,} failed"
        + (f"; {result.elsewhere:,} rows of classes with another store of their own" if result.elsewhere else "")
        + ("; gave up, since the destination failed again and again" if result.gave_up else ""),
        **values_of(result, names),
    )
    return FINE if result.ok else FAILURES
