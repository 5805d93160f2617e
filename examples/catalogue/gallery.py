"""The gallery: a WSGI application that lists and searches the catalogue, and adds, replaces and deletes photographs.

It is meant for the browser of the person at this computer, so there is no login.  Other pages that this browser has
open are kept out: a form is taken only from the gallery's own pages (see :func:`_check_sender`), and only under the
names of this computer, so that no other name can be made to lead here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, selectinload, sessionmaker
from werkzeug.exceptions import Forbidden, HTTPException, NotFound, RequestEntityTooLarge
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect, send_file
from werkzeug.wrappers import Request, Response

from sqlalchemy_imageattach.errors import ConcurrentReplacementError, EmptyIndexError, RejectedImageError

from .models import LOOKS, Entry, EntryPhoto
from .pages import page

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["FOCUSES", "Gallery"]

#: What cropping is to keep in view, as fractions of the height.
FOCUSES = {"middle": 0.5, "top": 0.15, "bottom": 0.85}

_DONE = {
    "added": "Added: the row and its files were committed together.",
    "replaced": "Replaced: the files of the former picture were deleted after the commit.",
    "deleted": "Deleted: the files went after the row had.",
}

#: How many photographs a search by likeness shows.
_MOST_LIKE = 6

_HEADERS = {
    "Content-Security-Policy": (
        # placeholders are images of data in style attributes
        "default-src 'none'; img-src 'self' data:; style-src 'self'; style-src-attr 'unsafe-inline';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    # not "no-referrer", under which browsers send `Origin: null` with a form of our own
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class _Request(Request):
    # The policy of the class refuses a picture that is too large and says so kindly; this is for what is no upload of
    # a picture at all.
    max_content_length = 4 * (EntryPhoto.image_policy.max_bytes or 0)
    trusted_hosts = ["127.0.0.1", "localhost"]


class _UnusableFormError(Exception):
    """Something is missing in the form; the message says what."""


class Gallery:
    """The WSGI application.

    :param sessions: makes sessions that know the store; wrap the gallery by the store's ``wsgi_middleware()``
    """

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        # SQLite's integers end there, and so do Python's in it
        entry = "/entries/<int(max=9223372036854775807):entry_id>"
        self._routes = Map(
            [
                Rule("/", methods=["GET"], endpoint=self._show),
                Rule("/gallery.css", methods=["GET"], endpoint=self._style),
                Rule("/search", methods=["POST"], endpoint=self._search),
                Rule("/entries", methods=["POST"], endpoint=self._add),
                Rule(f"{entry}/like", methods=["GET"], endpoint=self._show_like),
                Rule(f"{entry}/photo", methods=["POST"], endpoint=self._replace),
                Rule(f"{entry}/delete", methods=["POST"], endpoint=self._delete),
            ],
            merge_slashes=False,  # so that no route redirects
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = _Request(environ)
        with request:
            response = self._respond(request)
        response.headers.extend(_HEADERS)
        return response(environ, start_response)

    def _respond(self, request: _Request) -> Response:
        try:
            _check_sender(request)
            endpoint, arguments = self._routes.bind_to_environ(request.environ).match()
            response: Response = endpoint(request, **arguments)
        except _UnusableFormError as error:
            return self._show(request, problem=str(error), status=422)
        except RejectedImageError as error:
            return self._show(request, problem=f"This file was not taken, and nothing was changed: {error}", status=422)
        except EmptyIndexError:
            return self._show(request, problem="There is no photograph to compare it with yet.", status=404)
        except ConcurrentReplacementError:
            return self._show(request, problem="Somebody else changed this picture just now: try again.", status=409)
        except HTTPException as error:
            return _explain(error, request)
        return response

    def _show(self, request: _Request, *, problem: str = "", status: int = 200) -> Response:
        with self._sessions() as session:
            # all pictures in all sizes by one statement more
            entries = session.scalars(select(Entry).options(selectinload(Entry.photo)).order_by(Entry.id.desc()))
            html = page(
                entries,
                focuses=FOCUSES,
                notice=_DONE.get(request.args.get("done", ""), ""),
                problem=problem,
                form=request.form.to_dict() if problem and request.path == "/entries" else None,
            )
        return Response(html, status, mimetype="text/html")

    def _show_like(self, request: _Request, entry_id: int) -> Response:
        with self._sessions() as session:
            entry = _find(session, entry_id)
            others = select(Entry).join(Entry.photo).where(Entry.id != entry_id)
            return _nearest(session, others, entry.photo, f"Most like “{entry.title}”, the nearest first")

    def _search(self, request: _Request) -> Response:
        with self._sessions() as session:
            everything = select(Entry).join(Entry.photo)
            return _nearest(session, everything, _upload(request), "Most like your picture, the nearest first")

    def _style(self, request: _Request) -> Response:
        return send_file(Path(__file__).with_name("gallery.css"), request.environ, mimetype="text/css")

    def _add(self, request: _Request) -> Response:
        title = _text(request, "title", Entry.title)
        if not title:
            msg = "The photograph needs a title: fill it in and send the form again."
            raise _UnusableFormError(msg)
        with self._sessions.begin() as session:
            entry = Entry(
                title=title,
                description=_text(request, "description", Entry.description),
                focus=FOCUSES.get(request.form.get("focus", ""), 0.5),
            )
            session.add(entry)
            entry.set_photo(_upload(request))
            session.flush()
            return _back("added", entry.id)

    def _replace(self, request: _Request, entry_id: int) -> Response:
        with self._sessions.begin() as session:
            _find(session, entry_id).set_photo(_upload(request))
        return _back("replaced", entry_id)

    def _delete(self, request: _Request, entry_id: int) -> Response:
        with self._sessions.begin() as session:
            session.delete(_find(session, entry_id))
        return _back("deleted")


def _check_sender(request: _Request) -> None:
    """Let through what only looks, and forms from our own pages.

    A browser says by itself where a form came from, and no page can make it lie: in ``Sec-Fetch-Site``, and in
    ``Origin``, which older ones send too.  What sends neither is no browser, e.g. curl, and has no user to be abused.

    :raises Forbidden: the form comes from a page that is not ours
    :raises SecurityError: the Host header names another computer
    """
    own_origin = f"{request.scheme}://{request.host}"
    if request.method in {"GET", "HEAD"}:
        return
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if site not in {"same-origin", "none"} or request.headers.get("Origin", own_origin) != own_origin:
        msg = "This form was sent by another page than the catalogue, so nothing was done."
        raise Forbidden(msg)


def _find(session: Session, entry_id: int) -> Entry:
    entry = session.get(Entry, entry_id)
    if entry is None:
        msg = "There is no such photograph (any more)."
        raise NotFound(msg)
    return entry


def _nearest(session: Session, statement: Select[Any], picture: Any, heading: str) -> Response:
    nearest = LOOKS.nearest(statement.options(selectinload(Entry.photo)), picture, _MOST_LIKE)
    return Response(page(session.scalars(nearest), focuses=FOCUSES, heading=heading), mimetype="text/html")


def _upload(request: _Request) -> Any:
    upload = request.files.get("photo")
    if upload is None or not upload.filename:
        msg = "No picture was chosen: choose one and send the form again."
        raise _UnusableFormError(msg)
    return upload


def _text(request: _Request, name: str, column: Any) -> str:
    text = " ".join(request.form.get(name, "").split())
    if len(text) > (longest := column.type.length):
        msg = f"The {name} has {len(text)} characters, and there is room for {longest}: shorten it."
        raise _UnusableFormError(msg)
    return text


def _back(done: str, entry_id: int | None = None) -> Response:
    # a redirect, so that reloading the page does not send the form again
    fragment = "" if entry_id is None else f"#entry-{entry_id}"
    return redirect(f"/?{urlencode({'done': done})}{fragment}", 303)


def _explain(error: HTTPException, request: _Request) -> Response:
    problem = error.description or error.name
    if isinstance(error, RequestEntityTooLarge):
        problem = f"That is too much: a picture may have {(EntryPhoto.image_policy.max_bytes or 0) >> 20} MiB."
    response = Response(page(None, problem=problem), error.code, mimetype="text/html")
    for name, value in error.get_headers(request.environ):
        if name != "Content-Type":
            response.headers[name] = value
    return response
