"""The upload objects of web frameworks, from a real request to a stored picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask, request
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.errors import RejectedImageError

from .models import Base, User
from .support import CountingStore, picture

SMALL = picture()
LARGE = picture(1200, 1000, mode="RGB", format="BMP")  # larger than frameworks keep in memory


@pytest.mark.asyncio
@pytest.mark.parametrize("blob", [SMALL, LARGE], ids=["small", "large"])
async def test_an_upload_to_starlette(tmp_path: Path, context: CountingStore, blob: bytes) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'database'}", poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)

    async def upload(request: Request) -> PlainTextResponse:
        async with request.form() as form, AsyncSession(engine) as session:
            user = User()
            session.add(user)
            try:
                await user.picture.afrom_file(form["picture"])
            except RejectedImageError as error:
                return PlainTextResponse(str(error), 422)
            await user.picture.athumbnail(width=30)
            await session.commit()
            image_set = await user.awaitable_attrs.picture
            return PlainTextResponse(image_set.locate(), 201)

    app = Starlette(routes=[Route("/", upload, methods=["POST"])])
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        # the name and the type that the client claims do not matter
        response = await client.post("/", files={"picture": ("../evil.exe", blob, "text/plain")})
        assert response.status_code == 201
        assert response.text.startswith("memory:///user-picture/1/0/1.")
        response = await client.post("/", files={"picture": ("portrait.png", b"MZ no picture", "image/png")})
        assert response.status_code == 422
        assert "expected an image, got bytes of no known image type" in response.text
    assert blob in context.blobs.values()
    assert len(context) == 2
    await engine.dispose()


@pytest.fixture
def flask(engine: Engine, store: CountingStore) -> Iterator[httpx.Client]:
    app = Flask(__name__)

    @app.post("/")
    def upload() -> Any:
        with store_context(store), Session(engine) as session:
            user = User()
            session.add(user)
            file = request.files["picture"]
            file.read(10)  # a validator has looked at it
            try:
                user.picture.from_file(file)
            except RejectedImageError as error:
                return str(error), 422
            session.commit()
            return user.picture.locate(), 201

    # not Flask's own client, which leaves the body of a large request open
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://app.example") as client:
        yield client


@pytest.mark.parametrize("blob", [SMALL, LARGE], ids=["small", "large"])
def test_an_upload_to_flask(flask: httpx.Client, store: CountingStore, blob: bytes) -> None:
    response = flask.post("/", files={"picture": ("../evil.exe", blob, "text/plain")})
    assert response.status_code == 201
    assert response.text.startswith("memory:///user-picture/1/0/1.")
    assert list(store.blobs.values()) == [blob]
    response = flask.post("/", files={"picture": ("portrait.png", b"", "image/png")})
    assert response.status_code == 422
    assert "got an empty file" in response.text


@pytest.mark.parametrize("blob", [SMALL, LARGE], ids=["small", "large"])
def test_an_upload_to_django(session: Session, blob: bytes) -> None:
    from django.conf import settings
    from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
    from django.core.files.uploadhandler import TemporaryFileUploadHandler
    from django.http import HttpRequest
    from django.http.multipartparser import MultiPartParser

    if not settings.configured:
        settings.configure()
    boundary = "frontier"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="picture"; filename="evil.exe"\r\n'
        f"Content-Type: text/plain\r\n\r\n"
    ).encode() + blob
    body += f"\r\n--{boundary}--\r\n".encode()
    http = HttpRequest()
    http.META = {"CONTENT_TYPE": f"multipart/form-data; boundary={boundary}", "CONTENT_LENGTH": str(len(body))}
    handlers = http.upload_handlers if blob is SMALL else [TemporaryFileUploadHandler(http)]
    _, files = MultiPartParser(http.META, io.BytesIO(body), handlers).parse()
    upload = files["picture"]
    assert isinstance(upload, UploadedFile)
    assert isinstance(upload, InMemoryUploadedFile) == (blob is SMALL)
    for _ in upload.chunks():  # a validator has read it to its end
        pass
    user = User()
    session.add(user)
    user.picture.from_file(upload)
    upload.close()
    session.commit()
    assert user.picture.make_blob() == blob
