"""The documentation tells the truth: its examples run, and nothing in it that looks like Python is left out of that.

Sphinx runs the pages as well (``scripts/docs``).  Here they run without Sphinx, so also on each Python and SQLAlchemy
that ``tox`` knows, and with warnings as errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool
from werkzeug.test import Client

from sqlalchemy_imageattach.stores.memory import MemoryStore

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = DOCS / "examples"
PAGES = [DOCS / "index.rst", *sorted(DOCS.glob("guide/*.rst"))]

#: Blocks that nobody runs: configuration, commands and templates.
NOT_RUN = {"bash", "console", "fish", "html+jinja", "lighttpd", "nginx", "toml"}
RUN = ("testsetup", "testcode", "testoutput", "testcleanup")

#: What programs import; other modules are the business of these.
PUBLIC = (
    *("context", "entity", "errors", "file", "imaging", "key", "store", "testing", "util", "version"),
    *("stores.fs", "stores.memory", "stores.mirror", "stores.overlay", "stores.s3", "stores.by_url", "serving.wsgi"),
    *("serving.signing", "serving.asgi", "serving.endpoint", "stores.endpoint", "uploads", "integrations", "observing"),
    *("cli", "jobs", "maintenance", "migration", "search", "dataset", "remote", "variants", "variants.backfill"),
)


# --- pages as programs -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """One directive of a page.

    :param kind: its name, e.g. ``"testcode"``
    :param line: the number of its first line of content in the page
    """

    kind: str
    content: str
    line: int


def blocks_of(text: str) -> Iterator[Block]:
    """The directives of a page that are to be run, in their order."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        match = re.fullmatch(rf"( *)\.\. ({'|'.join(RUN)})::", line)
        if match is None:
            continue
        body: list[str] = []
        for following in lines[number + 1 :]:
            if following.strip() and not following.startswith(match[1] + " "):
                break
            body.append(following)
        options = next((count for count, line in enumerate(body) if not line.strip().startswith(":")), len(body))
        content = textwrap.dedent("\n".join(body[options:])).strip("\n") + "\n"
        start = number + 2 + options + next(count for count, line in enumerate(body[options:]) if line.strip())
        yield Block(match[2], content, start)


def run_page(text: str, name: str) -> None:
    """Runs the blocks of a page in one namespace.

    :raises AssertionError: one did not print what the page says
    """
    namespace: dict[str, Any] = {"__name__": "guide"}
    blocks = list(blocks_of(text))
    program = [block for block in blocks if block.kind != "testcleanup"]
    try:
        for block, following in zip(program, [*program[1:], None], strict=False):
            if block.kind == "testoutput":
                continue
            expected = following.content if following is not None and following.kind == "testoutput" else ""
            _check(block, expected, name, namespace)
    finally:
        for block in blocks:
            if block.kind == "testcleanup":
                exec(block.content, namespace)


def _check(block: Block, expected: str, name: str, namespace: dict[str, Any]) -> None:
    raises = doctest.DocTestParser._EXCEPTION_RE.match(expected)  # type: ignore[attr-defined]
    printed = io.StringIO()
    # as many line breaks before it as there are in the page, so that tracebacks name the right line
    code = compile("\n" * (block.line - 1) + block.content, name, "exec", dont_inherit=True)
    with contextlib.redirect_stdout(printed):
        if raises is None:
            exec(code, namespace)
        else:
            with pytest.raises(Exception) as raised:  # which one, the page says
                exec(code, namespace)
    if raises is not None:
        expected, got = raises["msg"], f"{raised.type.__module__}.{raised.type.__qualname__}: {raised.value}\n"
    else:
        got = printed.getvalue()
    assert doctest.OutputChecker().check_output(expected, got, doctest.ELLIPSIS), (
        f"{name}:{block.line}\nexpected:\n{expected}\ngot:\n{got}"
    )


