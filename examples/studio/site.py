"""The FastAPI application of the studio.

A member gets a permit, the browser sends the file to the bucket, and the token comes back.  The bucket is private:
signed URLs of originals stand in the pages of their owner only.  Smaller sizes are made when they are first looked at,
and given to their owner only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import escape
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload, sessionmaker
from starlette.responses import Response

from sqlalchemy_imageattach.errors import InvalidTokenError, RejectedImageError
from sqlalchemy_imageattach.serving.request import Asked
from sqlalchemy_imageattach.serving.request import Request as PictureRequest
from sqlalchemy_imageattach.serving.signing import Signer
from sqlalchemy_imageattach.uploads import Uploads
from sqlalchemy_imageattach.variants import OnDemand

from .models import Member, Photograph, PhotographImage

__all__ = ["Studio", "make_site"]

_HERE = Path(__file__).parent
_COOKIE = "member"
router = APIRouter()
_pages = Environment(loader=FileSystemLoader(_HERE), autoescape=select_autoescape())


class WantedPermit(BaseModel):
    """What a browser says of its file."""

    type: str
    size: int


class Sent(BaseModel):
    """A file that has arrived in the bucket."""

    token: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Studio:
    """What the application works with.

    :param sessions: makes sessions that know the store
    :param uploads: gives the permits
    :param logins: signs the cookies
    :param bucket_origin: where the browser sends files to, and has pictures from
    :param script: whether pages have the script; without, their forms send files one by one
    """

    sessions: sessionmaker[Session]
    uploads: Uploads
    logins: Signer
    bucket_origin: str
    script: bool = True

    def may_see(self, request: PictureRequest, asked: Asked) -> bool:
        """Whether whoever asks is the owner of a photograph, of which a smaller size is asked for."""
        cookies = SimpleCookie(request.header("cookie") or "")
        try:
            member_id = int(self.logins.unsign(cookies[_COOKIE].value))
        except (KeyError, InvalidTokenError):
            return False
        with self.sessions() as session:
            owner = session.scalar(select(Photograph.member_id).where(Photograph.id == asked.identity[0]))
            return owner == member_id


def make_site(studio: Studio, secret: str) -> FastAPI:
    """The application."""
    app = FastAPI(openapi_url=None)
    app.state.studio = studio
    app.include_router(router)
    sized = OnDemand(studio.sessions, secret, [PhotographImage], base_url="/sized/", authorise=studio.may_see)
    app.mount("/sized", sized.asgi)
    app.add_exception_handler(RejectedImageError, refuse)
    return app


# --- who asks --------------------------------------------------------------------------------------------------------


def find_studio(request: Request) -> Studio:
    """The one of the application."""
    studio: Studio = request.app.state.studio
    return studio


TheStudio = Annotated[Studio, Depends(find_studio)]


def open_session(studio: TheStudio) -> Iterator[Session]:
    """One for the request."""
    with studio.sessions() as session:
        yield session


OpenSession = Annotated[Session, Depends(open_session)]


def logged_in(request: Request, studio: TheStudio, session: OpenSession) -> Member | None:
    """The member whose cookie it is."""
    try:
        member_id = int(studio.logins.unsign(request.cookies.get(_COOKIE, "")))
    except InvalidTokenError:
        return None
    return session.get(Member, member_id)


Visitor = Annotated[Member | None, Depends(logged_in)]


def only_members(member: Visitor) -> Member:
    """The same, who has to be there."""
    if member is None:
        raise HTTPException(401, "Come in first: tell your name.")
    return member


LoggedIn = Annotated[Member, Depends(only_members)]


# --- pages -----------------------------------------------------------------------------------------------------------


@router.get("/")
def show(request: Request, member: Visitor, session: OpenSession) -> HTMLResponse:
    """The photographs of whoever asks, and a form for more."""
    if member is not None:
        whole = selectinload(Member.photographs).selectinload(Photograph.picture)
        session.get(Member, member.id, options=[whole], populate_existing=True)
    return page(request, member)


@router.get("/upload.js")
def script() -> FileResponse:
    """Sends files from the browser to the bucket."""
    return FileResponse(_HERE / "upload.js")


@router.get("/studio.css")
def style() -> FileResponse:
    """How it looks."""
    return FileResponse(_HERE / "studio.css")


def page(request: Request, member: Member | None, *, problem: str = "", status: int = 200) -> HTMLResponse:
    """The only page there is."""
    studio, permit = find_studio(request), None
    if member is not None:
        back = f"{request.base_url}photographs/sent/{{token}}"
        permit = studio.uploads.direct_upload(PhotographImage, user=member.id, redirect=back)
    template = _pages.get_template("page.html")
    html = template.render(member=member, permit=permit, problem=problem, script=studio.script)
    bucket = studio.bucket_origin
    policy = f"default-src 'self'; img-src 'self' {bucket}; connect-src 'self' {bucket}; form-action 'self' {bucket}"
    headers = {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'", "Cache-Control": "no-store"}
    return HTMLResponse(html, status, headers)


@router.post("/members")
def come_in(
    name: Annotated[str, Form(min_length=1, max_length=40)], studio: TheStudio, session: OpenSession
) -> Response:
    """Whoever tells a name is that member: this is no example of how to log in."""
    member = session.scalar(select(Member).where(Member.name == name))
    if member is None:
        session.add(member := Member(name=name))
        session.commit()
    answer = RedirectResponse("/", 303)
    # strict: no page of another site can have this browser do anything here
    answer.set_cookie(_COOKIE, studio.logins.sign(str(member.id).encode()), httponly=True, samesite="strict")
    return answer


# --- photographs -----------------------------------------------------------------------------------------------------


@router.post("/permits")
def permit(wanted: WantedPermit, member: LoggedIn, studio: TheStudio) -> dict[str, Any]:
    """What the script asks for before it sends a file."""
    given = studio.uploads.direct_upload(PhotographImage, user=member.id, mimetype=wanted.type, byte_size=wanted.size)
    return given.to_json()


@router.post("/photographs", status_code=201)
def take(sent: Sent, member: LoggedIn, session: OpenSession) -> dict[str, int]:
    """What the script tells when the file has arrived."""
    return {"id": attach(session, member, sent.token, sent.title)}


@router.get("/photographs/sent/{token}")
def take_form(token: str) -> HTMLResponse:
    """Where a form that was sent without the script comes back to, from the bucket, and so without its strict cookie.

    This page asks once more, by itself, and then has it.
    """
    address = escape(f"/photographs/take/{quote(token)}")
    return HTMLResponse(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">')


@router.get("/photographs/take/{token}")
def take_redirected(request: Request, token: str, member: Visitor, session: OpenSession) -> Response:
    """Attach it.  A GET may do so, since nobody else has a token of this member's."""
    if member is None:
        return page(request, None, problem="Come in first: tell your name.", status=401)
    try:
        attach(session, member, token)
    except RejectedImageError as error:
        session.rollback()
        return page(request, member, problem=str(error), status=422)
    return RedirectResponse("/", 303)


@router.post("/photographs/{photograph_id}/delete")
def delete(photograph_id: int, member: LoggedIn, session: OpenSession) -> Response:
    """Those of others are not there."""
    photograph = session.get(Photograph, photograph_id)
    if photograph is None or photograph.member_id != member.id:
        raise HTTPException(404)
    session.delete(photograph)
    session.commit()
    return RedirectResponse("/", 303)


def refuse(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a picture, for the visitor."""
    assert isinstance(error, RejectedImageError)
    return JSONResponse({"code": error.code, "detail": str(error)}, 422)


def attach(session: Session, member: Member, token: str, title: str = "") -> int:
    """Make a photograph of an upload, and give its id."""
    session.add(photograph := Photograph(member=member, title=title[:80] or "Untitled"))
    photograph.picture.from_upload(token, user=member.id)
    session.commit()
    return photograph.id
