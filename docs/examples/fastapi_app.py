"""Users upload their portrait to a FastAPI application, which answers with a pydantic model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from models import Base, User
from response_models import UserOut
from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.stores.fs import FileSystemStore

sessions: sessionmaker[Session] = sessionmaker()
router = APIRouter()


def open_session() -> Iterator[Session]:
    with sessions() as session:
        yield session


OpenSession = Annotated[Session, Depends(open_session)]


@router.get("/users/{user_id}")
def show(user_id: int, session: OpenSession) -> UserOut:
    user = session.get(User, user_id)
    if user is None:
        raise HTTPException(404)
    return UserOut.model_validate(user)


@router.put("/users/{user_id}/picture")
def upload(user_id: int, picture: UploadFile, session: OpenSession) -> UserOut:
    user = session.get(User, user_id)
    if user is None:
        raise HTTPException(404)
    user.picture.from_file(picture)
    user.picture.generate_thumbnails([{"width": 150}, {"width": 300}])
    session.commit()
    return UserOut.model_validate(user)


@router.delete("/users/{user_id}/picture", status_code=204)
def remove(user_id: int, session: OpenSession) -> None:
    user = session.get(User, user_id)
    if user is None:
        raise HTTPException(404)
    user.picture.clear()
    session.commit()


def refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RejectedImageError)
    return JSONResponse({"code": error.code, "detail": str(error)}, status_code=422)


def create_app(engine: Engine, directory: str) -> FastAPI:
    Base.metadata.create_all(engine)
    sessions.configure(bind=engine, info={SESSION_STORE_KEY: FileSystemStore(directory, base_url="/images/")})
    app = FastAPI()
    app.include_router(router)
    app.add_exception_handler(RejectedImageError, refuse)
    # for development; in production the web server does this
    app.mount("/images", StaticFiles(directory=directory))
    return app
