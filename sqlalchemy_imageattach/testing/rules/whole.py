"""What a store promises as an object."""

from __future__ import annotations

import copy
import pickle

from ...key import ImageKey
from ...store import Store, are_same_place, keeps_revisions, targets_of
from ...storewrapper import StoreWrapper
from ..subject import PICTURE, Subject, brief, fail, stores_within
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("accepts_revision")


@CHAPTER.rule("tells whether the store takes revisions")
def _takes_revisions(subject: Subject) -> None:
    came, said = subject.store.accepts_revision, subject.capabilities.revisions
    if not isinstance(came, bool) or came is not (came if said is None else said):
        expected = f"{'True or False' if said is None else said}: all four methods, or none, take 'revision'"
        fail(expected, repr(came))


@CHAPTER.rule("is true, even when the store is empty", method="__bool__")
def _is_true(subject: Subject) -> None:
    if not bool(subject.store):
        fail("True, since programs write 'store or another'", "False")


@CHAPTER.rule("can be compared and be the key of a dictionary", method="__hash__")
def _can_be_hashed(subject: Subject) -> None:
    try:
        # Both are asked for: a dictionary finds the same object again even by a wrong hash, when the slots collide.
        hashes = {hash(subject.store), hash(subject.store)}
        equal = subject.store == subject.store
    except Exception as error:
        fail("a hash", error)
    if len(hashes) > 1:
        fail("the same hash each time", "another one at the second call")
    if not equal:
        fail("a store to be equal to itself", "it is not")


@CHAPTER.rule("knows the stores in which it keeps its blobs, and others that stand for them", method="is_same_place")
def _knows_its_place(subject: Subject) -> None:
    store, key = subject.store, subject.replaceable_key()
    if not are_same_place(store, store):
        fail("True for the store itself", "False")
    parts = stores_within(store)
    if not parts:
        return
    # made anew, as by a factory for each request; and another one around it
    others = [copy.copy(store), StoreWrapper(store), StoreWrapper(copy.copy(store))]
    subject.put(key)
    others += [part for part in parts if _has(part, key)]
    for other in others:
        if not (are_same_place(store, other) and are_same_place(other, store)):
            fail(f"True for {other!r}, which has what is stored here", "False")


@CHAPTER.rule("names the stores that are written, where it stands for others", method="targets")
def _names_its_targets(subject: Subject) -> None:
    store, key = subject.store, subject.key()
    subject.put(key)
    for target in targets_of(store):
        if not _has(target, key):
            fail("stores that have what was stored", f"{target!r}, which has not")
    for part in stores_within(store):
        if not part.accepts_revision and keeps_revisions(store) and _has(part, key):
            fail("each store that takes no revision to be named", f"{part!r} to have what was stored")


def _has(part: Store, key: ImageKey) -> bool:
    try:
        return part.has_key(key)
    except Exception:  # it need not work by itself
        return False


@CHAPTER.rule(
    "gives a copy of the store, by pickling, that stands for the same place", method="__reduce__", needs="pickles"
)
def _can_be_pickled(subject: Subject) -> None:
    one, other = subject.key(), subject.key()
    subject.put(one)
    try:
        twin = pickle.loads(pickle.dumps(subject.store))
        with twin.get(one) as file:
            came = file.read()
        twin.delete_key(one)
    except Exception as error:
        fail("a copy that has what the store has", error)
    if came != PICTURE:
        fail("a copy that has what the store has", brief(came))
    if subject.has(one):
        fail("what is deleted by the copy to be gone", "it is there still")
    if not are_same_place(subject.store, twin):
        fail("True of is_same_place() for the copy, which has what is stored here", "False", "is_same_place")
    subject.put(other)
