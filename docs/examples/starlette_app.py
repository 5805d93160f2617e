"""Users upload their portrait to a Starlette application, with asyncio all the way down."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import selectinload
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from models import User
from sqlalchemy_imageattach.context import SESSION_STORE_KEY
from sqlalchemy_imageattach.errors import RejectedImageError
from sqlalchemy_imageattach.stores.fs import FileSystemStore


def create_app(engine: AsyncEngine, directory: str) -> Starlette:
    store = FileSystemStore(directory, base_url="/images/")
    sessions = async_sessionmaker(engine, expire_on_commit=False, info={SESSION_STORE_KEY: store})

    async def upload(request: Request) -> JSONResponse:
        async with request.form() as form, sessions() as session:
            file = form.get("picture")
            if not isinstance(file, UploadFile):
                raise HTTPException(422, "picture: expected a file")
            user = await session.get(User, request.path_params["user_id"], options=[selectinload(User.picture)])
            if user is None:
                raise HTTPException(404)
            try:
                await user.picture.afrom_file(file)
                await user.picture.agenerate_thumbnails([{"width": 150}, {"width": 300}])
            except RejectedImageError as error:
                raise HTTPException(422, str(error)) from error
            await session.commit()
            return JSONResponse({f"{image.width}w": image.locate() for image in user.picture})

    return Starlette(
        routes=[
            Route("/users/{user_id:int}/picture", upload, methods=["POST"]),
            # for development; in production the web server does this
            Mount("/images", StaticFiles(directory=directory)),
        ]
    )
