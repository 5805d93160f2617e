"""Forms, repositories and admin panels that know nothing of pictures: an owner is complete before it is in a session.

The store is bound to the session alone, as in a program with a store for each tenant.
"""

from __future__ import annotations

import io
import re
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import IO, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from starlette import formparsers
from starlette.applications import Starlette
from werkzeug.datastructures import FileStorage, MultiDict
from wtforms import FileField, Form, StringField
from wtforms.validators import Optional

from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.errors import UnreadableImageError

from .models import Base, User
from .support import CountingStore, database, picture

with warnings.catch_warnings():  # of their own affairs, such as what they still support
    warnings.simplefilter("ignore")
    from advanced_alchemy.repository import SQLAlchemyAsyncRepository, SQLAlchemySyncRepository
    from flask_admin import Admin as FlaskAdmin
    from flask_admin.contrib.sqla import ModelView as FlaskModelView
    from sqladmin import Admin, ModelView
    from starlette.testclient import TestClient


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def engine() -> Iterator[Engine]:
    with database(Base.metadata) as engine:
        yield engine


@pytest.fixture
def make_session(engine: Engine, store: CountingStore) -> sessionmaker[Session]:
    return sessionmaker(engine, info={"image_store": store})


# --- advanced-alchemy ------------------------------------------------------------------------------------------------


class Users(SQLAlchemySyncRepository[User]):
    model_type = User


class AsyncUsers(SQLAlchemyAsyncRepository[User]):
    model_type = User


def new_user(name: str, color: str) -> Any:
    make: Any = User
    return make(name=name, picture=io.BytesIO(picture(color=color)))


def test_a_repository_adds_owners_that_have_their_pictures(
    make_session: sessionmaker[Session], store: CountingStore
) -> None:
    with make_session() as session:
        users = Users(session=session)
        one = users.add(new_user("Ann", "red"), auto_commit=True)
        more = users.add_many([new_user("Bob", "blue"), new_user("Cat", "lime")], auto_commit=True)
        made = [user.picture.make_blob() for user in (one, *more)]
        assert made == [picture(color=color) for color in ("red", "blue", "lime")]
        assert len(store) == 3
        users.delete(one.id, auto_commit=True)
        assert len(store) == 2


async def _async_engine() -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield engine
    await engine.dispose()


@pytest.mark.asyncio
async def test_an_asynchronous_repository_does_so_too(store: CountingStore) -> None:
    async for engine in _async_engine():
        async with AsyncSession(engine, info={"image_store": store}, expire_on_commit=False) as session:
            user = await AsyncUsers(session=session).add(new_user("Ann", "red"), auto_commit=True)
            photo = (await user.awaitable_attrs.picture).require_original()
            assert await photo.amake_blob() == picture(color="red")


# --- WTForms ---------------------------------------------------------------------------------------------------------


class UserForm(Form):
    name = StringField()
    picture = FileField(validators=[Optional()])


def filled_in(name: str, content: bytes | None, user: User | None = None) -> UserForm:
    file = None if content is None else FileStorage(io.BytesIO(content), "photo.png")
    return UserForm(MultiDict([("name", name), *([] if file is None else [("picture", file)])]), obj=user)


def test_a_form_fills_a_new_owner(make_session: sessionmaker[Session]) -> None:
    user = User()
    filled_in("Ann", picture()).populate_obj(user)
    with make_session() as session:
        session.add(user)
        session.commit()
        assert user.picture.make_blob() == picture()
        filled_in("Ann", picture(color="blue"), user).populate_obj(user)
        session.commit()
        assert user.picture.make_blob() == picture(color="blue")


def test_a_file_that_is_no_picture_leaves_the_owner_its_own(make_session: sessionmaker[Session]) -> None:
    user = new_user("Ann", "red")
    with make_session() as session:
        session.add(user)
        session.commit()
        with pytest.raises(UnreadableImageError):
            filled_in("Ann", b"<html>", user).populate_obj(user)
        session.commit()
        assert user.picture.make_blob() == picture(color="red")


