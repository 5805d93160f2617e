"""What ``list_blobs()`` and ``discard_temporary()`` promise, where a store has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ...store import ListingNotSupportedError, StoredBlob
from ..subject import NotApplicable, Probe, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("list_blobs")


@CHAPTER.rule("lists what is in the store", needs="lists")
def _lists(probe: Probe) -> None:
    keys = [probe.key() for _ in range(3)] + [probe.replaceable_key()]
    for number, key in enumerate(keys):
        probe.put(key, b"x" * number)
    listed = probe.listed()
    if strange := [item for item in listed if not isinstance(item, StoredBlob)]:
        fail("a StoredBlob for each", repr(strange[0]))
    for number, key in enumerate(keys):
        own = probe.store.own_key(key)
        found = [blob for blob in listed if blob.key == own]
        if len(found) != 1:
            names = ", ".join(blob.name for blob in listed)
            fail(f"{key.file_path()} once, by its key", f"{len(found)} times among: {names or 'nothing'}")
        _expect_sound(found[0], number)
    if len(listed) != len(keys) or len({blob.name for blob in listed}) != len(keys):
        fail(f"{len(keys)} blobs with a name each", f"{', '.join(blob.name for blob in listed)}")


@CHAPTER.rule("lists only what has a name that starts with the prefix", needs="lists")
def _lists_prefix(probe: Probe) -> None:
    keys = [probe.key() for _ in range(3)]
    for key in keys:
        probe.put(key)
    names = [blob.name for blob in probe.listed()]
    for prefix in (names[0], names[0][:-3], f"{probe.object_type}/nothing-is-there/"):
        expected = sorted(name for name in names if name.startswith(prefix))
        came = sorted(blob.name for blob in probe.store.list_blobs(prefix))
        if came != expected:
            fail(f"of the prefix {prefix!r} {expected}", f"{came}")


@CHAPTER.rule("does not list what was deleted", needs="lists")
def _forgets(probe: Probe) -> None:
    key, other = probe.key(), probe.key()
    probe.put(key)
    probe.put(other)
    probe.delete(key)
    listed = {blob.key for blob in probe.listed()}
    if listed != {probe.store.own_key(other)}:
        fail(f"{other.file_path()} alone", ", ".join(str(each) for each in listed) or "nothing")


@CHAPTER.rule("lists what stays exactly once while other blobs come and go", needs="lists")
def _lists_while_changing(probe: Probe) -> None:
    staying, going = [probe.key() for _ in range(4)], [probe.key() for _ in range(4)]
    for pair in zip(going, staying, strict=True):
        for key in pair:
            probe.put(key)
    probe.listed()  # ends the rule if the store cannot
    seen = []
    for blob in probe.store.list_blobs(f"{probe.object_type}/"):
        seen.append(blob.key)
        if going:
            probe.delete(going.pop(0))
            probe.put(probe.key())
    counts = [seen.count(probe.store.own_key(key)) for key in staying]
    if counts != [1] * len(staying):
        fail(f"each of {len(staying)} blobs once", f"{counts} times")


@CHAPTER.rule("says by a ListingNotSupportedError that it cannot list")
def _says_so(probe: Probe) -> None:
    try:
        list(probe.store.list_blobs(f"{probe.object_type}/"))
    except ListingNotSupportedError as error:
        if probe.capabilities.lists:
            fail("the list that the store is said to have", error, text="lists what is in the store")
    except Exception as error:
        fail("a list, or a ListingNotSupportedError", error)


@CHAPTER.rule("refuses to discard what is no unfinished write", method="discard_temporary", needs="lists")
def _discards_no_blob(probe: Probe) -> None:
    key = probe.key()
    probe.put(key)
    blob = next((blob for blob in probe.listed() if blob.key == probe.store.own_key(key)), None)
    if blob is None:
        msg = "the store does not list its blobs"  # which breaks another rule
        raise NotApplicable(msg)
    try:
        came = probe.store.discard_temporary(blob)
    except (ValueError, NotImplementedError):
        pass
    except Exception as error:
        fail("an InvalidValueError for a blob that is complete", error)
    else:
        fail("an InvalidValueError for a blob that is complete", repr(came))
    if not probe.has(key):
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
