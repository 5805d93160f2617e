"""What ``get_part()`` and ``stat_key()`` promise: ranges, by which servers send parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ...key import ImageKey
from ..subject import PICTURE, Subject, brief, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("get_part")

_SIZE = len(PICTURE)


@CHAPTER.rule("gives the bytes that were asked for, and no others")
def _gives_parts(subject: Subject) -> None:
    for key in (subject.key(), subject.replaceable_key()):
        subject.put(key)
        for start, length in ((0, None), (0, 1), (0, _SIZE), (1000, 5000), (70_000, None), (_SIZE - 1, 1)):
            _expect(subject, key, start, length)


@CHAPTER.rule("gives what there is where more is asked for")
def _ends_with_the_blob(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    for start, length in ((0, 2 * _SIZE), (_SIZE - 10, 1000), (_SIZE, None), (_SIZE, 10), (3 * _SIZE, 10)):
        _expect(subject, key, start, length)


@CHAPTER.rule("says of the whole blob how long it is, if it says so")
def _tells_size(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    for start, length in ((0, None), (1000, 10), (2 * _SIZE, 10)):
        part = subject.store.get_part(key, start, length)
        part.file.close()
        if part.stat.byte_size not in {None, _SIZE}:
            fail(f"{_SIZE} bytes, or None", part.stat.byte_size)


@CHAPTER.rule("says how long the blob is, and when it was written, if it says so", method="stat_key")
def _tells_facts(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    stat = subject.store.stat_key(key)
    if stat.byte_size not in {None, _SIZE}:
        fail(f"{_SIZE} bytes, or None", stat.byte_size)
    written = stat.modified_at
    if written is None:
        return
    if written.tzinfo is None:
        fail("a time with a time zone", repr(written))
    # its clock is another one, and servers differ by minutes
    if abs(datetime.now(UTC) - written) > timedelta(days=1):
        fail("the time at which it was written", written.isoformat())


@CHAPTER.rule("says by an OSError that there is no such blob")
def _missing(subject: Subject) -> None:
    _expect_missing(subject)


@CHAPTER.rule("says by an OSError that there is no such blob", method="stat_key")
def _missing_too(subject: Subject) -> None:
    _expect_missing(subject, stat=True)


def _expect_missing(subject: Subject, *, stat: bool = False) -> None:
    for key in (subject.key(), subject.replaceable_key()):
        for start in (0, 1000):
            try:
                came: object = subject.store.stat_key(key) if stat else subject.store.get_part(key, start, 10)
            except OSError:
                continue
            fail("a BlobNotFoundError (or another OSError, as of get_file)", came)


def _expect(subject: Subject, key: ImageKey, start: int, length: int | None) -> None:
    with subject.store.get_part(key, start, length).file as file:
        came = file.read()
    expected = PICTURE[start:] if length is None else PICTURE[start : start + length]
    if came != expected:
        fail(f"from byte {start}, {length} at most: {brief(expected)}", brief(came))
