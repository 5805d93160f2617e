from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sqlalchemy_imageattach.context import get_current_store, store_context
from sqlalchemy_imageattach.errors import BlobExistsError, InvalidTypeError, InvalidValueError, StoreError
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.testing import Call, Fault, FaultyStore

PARTS = ("user-picture", 1234, 640, 480, "image/jpeg")
KEY = ImageKey(*PARTS, "Xk3v9QpLm2w")
PICTURE = b"a picture\nin two lines"


class Picture:
    object_type, object_id, width, height, mimetype = PARTS
    revision = KEY.revision
    original = True
    created_at = None


class OldStore(Store):
    """Takes no revision, as stores written for 1.x."""

    def __init__(self) -> None:
        self.blobs: dict[Any, bytes] = {}

    def put_file(self, file: Any, *parts: Any) -> None:
        self.blobs[parts[:-1]] = file.read()

    def get_file(self, *parts: Any) -> Any:
        return io.BytesIO(self.blobs[parts])

    def get_url(self, *parts: Any) -> str:
        return "old:///"

    def delete_file(self, *parts: Any) -> None:
        self.blobs.pop(parts, None)


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> FaultyStore:
    return FaultyStore(memory)


def _put(store: Store, key: ImageKey = KEY) -> None:
    store.put(key, io.BytesIO(PICTURE), reproducible=False)


def _keys(count: int) -> list[ImageKey]:
    return [ImageKey(*PARTS, f"revision{number}") for number in range(count)]


# --- without faults --------------------------------------------------------------------------------------------------


def test_without_faults_it_is_the_wrapped_store(store: FaultyStore, memory: MemoryStore) -> None:
    _put(store)
    assert memory.blobs == {KEY: PICTURE}
    assert store.get(KEY).read() == PICTURE
    assert store.locate(Picture()) == memory.locate(Picture())
    assert store.get_url(*PARTS, revision="r") == memory.get_url(*PARTS, revision="r")
    assert store.delete_key(KEY) is True
    assert store.delete_key(KEY) is False
    assert memory.blobs == {}


def test_images_and_parts_can_be_used_too(store: FaultyStore, memory: MemoryStore) -> None:
    store.store(Picture(), io.BytesIO(PICTURE))
    with store.open(Picture(), use_seek=True) as file:
        assert file.read() == PICTURE
    store.delete(Picture())
    assert memory.blobs == {}
    store.put_file(io.BytesIO(PICTURE), *PARTS, False, revision="r")
    assert store.get_file(*PARTS, revision="r").read() == PICTURE
    assert store.delete_file(*PARTS, revision="r") is True


def test_errors_of_the_wrapped_store_pass(store: FaultyStore) -> None:
    _put(store)
    with pytest.raises(BlobExistsError):
        _put(store)


@pytest.mark.parametrize(("wrapped", "accepts"), [(MemoryStore, True), (OldStore, False)])
def test_takes_a_revision_if_the_wrapped_store_does(wrapped: type[Any], accepts: bool) -> None:
    store = FaultyStore(wrapped())
    assert store.accepts_revision is accepts
    assert (store.own_key(KEY) == KEY) is accepts
    _put(store)
    assert store.get(KEY).read() == PICTURE
    assert store.calls[0] == Call("put", KEY if accepts else ImageKey(*PARTS))


def test_a_faulty_store_can_be_wrapped_again(store: FaultyStore) -> None:
    outer = FaultyStore(store)
    _put(outer)
    assert outer.calls == store.calls == [Call("put", KEY)]


def test_what_the_wrapped_store_overrides_and_adds_is_found() -> None:
    class Special(MemoryStore):
        def locate(self, image: Any) -> str:
            return "special"

        def list_blobs(self, prefix: str = "") -> Iterator[Any]:
            return iter([prefix])

        def discard_temporary(self, blob: Any) -> bool:
            return True

        def extra(self) -> str:
            return "more"

    store = FaultyStore(Special())
    assert store.locate(Picture()) == "special"
    assert next(store.list_blobs("user")) == "user"  # type: ignore[comparison-overlap]
    assert store.discard_temporary(KEY)  # type: ignore[arg-type]
    assert store.extra() == "more"
    assert not hasattr(store, "flavour")


def test_can_be_the_current_store(store: FaultyStore) -> None:
    with store_context(store):
        assert get_current_store() is store


