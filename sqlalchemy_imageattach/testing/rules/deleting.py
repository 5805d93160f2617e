"""What ``delete_file()`` promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ...key import ImageKey
from ..subject import Subject, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("delete_file")


@CHAPTER.rule("deletes a blob")
def _deletes(subject: Subject) -> None:
    for key in (subject.key(), subject.replaceable_key()):
        subject.put(key)
        subject.delete(key)
        subject.expect_missing(key, "the blob to be gone")


@CHAPTER.rule("finds nothing wrong with a blob that is not there")
def _deletes_nothing(subject: Subject) -> None:
    subject.delete(subject.key())
    subject.delete(subject.replaceable_key())


@CHAPTER.rule("leaves all other blobs alone")
def _leaves_others(subject: Subject) -> None:
    key = subject.replaceable_key()
    others = [
        replace(key, object_type=f"{key.object_type}/cover"),
        replace(key, object_id=subject.key().object_id),
        replace(key, width=key.width + 1),
        replace(key, height=key.height + 1),
        replace(key, mimetype="image/png"),
    ]
    if subject.store.accepts_revision:
        others += [replace(key, revision=subject.key().revision) for _ in range(2)]
    for each in (key, *others):
        subject.put(each)
    if subject.store.accepts_revision:  # one with a revision, and one without
        subject.delete(others.pop())
    subject.delete(key)
    if gone := [each for each in others if not subject.has(each)]:
        fail(f"{key.file_path()} alone to be deleted", f"{gone[0].file_path()} is gone, too")


@CHAPTER.rule("tells whether there was a blob, or None if it does not know")
def _tells(subject: Subject) -> None:
    key = subject.key()
    allowed: tuple[bool, ...] = (False,)
    for step in ("before it was stored", "when it was there", "when it was deleted"):
        if step == "when it was there":
            subject.put(key)
        came = subject.delete(key)
        allowed = (True,) if step == "when it was there" else (False,)
        if came is None and not subject.capabilities.tells_deletions:
            continue
        if came not in allowed or not isinstance(came, bool):
            or_none = "" if subject.capabilities.tells_deletions else " or None"
            fail(f"{allowed[0]}{or_none} {step}", repr(came))


@CHAPTER.rule("can be called by many at once for the same blob", needs="revisions")
def _deletes_at_once(subject: Subject) -> None:
    subject.needs_revisions()
    key = subject.key()
    subject.put(key)
    told = subject.at_once([partial(subject.delete, key)] * 6)
    subject.expect_missing(key, "the blob to be gone")
    if None in told and not subject.capabilities.tells_deletions:
        return
    if True not in told:
        fail("True for one of them", f"{told}")
    # two places that are emptied by different threads make two of them right
    if subject.capabilities.tells_deletions and told.count(True) > 1:
        fail("True for one of them alone", f"{told}")


@CHAPTER.rule("tells by has_key() whether there is a blob", method="has_key")
def _has_key(subject: Subject) -> None:
    key = subject.key()
    steps: list[tuple[Callable[[ImageKey], object], bool, str]] = [
        (subject.url, False, "before it was stored"),
        (subject.put, True, "when it was there"),
        (subject.delete, False, "when it was deleted"),
    ]
    for step, expected, when in steps:
        step(key)
        try:
            came = subject.store.has_key(key)
        except Exception as error:
            fail(f"{expected} {when}", error)
        if came is not expected:
            fail(f"{expected} {when}", repr(came))
