"""The commands index, search and duplicates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.cli import main
from sqlalchemy_imageattach.context import store_context
from sqlalchemy_imageattach.store import Store

from .support import Base, looks, picture, prints, user


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "images").mkdir()
    store = f"file://{tmp_path}/images"
    engine = create_engine(f"sqlite:///{tmp_path}/site.db")
    Base.metadata.create_all(engine)
    with store_context(Store.from_url(store)), Session(engine) as session:
        session.add_all([user(1, "red"), user(2, "blue"), user(3, "red")])
        session.commit()
        session.execute(looks.table.delete())
        session.execute(prints.table.delete())
        session.commit()
    engine.dispose()
    (tmp_path / "query.png").write_bytes(picture("navy"))
    monkeypatch.setenv("IMAGEATTACH_DATABASE", f"sqlite:///{tmp_path}/site.db")
    monkeypatch.setenv("IMAGEATTACH_MODELS", "tests.search.support:Base")
    return ["--store", store]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_pictures_are_indexed_searched_and_compared(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", *options, "--json"]) == 0
    first, second = (line["result"] for line in lines(capsys))
    assert (first["extractor"], first["indexed"], first["computed"]) == ("counting", 3, 2)
    assert second["extractor"] == "dhash64"
    assert main(["index", *options, "--json"]) == 0
    assert [line["result"]["present"] for line in lines(capsys)] == [3, 3]
    assert main(["search", str(tmp_path / "query.png"), "--json", "--limit", "2"]) == 0
    nearest, _, result = lines(capsys)
    assert nearest["picture"]["identity"][0] == 2
    assert result["result"]["found"] == 2
    assert main(["duplicates", "--json"]) == 1
    group, _ = lines(capsys)
    assert [identity[0] for identity in group["group"]["identities"]] == [1, 3]


def test_a_picture_that_cannot_be_read_is_a_failure(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (tmp_path / "images").rglob("*.*"):
        if file.is_file():
            file.unlink()
    assert main(["index", *options, "--json", "--extractor", "counting"]) == 3
    *failures, result = lines(capsys)
    assert len(failures) == result["result"]["failed"] == 3


def test_an_index_that_is_empty_cannot_be_searched(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(tmp_path / "query.png")]) == 3
    assert "EmptyIndexError" in capsys.readouterr().err


def test_another_extractor_can_be_named(options: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["index", *options, "--extractor", "sqlalchemy_imageattach.search:TinyExtractor", "--json"]) == 0
    (line,) = lines(capsys)
    assert line["result"]["extractor"] == "tiny"
    engine = create_engine(f"sqlite:///{tmp_path}/site.db")
    with Session(engine) as session:
        table = looks.table
        count = select(func.count()).select_from(table).where(table.c.extractor == "tiny")
        assert session.scalar(count) == 3
    engine.dispose()


def test_a_class_that_is_not_there_is_named(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "--class", "Nobody"]) == 2
    assert "'Nobody'" in capsys.readouterr().err
