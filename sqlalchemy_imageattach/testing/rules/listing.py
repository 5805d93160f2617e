"""What ``list_blobs()`` and ``discard_temporary()`` promise, where a store has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ...store import ListingNotSupportedError, StoredBlob
from ..subject import NotApplicable, Subject, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("list_blobs")


@CHAPTER.rule("lists what is in the store", needs="lists")
def _lists(subject: Subject) -> None:
    keys = [subject.key() for _ in range(3)] + [subject.replaceable_key()]
    for number, key in enumerate(keys):
        subject.put(key, b"x" * number)
    listed = subject.listed()
    if strange := [item for item in listed if not isinstance(item, StoredBlob)]:
        fail("a StoredBlob for each", repr(strange[0]))
    for number, key in enumerate(keys):
        own = subject.store.own_key(key)
        found = [blob for blob in listed if blob.key == own]
        if len(found) != 1:
            names = ", ".join(blob.name for blob in listed)
            fail(f"{key.file_path()} once, by its key", f"{len(found)} times among: {names or 'nothing'}")
        _expect_sound(found[0], number)
    if len(listed) != len(keys) or len({blob.name for blob in listed}) != len(keys):
        fail(f"{len(keys)} blobs with a name each", f"{', '.join(blob.name for blob in listed)}")


@CHAPTER.rule("lists only what has a name that starts with the prefix", needs="lists")
def _lists_prefix(subject: Subject) -> None:
    keys = [subject.key() for _ in range(3)]
    for key in keys:
        subject.put(key)
    names = [blob.name for blob in subject.listed()]
    for prefix in (names[0], names[0][:-3], f"{subject.object_type}/nothing-is-there/"):
        expected = sorted(name for name in names if name.startswith(prefix))
        came = sorted(blob.name for blob in subject.store.list_blobs(prefix))
        if came != expected:
            fail(f"of the prefix {prefix!r} {expected}", f"{came}")


@CHAPTER.rule("does not list what was deleted", needs="lists")
def _forgets(subject: Subject) -> None:
    key, other = subject.key(), subject.key()
    subject.put(key)
    subject.put(other)
    subject.delete(key)
    listed = {blob.key for blob in subject.listed()}
    if listed != {subject.store.own_key(other)}:
        fail(f"{other.file_path()} alone", ", ".join(str(each) for each in listed) or "nothing")


@CHAPTER.rule("lists what stays exactly once while other blobs come and go", needs="lists")
def _lists_while_changing(subject: Subject) -> None:
    staying, going = [subject.key() for _ in range(4)], [subject.key() for _ in range(4)]
    for pair in zip(going, staying, strict=True):
        for key in pair:
            subject.put(key)
    subject.listed()  # ends the rule if the store cannot
    seen = []
    for blob in subject.store.list_blobs(f"{subject.object_type}/"):
        seen.append(blob.key)
        if going:
            subject.delete(going.pop(0))
            subject.put(subject.key())
    counts = [seen.count(subject.store.own_key(key)) for key in staying]
    if counts != [1] * len(staying):
        fail(f"each of {len(staying)} blobs once", f"{counts} times")


@CHAPTER.rule("says by a ListingNotSupportedError that it cannot list")
def _says_so(subject: Subject) -> None:
    try:
        list(subject.store.list_blobs(f"{subject.object_type}/"))
    except ListingNotSupportedError as error:
        if subject.capabilities.lists:
            fail("the list that the store is said to have", error, text="lists what is in the store")
    except Exception as error:
        fail("a list, or a ListingNotSupportedError", error)


@CHAPTER.rule("refuses to discard what is no unfinished write", method="discard_temporary", needs="lists")
def _discards_no_blob(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    blob = next((blob for blob in subject.listed() if blob.key == subject.store.own_key(key)), None)
    if blob is None:
        msg = "the store does not list its blobs"  # which breaks another rule
        raise NotApplicable(msg)
    try:
        came = subject.store.discard_temporary(blob)
    except (ValueError, NotImplementedError):
        pass
    except Exception as error:
        fail("an InvalidValueError for a blob that is complete", error)
    else:
        fail("an InvalidValueError for a blob that is complete", repr(came))
    if not subject.has(key):
        fail("the blob to be there still", "it is gone")


def _expect_sound(blob: StoredBlob, byte_size: int) -> None:
    if blob.byte_size != byte_size:
        fail(f"{blob.name} with {byte_size} bytes", f"{blob.byte_size!r}")
    if blob.is_temporary:
        fail(f"{blob.name} to be no unfinished write", "is_temporary=True")
    time = blob.modified_at
    if not isinstance(time, datetime) or time.tzinfo is None:
        fail(f"{blob.name} with a time that has a time zone", repr(time))
    # clocks differ; the sweeper's grace period has to be longer than that
    if abs(datetime.now(UTC) - time) > timedelta(hours=12):
        fail(f"{blob.name} with the time when it was stored, just now", f"{time}")
