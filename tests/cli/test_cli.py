from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from sqlalchemy import Engine
from sqlalchemy import select as sql_select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.cli import cli, main
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.by_url import ENTRY_POINTS, store_from_url
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.variants import Variant
from tests.migrating import Base, User, UserPicture, attach, content_of, database, fill, picture

ROOT = Path(__file__).parents[2]
MODELS = f"{Base.__module__}:Base"


class World:
    """A database, two directories, and what the command line wrote."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.database = f"sqlite:///{path}/test.db"
        self.engine: Engine = database(self.database)
        self.urls = [f"file://{path}/{name}?fsync=false" for name in ("source", "destination")]
        self.source, self.destination = map(store_from_url, self.urls)
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, command: str, *arguments: str, models: str = MODELS) -> int:
        options = [] if command == "stores" else ["--database", self.database, "--models", models]
        code = main([command, *arguments, *options])
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    world = World(tmp_path, capsys)
    yield world
    world.engine.dispose()


def put_orphan(store: Store) -> ImageKey:
    import io

    key = ImageKey("user-picture", 999, 1, 1, "image/png", "orphan")
    store.put(key, io.BytesIO(b"orphan"), reproducible=False)
    return key


def add_schemes(monkeypatch: pytest.MonkeyPatch, path: Path, *, names: list[str], source: str) -> None:
    """Install a distribution whose module ``source`` has, for each scheme, a function of its name."""
    module = f"stores_{'_'.join(names)}"
    info = path / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *(f"{n} = {module}:{n}" for n in names)]))
    (path / f"{module}.py").write_text(f"from sqlalchemy_imageattach.stores.memory import MemoryStore\n{source}")
    monkeypatch.syspath_prepend(path)


# --- migrate ---------------------------------------------------------------------------------------------------------


def test_migrate_copies_and_says_so(world) -> None:
    fill(world.engine, world.source, 12)
    assert world.run("migrate", *world.urls, "--workers", "3") == 0
    assert "12 copied (" in world.out
    assert world.err == ""
    assert content_of(world.destination) == content_of(world.source)
    assert world.run("migrate", *world.urls, "--verify", "read-back") == 0
    assert "0 copied (0 bytes), 12 there already" in world.out


def test_migrate_without_writing(world) -> None:
    fill(world.engine, world.source, 2)
    assert world.run("migrate", *world.urls, "--dry-run", "--json") == 0
    assert world.lines[-1]["result"]["copied"] == 2
    assert content_of(world.destination) == {}


def test_migrate_in_shards(world) -> None:
    fill(world.engine, world.source, 30)
    for index in range(3):
        assert world.run("migrate", *world.urls, "--shard", f"{index}/3", "--json") == 0
        assert 0 < world.lines[-1]["result"]["copied"] < 30
        assert world.lines[-1]["result"]["present"] == 0
    assert content_of(world.destination) == content_of(world.source)


@pytest.mark.parametrize("fail_fast", [False, True])
def test_migrate_tells_of_failures_by_its_exit_code(world, fail_fast) -> None:
    keys = fill(world.engine, world.source, 3)
    world.source.delete_key(keys[1])
    assert world.run("migrate", *world.urls, "--json", *(["--fail-fast"] if fail_fast else [])) == 3
    if fail_fast:
        assert world.err.startswith("imageattach: BlobNotFoundError: ")
        return
    failure, result = world.lines
    assert failure["failure"]["identity"] == [2, 640, 480, "image/jpeg", ""]
    assert failure["failure"]["key"]["revision"] == keys[1].revision
    assert result["result"] == {
        "copied": 2, "copied_bytes": 18, "present": 0, "elsewhere": 0, "vanished": 0, "failed": 1,
        "dry_run": False, "gave_up": False, "ok": False,
    }  # fmt: skip
    assert world.run("migrate", *world.urls, "--summary", "--json") == 3
    assert [list(line) for line in world.lines] == [["result"]]


def test_migrate_refuses_to_copy_a_store_onto_itself(world) -> None:
    assert world.run("migrate", world.urls[0], world.urls[0]) == 2
    assert "expected two different stores" in world.err


# --- check and sweep -------------------------------------------------------------------------------------------------


def test_check_is_silent_by_its_exit_code_when_all_is_well(world) -> None:
    fill(world.engine, world.source, 5)
    assert world.run("check", world.urls[0], "--checksum") == 0
    assert world.out.startswith("5 rows, 5 blobs (45 bytes)")


def test_check_tells_of_problems(world) -> None:
    keys = fill(world.engine, world.source, 5)
    world.source.delete_key(keys[0])
    orphan = put_orphan(world.source)
    assert world.run("check", world.urls[0], "--grace", "0", "--json") == 1
    *problems, last = (next(iter(line.values())) for line in world.lines)
    assert {problem["kind"] for problem in problems} == {"missing blob", "orphan"}
    assert {problem["name"] for problem in problems} == {keys[0].object_name(), orphan.file_path()}
    assert last["counts"] == {"missing blob": 1, "orphan": 1}
    assert last["ok"] is False
    assert world.run("check", world.urls[0], "--grace", "0") == 1
    assert "orphan: 'user-picture/999/0/999.1x1.orphan.png'" in world.out
    assert world.run("check", world.urls[0], "--grace", "0", "--summary") == 1
    assert "999.1x1" not in world.out


def test_names_of_files_do_not_control_the_terminal(world) -> None:
    fill(world.engine, world.source, 1)
    (world.path / "source" / "\x1b[2Jevil\r\nname").write_text("x")
    assert world.run("check", world.urls[0]) == 0
    assert "\x1b" not in world.out
    assert "evil" in world.out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_output_cannot_encode_is_escaped(world, encoding) -> None:
    (world.path / "source").mkdir()
    (world.path / "source" / "žluť").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "sqlalchemy_imageattach", "check", world.urls[0]],
        env={
            **os.environ,
            "PYTHONIOENCODING": encoding,
            "IMAGEATTACH_DATABASE": world.database,
            "IMAGEATTACH_MODELS": MODELS,
        },
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    assert "foreign file: 'žluť'" in text or "foreign file: '\\u017elu\\u0165'" in text


def test_sweep_deletes_only_when_it_is_told_to(world) -> None:
    fill(world.engine, world.source, 5)
    orphan = put_orphan(world.source)
    assert world.run("sweep", world.urls[0]) == 0, "it is too young"
    assert world.run("sweep", world.urls[0], "--grace", "0") == 1
    assert orphan.object_name() in content_of(world.source)
    assert world.run("sweep", world.urls[0], "--grace", "0", "--delete") == 0
    assert "1 deleted (6 bytes), 0 failed" in world.out
    assert orphan.object_name() not in content_of(world.source)
    assert len(content_of(world.source)) == 5


def test_sweep_says_why_it_refuses(world) -> None:
    put_orphan(world.source)
    assert world.run("sweep", world.urls[0], "--grace", "0", "--delete") == 3
    assert "SweepRefusedError: refusing to delete: 1 of the 1 blobs" in world.err
    assert world.run("sweep", world.urls[0], "--grace", "0", "--delete", "--limit", "1", "--object-type", "cover") == 3
    assert "'cover'" in world.err
    assert len(content_of(world.source)) == 1
    assert world.run("sweep", world.urls[0], "--grace", "0", "--delete", "--limit", "1") == 0
    assert content_of(world.source) == {}


# --- thumbnails ------------------------------------------------------------------------------------------------------


def variants(world: World) -> dict[int, set[tuple[int, str]]]:
    with Session(world.engine) as session:
        return {user.id: {(i.width, i.mimetype) for i in user.picture} for user in session.query(User)}


def test_thumbnails_makes_what_is_missing(world) -> None:
    with Session(world.engine, info={"image_store": world.source}) as session:
        attach(session, world.source, picture(60)).picture.generate_thumbnail(width=20)
        attach(session, world.source, picture(30))
        session.add(User(name="without a picture"))
        session.commit()
    arguments = (world.urls[0], "--width", "20", "--width", "40", "--format", "png", "--format", "webp", "--json")
    assert world.run("thumbnails", *arguments) == 0
    assert world.lines[-1]["result"] == {"owners": 3, "pictures": 2, "generated": 7, "failed": 0, "ok": True}
    both = {(size, f"image/{kind}") for size in (20, 40) for kind in ("png", "webp")}
    assert variants(world) == {
        1: {(60, "image/png")} | both,
        2: {(30, "image/png"), (20, "image/png"), (20, "image/webp"), (30, "image/webp")},
        3: set(),
    }
    assert world.run("thumbnails", *arguments) == 0
    assert world.lines[-1]["result"]["generated"] == 0
    assert world.run("check", world.urls[0], "--checksum", "--grace", "0") == 0


def test_thumbnails_can_be_made_anew(world) -> None:
    with Session(world.engine, info={"image_store": world.source}) as session:
        attach(session, world.source, picture(60)).picture.generate_thumbnail(width=20)
        session.commit()
    before = set(content_of(world.source))
    assert world.run("thumbnails", world.urls[0], "--width", "20", "--regenerate") == 0
    after = set(content_of(world.source))
    assert len(before) == len(after) == 2
    assert len(before & after) == 1
    assert world.run("check", world.urls[0], "--checksum", "--grace", "0") == 0


def test_variants_says_what_it_would_make_and_then_makes_it(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserPicture, "image_variants", {"small": Variant(width=20, make="later")})
    with Session(world.engine, info={"image_store": world.source}) as session:
        attach(session, world.source, picture(60))
        session.commit()
    assert world.run("variants", world.urls[0]) == 0
    assert "1 images would be made of 1 pictures, 0 would be removed" in world.out
    assert world.run("variants", world.urls[0], "--apply", "--json", "--shard", "0/1") == 0
    assert world.lines[-1]["result"] == {
        "owners": 1, "pictures": 1, "generated": 1, "removed": 0, "failed": 0, "ok": True,
    }  # fmt: skip
    monkeypatch.setattr(UserPicture, "image_variants", {})
    assert world.run("variants", world.urls[0], "--apply", "--class", "UserPicture") == 0
    assert "0 images made of 1 pictures, 1 removed" in world.out
    assert world.run("check", world.urls[0], "--checksum", "--grace", "0") == 0


def test_thumbnails_go_on_after_a_picture_that_fails(world) -> None:
    with Session(world.engine, info={"image_store": world.source}) as session:
        users = [attach(session, world.source, picture(60)) for _ in range(3)]
        session.commit()
        world.source.delete(users[1].picture.original)
    assert world.run("thumbnails", world.urls[0], "--width", "20") == 3
    assert "User (2,): BlobNotFoundError" in world.out
    assert [len(found) for found in variants(world).values()] == [2, 1, 2]


# --- stores ----------------------------------------------------------------------------------------------------------


def test_a_store_that_keeps_the_contract_is_exit_code_0(world) -> None:
    assert world.run("stores", world.urls[0], "--json") == 0
    assert world.lines == [{"result": {"violations": 0, "ok": True}}]


def test_stores_says_which_method_breaks_which_rule(world, tmp_path, monkeypatch) -> None:
    add_schemes(
        monkeypatch,
        tmp_path,
        names=["forgetful"],
        source="class Forgetful(MemoryStore):\n"
        "    def delete_file(self, *args, **kwargs):\n"
        "        return None\n"
        "forgetful = lambda url: Forgetful()\n",
    )
    assert world.run("stores", "forgetful:", "--json") == 1
    first, *others, result = world.lines
    assert first == {
        "violation": {
            "method": "Forgetful.delete_file",
            "rule": "deletes a blob",
            "expected": "the blob to be gone",
            "came": "a file that can be opened",
        }
    }
    assert {tuple(line["violation"]) for line in others} == {("method", "rule", "expected", "came")}
    assert result == {"result": {"violations": 1 + len(others), "ok": False}}
    assert world.run("stores", "forgetful:") == 1
    text = "Forgetful.delete_file: deletes a blob: expected the blob to be gone, got a file that can be opened"
    assert world.out.startswith(f"{text}\n")


# --- usage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "expected a store, since there are classes that have none of their own"),
        (["stores"], "Missing argument 'STORE'"),
        (["check", "nonsense"], "expected a store's URL with a scheme of"),
        (["check", "gopher://x"], "got the scheme 'gopher'"),
        (["check", "file:///tmp/x?colour=red"], "unknown option colour"),
        (["check", "memory:", "--nonsense"], "No such option"),
        (["check", "memory:", "--grace", "-1"], "Invalid value for '--grace'"),
        (["check", "memory:", "--grace", "inf"], "--grace: expected a number of hours"),
        (["check", "memory:", "--workers", "0"], "Invalid value for '--workers'"),
        (["sweep", "memory:", "--limit", "2"], "Invalid value for '--limit'"),
        (["migrate", "memory:"], "Missing argument 'DESTINATION'"),
        (["migrate", "memory:", "memory:", "--shard", "3"], "expected two integers such as 0/4"),
        (["migrate", "memory:", "memory:", "--shard", "4/4"], "0 <= i < n"),
        (["migrate", "memory:", "memory:", "--verify", "yes"], "Invalid value for '--verify'"),
        (["thumbnails", "memory:"], "expected a --width, --height or --square, got none"),
        (["thumbnails", "memory:", "--width", "0"], "Invalid value for '--width'"),
        (["thumbnails", "memory:", "--width", "9", "--format", "papyrus"], "papyrus"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(world, arguments, message) -> None:
    assert world.run(*arguments) == 2
    assert message in world.err
    assert world.out == ""


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("tests", "expected a module and the name of its declarative base"),
        ("no_such_module_here:Base", "No module named"),
        (f"{Base.__module__}:Nothing", "has no attribute 'Nothing'"),
        (f"{Base.__module__}:picture", "expected a declarative base class"),
        ("./models:Base", "expected a module and the name of its declarative base"),
        ("..models:Base", "expected a module and the name of its declarative base"),
        ("module_that_exits:Base", "the module ended the program"),
    ],
)
def test_wrong_models_are_exit_code_2(world, tmp_path, monkeypatch, models, message) -> None:
    (tmp_path / "module_that_exits.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert world.run("check", "memory:", models=models) == 2
    assert message in world.err


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("nonsense", 2, "--database"),
        ("nosuchdb://localhost/x", 2, "--database"),
        ("sqlite+aiosqlite:///x.db", 2, "expected a synchronous driver"),
        ("postgresql://app:password@db:port/app", 2, "--database: expected a number as the port"),
        ("sqlite:////no/such/directory/x.db", 3, "OperationalError"),
    ],
)
def test_a_wrong_database_says_so(world, url, code, message) -> None:
    world.database = url
    assert world.run("check", "memory:") == code
    assert message in world.err


def test_results_that_nobody_reads_are_exit_code_3(world) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sqlalchemy_imageattach", "migrate", *world.urls],
        env={**os.environ, "IMAGEATTACH_DATABASE": world.database, "IMAGEATTACH_MODELS": MODELS},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (3, b"")


def test_an_error_that_nobody_thought_of_is_no_problem_found(world, monkeypatch) -> None:
    monkeypatch.setattr("sqlalchemy_imageattach.maintenance.check", lambda *_, **__: 1 / 0)
    assert world.run("check", "memory:") == 3
    assert "ZeroDivisionError" in world.err


def test_help_and_version_are_fine(world, capsys) -> None:
    for arguments in (["--help"], ["--version"], *([name, "--help"] for name in ("migrate", "check", "sweep"))):
        assert main(list(arguments)) == 0
    assert "Exit codes: 0 fine, 1 problems found" in capsys.readouterr().out


# --- operators -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "sweep", "migrate"])
def test_a_directory_that_is_not_there_is_one_line_and_exit_code_3(world, command) -> None:
    fill(world.engine, MemoryStore(), 20)
    missing = f"file://{world.path}/typo"
    assert world.run(command, missing, *world.urls[1:] * (command == "migrate")) == 3
    assert world.out == ""
    assert world.err.splitlines() == [
        f"imageattach: StoreError: [Errno 2] no such directory: '{world.path}/typo'; is its volume mounted?"
    ]


@pytest.mark.parametrize("command", ["check", "sweep"])
def test_a_directory_that_nothing_was_written_to_yet_is_fine_without_rows(world, command) -> None:
    assert world.run(command, f"file://{world.path}/new") == 0


@pytest.mark.parametrize("command", ["check", "sweep", "migrate", "thumbnails"])
def test_the_last_line_of_json_is_the_result_even_if_it_failed(world, command) -> None:
    arguments = {"migrate": world.urls[1:], "thumbnails": ["--width", "8"]}.get(command, [])
    world.database = f"sqlite:///{world.path}/missing/test.db"
    assert world.run(command, world.urls[0], *arguments, "--json") == 3
    [line] = world.lines
    assert line["result"].items() >= {"ok": False, "error": "OperationalError"}.items()


@pytest.mark.parametrize("command", ["check", "sweep"])
def test_an_interrupted_check_says_how_far_it_came(world, command, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    fill(world.engine, world.source, 3)
    monkeypatch.setattr(FileSystemStore, "list_blobs", interrupt)
    assert world.run(command, world.urls[0], "--json") == 130
    assert world.lines == [{"result": {"done": {"rows": 3}, "interrupted": True, "ok": False}}]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p@ss:SECRET@db/app",
        "postgresql//user:SECRET@db",
        "postgresql:/user:SECRET@db/app",
        "postgresql://user:p@SECRET/word@db/app",
        "postgresql://user:p@SECRET?word@db/app",
        "postgresql://user:p@x?word=SECRET@db/app",
        "postgresql://user:SECRET",
        "postgresql://user/SECRET@db/app",
        "postgresql://user:pass@db:SECRET/app",
        "user:SECRET@db/app",
        "SECRET",
        "mysql+pymysql://user:SEC@RET@127.0.0.1/app",
        "nosuchdialect://user:SECRET@db/app",
        "sqlite+nosuchdriver://user:SECRET@db/app",
    ],
)
def test_no_part_of_a_password_is_shown(world, url) -> None:
    world.database = url
    assert world.run("check", "memory:") == 2
    assert "SEC" not in world.out + world.err
    assert "RET" not in world.out + world.err
    assert "--database" in world.err


def test_check_repairs_misplaced_blobs_when_it_is_told_to(world) -> None:
    fill(world.engine, world.source, 2)
    here, *_ = (world.path / "source").rglob("1.640x480.*")
    elsewhere = world.path / "source" / "user-picture" / "7" / "0" / here.name.replace("1.", "7.", 1)
    elsewhere.parent.mkdir(parents=True)
    here.rename(elsewhere)
    assert world.run("check", world.urls[0]) == 1
    row = "UserPicture (1, 640, 480, 'image/jpeg', '')"
    assert f"misplaced blob: 'user-picture/7/0/{elsewhere.name}' of {row}, {row} says 'user-picture/1/640" in world.out
    assert world.run("check", world.urls[0], "--repair") == 1
    assert not here.exists()
    assert world.run("check", world.urls[0], "--repair", "--write", "--json") == 0
    assert world.lines[-1]["result"].items() >= {"repaired": 1, "failed": 0, "ok": True, "dry_run": False}.items()
    assert here.read_bytes() == elsewhere.read_bytes()
    assert world.run("check", world.urls[0], "--write") == 2
    assert world.run("check", world.urls[0], "--repair", "--checksum") == 2


def sizes_of(engine: Engine) -> set[tuple[int, int, str]]:
    with Session(engine) as session:
        return {(each.width, each.height, each.mimetype) for each in session.scalars(sql_select(UserPicture))}


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (["--width", "20"], (20, 20, "image/png")),
        (["--height", "10"], (10, 10, "image/png")),
        (["--width", "20", "--height", "10"], (10, 10, "image/png")),
        (["--width", "20", "--height", "10", "--fit", "fill"], (20, 10, "image/png")),
        (["--square", "12", "--format", "webp", "--quality", "50"], (12, 12, "image/webp")),
        (["--width", "20", "--class", "UserPicture"], (20, 20, "image/png")),
    ],
)
def test_thumbnails_are_made_of_the_size_shape_type_and_class_wanted(world, options, made) -> None:
    with Session(world.engine) as session:
        attach(session, world.source, picture(40))
        session.commit()
    assert world.run("thumbnails", world.urls[0], *options) == 0
    assert "1 thumbnails made of 1 pictures" in world.out
    assert sizes_of(world.engine) == {(40, 40, "image/png"), made}


def test_an_original_stands_for_a_thumbnail_if_that_is_said(world) -> None:
    with Session(world.engine) as session:
        attach(session, world.source, picture(40))
        session.commit()
    sizes = ["--width", "40", "--width", "20"]
    assert world.run("thumbnails", world.urls[0], *sizes, "--reuse-original") == 0
    assert "1 thumbnails made of 1 pictures" in world.out
    assert world.run("thumbnails", world.urls[0], *sizes) == 0
    assert "1 thumbnails made of 1 pictures" in world.out, "the original is none"
    with Session(world.engine) as session:
        assert sorted(each.width for each in session.scalars(sql_select(UserPicture))) == [20, 40, 40]


def test_pictures_of_other_classes_get_no_thumbnails(world) -> None:
    with Session(world.engine) as session:
        attach(session, world.source, picture(40))
        session.commit()
    assert world.run("thumbnails", world.urls[0], "--width", "20", "--class", "PostPhoto") == 0
    assert sizes_of(world.engine) == {(40, 40, "image/png")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected a --width, --height or --square"),
        (["--width", "2", "--width", "3", "--height", "4"], "expected one for each --width"),
        (["--width", "2", "--fit", "fill"], "expected both width and height"),
        (["--width", "2", "--class", "Nobody"], "classes: expected some of the image classes PostPhoto, UserPicture"),
    ],
)
def test_a_wrong_size_or_class_of_thumbnails_is_exit_code_2(world, options, message) -> None:
    assert world.run("thumbnails", world.urls[0], *options) == 2
    assert message in world.err


def test_sqlmodel_is_a_declarative_base_too(world) -> None:
    # in a process of its own, since all classes of SQLModel have one registry
    for command in (["check"], ["thumbnails", "--width", "9"]):
        arguments = [*command, world.urls[0], "--database", world.database, "--models", "sqlmodel:SQLModel"]
        done = subprocess.run(
            [sys.executable, "-m", "sqlalchemy_imageattach", *arguments], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_the_shell_completes_commands() -> None:
    script = "import sys; sys.argv[0] = 'imageattach'; from sqlalchemy_imageattach.cli import cli; cli()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "_IMAGEATTACH_COMPLETE": "bash_complete", "COMP_WORDS": "imageattach sw", "COMP_CWORD": "1"},
    )  # fmt: skip
    assert done.stdout == "plain,sweep\n"


def test_what_the_list_says_of_a_command_is_how_its_help_begins() -> None:
    for name, listed in cli.commands.items():
        context = click.Context(cli)
        _, command, _ = cli.resolve_command(context, [name])
        assert command is not None
        assert command.name == name
        assert command.help is not None
        assert " ".join(command.help.split()).startswith(listed.get_short_help_str().removesuffix("."))


def test_listing_and_completing_commands_imports_none_of_them() -> None:
    script = (
        "import sys; from sqlalchemy_imageattach.__main__ import main\n"
        "sys.argv = ['imageattach', '--help']\n"
        "assert main() == 0\n"
        "sys.exit(sorted({'sqlalchemy', 'werkzeug', 'PIL', 'numpy', 'httpcore'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert all(f"\n  {name} " in done.stdout for name in cli.commands)


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("numpy", ["search", "--help"], "search"),
        ("httpcore", ["dataset", "count", "--help"], "dataset"),
        ("obstore", ["stores", "gs://pictures"], "objectstore"),
    ],
)
def test_a_command_whose_extra_is_missing_says_so_and_the_others_are_listed(missing, command, extra, tmp_path) -> None:
    (tmp_path / f"{missing}.py").write_text("raise ImportError('not installed')")
    run = partial(
        subprocess.run, capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    done = run([sys.executable, "-m", "sqlalchemy_imageattach", *command])
    assert done.returncode == 3
    assert f"SQLAlchemy-ImageAttach[{extra}]" in done.stderr
    assert run([sys.executable, "-m", "sqlalchemy_imageattach", "--help"]).returncode == 0


# --- as a program ----------------------------------------------------------------------------------------------------

PROJECT = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy_imageattach.entity import Image
class Base(DeclarativeBase): pass
class Photo(Base, Image):
    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


def test_it_finds_the_models_of_the_directory_that_it_is_run_in(tmp_path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "app" / "models.py").write_text(PROJECT)
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{tmp_path}/app.db")
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE photo"
                " (id, width, height, mimetype, variant, original, created_at, revision, byte_size, checksum, frames,"
                " focal_x, focal_y, dominant_color, thumbhash, made_for)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO photo (id, width, height, mimetype, variant, original, created_at, revision, byte_size)"
                " VALUES (1, 2, 3, 'image/png', '', 1, '2026-01-01 00:00:00', 'r', 4)"
            )
        )
    engine.dispose()
    environment = {
        **os.environ, "IMAGEATTACH_DATABASE": f"sqlite:///{tmp_path}/app.db", "IMAGEATTACH_MODELS": "app.models:Base",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "sqlalchemy_imageattach", "check", f"file://{tmp_path}/images", "--json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    problem, result = map(json.loads, done.stdout.splitlines())
    assert problem["problem"]["name"] == "photo/1/2x3.r.png"
    assert result["result"]["rows"] == 1


def test_progress_is_shown_on_a_terminal_and_ctrl_c_is_exit_code_130(world) -> None:
    fill(world.engine, world.source, 400)
    slow = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also where a shell has us ignore it
        "from sqlalchemy_imageattach.migration.copier import Copier\n"
        "settle = Copier.settle\nCopier.settle = lambda *a: (time.sleep(0.02), settle(*a))[1]\n"
        "from sqlalchemy_imageattach.__main__ import main\nsys.exit(main())"
    )
    master, terminal = pty.openpty()
    arguments = ["migrate", *world.urls, "--database", world.database, "--models", "tests.migrating:Base"]
    with subprocess.Popen(
        [sys.executable, "-c", slow, *arguments, "--workers", "1", "--json"],
        cwd=ROOT,
        stderr=terminal,
        stdout=subprocess.PIPE,
    ) as child:
        os.close(terminal)
        shown = b""
        while b"of 400 rows" not in shown:
            assert select.select([master], [], [], 60)[0], shown
            shown += os.read(master, 1000)
        child.send_signal(signal.SIGINT)
        rest = b""
        while child.poll() is None or select.select([master], [], [], 0)[0]:
            if select.select([master], [], [], 0.05)[0]:
                try:
                    rest += os.read(master, 1000)
                except OSError:  # Linux says so when the other side is closed
                    break
        assert child.wait() == 130, rest
        assert b"interrupted" in rest
        assert child.stdout is not None
        [line] = child.stdout.read().splitlines()
    os.close(master)
    copied = len(content_of(world.destination))
    assert 0 < copied < 400
    result = json.loads(line)["result"]
    assert (result["interrupted"], result["ok"]) == (True, False)
    assert 0 < result["copied"] <= copied
    assert world.run("migrate", *world.urls, "--json") == 0
    assert world.lines[-1]["result"]["present"] == copied


def test_without_click_it_says_what_to_install(tmp_path) -> None:
    (tmp_path / "click.py").write_text("raise ImportError('no click')")
    done = subprocess.run(
        [sys.executable, "-m", "sqlalchemy_imageattach", "--help"], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 3
    assert "SQLAlchemy-ImageAttach[cli]" in done.stderr


# --- URLs ------------------------------------------------------------------------------------------------------------


def test_a_url_of_a_directory(tmp_path) -> None:
    store = Store.from_url(f"file://{tmp_path}/a%20b?base_url=https://example.com/i&fsync=no&follow_symlinks=yes")
    assert isinstance(store, FileSystemStore)
    assert store.path == str(tmp_path / "a b")
    assert (store.base_url, store.fsync, store.follow_symlinks) == ("https://example.com/i/", False, True)
    assert FileSystemStore.from_url(f"file://localhost{tmp_path}").base_url == f"file://{tmp_path}/"
    assert list(tmp_path.iterdir()) == []


def test_a_url_of_a_memory_store() -> None:
    assert isinstance(MemoryStore.from_url("memory:"), MemoryStore)
    assert MemoryStore.from_url("memory:?base_url=http://x/").base_url == "http://x/"
    assert Store.from_url("memory:") is not Store.from_url("memory:")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "got '', which has none"),
        ("/srv/images", "which has none"),
        ("file://srv/images", "expected three slashes"),
        ("file:///", "expected three slashes"),
        ("file:", "expected three slashes"),
        ("file:images", "expected three slashes"),
        ("file:///x?fsync=perhaps", "option fsync: expected true or false, got 'perhaps'"),
        ("file:///x?fsync=1&fsync=0", "expected each option once, got fsync"),
        ("file:///x#y", "expected nothing after '#'"),
        ("memory:blobs", "expected no more than 'memory:'"),
        ("memory://somewhere", "expected no more than 'memory:'"),
        ("s3://key:secret@bucket/", "expected no user name and no password"),
        ("s3:bucket", "expected the name of a bucket"),
        ("s3://bucket?max_age=long", "option max_age: expected an integer"),
        ("s3://bucket?secret_key=x", "unknown option secret_key"),
        ("s3://[bucket", "malformed"),
    ],
)
def test_a_wrong_url_is_refused(url, message) -> None:
    with pytest.raises(InvalidValueError) as caught:
        Store.from_url(url)
    assert message in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="expected the URL of a store"):
        Store.from_url(Path("/srv"))  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="expected the URL of a FileSystemStore, got that of a MemoryStore"):
        FileSystemStore.from_url("memory:")


def test_schemes_come_by_entry_points(tmp_path, monkeypatch) -> None:
    source = "ram = lambda url: MemoryStore(base_url=url)\nbad = lambda url: url\n"
    add_schemes(monkeypatch, tmp_path, names=["ram", "bad"], source=source)
    store = MemoryStore.from_url("ram://here")
    assert store.base_url == "ram://here/"
    with pytest.raises(InvalidTypeError, match="expected the entry point of 'bad' to return a store, got str"):
        Store.from_url("bad:")
    with pytest.raises(InvalidValueError, match="az:, bad:, file:, gs:, memory:, ram:, s3:"):
        Store.from_url("other:")


@pytest.mark.parametrize(("closed", "code"), [("2>&-", 0), (">&-", 3), (">&- 2>&-", 3)])
def test_a_stream_that_is_closed_stops_no_work_and_hides_no_result(world, closed: str, code: int) -> None:
    fill(world.engine, world.source, 3)
    options = ["--database", world.database, "--models", "tests.migrating:Base"]
    command = [sys.executable, "-m", "sqlalchemy_imageattach", "check", world.urls[0], *options]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == code, done
    assert ("3" in done.stdout) == (code == 0)
    assert done.stderr == (
        ""
        if "2>&-" in closed
        else "imageattach: there is no standard output to write to: give one, if only /dev/null\n"
    )