def test_tools_can_look_at_a_half_made_one() -> None:
    with pytest.raises(AttributeError):
        FaultyStore.__new__(FaultyStore).anything  # noqa: B018
    assert repr(FaultyStore(MemoryStore())) == "FaultyStore(<MemoryStore of 0 blobs>)"


# --- when it fails ---------------------------------------------------------------------------------------------------

OPERATIONS: dict[str, list[Any]] = {
    "put": [
        lambda store: store.store(Picture(), io.BytesIO(PICTURE)),
        lambda store: store.put(KEY, io.BytesIO(PICTURE), reproducible=False),
        lambda store: store.put_file(io.BytesIO(PICTURE), *PARTS, False, revision=KEY.revision),
    ],
    "get": [
        lambda store: store.open(Picture()),
        lambda store: store.get(KEY),
        lambda store: store.get_file(*PARTS, revision=KEY.revision),
    ],
    "delete": [
        lambda store: store.delete(Picture()),
        lambda store: store.delete_key(KEY),
        lambda store: store.delete_file(*PARTS, revision=KEY.revision),
    ],
}
ALL = [pytest.param(name, call, id=f"{name}{n}") for name, calls in OPERATIONS.items() for n, call in enumerate(calls)]


@pytest.mark.parametrize(("operation", "call"), ALL)
def test_every_way_to_call_it_fails_and_is_counted_once(
    store: FaultyStore, memory: MemoryStore, operation: Any, call: Any
) -> None:
    if operation != "put":
        _put(memory)
    before = memory.blobs
    store.fail(operation)
    for _ in range(2):
        with pytest.raises(StoreError, match="told to fail"):
            call(store)
    assert memory.blobs == before
    assert store.calls == [Call(operation, KEY)] * 2
    assert store.count(operation) == 2


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_other_operations_go_on(store: FaultyStore, memory: MemoryStore, operation: Any) -> None:
    store.fail(operation)
    for name, (_, call, _) in OPERATIONS.items():
        memory.delete_key(KEY)
        if name != "put":
            _put(memory)
        if name != operation:
            call(store)


def test_a_put_that_fails_afterwards_has_stored(store: FaultyStore, memory: MemoryStore) -> None:
    store.fail("put", when="after")
    with pytest.raises(StoreError):
        _put(store)
    assert memory.blobs == {KEY: PICTURE}


def test_a_delete_that_fails_afterwards_has_deleted(store: FaultyStore, memory: MemoryStore) -> None:
    _put(store)
    store.fail("delete", when="after")
    with pytest.raises(StoreError):
        store.delete_key(KEY)
    assert memory.blobs == {}


def test_a_get_that_fails_afterwards_has_closed_the_file() -> None:
    file = io.BytesIO(PICTURE)

    class Giving(OldStore):
        def get_file(self, *parts: Any) -> Any:
            return file

    store = FaultyStore(Giving(), Fault("get", when="after"))
    with pytest.raises(StoreError):
        store.get(KEY)
    assert file.closed


def test_a_failure_of_the_wrapped_store_comes_before_one_afterwards(store: FaultyStore) -> None:
    _put(store)
    store.fail("put", when="after")
    with pytest.raises(BlobExistsError):
        _put(store)


@pytest.mark.parametrize("content", [b"", b"x", PICTURE, bytes(10**6)])
def test_a_put_that_fails_midway_has_read_a_part(content: bytes) -> None:
    class Remembering(OldStore):
        seen = b""

        def put_file(self, file: Any, *parts: Any) -> None:
            while chunk := file.read(1000):
                self.seen += chunk

    wrapped = Remembering()
    store = FaultyStore(wrapped, Fault("put", when="midway"))
    file = io.BytesIO(content)
    with pytest.raises(StoreError):
        store.put(KEY, file, reproducible=False)
    assert content.startswith(wrapped.seen)
    assert len(wrapped.seen) == min(len(content) + 1, 1000) // 2
    del store
    assert not file.closed


def test_a_put_that_fails_midway_leaves_nothing_in_a_proper_store(store: FaultyStore, memory: MemoryStore) -> None:
    store.fail("put", when="midway")
    for call in OPERATIONS["put"]:
        with pytest.raises(StoreError):
            call(store)
    assert memory.blobs == {}


