"""Several processes that are asked at once for a size that nobody has made: it is made once, in each database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.variants import OnDemandUrls

from ..entity.support import picture
from ..transactions.conftest import server_engine
from .models import Base, Product, ProductPhoto

ROOT = Path(__file__).parents[2]
SECRET = "the secret of these tests, which all may know"
PROCESSES, CLIENTS = 3, 5


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'products.db'}")
    else:
        engine = server_engine(request.getfixturevalue(f"{request.param}_url"))
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)  # the scratch database is that of all tests
    engine.dispose()


def test_processes_that_are_asked_at_once_make_it_once(engine: Engine, tmp_path: Path) -> None:
    store = FileSystemStore(tmp_path / "images", "/images/")
    with (
        Session(engine, info={"image_store": store}) as session,
        closing(OnDemandUrls(SECRET, [ProductPhoto], base_url="/sized/")),
    ):
        session.add(product := Product())
        product.photo.from_blob(picture(120, 80, "red"))
        session.commit()
        before = {key_of(image) for image in product.photo}
        path = product.photo.url(width=50).removeprefix("/sized/")
    database = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.variants.asking", database, store.path, SECRET, path, str(CLIENTS)]
    children = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        results: list[Any] = [json.loads(child.communicate()[0]) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert [result["statuses"] for result in results] == [[200] * CLIENTS] * PROCESSES
    assert len({body for result in results for body in result["bodies"]}) == 1
    assert sum(result["made"] for result in results) == 1
    with Session(engine) as session:
        images = session.scalars(select(ProductPhoto)).all()
    assert len({key_of(image) for image in images} - before) == 1
    assert {blob.key for blob in store.list_blobs()} == {key_of(image) for image in images}
