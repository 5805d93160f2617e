"""What ``put_file()`` promises."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ...key import ImageKey
from ..sources import Source, noise
from ..subject import PICTURE, Broken, NotApplicable, Subject, brief, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("put_file")

# how long a reader may take to find out that there is nothing yet; a store that makes readers wait is right, too
_PATIENCE = 1.0

_NEVER_OVERWRITES = "never overwrites a blob that has a revision"
_REFUSAL = "a BlobExistsError (or another FileExistsError)"


class SourceError(Exception):
    """What a file raises that cannot be read."""


def _fail() -> None:
    raise SourceError("the file cannot be read any further")


@CHAPTER.rule("stores a blob")
def _stores(subject: Subject) -> None:
    key = subject.key()
    subject.put(key, b"a picture")
    subject.expect_content(key, b"a picture")


@CHAPTER.rule("stores a blob without any bytes")
def _stores_nothing(subject: Subject) -> None:
    key = subject.key()
    subject.put(key, b"")
    subject.expect_content(key, b"")


@CHAPTER.rule("stores a large blob whole")
def _stores_large(subject: Subject) -> None:
    key, content = subject.key(), noise(subject.large)
    subject.put(key, io.BytesIO(content))
    subject.expect_content(key, content)


@CHAPTER.rule("stores blobs that can be made again")
def _stores_reproducible(subject: Subject) -> None:
    key = subject.key()
    subject.put(key, PICTURE, reproducible=True)
    subject.expect_content(key, PICTURE)


@CHAPTER.rule("reads the file from its current position")
def _from_position(subject: Subject) -> None:
    key, file = subject.key(), io.BytesIO(PICTURE)
    file.seek(1000)
    subject.put(key, file)
    subject.expect_content(key, PICTURE[1000:])


@CHAPTER.rule("leaves the file open")
def _leaves_open(subject: Subject) -> None:
    file = io.BytesIO(PICTURE)
    subject.put(subject.key(), file)
    if file.closed:
        fail("the file to be open still, since it is the caller's", "it was closed")


@CHAPTER.rule("reads files that have no more than read(), and give less than they are asked for")
def _reads_little(subject: Subject) -> None:
    for piece in (1, 4093, 100_003):
        key, content = subject.key(), PICTURE[: piece * 1000 + 1]
        try:
            subject.put(key, Source(content, piece))
        except Broken as broken:
            fail("no more to be asked of a file than read()", broken.came)
        subject.expect_content(key, content)


@CHAPTER.rule("raises the error of a file that fails")
def _raises(subject: Subject) -> None:
    for content, failing in _failing_sources(len(PICTURE)):
        key = subject.key()
        try:
            subject.try_to_put(key, failing)
        except Exception as error:
            if not any(isinstance(cause, SourceError) for cause in _causes(error)):
                fail("the error that the file raised, or one that comes from it", error)
        else:
            fail(f"the error that the file raised after some of its {len(content)} bytes", "no error")


@CHAPTER.rule("stores nothing when the file fails")
def _stores_nothing_half(subject: Subject) -> None:
    for content, failing in _failing_sources(subject.large):
        key = subject.key()
        _try_to_put(subject, key, failing)
        subject.expect_missing(key, f"no blob after a file of {len(content)} bytes that failed")
        _expect_no_remains(subject)


@CHAPTER.rule("leaves the former blob as it was when a replacement fails")
def _keeps_former(subject: Subject) -> None:
    key = subject.replaceable_key()
    subject.put(key, PICTURE)
    _try_to_put(subject, key, Source(b"another picture", 5, interrupted_at=10, interruption=_fail))
    subject.expect_content(key, PICTURE)


@CHAPTER.rule("replaces the former blob if there is no revision")
def _replaces(subject: Subject) -> None:
    key = subject.replaceable_key()
    for content in (PICTURE, b"another picture"):
        subject.put(key, content)
        subject.expect_content(key, content)


@CHAPTER.rule("keeps two revisions side by side", needs="revisions")
def _keeps_revisions(subject: Subject) -> None:
    subject.needs_revisions()
    one = subject.key()
    other, old = replace(one, revision=subject.key().revision), replace(one, revision=None)
    for number, key in enumerate((one, other, old)):
        subject.put(key, b"picture %d" % number)
    for number, key in enumerate((one, other, old)):
        subject.expect_content(key, b"picture %d" % number)


@CHAPTER.rule("keeps blobs of different owners, types and sizes apart")
def _keeps_apart(subject: Subject) -> None:
    key = subject.replaceable_key()
    keys = [
        key,
        replace(key, object_type=f"{key.object_type}/cover"),
        replace(key, object_id=-1),
        replace(key, object_id=2**128 - 1),  # as UUIDs give
        replace(key, width=key.width + 1),
        replace(key, height=key.height + 1),
        replace(key, mimetype="image/png"),
    ]
    for number, each in enumerate(keys):
        subject.put(each, b"picture %d" % number)
    for number, each in enumerate(keys):
        subject.expect_content(each, b"picture %d" % number)


@CHAPTER.rule(_NEVER_OVERWRITES, needs="never_overwrites")
def _never_overwrites(subject: Subject) -> None:
    key = _refused_key(subject)
    subject.expect_content(key, PICTURE)


@CHAPTER.rule("stores a blob anew that was deleted")
def _stores_anew(subject: Subject) -> None:
    key = subject.key()
    subject.put(key, PICTURE)
    subject.delete_surely(key)
    subject.put(key, b"another picture")
    subject.expect_content(key, b"another picture")


@CHAPTER.rule("shows a blob to nobody before it is whole")
def _shows_whole(subject: Subject) -> None:
    key, content = subject.key(), noise(subject.large)
    begun, looked = threading.Event(), threading.Event()

    def pause() -> None:
        begun.set()
        looked.wait(_PATIENCE)

    def look() -> bytes | None:
        begun.wait()
        try:
            return subject.read(key) if subject.has(key) else None
        finally:
            looked.set()

    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(look)
        try:
            subject.put(key, Source(content, interrupted_at=len(content) - 1000, interruption=pause))
        finally:
            begun.set()
        if (came := reader.result()) not in (None, content):
            fail("no blob, or a whole one, while it is being stored", brief(came))


@CHAPTER.rule("lets one win of many who store the same blob", needs="never_overwrites")
def _one_wins(subject: Subject) -> None:
    key = _refused_key(subject)
    subject.delete_surely(key)
    contents = [noise(100_000, number) for number in range(6)]
    refused = subject.at_once([partial(_is_refused, subject, key, content) for content in contents])
    winners = [content for content, lost in zip(contents, refused, strict=True) if not lost]
    if len(winners) != 1:
        fail(
            f"1 of {len(contents)} threads to store it, and a BlobExistsError for the others",
            f"{len(winners)} stored it",
        )
    subject.expect_content(key, winners[0])


# --- what several of them need ---------------------------------------------------------------------------------------


def _failing_sources(size: int) -> Iterator[tuple[bytes, Source]]:
    """Files that fail at once, soon, and after almost all of their bytes."""
    content = noise(size)
    for position in (0, 100, len(content) - 1000):
        yield content, Source(content, interrupted_at=position, interruption=_fail)


def _try_to_put(subject: Subject, key: ImageKey, source: Source) -> None:
    with suppress(Exception):  # whether it raises what it should is another rule's business
        subject.try_to_put(key, source)


def _expect_no_remains(subject: Subject) -> None:
    try:
        remains = [blob.name for blob in subject.listed()]
    except NotApplicable:
        return
    if remains:
        fail("nothing to be listed after a file that failed", f"{', '.join(remains)}")


def _refused_key(subject: Subject) -> ImageKey:
    """The key of :data:`PICTURE`, which was not overwritten; ends the rule if the store does not look."""
    subject.needs_revisions()
    key = subject.key()
    subject.put(key, PICTURE)
    if _is_refused(subject, key, b"another picture"):
        return key
    if subject.capabilities.never_overwrites:
        fail(_REFUSAL, "no error", text=_NEVER_OVERWRITES)
    raise NotApplicable("the store does not look whether there is a blob with a revision already")


def _is_refused(subject: Subject, key: ImageKey, content: bytes) -> bool:
    try:
        subject.try_to_put(key, io.BytesIO(content))
    except FileExistsError:
        return True
    except Exception as error:
        fail(_REFUSAL, error, text=_NEVER_OVERWRITES)
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