def test_a_get_that_fails_midway_gives_a_part(store: FaultyStore) -> None:
    _put(store)
    store.fail("get", when="midway")
    with store.get(KEY, use_seek=True) as file:
        assert file.tell() == 0
        assert file.read(10) == PICTURE[:5]
        with pytest.raises(StoreError):
            file.read(10)
    with store.get(KEY) as file, pytest.raises(StoreError):
        file.read()
    with store.get(KEY) as file, pytest.raises(StoreError):
        list(file)


def test_only_the_call_meant_fails(store: FaultyStore, memory: MemoryStore) -> None:
    store.fail("put", on=2)
    keys = _keys(4)
    for number, key in enumerate(keys):
        if number == 1:
            with pytest.raises(StoreError):
                _put(store, key)
        else:
            _put(store, key)
    assert set(memory.blobs) == {keys[0], keys[2], keys[3]}


def test_calls_are_counted_from_when_the_fault_is_set(store: FaultyStore) -> None:
    one, two, three = _keys(3)
    _put(store, one)
    store.fail("put", on=2)
    _put(store, two)
    with pytest.raises(StoreError):
        _put(store, three)


def test_calls_of_other_operations_do_not_count(store: FaultyStore) -> None:
    store.fail("put", on=2)
    one, two = _keys(2)
    _put(store, one)
    store.get(one).close()
    store.delete_key(one)
    with pytest.raises(StoreError):
        _put(store, two)


def test_several_faults_can_be_set_and_the_first_is_raised(store: FaultyStore) -> None:
    store.fail("put", on=1, error=KeyError("one"))
    store.fail("put", on=2, error=KeyError("two"))
    store.fail("put", error=KeyError("always"))
    for expected in ("one", "two", "always"):
        with pytest.raises(KeyError, match=expected):
            _put(store)


def test_faults_can_be_given_at_once(memory: MemoryStore) -> None:
    store = FaultyStore(memory, Fault("put", on=1), Fault("delete"))
    with pytest.raises(StoreError):
        _put(store)
    _put(store)
    with pytest.raises(StoreError):
        store.delete_key(KEY)


def test_a_healed_store_works_and_remembers(store: FaultyStore) -> None:
    store.fail("put")
    with pytest.raises(StoreError):
        _put(store)
    store.heal()
    _put(store)
    assert store.count("put") == 2


def test_threads_share_the_count(store: FaultyStore) -> None:
    store.fail("put", on=50)

    def put(key: ImageKey) -> bool:
        try:
            _put(store, key)
        except StoreError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(put, _keys(100))).count(False) == 1
    assert store.count("put") == 100


def test_calls_is_a_copy(store: FaultyStore) -> None:
    store.calls.append(Call("put", KEY))
    assert store.calls == []


# --- with what it fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt(), StoreError(28, "full")])
def test_the_exception_given_is_raised(store: FaultyStore, error: BaseException) -> None:
    store.fail("put", error=error)
    with pytest.raises(type(error)) as caught:
        _put(store)
    assert caught.value is error


@pytest.mark.parametrize("error", [OSError, lambda: OSError("full")])
def test_the_exception_is_made_anew_for_each_call(store: FaultyStore, error: Any) -> None:
    store.fail("put", error=error)
    caught = []
    for _ in range(2):
        with pytest.raises(OSError) as failure:
            _put(store)
        caught.append(failure.value)
    assert caught[0] is not caught[1]


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"operation": "putt"}, InvalidValueError, "operation"),
        ({"operation": "put", "when": "soon"}, InvalidValueError, "when"),
        ({"operation": "put", "on": 0}, InvalidValueError, "on"),
        ({"operation": "put", "on": "2"}, InvalidTypeError, "on"),
        ({"operation": "put", "on": True}, InvalidTypeError, "on"),
        ({"operation": "delete", "when": "midway"}, InvalidValueError, "no middle"),
        ({"operation": "put", "error": "full"}, InvalidTypeError, "error"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(
    store: FaultyStore, arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Fault(**arguments)
    with pytest.raises(error, match=message):
        store.fail(**arguments)


def test_what_is_no_store_or_no_fault_is_refused(memory: MemoryStore) -> None:
    with pytest.raises(InvalidTypeError, match="store"):
        FaultyStore({})  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="Fault"):
        FaultyStore(memory, "put")  # type: ignore[arg-type]


def test_an_operation_that_does_not_exist_was_not_called_zero_times(store: FaultyStore) -> None:
    with pytest.raises(InvalidValueError, match="operation"):
        store.count("puts")  # type: ignore[arg-type]
