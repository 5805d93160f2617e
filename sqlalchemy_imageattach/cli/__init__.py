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
1     it is done, and problems were found (``check``, ``stores``, ``duplicates``, ``dataset collect``, or a dry run of
      ``sweep`` with something to delete)
2     the command line is wrong: an unknown option, store URL or model, no store where one is needed, or a store
      migrated onto itself
3     it could not be done, or not for all: an extra is missing, the database or a store failed, or the sweep was
      refused; or its results could not be written
130   it was interrupted; what was done stays done, and the same command goes on from there
====  ============================================================================================================
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from ..extras import needs_extra
from ..version import VERSION
from .exits import FAILURES, FINE, INTERRUPTED, USAGE, exit_code_of

with needs_extra("cli", "the command line needs click"):
    import click

__all__ = ["cli", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    :param arguments: without the name of the program; by default those that it was started with
    :return: the exit code
    """
    if sys.stderr is None:  # it was closed by who called us
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as we run
    if sys.stdout is None:
        sys.stderr.write("imageattach: there is no standard output to write to: give one, if only /dev/null\n")
        return FAILURES
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
    except Exception as error:
        return exit_code_of(error)
    return code if isinstance(code, int) else FINE


#: The file of each command, and what the list of commands says of it: it is shown without importing any.
_COMMANDS = {
    "check": ("maintenance", "Compare all image rows with what their stores have."),
    "dataset": ("dataset", "Collects labelled pictures for training and analysis."),
    "duplicates": ("search", "List groups of pictures that look the same, of the classes that have fingerprints."),
    "index": ("search", "Index the pictures that are there, by what the models declare for them."),
    "migrate": ("migration", "Copy all blobs from the store SOURCE to the store DESTINATION."),
    "search": ("search", "Find the pictures that look most like the file PICTURE."),
    "stores": ("stores", "Check that the store STORE keeps the contract of all stores."),
    "sweep": ("maintenance", "Delete blobs that no row names, and what unfinished writes have left behind."),
    "thumbnails": ("variants", "Make the thumbnails that are missing, of each size in each format."),
    "variants": ("variants", "Bring what is in the stores to what the image classes declare."),
}


class _Commands(click.Group):
    """Commands that are listed and completed by what is said above, and imported when they are called."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = getattr(import_module(f".{_COMMANDS[name][0]}", __name__), f"{name}_command")
        return name, command, rest


@click.group(
    cls=_Commands, commands={name: click.Command(name, short_help=said) for name, (_, said) in _COMMANDS.items()}
)
@click.version_option(VERSION, package_name="SQLAlchemy-ImageAttach")
def cli() -> None:
    """Moves, checks and cleans up the stores of SQLAlchemy-ImageAttach.

    Exit codes: 0 fine, 1 problems found, 2 wrong command line, 3 failures, 130 interrupted.
    """
    # modules of the project are found as by `python -m`
    if "" not in sys.path:
        sys.path.insert(0, "")
