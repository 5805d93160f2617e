"""What a store promises as an object."""

from __future__ import annotations

import pickle

from ..subject import PICTURE, Probe, brief, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("accepts_revision")


@CHAPTER.rule("tells whether the store takes revisions")
def _takes_revisions(probe: Probe) -> None:
    came, said = probe.store.accepts_revision, probe.capabilities.revisions
    if not isinstance(came, bool) or came is not (came if said is None else said):
        expected = f"{'True or False' if said is None else said}: all four methods, or none, take 'revision'"
        fail(expected, repr(came))


@CHAPTER.rule("is true, even when the store is empty", method="__bool__")
def _is_true(probe: Probe) -> None:
    if not bool(probe.store):
        fail("True, since programs write 'store or another'", "False")


@CHAPTER.rule("can be compared and be the key of a dictionary", method="__hash__")
def _can_be_hashed(probe: Probe) -> None:
    try:
        # Both are asked for: a dictionary finds the same object again even by a wrong hash, when the slots collide.
        hashes = {hash(probe.store), hash(probe.store)}
        equal = probe.store == probe.store
    except Exception as error:
        fail("a hash", error)
    if len(hashes) > 1:
        fail("the same hash each time", "another one at the second call")
    if not equal:
        fail("a store to be equal to itself", "it is not")


@CHAPTER.rule(
    "gives a copy of the store, by pickling, that stands for the same place", method="__reduce__", needs="pickles"
)
def _can_be_pickled(probe: Probe) -> None:
    one, other = probe.key(), probe.key()
    probe.put(one)
    try:
        copy = pickle.loads(pickle.dumps(probe.store))
        with copy.get(one) as file:
            came = file.read()
        copy.delete_key(one)
    except Exception as error:
        fail("a copy that has what the store has", error)
    if came != PICTURE:
        fail("a copy that has what the store has", brief(came))
    if probe.has(one):
        fail("what is deleted by the copy to be gone", "it is there still")
    probe.put(other)