def test_a_form_without_a_file_leaves_the_picture_if_it_was_made_with_its_owner(
    make_session: sessionmaker[Session],
) -> None:
    user = new_user("Ann", "red")
    blank = FileStorage(io.BytesIO(), filename="", content_type="application/octet-stream")
    with make_session() as session:
        session.add(user)
        session.commit()
        filled_in("Bob", None, user).populate_obj(user)
        UserForm(MultiDict([("name", "Cat"), ("picture", blank)]), obj=user).populate_obj(user)
        UserForm(MultiDict([("name", "Cat"), ("picture", blank)])).populate_obj(user)
        session.commit()
        assert user.name == "Cat"
        assert user.picture.make_blob() == picture(color="red")
        filled_in("Dan", None).populate_obj(user)
        session.commit()
        assert not user.picture, "of a form that knows of no picture, None is assigned"


# --- Flask-Admin -----------------------------------------------------------------------------------------------------


class FlaskUserAdmin(FlaskModelView):
    form_columns = ("name", "picture")
    form_extra_fields = {"picture": FileField(validators=[Optional()])}


@pytest.fixture
def flask_panel(make_session: sessionmaker[Session]) -> FlaskClient:
    app = Flask(__name__)
    app.secret_key = "secret"
    panel = FlaskAdmin(app)
    with warnings.catch_warnings():  # without Flask-SQLAlchemy there is nothing else to be given
        warnings.simplefilter("ignore", DeprecationWarning)
        panel.add_view(FlaskUserAdmin(User, scoped_session(make_session), endpoint="user"))
    return app.test_client()


def test_flask_admin_creates_edits_and_deletes_owners(
    flask_panel: FlaskClient, make_session: sessionmaker[Session], store: CountingStore
) -> None:
    def submit(path: str, content: bytes | None, name: str = "photo.png") -> bytes | None:
        file = {} if content is None else {"picture": (io.BytesIO(content), name)}
        response = flask_panel.post(f"/admin/user/{path}", data={"name": "Ann", **file})
        with make_session() as session:
            user = session.get_one(User, 1)
            assert (response.status_code == 302) == (content != b"<html>"), response.text
            return user.picture.make_blob() if user.picture else None

    assert submit("new/", picture(color="red")) == picture(color="red")
    assert submit("edit/?id=1", picture(color="blue")) == picture(color="blue")
    assert submit("edit/?id=1", None) == picture(color="blue"), "no field"
    assert submit("edit/?id=1", b"", "") == picture(color="blue"), "a field in which no file was chosen"
    assert submit("edit/?id=1", b"<html>") == picture(color="blue"), "no picture"
    assert len(store) == 1
    for page in ("", "edit/?id=1", "details/?id=1"):
        assert flask_panel.get(f"/admin/user/{page}").status_code in {200, 302}
    assert flask_panel.post("/admin/user/delete/", data={"id": "1"}).status_code == 302
    assert not store.blobs


# --- starlette-admin -------------------------------------------------------------------------------------------------


