"""What ``delete_file()`` promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ...key import ImageKey
from ..subject import NotApplicable, Probe, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("delete_file")


@CHAPTER.rule("deletes a blob")
def _deletes(probe: Probe) -> None:
    for key in (probe.key(), probe.replaceable_key()):
        probe.put(key)
        probe.delete(key)
        probe.expect_missing(key, "the blob to be gone")


@CHAPTER.rule("finds nothing wrong with a blob that is not there")
def _deletes_nothing(probe: Probe) -> None:
    probe.delete(probe.key())
    probe.delete(probe.replaceable_key())


@CHAPTER.rule("leaves all other blobs alone")
def _leaves_others(probe: Probe) -> None:
    key = probe.replaceable_key()
    others = [
        replace(key, object_type=f"{key.object_type}/cover"),
        replace(key, object_id=probe.key().object_id),
        replace(key, width=key.width + 1),
        replace(key, height=key.height + 1),
        replace(key, mimetype="image/png"),
    ]
    if probe.store.accepts_revision:
        others += [replace(key, revision=probe.key().revision) for _ in range(2)]
    for each in (key, *others):
        probe.put(each)
    if probe.store.accepts_revision:  # one with a revision, and one without
        probe.delete(others.pop())
    probe.delete(key)
    if gone := [each for each in others if not probe.has(each)]:
        fail(f"{key.file_path()} alone to be deleted", f"{gone[0].file_path()} is gone, too")


@CHAPTER.rule("tells whether there was a blob, or None if it does not know")
def _tells(probe: Probe) -> None:
    key = probe.key()
    allowed: tuple[bool, ...] = (False,)
    for step in ("before it was stored", "when it was there", "when it was deleted"):
        if step == "when it was there":
            probe.put(key)
        came = probe.delete(key)
        allowed = (True,) if step == "when it was there" else (False,)
        if came is None and not probe.capabilities.tells_deletions:
            continue
        if came not in allowed or not isinstance(came, bool):
            or_none = "" if probe.capabilities.tells_deletions else " or None"
            fail(f"{allowed[0]}{or_none} {step}", repr(came))


@CHAPTER.rule("can be called by many at once for the same blob", needs="revisions")
def _deletes_at_once(probe: Probe) -> None:
    probe.needs_revisions()
    key = probe.key()
    probe.put(key)
    told = probe.at_once([partial(probe.delete, key)] * 6)
    probe.expect_missing(key, "the blob to be gone")
    if None in told and not probe.capabilities.tells_deletions:
        return
    if True not in told:
        fail("True for one of them", f"{told}")
    # two places that are emptied by different threads make two of them right
    if probe.capabilities.tells_deletions and told.count(True) > 1:
        fail("True for one of them alone", f"{told}")


@CHAPTER.rule("tells by has_key() whether there is a blob", method="has_key", needs="has_key")
def _has_key(probe: Probe) -> None:
    if not hasattr(probe.store, "has_key") and not probe.capabilities.has_key:
        msg = "the store has no has_key()"
        raise NotApplicable(msg)
    key = probe.key()
    steps: list[tuple[Callable[[ImageKey], object], bool, str]] = [
        (probe.url, False, "before it was stored"),
        (probe.put, True, "when it was there"),
        (probe.delete, False, "when it was deleted"),
    ]
    for step, expected, when in steps:
        step(key)
        try:
            came = probe.store.has_key(probe.store.own_key(key))  # type: ignore[attr-defined]  # looked for above
        except Exception as error:
            fail(f"{expected} {when}", error)
        if came is not expected:
            fail(f"{expected} {when}", repr(came))
