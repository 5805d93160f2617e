"""What all methods promise to several threads: the blobs of one flush are written side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...key import ImageKey
from ..sources import noise
from ..subject import PICTURE, Subject, brief, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("put_file")

_THREADS = 6
_TURNS = 4


@CHAPTER.rule("can be called by many threads at once", needs="revisions")
def _stores_at_once(subject: Subject) -> None:
    # stores that take no revisions are called one after the other
    subject.needs_revisions()
    blobs = [(subject.key(), noise(100_000, number)) for number in range(_THREADS)]
    subject.at_once([partial(subject.put, key, content) for key, content in blobs])
    for key, content in blobs:
        subject.expect_content(key, content)


@CHAPTER.rule("can be called by many threads at once", method="get_file")
def _reads_at_once(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    for came in subject.at_once([partial(subject.read, key)] * _THREADS):
        if came != PICTURE:
            fail("the whole blob for each thread", brief(came))


@CHAPTER.rule(
    "replaces a blob at once: others see the former, the new one, or, on their way, an error", needs="revisions"
)
def _replaces_at_once(subject: Subject) -> None:
    subject.needs_revisions()
    key = subject.replaceable_key()
    contents = [noise(100_000, number) for number in range(_THREADS // 2)]
    subject.put(key, contents[0])

    writing = [True] * len(contents)

    def write(number: int) -> list[bytes]:
        try:
            for _ in range(_TURNS):
                subject.put(key, contents[number])
        finally:
            writing[number] = False
        return []

    def read() -> list[bytes]:
        seen: set[bytes] = set()
        while any(writing):
            if (came := _read_or_error(subject, key)) is not None:
                seen.add(came)
        return list(seen)

    works: list[Callable[[], list[bytes]]] = [partial(write, number) for number in range(len(contents))]
    for came in subject.at_once([*works, *[read] * len(contents)]):
        if mixed := [each for each in came if each not in contents]:
            fail("a blob that somebody stored", brief(mixed[0]))
    if (last := subject.read(key)) not in contents:
        fail("a blob that somebody stored", brief(last))


def _read_or_error(subject: Subject, key: ImageKey) -> bytes | None:
    try:
        with subject.store.get(key) as file:
            return file.read()
    except FileNotFoundError as error:
        fail("the former blob or the new one", error)
    except OSError:
        return None
