"""What ``get_url()`` promises."""

from __future__ import annotations

import urllib.request
from dataclasses import replace

from ..subject import PICTURE, Subject, brief, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("get_url")


@CHAPTER.rule("gives a URL whether or not there is a blob")
def _of_nothing(subject: Subject) -> None:
    subject.url(subject.key())


@CHAPTER.rule("gives a URL that can stand in a page as it is")
def _is_plain(subject: Subject) -> None:
    for key in (subject.key(), subject.replaceable_key()):
        url = subject.url(key)
        if not isinstance(url, str) or not url or not url.isascii() or any(c <= " " or c in "\"'<>\\`" for c in url):
            fail(
                "a str without spaces, quotes, angle brackets and other characters to be percent-encoded",
                f"{type(url).__name__} ({url!r})",
            )


@CHAPTER.rule("gives different blobs different URLs")
def _is_unique(subject: Subject) -> None:
    key = subject.replaceable_key()
    keys = [
        key,
        replace(key, object_type=f"{key.object_type}/cover"),
        replace(key, object_id=subject.key().object_id),
        replace(key, width=key.width + 1),
        replace(key, height=key.height + 1),
    ]
    if subject.store.accepts_revision:
        keys += [replace(key, revision=subject.key().revision) for _ in range(2)]
    urls = [subject.url(each).partition("?")[0] for each in keys]
    if twice := sorted({url for url in urls if urls.count(url) > 1}):
        fail("a URL for each owner, type, size and revision", f"the same for several: {twice[0]}")


@CHAPTER.rule("gives a blob the same URL each time")
def _stays(subject: Subject) -> None:
    key = subject.key()
    subject.put(key)
    # signatures, which change, are in the query
    first, second = (subject.url(key).partition("?")[0] for _ in range(2))
    if first != second:
        fail(f"{first}, as the first time", second)


@CHAPTER.rule("gives a URL from which the blob can be fetched", needs="fetchable")
def _can_be_fetched(subject: Subject) -> None:
    for key in (subject.key(), subject.replaceable_key()):
        subject.put(key)
        url = subject.url(key)
        try:
            with urllib.request.urlopen(url) as answer:
                came = answer.read()
        except (OSError, ValueError) as error:
            fail(f"the blob from {url}", error)
        if came != PICTURE:
            fail(f"{brief(PICTURE)} from {url}", brief(came))
