"""What ``get_file()`` promises, and the file that it gives."""

from __future__ import annotations

import io
from contextlib import closing, suppress
from typing import IO

from ..sources import noise
from ..subject import PICTURE, Subject, brief, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("get_file")

_LINES = b"a picture\nin two lines\nand a half"


@CHAPTER.rule("says by an OSError that there is no such blob")
def _missing(subject: Subject) -> None:
    for key in (subject.key(), subject.replaceable_key()):
        if subject.has(key):
            fail(
                "a BlobNotFoundError (or another FileNotFoundError, or a bare OSError as in 1.x)",
                f"a file: {brief(subject.read(key))}",
            )


@CHAPTER.rule("gives what was stored")
def _gives(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    for _ in range(2):  # the second time as well as the first
        subject.expect_content(key, PICTURE)


@CHAPTER.rule("gives a file that can be read in pieces of any size")
def _reads_pieces(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    for size in (997, 8192, 10 * len(PICTURE)):
        with subject.open(key) as file:
            pieces = _pieces(file, size)
            at_end = file.read()
        if any(not isinstance(piece, bytes) for piece in pieces):
            fail("read() to return bytes", brief(pieces[0]))
        if longer := [len(piece) for piece in pieces if len(piece) > size]:
            fail(f"at most {size} bytes when so many are asked for", f"{longer[0]} bytes")
        if (came := b"".join(pieces)) != PICTURE:
            fail(f"the {len(PICTURE)} bytes of the blob, read by {size}", brief(came))
        if at_end:
            fail("nothing at the end of the file", brief(at_end))


@CHAPTER.rule("gives a file that can be read by lines")
def _reads_lines(subject: Subject) -> None:
    key = subject.key()
    subject.put(key, _LINES)
    expected = _LINES.splitlines(keepends=True)
    with subject.open(key) as file:
        first, rest = file.readline(), file.readlines()
    with subject.open(key) as file:
        iterated = list(file)
    for came in ([first, *rest], iterated):
        if came != expected:
            fail(f"the lines {expected}", f"{came}")


@CHAPTER.rule("gives a file that can be positioned if use_seek asks for it")
def _seeks(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    with subject.open(key, use_seek=True) as file:
        file.seek(0, io.SEEK_END)
        end = file.tell()
        file.seek(1000)
        middle = file.read(10)
        file.seek(0)
        whole = file.read()
    if (end, middle, whole) != (len(PICTURE), PICTURE[1000:1010], PICTURE):
        fail(
            f"its end at {len(PICTURE)}, {PICTURE[1000:1010]!r} at 1000, and the whole blob from 0",
            f"{end}, {middle!r}, {brief(whole)}",
        )


@CHAPTER.rule("gives a file that is closed after its with block")
def _closes(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    file = subject.open(key)
    with file:
        file.read(10)
    try:
        came = file.read(10)
    except ValueError:
        pass
    else:
        fail("a ValueError when a closed file is read", brief(came))
    file.close()  # twice is no error


@CHAPTER.rule("gives each reader a file of its own")
def _is_independent(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    with closing(subject.open(key)) as one, closing(subject.open(key)) as other:
        head = one.read(1000)
        came = other.read()
        rest = one.read()
    if came != PICTURE or head + rest != PICTURE:
        fail("the whole blob from both of two files", f"{brief(head + rest)} and {brief(came)}")


@CHAPTER.rule("gives a file by which the blob cannot be changed")
def _is_read_only(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    with subject.open(key) as file:
        # a file of one's own, as in memory, may be written to as long as that changes nothing
        with suppress(Exception):
            file.write(b"changed")
        with suppress(Exception):
            file.truncate(3)
    if (came := subject.read(key)) != PICTURE:
        fail("the blob to be as it was", brief(came))


@CHAPTER.rule("gives a file that ends whole, or by an error, when the blob is deleted meanwhile")
def _survives_deletion(subject: Subject) -> None:
    key, content = subject.key(), noise(subject.large)
    subject.put(key, content)
    with subject.open(key) as file:
        head = file.read(1000)
        subject.delete(key)
        _expect_whole_or_error(file, head, content)


@CHAPTER.rule("gives a file that ends whole, or by an error, when the blob is replaced meanwhile")
def _survives_replacement(subject: Subject) -> None:
    key, content = subject.replaceable_key(), noise(subject.large)
    subject.put(key, content)
    with subject.open(key) as file:
        head = file.read(1000)
        subject.put(key, noise(subject.large, 1))
        _expect_whole_or_error(file, head, content)


def _pieces(file: IO[bytes], size: int) -> list[bytes]:
    """What the file gives when it is read by ``size``, but not much more than it should have."""
    pieces: list[bytes] = []
    while sum(map(len, pieces)) <= len(PICTURE) and (piece := file.read(size)):
        pieces.append(piece)
    return pieces


def _expect_whole_or_error(file: IO[bytes], head: bytes, content: bytes) -> None:
    try:
        came = head + file.read()
    except OSError:
        return
    if came != content:
        fail(f"{brief(content)}, or an OSError", brief(came))
