"""The contract kit itself: what it finds, what it leaves alone, and what it leaves behind: nothing."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sqlalchemy_imageattach.cli import main
from sqlalchemy_imageattach.errors import InvalidTypeError, InvalidValueError, StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.mirror import MirrorStore
from sqlalchemy_imageattach.stores.overlay import OverlayStore
from sqlalchemy_imageattach.testing import Capabilities, FaultyStore, check_store
from sqlalchemy_imageattach.testing.contract import all_rules, check_rule
from tests.onex import FourMethodStore

from .broken_stores import BREAKS

LARGE = 400_000
KEY = ImageKey("user-picture", 1234, 640, 480, "image/jpeg", "Xk3v9QpLm2w")


@pytest.mark.parametrize(("rule", "broken", "said"), BREAKS, ids=[cls.__name__ for _, cls, _ in BREAKS])
def test_what_is_broken_is_found_and_named(rule: str, broken: type[Store], said: Capabilities) -> None:
    violations = check_store(broken(), capabilities=said, large=LARGE)
    named = [f"{violation.method}: {violation.rule}" for violation in violations]
    assert f"{broken.__name__}.{rule}" in named
    assert len(named) == len(set(named))


def test_there_is_a_broken_store_for_each_rule() -> None:
    assert {rule for rule, _, _ in BREAKS} == {str(rule) for rule in all_rules()}


@pytest.mark.parametrize("make", [MemoryStore, FourMethodStore])
def test_a_sound_store_breaks_no_rule(make: type[Store]) -> None:
    assert check_store(make(), large=LARGE) == []


def test_a_violation_says_what_was_expected_and_what_came() -> None:
    class Forgetful(MemoryStore):
        def delete_file(self, *args, **kwargs):
            return None

    violation = next(v for v in check_store(Forgetful(), large=LARGE) if v.rule == "deletes a blob")
    assert violation.method.endswith("Forgetful.delete_file")
    assert str(violation) == f"{violation.method}: deletes a blob: expected {violation.expected}, got {violation.came}"
    assert violation.expected == "the blob to be gone"
    assert violation.came == "a file that can be opened"


def test_it_ends_where_no_more_threads_can_be_had(monkeypatch) -> None:
    start, started = threading.Thread.start, []

    def start_some(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) % 3 == 0:  # so that some of each group begin, and would wait for the others
            msg = "can't start new thread"
            raise RuntimeError(msg)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    violations = check_store(MemoryStore(), large=LARGE)
    assert violations
    assert {violation.came for violation in violations} == {"RuntimeError: can't start new thread"}


def test_if_the_first_rule_is_broken_that_is_all_that_is_said() -> None:
    class Broken(MemoryStore):
        def put_file(self, *args, **kwargs):
            msg = "not now"
            raise RuntimeError(msg)

        def get_url(self, *args, **kwargs):
            return ""

    [violation] = check_store(Broken())
    assert violation.rule == "stores a blob"
    assert violation.came == "RuntimeError: not now"


@pytest.mark.parametrize(("size", "came"), [(5, "b'a pic'"), (0, "b''")])
def test_what_is_read_wrongly_is_told_from_what_is_stored_wrongly_by_the_list(size: int, came: str) -> None:
    class Reading(MemoryStore):
        def get_file(self, *args, **kwargs):
            return io.BytesIO(super().get_file(*args, **kwargs).read()[:size])

    class Storing(MemoryStore):
        def put_file(self, file, *args, **kwargs):
            super().put_file(io.BytesIO(file.read()[:size]), *args, **kwargs)

    for store, method in ((Reading(), "get_file"), (Storing(), "put_file")):
        [violation] = check_store(store)
        assert violation.method.endswith(method)
        assert violation.came == came


def test_what_a_store_leaves_undeleted_is_named() -> None:
    class Keeping(MemoryStore):
        def delete_file(self, *args, **kwargs):
            msg = "never"
            raise RuntimeError(msg)

    [violation] = check_rule(Keeping(), all_rules()[0])
    assert violation.method.endswith("Keeping.delete_file")
    assert "left behind: imageattach-check-" in violation.came
    assert "RuntimeError: never" in violation.came


# --- production ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultyStore, lambda store: OverlayStore(store, MemoryStore())])
def test_nothing_is_left_behind_in_memory(kind) -> None:
    memory = MemoryStore()
    memory.put(KEY, io.BytesIO(b"production's"), reproducible=False)
    assert check_store(kind(memory), large=LARGE) == []
    assert memory.blobs == {KEY: b"production's"}


@pytest.mark.parametrize(
    "kind",
    [
        lambda store: store,
        FaultyStore,
        lambda store: OverlayStore(store, MemoryStore()),
        lambda store: MirrorStore(MemoryStore(), store),
    ],
)
def test_nothing_is_left_behind_in_a_directory_not_even_directories(tmp_path: Path, kind) -> None:
    store = FileSystemStore(tmp_path, "https://images.example.com/", fsync=False)
    store.put(KEY, io.BytesIO(b"production's"), reproducible=False)
    before = sorted(tmp_path.rglob("*"))
    assert check_store(kind(store), large=LARGE) == []
    assert sorted(tmp_path.rglob("*")) == before
    with store.get(KEY) as file:
        assert file.read() == b"production's"


def test_nothing_but_its_own_is_read_listed_or_touched() -> None:
    prefixes: list[str] = []

    class Watched(MemoryStore):
        def list_blobs(self, prefix=""):
            prefixes.append(prefix)
            return super().list_blobs(prefix)

    store = FaultyStore(Watched())
    assert check_store(store, large=LARGE) == []
    assert {key.object_type[:18] for _, key in ((call, call.key) for call in store.calls)} == {"imageattach-check-"}
    assert prefixes
    assert all(prefix.startswith("imageattach-check-") for prefix in prefixes)


def test_two_checks_do_not_get_into_each_others_way() -> None:
    store = FaultyStore(MemoryStore())
    check_store(store, large=LARGE)
    first = {call.key.object_type for call in store.calls}
    count = len(store.calls)
    check_store(store, large=LARGE)
    assert first.isdisjoint(call.key.object_type for call in store.calls[count:])


def test_a_check_that_is_interrupted_leaves_nothing_behind() -> None:
    memory = MemoryStore()
    store = FaultyStore(memory)
    store.fail("get", on=10, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        check_store(store, large=LARGE)
    assert memory.blobs == {}


# --- what cannot be checked ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["put", "get", "delete"])
def test_a_store_that_cannot_be_used_says_so_itself(operation) -> None:
    store = FaultyStore(MemoryStore())
    store.fail(operation, error=StoreError("the service is down"))
    with pytest.raises(StoreError, match="the service is down"):
        check_store(store)
    assert len(store.calls) < 10


def test_an_error_in_the_middle_is_a_violation() -> None:
    store = FaultyStore(MemoryStore())
    store.fail("put", on=5, error=StoreError("the service is down"))
    [violation] = check_store(store, large=LARGE)
    assert violation.method == "FaultyStore.put_file"
    assert str(violation).endswith(": expected no error, got StoreError: the service is down")


@pytest.mark.parametrize(
    ("arguments", "large", "error", "message"),
    [
        ("file:///tmp", LARGE, InvalidTypeError, "expected a store to check .*, got str"),
        (MemoryStore, LARGE, InvalidTypeError, "expected a store to check .*, got type"),
        (MemoryStore(), 10, InvalidValueError, "large: expected 100,000 bytes or more, got 10"),
        (MemoryStore(), "10", InvalidTypeError, "large: expected a number of bytes, got str"),
        (MemoryStore(), True, InvalidTypeError, "large: expected a number of bytes, got bool"),
    ],
)
def test_what_is_no_store_is_refused(arguments, large, error, message) -> None:
    with pytest.raises(error, match=message):
        check_store(arguments, large=large)


# --- capabilities ----------------------------------------------------------------------------------------------------


def test_what_a_store_is_not_said_to_do_is_not_asked_of_it() -> None:
    lock = threading.RLock()  # what it does in two steps, others see in one

    class Modest(MemoryStore):
        def put_file(self, file, *args, revision=None):
            content = file.read()
            with lock:
                self.delete_file(*args[:5], revision=revision)
                super().put_file(io.BytesIO(content), *args, revision=revision)

        def get_file(self, *args, **kwargs):
            with lock:
                return super().get_file(*args, **kwargs)

        def delete_file(self, *args, **kwargs):
            super().delete_file(*args, **kwargs)

    assert check_store(Modest(), large=LARGE) == []
    said = Capabilities(never_overwrites=True, tells_deletions=True, fetchable=True, pickles=True)
    for capability in ("never_overwrites", "tells_deletions", "fetchable", "pickles"):
        [violation, *_] = check_store(
            Modest(), capabilities=replace(Capabilities(), **{capability: getattr(said, capability)}), large=LARGE
        )
        assert violation.method.startswith("test_what_a_store_is_not_said")


def test_a_store_that_refuses_to_overwrite_is_not_asked_when_that_is_not_wanted() -> None:
    class Odd(MemoryStore):
        def put_file(self, file, *args, **kwargs):
            try:
                super().put_file(file, *args, **kwargs)
            except FileExistsError as error:
                raise RuntimeError from error

    assert check_store(Odd(), capabilities=Capabilities(never_overwrites=False), large=LARGE) == []
    assert check_store(Odd(), large=LARGE) != []


# --- on the command line ---------------------------------------------------------------------------------------------


def test_the_command_line_finds_nothing_wrong_with_a_directory(tmp_path: Path, capsys) -> None:
    assert main(["stores", f"file://{tmp_path}/images"]) == 0
    assert capsys.readouterr().out == "0 violations of the contract\n"
    assert list(tmp_path.rglob("*")) == [tmp_path / "images"]


def test_the_command_line_tells_each_violation(monkeypatch, capsys) -> None:
    monkeypatch.setattr(MemoryStore, "get_url", lambda self, *args, **kwargs: "the same")
    assert main(["stores", "memory:", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["violation"]["method"] for line in lines[:-1]] == ["MemoryStore.get_url"] * 2
    assert all(line["violation"]["rule"].startswith("gives") for line in lines[:-1])
    assert lines[-1] == {"result": {"violations": 2, "ok": False}}


def test_the_command_line_says_when_a_store_cannot_be_used(tmp_path: Path, capsys) -> None:
    (tmp_path / "images").mkdir()
    url = f"file://{tmp_path}/images/there"
    (tmp_path / "images" / "there").symlink_to("/proc/nowhere")
    assert main(["stores", url]) == 3
    assert capsys.readouterr().err.startswith("imageattach: StoreError: ")
