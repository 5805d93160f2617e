"""``imageattach dataset``: what it does, what it says, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from sqlalchemy_imageattach.cli import main
from tests.dataset.models import Base, Fruit, png

MODELS = f"{Base.__module__}:Base"


class World:
    """A database, a store, and a folder of pictures by label."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.database = f"sqlite:///{path}/fruit.db"
        self.store = f"file://{path}/images?fsync=false"
        self.engine = create_engine(self.database)
        Base.metadata.create_all(self.engine)
        for label, numbers in (("Apple", range(6)), ("Pear", range(100, 104))):
            folder = path / "fruit" / label
            folder.mkdir(parents=True)
            for number in numbers:
                (folder / f"{number}.png").write_bytes(png(number))
        self._capsys = capsys
        self.err = ""

    def run(self, command: str, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code, and what the lines of JSON have, the result last."""
        code = main(["dataset", command, *arguments, "--json", "--database", self.database, "--models", MODELS])
        out, self.err = self._capsys.readouterr()
        return code, [found for line in out.splitlines() for found in json.loads(line).values()]


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    world = World(tmp_path, capsys)
    yield world
    world.engine.dispose()


def test_a_folder_is_collected_counted_picked_divided_and_exported(world: World, tmp_path: Path) -> None:
    folder = str(tmp_path / "fruit")
    code, lines = world.run("collect", world.store, folder)
    assert (code, lines[-1]["added"], lines[-1]["failed"]) == (0, 10, 0)
    code, lines = world.run("collect", world.store, folder)
    assert (code, lines[-1]["added"], lines[-1]["present"]) == (0, 0, 10)

    code, lines = world.run("count")
    assert [(line.get("label"), line["count"]) for line in lines] == [("Apple", 6), ("Pear", 4), (None, 10)]
    assert world.run("count", "Pear")[1][-1]["count"] == 4

    code, lines = world.run("sample", world.store, "4", "--balanced", "--seed", "1")
    assert sorted(line["label"] for line in lines[:-1]) == ["Apple", "Apple", "Pear", "Pear"]
    assert world.run("sample", world.store, "4", "--balanced", "--seed", "1")[1] == lines
    assert all(line["url"].endswith(".png") and len(line["checksum"]) == 64 for line in lines[:-1])

    code, lines = world.run("split", "--part", "train=0.5", "--part", "test=0.5")
    assert sum(lines[-1]["parts"].values()) == 10
    parts = {(line["label"], line["uri"]): line["part"] for line in lines[:-1]}
    assert len(parts) == 10

    code, lines = world.run("export", world.store, str(tmp_path / "out"), "--part", "train=0.5", "--part", "test=0.5")
    assert (code, lines[-1]["count"]) == (0, 10)
    exported = {path.parent.parent.name for path in (tmp_path / "out").rglob("*.png")}
    assert exported == set(parts.values())
    assert len(list((tmp_path / "out").rglob("*.png"))) == 10


def test_what_cannot_be_had_is_told_with_its_reason_by_exit_code_1(world: World, tmp_path: Path) -> None:
    (tmp_path / "fruit" / "Apple" / "note.png").write_bytes(b"no picture")
    code, lines = world.run("collect", world.store, str(tmp_path / "fruit" / "Apple"), "Apple")
    assert (code, lines[-1]["added"], lines[-1]["reasons"]) == (1, 6, {"not-an-image": 1})
    [failure] = [line for line in lines if line.get("reason")]
    assert failure["uri"].endswith("note.png")
    assert failure["is_final"]


def test_a_list_of_urls_at_private_addresses_is_not_asked(world: World, tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:9/a.png\n\nhttp://169.254.169.254/latest\n")
    code, lines = world.run("collect", world.store, str(tmp_path / "urls.txt"), "Apple")
    assert (code, lines[-1]["added"], lines[-1]["reasons"]) == (1, 0, {"address": 2})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("collect", "{store}", "{path}/fruit", "../etc"), "label"),
        (("collect", "{store}", "{path}/urls.txt"), "expected a LABEL"),
        (("collect", "{store}", "{path}/answer.json", "Apple"), "expected the JSON of an answer of SerpApi"),
        (("collect", "{store}", "{path}/nowhere", "Apple"), "does not exist"),
        (("sample", "{store}", "-1"), "-1"),
        (("split", "--part", "train=2"), "expected shares such as train=0.8"),
        (("count", "--class", "Vegetable"), "expected --class with a class that has the LabelledImage mixin"),
        (("export", "{store}", "{path}/out", "--form", "zip"), "zip"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_message(world: World, arguments: tuple[str, ...], said: str) -> None:
    (world.path / "urls.txt").write_text("https://example.com/a.png\n")
    (world.path / "answer.json").write_text("{")
    command, *rest = (each.format(store=world.store, path=world.path) for each in arguments)
    code, _ = world.run(command, *rest)
    assert code == 2
    assert said in world.err
    assert "Traceback" not in world.err


def test_tables_of_another_version_are_told(world: World, tmp_path: Path) -> None:
    Fruit.__table__.drop(world.engine)  # type: ignore[attr-defined]
    code, _ = world.run("collect", world.store, str(tmp_path / "fruit"))
    assert code not in {0, 1}
    assert "are not those of this version" in world.err
    assert "Traceback" not in world.err