@pytest.fixture(autouse=True)
def connections_closed() -> Iterator[None]:
    """Closes what a program would leave to its end: from Python 3.13 on, a connection that is not closed warns."""
    opened: list[sqlite3.Connection] = []

    def remember(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            opened.append(connection)

    event.listen(Pool, "connect", remember)
    yield
    event.remove(Pool, "connect", remember)
    for connection in opened:
        connection.close()


@pytest.fixture
def importing_examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, the examples can be imported as they import each other: by their bare names."""
    monkeypatch.syspath_prepend(EXAMPLES)
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    former = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    try:
        yield
    finally:
        for name in names & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(former)


@pytest.mark.usefixtures("importing_examples")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_examples_of_each_page_do_what_it_says(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(os.curdir)  # whatever a page that fails does to it
    run_page(page.read_text(encoding="utf-8"), str(page))


def test_a_page_that_is_wrong_about_its_output_is_found() -> None:
    page = ".. testcode::\n\n   print(1 + 1)\n\n.. testoutput::\n\n   {}\n"
    run_page(page.format("2"), "page")
    with pytest.raises(AssertionError, match=r"page:3\s+expected:\s+3"):
        run_page(page.format("3"), "page")


def test_a_page_that_is_wrong_about_an_error_is_found() -> None:
    page = ".. testcode::\n\n   int('x')\n\n.. testoutput::\n\n   Traceback (most recent call last):\n     ...\n   {}\n"
    run_page(page.format("builtins.ValueError: invalid literal ..."), "page")
    with pytest.raises(AssertionError):
        run_page(page.format("builtins.KeyError: 'x'"), "page")


def test_output_that_a_page_does_not_show_is_found() -> None:
    with pytest.raises(AssertionError):
        run_page(".. testcode::\n\n   print(2)\n", "page")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_no_python_stands_in_a_page_without_being_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    languages = set(re.findall(r"^ *\.\. code-block:: *(.*)$", text, re.MULTILINE))
    assert languages <= NOT_RUN, "run it by '.. testcode::', or include a file of docs/examples"
    assert not re.search(r"^(?! *\.\. ).*::$", text, re.MULTILINE), "a literal block without a language"
    assert not re.search(r"^ *>>> ", text, re.MULTILINE), "Sphinx would run it, and this module would not"


def test_every_example_is_shown_or_used_by_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    unused = [
        path.name
        for path in EXAMPLES.glob("*.py")
        if f"examples/{path.name}" not in text and f"from {path.stem} import" not in text
    ]
    assert unused == []


@pytest.mark.parametrize("module", PUBLIC)
def test_each_public_module_has_its_page_in_the_reference(module: str) -> None:
    page = (DOCS / "api" / f"{module}.rst").read_text(encoding="utf-8")
    assert f".. automodule:: sqlalchemy_imageattach.{module}\n   :members:" in page
    assert f"<{module}>" in (DOCS / "api" / "index.rst").read_text(encoding="utf-8")


# --- the examples that are files -------------------------------------------------------------------------------------


@pytest.fixture
def examples(importing_examples: None) -> Any:
    return importlib.import_module


def picture(examples: Any, directory: Path) -> bytes:
    path = directory / "portrait.jpg"
    examples("workspace").draw(str(path), (300, 400))
    return path.read_bytes()


def test_the_flask_example_takes_uploads_and_serves_them(examples: Any, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'users.db'}"
    app = examples("flask_app").create_app(database, str(tmp_path / "images"))
    engine = create_engine(database)
    with Session(engine) as session:
        session.add(examples("models").User(id=1, name="Ada"))
        session.commit()
    engine.dispose()
    portrait = picture(examples, tmp_path)

    # through the middleware, and not only through Flask
    client = Client(app)
    assert "<img" not in client.get("/users/1").text
    answer = client.post("/users/1", data={"picture": (io.BytesIO(portrait), "p.jpg")}, follow_redirects=True)
    assert answer.status_code == 200
    url = re.search(r'src="http://localhost(/images/[^"]+)" width="150" height="200"', answer.text)
    assert url is not None, answer.text
    served = client.get(url[1])
    assert served.status_code == 200
    assert served.mimetype == "image/jpeg"
    served.close()

    refused = client.post("/users/1", data={"picture": (io.BytesIO(b"no picture"), "p.jpg")})
    assert refused.status_code == 422
    assert "of no known image type" in refused.text
    assert client.get("/users/2").status_code == 404


def test_the_starlette_example_takes_uploads_and_serves_them(examples: Any, tmp_path: Path) -> None:
    portrait = picture(examples, tmp_path)
    models = examples("models")
    (tmp_path / "images").mkdir()

    async def use() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'users.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(models.Base.metadata.create_all)
            await connection.execute(models.User.__table__.insert().values(id=1, name="Ada"))
        app = examples("starlette_app").create_app(engine, str(tmp_path / "images"))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/users/1/picture", files={"picture": ("p.jpg", portrait, "image/png")})
            assert answer.status_code == 200, answer.text
            urls: Mapping[str, str] = answer.json()
            assert set(urls) == {"300w", "150w"}  # the original has one of the sizes already
            served = await client.get(urls["150w"])
            assert served.status_code == 200
            assert served.headers["content-type"] == "image/jpeg"
            refused = await client.post("/users/1/picture", files={"picture": ("p.jpg", b"no picture")})
            assert refused.status_code == 422
            assert (await client.post("/users/1/picture", data={"picture": "text"})).status_code == 422
            assert (await client.post("/users/2/picture", files={"picture": ("p.jpg", portrait)})).status_code == 404
        await engine.dispose()

    asyncio.run(use())


def test_the_fastapi_example_takes_uploads_and_answers_with_urls(examples: Any, tmp_path: Path) -> None:
    portrait = picture(examples, tmp_path)
    models = examples("models")
    (tmp_path / "images").mkdir()
    engine = create_engine(f"sqlite:///{tmp_path / 'users.db'}")
    app = examples("fastapi_app").create_app(engine, str(tmp_path / "images"))
    with Session(engine) as session:
        session.add(models.User(id=1, name="Ada"))
        session.commit()

    async def use() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            nothing = {"id": 1, "name": "Ada", "original": None, "thumbnails": []}
            assert (await client.get("/users/1")).json() == nothing
            answer = await client.put("/users/1/picture", files={"picture": ("p.png", portrait, "image/png")})
            assert answer.status_code == 200, answer.text
            user = answer.json()
            assert user == (await client.get("/users/1")).json()
            assert set(user["original"]) == {"url", "width", "height", "mimetype"}, "and neither checksum nor revision"
            assert [image["width"] for image in user["thumbnails"]] == [150, 300]
            assert (await client.get(user["original"]["url"])).content == portrait
            schema = (await client.get("/openapi.json")).json()["components"]["schemas"]["ImageOut"]
            assert set(schema["properties"]) == {"url", "width", "height", "mimetype"}

            refused = await client.put("/users/1/picture", files={"picture": ("p.png", b"no picture")})
            assert refused.status_code == 422
            assert refused.json()["code"]
            assert (await client.get("/users/1")).json() == user
            assert (await client.put("/users/2/picture", files={"picture": ("p.jpg", portrait)})).status_code == 404
            assert (await client.delete("/users/1/picture")).status_code == 204
            assert (await client.get("/users/1")).json() == nothing
            assert [path for path in (tmp_path / "images").rglob("*") if path.is_file()] == []

    asyncio.run(use())
    engine.dispose()


def test_the_example_of_flask_sqlalchemy_keeps_photographs(examples: Any, tmp_path: Path) -> None:
    store = MemoryStore("https://images.example.com/")
    example = examples("flask_sqlalchemy_app")
    app = example.create_app(f"sqlite:///{tmp_path / 'products.db'}", store)
    portrait, client = picture(examples, tmp_path), app.test_client()

    answer = client.post("/products", data={"name": "Lamp", "photo": (io.BytesIO(portrait), "p.jpg")})
    assert answer.status_code == 201
    assert answer.json["photo"].startswith("https://images.example.com/product-photo/1/0/1.300x400.")
    refused = client.post("/products", data={"name": "Lamp", "photo": (io.BytesIO(b"no picture"), "p.jpg")})
    assert refused.status_code == 422
    assert [*store.blobs.values()] == [portrait]
    assert client.delete("/products/1").status_code == 204
    assert client.delete("/products/1").status_code == 404
    assert store.blobs == {}
    with app.app_context():
        example.db.engine.dispose()


def test_the_factories_make_users_with_pictures_and_without(examples: Any) -> None:
    factories, models = examples("factories"), examples("models")
    engine = create_engine("sqlite://")
    models.Base.metadata.create_all(engine)
    store = MemoryStore()
    with Session(engine, info={"image_store": store}) as session:
        factories.UserFactory._meta.sqlalchemy_session = session
        with_pictures = factories.UserFactory.create_batch(2, with_picture=True)
        other = factories.UserFactory(picture=factories.portrait((9, 9)))
        assert not factories.UserFactory().picture
        session.commit()
        assert [user.picture.size for user in [*with_pictures, other]] == [(60, 80), (60, 80), (9, 9)]
        assert len(store.blobs) == 3
    engine.dispose()


def test_alembic_makes_the_tables_of_a_new_project(examples: Any, tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(tmp_path / "migrations"))
    config.set_main_option("sqlalchemy.url", f"sqlite:///{tmp_path / 'users.db'}")
    config.config_file_name = str(tmp_path / "alembic.ini")
    command.init(config, str(tmp_path / "migrations"))
    (tmp_path / "migrations" / "env.py").write_bytes((EXAMPLES / "alembic_env.py").read_bytes())
    command.revision(config, "pictures", autogenerate=True)
    command.upgrade(config, "head")
    command.check(config)
    (migration,) = (tmp_path / "migrations" / "versions").glob("*.py")
    assert "sqlalchemy_imageattach" not in migration.read_text(encoding="utf-8")
    assert "'user_picture'" in migration.read_text(encoding="utf-8")


def test_the_django_example_takes_uploads(examples: Any, tmp_path: Path) -> None:
    from django.conf import settings
    from django.core.files.uploadedfile import SimpleUploadedFile
    from django.test import RequestFactory

    if not settings.configured:
        settings.configure(DEFAULT_CHARSET="utf-8", USE_TZ=True)
    view, models = examples("django_view"), examples("models")
    portrait = picture(examples, tmp_path)
    engine = create_engine(f"sqlite:///{tmp_path / 'users.db'}")
    models.Base.metadata.create_all(engine)
    store = MemoryStore("https://images.example.com/")
    view.sessions.configure(bind=engine, info={"image_store": store})
    with view.sessions() as session:
        session.add(models.User(id=1, name="Ada"))
        session.commit()
    requests = RequestFactory()

    answer = view.upload(requests.post("/", {"picture": SimpleUploadedFile("p.png", portrait)}), 1)
    assert answer.status_code == 201
    assert answer.content.decode().startswith("https://images.example.com/user-picture/1/0/1.300x400.")
    assert [*store.blobs.values()] == [portrait]
    refused = view.upload(requests.post("/", {"picture": SimpleUploadedFile("p.png", b"no picture")}), 1)
    assert refused.status_code == 422
    assert [*store.blobs.values()] == [portrait]
    assert view.upload(requests.get("/"), 1).status_code == 405
    engine.dispose()


@pytest.mark.usefixtures("importing_examples")
def test_the_commands_that_the_guide_shows_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy_imageattach.cli import main

    text = (DOCS / "guide" / "command-line.rst").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^ *\$ imageattach (.+)$", text, re.MULTILINE)]
    assert len(commands) == text.count("$ imageattach")
    engine = create_engine(f"sqlite:///{tmp_path / 'users.db'}")
    importlib.import_module("models").Base.metadata.create_all(engine)
    engine.dispose()
    monkeypatch.setenv("IMAGEATTACH_DATABASE", f"sqlite:///{tmp_path / 'users.db'}")
    monkeypatch.setenv("IMAGEATTACH_MODELS", "models:Base")
    # the store of S3 is made, but there is nothing to be copied to it that would need a bucket
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    for command in commands:
        arguments = [argument.replace("/srv/images", str(tmp_path / "images")) for argument in command]
        assert main(arguments) == 0, arguments


def test_the_tests_that_the_guide_shows_pass() -> None:
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    where = ["-c", os.devnull, "--rootdir", str(EXAMPLES), str(EXAMPLES / "application_tests.py")]
    finished = subprocess.run(
        [*command, *where],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "3 passed" in finished.stdout
