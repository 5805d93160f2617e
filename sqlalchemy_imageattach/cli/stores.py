"""``imageattach stores``."""

from __future__ import annotations

from dataclasses import asdict

import click

from ..store import Store
from ..testing import check_store
from .exits import FINE, PROBLEMS
from .output import Output
from .params import output_options, store_of_url

__all__ = ["stores_command"]


@click.command("stores")
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
