"""What stands for another store forgets none of its verbs."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from sqlalchemy_imageattach.context import LocalProxyStore
from sqlalchemy_imageattach.errors import InvalidTypeError
from sqlalchemy_imageattach.store import Store, are_same_place
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.storewrapper import StoreWrapper
from sqlalchemy_imageattach.testing import FaultyStore


def _verbs(cls: type) -> set[str]:
    """The public methods and properties of instances that the class itself has."""
    found = vars(cls).items()
    return {
        n for n, value in found if not n.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }


def test_each_verb_of_a_store_is_handed_on() -> None:
    assert _verbs(Store) | {"accepts_revision", "wrapped"} == _verbs(StoreWrapper)


@pytest.mark.parametrize("name", sorted(_verbs(Store)))
def test_a_wrapper_takes_what_the_store_takes(name: str) -> None:
    theirs = inspect.signature(getattr(Store, name)).parameters
    ours = inspect.signature(getattr(StoreWrapper, name)).parameters
    takes_all = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in ours.values())
    assert takes_all or list(ours) == list(theirs)


def test_what_the_store_has_besides_is_found_too() -> None:
    store = MemoryStore()
    assert StoreWrapper(store).blobs == {}
    with pytest.raises(AttributeError, match="nothing"):
        _ = StoreWrapper(store).nothing


def test_a_wrapper_can_be_copied_and_pickled() -> None:
    wrapper = StoreWrapper(LocalProxyStore(_memory))
    assert copy.copy(wrapper).wrapped is wrapper.wrapped
    assert pickle.loads(pickle.dumps(LocalProxyStore(_memory))).get_current_object is _memory


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="expected a store to wrap, got str"):
        StoreWrapper("s3://pictures")  # type: ignore[arg-type]


def test_wrappers_are_the_same_place_as_what_they_wrap_at_any_depth() -> None:
    store, other = MemoryStore(), MemoryStore()
    around = [StoreWrapper(store), FaultyStore(store), LocalProxyStore(lambda: FaultyStore(StoreWrapper(store)))]
    for one in (*around, store):
        assert all(are_same_place(one, another) and are_same_place(another, one) for another in (*around, store))
        assert not are_same_place(one, other)
        assert not are_same_place(one, FaultyStore(other))


_MEMORY = MemoryStore()


def _memory() -> Store:
    return _MEMORY
