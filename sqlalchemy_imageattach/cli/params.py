"""What the commands of the command line take."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session

from ..errors import ImageAttachError, MissingExtraError
from ..store import Store
from .output import Output

__all__ = [
    "database_options",
    "output_options",
    "shard_of_text",
    "store_if_any",
    "store_of_url",
    "workers_option",
]

workers_option = click.option("--workers", type=click.IntRange(1), help="How many blobs to work on at a time.")


def store_of_url(context: click.Context, parameter: click.Parameter, url: str) -> Store:
    """The store of a URL."""
    try:
        return Store.from_url(url)
    except MissingExtraError:  # which is no fault of the command line
        raise
    except (ImageAttachError, ImportError) as error:
        raise click.BadParameter(str(error)) from error


def store_if_any(context: click.Context, parameter: click.Parameter, url: str | None) -> Store | None:
    """The store of a URL; without one it is left to the classes, and to what their modules have set."""
    return None if url is None else store_of_url(context, parameter, url)


def shard_of_text(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """The two numbers in ``0/4``."""
    if text is None:
        return None
    index, slash, count = text.partition("/")
    if not (slash and index.isascii() and index.isdigit() and count.isascii() and count.isdigit()):
        raise click.BadParameter(f"expected two integers such as 0/4, got {text!r}")
    return int(index), int(count)


def database_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hands the command a new session of ``--database`` and, as ``models``, what ``--models`` names."""

    @click.option(
        "--database",
        metavar="URL",
        required=True,
        envvar="IMAGEATTACH_DATABASE",
        show_envvar=True,
        help="The database, as SQLAlchemy writes it.  Better in the environment if it has a password.",
    )
    @click.option(
        "--models",
        metavar="MODULE:BASE",
        required=True,
        callback=_models_of_text,
        envvar="IMAGEATTACH_MODELS",
        show_envvar=True,
        help="The module that declares the image classes (or imports all that do), and its declarative base.",
    )
    @wraps(command)
    def with_session(*, database: str, **options: Any) -> Any:
        with _session(database) as session:
            return command(session, **options)

    return with_session


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hands the command, as ``output``, what writes as the user wants it."""

    @click.option("--json", "as_json", is_flag=True, help="Write lines of JSON.")
    @click.option("--summary", is_flag=True, help="Leave out the single problems and failures.")
    @wraps(command)
    def with_output(*arguments: Any, as_json: bool, summary: bool, **options: Any) -> Any:
        with Output(as_json=as_json, summary=summary) as output:
            return command(*arguments, output=output, **options)

    return with_output


def _models_of_text(context: click.Context, parameter: click.Parameter, text: str) -> Any:
    module, colon, name = text.partition(":")
    if not (module and colon and name) or module.startswith("."):
        msg = f"expected a module and the name of its declarative base, such as app.models:Base, got {text!r}"
        raise click.BadParameter(msg)
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise click.BadParameter(f"{text!r}: {error}") from error
    except SystemExit as error:  # its exit code would say that all is well
        msg = f"{text!r}: the module ended the program when it was imported; name one that only declares"
        raise click.BadParameter(msg) from error
    return found


@contextmanager
def _session(database: str) -> Iterator[Session]:
    url = _url(database)
    try:
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise click.UsageError(f"--database: {error}") from error
    if engine.dialect.is_async:
        msg = f"--database: expected a synchronous driver, got {url.drivername}, which is asynchronous"
        raise click.UsageError(msg)
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()


def _url(database: str) -> URL:
    """The address of the database.  **What cannot be read is not shown: a part of it may be a password.**"""
    try:
        url = make_url(database)
    except ArgumentError:
        msg = "--database: expected a URL such as postgresql+psycopg://user:password@host:5432/name, got something else"
        raise click.UsageError(msg) from None
    except ValueError:
        raise click.UsageError(
            "--database: expected a number as the port of the URL; in the user name and the password, each of :/@ has"
            " to be percent-encoded"
        ) from None
    # otherwise the driver would look for a host whose name is the end of the password, and tell so
    separators = 0 if url.username is None else 1 + url.username.count("@")
    if url.get_backend_name() != "sqlite" and database.count("@") > separators:
        raise click.UsageError("--database: expected one @ in the URL, before the host; write each other one as %40")
    return url