def multipart(name: str, content: bytes | None, file_name: str = "photo.png", **fields: str) -> dict[str, Any]:
    """What a browser sends; test clients leave the name out where it is empty, and browsers do not."""
    boundary = "----browser"
    parts = [(f'form-data; name="{key}"', "", value.encode()) for key, value in ({"name": name} | fields).items()]
    if content is not None:
        disposition = f'form-data; name="picture"; filename="{file_name}"'
        parts.append((disposition, "Content-Type: image/png\r\n", content))
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode() + value + b"\r\n"
        for disposition, more, value in parts
    )
    return {
        "content": body + f"--{boundary}--\r\n".encode(),
        "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    }


@pytest.fixture
def uploads_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes what a panel leaves to the garbage collector."""
    opened: list[IO[bytes]] = []

    def open_file(*arguments: Any, **options: Any) -> IO[bytes]:
        opened.append(tempfile.SpooledTemporaryFile(*arguments, **options))  # noqa: SIM115
        return opened[-1]

    monkeypatch.setattr(formparsers, "SpooledTemporaryFile", open_file)
    yield
    for file in opened:
        file.close()


@pytest.mark.usefixtures("uploads_closed")
def test_starlette_admin_creates_edits_clears_and_deletes_owners(
    engine: Engine, make_session: sessionmaker[Session], store: CountingStore
) -> None:
    from starlette_admin import ImageField, StringField
    from starlette_admin.contrib.sqla import Admin as StarletteAdmin
    from starlette_admin.contrib.sqla import ModelView as StarletteModelView

    class StarletteUserAdmin(StarletteModelView):
        fields = [StringField("name"), ImageField("picture")]

    app = Starlette()
    panel = StarletteAdmin(engine, secret_key="a secret of a test, of more than 32 bytes")
    panel.add_view(StarletteUserAdmin(User, key="user"))
    panel.mount_to(app)
    client = TestClient(app)

    csrf_token = re.compile(r'name="csrftoken" value="([^"]+)"')

    def submit(path: str, content: bytes | None, name: str = "photo.png", **fields: str) -> bytes | None:
        # it makes its sessions by itself
        with store_context(store):
            [fields["csrftoken"]] = csrf_token.findall(client.get(f"/admin/user/{path}").text)
            response = client.post(
                f"/admin/user/{path}", **multipart("Ann", content, name, **fields), follow_redirects=False
            )
        assert response.status_code == 303, response.text
        with make_session() as session:
            user = session.get_one(User, 1)
            return user.picture.make_blob() if user.picture else None

    assert submit("create", picture(color="red")) == picture(color="red")
    assert submit("edit?pk=1", picture(color="blue")) == picture(color="blue")
    assert submit("edit?pk=1", None) == picture(color="blue"), "no field"
    assert submit("edit?pk=1", b"", "") == picture(color="blue"), "a field in which no file was chosen"
    assert submit("edit?pk=1", None, **{"_picture-delete": "on"}) is None
    assert not store.blobs
    assert submit("edit?pk=1", picture(color="red")) == picture(color="red")
    with store_context(store):
        [token] = csrf_token.findall(client.get("/admin/user/edit?pk=1").text)
        answer = client.post("/admin/_api/user/action?name=delete&pks=1", headers={"X-CSRFToken": token})
        assert answer.status_code == 200, answer.text
    assert not store.blobs


# --- sqladmin --------------------------------------------------------------------------------------------------------


class UserAdmin(ModelView, model=User):
    form_columns = ["name"]  # of what a relationship is given, sqladmin makes keys

    async def scaffold_form(self, rules: Any = None) -> type[Form]:
        form: Any = await super().scaffold_form(rules)
        form.upload = FileField()
        return form

    async def on_model_change(self, data: dict[str, Any], model: Any, is_created: bool, request: Any) -> None:
        if upload := data.pop("upload", None):
            model.picture = upload
            await upload.close()  # sqladmin leaves it open


@pytest.fixture
def panel(make_session: sessionmaker[Session]) -> TestClient:
    app = Starlette()
    Admin(app, session_maker=make_session).add_view(UserAdmin)
    return TestClient(app)


def test_an_admin_panel_creates_and_edits_owners(panel: TestClient, make_session: sessionmaker[Session]) -> None:
    for path, color in (("/admin/user/create", "red"), ("/admin/user/edit/1", "blue")):
        upload = {"upload": ("photo.png", picture(color=color), "image/png")}
        response = panel.post(path, data={"name": "Ann"}, files=upload, follow_redirects=False)
        assert response.status_code == 302, response.text
        with make_session() as session:
            user = session.get_one(User, 1)
            assert user.picture.make_blob() == picture(color=color)
    for page in ("list", "details/1", "edit/1"):
        assert panel.get(f"/admin/user/{page}").status_code == 200
