"""A Django view that attaches an upload with SQLAlchemy."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from sqlalchemy.orm import Session, sessionmaker

from models import User
from sqlalchemy_imageattach.errors import RejectedImageError

#: Bound to an engine and a store when the application starts: ``sessions.configure(bind=…, info=…)``.
sessions: sessionmaker[Session] = sessionmaker()


def upload(request: HttpRequest, user_id: int) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    with sessions() as session:
        user = session.get_one(User, user_id)
        try:
            user.picture.from_file(request.FILES["picture"])
        except RejectedImageError as error:
            return HttpResponse(str(error), status=422)
        session.commit()
        return HttpResponse(user.picture.locate(), status=201)
