"""``imageattach thumbnails`` and ``imageattach variants``."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, get_args

import click
from sqlalchemy.orm import Session

from ..imaging import Rendition
from ..imaging.fitting import Fit
from ..store import Store
from ..variants.backfill import BackfillResult, backfill
from ..variants.upkeep import UpkeepResult, bring_up_to_date
from .exits import FAILURES, FINE
from .output import Output, values_of
from .params import database_options, output_options, shard_of_text, store_if_any

__all__ = ["thumbnails_command", "variants_command"]


@click.command("thumbnails")
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
    output.so_far = lambda: values_of(result, names)

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
        **values_of(result, names),
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


@click.command("variants")
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
        **values_of(result, ("owners", "pictures", "generated", "removed", "failed", "ok")),
    )
    return FINE if result.ok else FAILURES
