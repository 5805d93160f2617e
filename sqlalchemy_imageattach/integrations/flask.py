"""Flask: an extension that knows the store, serves it, and has commands.

::

    images = ImageAttach(store=FileSystemStore("var/images", "/images/"), url_path="/images", db=db)
    images.init_app(app)

Within a request the store is the current one; ``{{ user.picture|thumbnail(width=150) }}`` shows a picture;
``flask images check`` and ``flask images sweep`` look after it.  It needs Flask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from flask import Flask, current_app, g
from flask.cli import AppGroup
from markupsafe import Markup
from sqlalchemy.exc import NoResultFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from ..arguments import check_type
from ..context import pop_store_context, push_store_context, store_context
from ..entity import BaseImageSet, Image
from ..errors import ContextError
from ..maintenance import Report, check, sweep
from ..serving.lookup import Authorise
from ..store import Store
from ..stores.endpoint import ServedStore, StoreEndpoint
from ..uploads import UploadEndpoint, Uploads
from .mounting import path_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["ImageAttach"]

_KEY = "imageattach"


class ImageAttach:
    """The extension.  One object serves any number of applications.

    :param app: the application, or none yet: then call :meth:`init_app`
    :param store: the store; by default that of the URL in ``IMAGEATTACH_STORE`` of the configuration
    :param url_path: below which path the application serves the store; by default it does not, and the URLs are those
        that the store gives
    :param authorise: says who may see which picture; without, everybody may
    :param uploads: uploads whose ``endpoint`` the application is to be
    :param db: the object of Flask-SQLAlchemy, for the commands
    :raises InvalidTypeError: an argument has the wrong type
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        store: Store | None = None,
        url_path: str | None = None,
        authorise: Authorise | None = None,
        uploads: Uploads | None = None,
        db: Any = None,
    ) -> None:
        self._store = None if store is None else check_type("store", store, Store)
        self.url_path = url_path
        self.authorise = authorise
        self.uploads = uploads
        self.db = db
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Have ``app`` know, serve and look after the store.

        :raises ContextError: there is no store, neither given nor configured
        """
        store, mounts = self._find_store(app), dict[str, "WSGIApplication"]()
        if self.url_path is not None:
            path = f"/{self.url_path.strip('/')}"
            mounts[path] = StoreEndpoint(store, authorise=self.authorise).wsgi
            store = ServedStore(store, f"{path}/")
        if self.uploads is not None:
            mounts[path_of(self.uploads)] = UploadEndpoint(self.uploads).wsgi
        if mounts:
            app.wsgi_app = DispatcherMiddleware(app.wsgi_app, mounts)  # type: ignore[method-assign]
        app.extensions[_KEY] = store
        app.before_request(_enter)
        app.teardown_request(_leave)
        app.add_template_filter(thumbnail)
        app.cli.add_command(self._commands())

    @property
    def store(self) -> Store:
        """That of the current application."""
        store: Store = current_app.extensions[_KEY]
        return store

    def _find_store(self, app: Flask) -> Store:
        if self._store is not None:
            return self._store
        if url := app.config.get("IMAGEATTACH_STORE"):
            return Store.from_url(url)
        msg = "expected a store, got none: give ImageAttach one, or its URL by IMAGEATTACH_STORE in the configuration"
        raise ContextError(msg)

    def _commands(self) -> AppGroup:
        group = AppGroup("images", help="Look after the pictures.")

        @group.command("check")
        def check_command() -> None:
            """Tell whether rows and blobs agree."""
            with self._database() as (session, base), check(session, base, self.store) as report:
                _show(report)

        @group.command("sweep")
        @click.option("--delete", is_flag=True, help="Delete what is found, rather than only telling it.")
        @click.option("--grace", default=24.0, show_default=True, help="Leave alone what is younger, in hours.")
        def sweep_command(delete: bool, grace: float) -> None:
            """Find blobs, and uploads, that no row wants."""
            with (
                self._database() as (session, base),
                sweep(session, base, self.store, dry_run=not delete, grace=timedelta(hours=grace)) as report,
            ):
                _show(report)

        return group

    @contextmanager
    def _database(self) -> Iterator[tuple[Any, Any]]:
        if self.db is None:
            msg = "The commands need the database: ImageAttach(…, db=db), where db is that of Flask-SQLAlchemy."
            raise click.ClickException(msg)
        with store_context(self.store):
            yield self.db.session, self.db.Model


def thumbnail(
    picture: BaseImageSet[Any], width: int | None = None, height: int | None = None, **attributes: Any
) -> Markup:
    """The ``<img>`` of a thumbnail that is there, or else of the original; nothing while there is no picture."""
    if not picture:
        return Markup()
    try:
        image: Image = picture.find_thumbnail(width, height)
    except NoResultFound:
        image = picture.require_original()
    return image.html(**{"alt": "", **attributes})


def _enter() -> None:
    push_store_context(current_app.extensions[_KEY])
    g.imageattach_has_store = True


def _leave(_error: BaseException | None) -> None:
    # Flask calls this also if another hook has answered before the first one could run
    if g.pop("imageattach_has_store", False):
        pop_store_context()


def _show(report: Report) -> None:
    for problem in report:
        click.echo(str(problem))
    deleted = f", {report.deleted} deleted" if report.deleted else ""
    click.echo(f"{report.rows} rows, {report.blobs} blobs{deleted}")
    if not report.ok:
        raise SystemExit(1)
