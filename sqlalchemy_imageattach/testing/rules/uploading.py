"""What ``put_once()``, ``copy_from()`` and ``presign_upload()`` promise: what uploads by others are made of."""

from __future__ import annotations

import io
import secrets
import urllib.request
from functools import partial
from urllib.error import HTTPError

from ...key import ImageKey
from ...uploadtarget import UploadTarget
from ..sources import ONE_MD5
from ..subject import PICTURE, NotApplicable, Subject, fail
from .chapter import Chapter

__all__ = ["CHAPTER"]

CHAPTER = Chapter("put_once")
_LIMIT = len(PICTURE)


@CHAPTER.rule("stores a blob where none is, and leaves one that is there as it is")
def _puts_once(subject: Subject) -> None:
    for key in (subject.key(), subject.replaceable_key()):
        if not subject.put_once(key, PICTURE):
            fail("the first one to be stored", "BlobExistsError")
        subject.expect_content(key, PICTURE)
        if subject.put_once(key, b"another one"):
            fail("a BlobExistsError where there is one", "no error")
        subject.expect_content(key, PICTURE)


@CHAPTER.rule("lets one of many at once store it", needs="exclusive")
def _puts_once_at_once(subject: Subject) -> None:
    key = subject.replaceable_key()
    told = subject.at_once([partial(subject.put_once, key, b"%d" % number) for number in range(6)])
    if told.count(True) != 1:
        fail("one of six to succeed", f"{told.count(True)}")
    subject.expect_content(key, b"%d" % told.index(True))


@CHAPTER.rule("copies what was read, or says that it does not", method="copy_from", needs="copies")
def _copies(subject: Subject) -> None:
    source, target = subject.replaceable_key(), subject.key()
    subject.put(source)
    if subject.copy_to(target, source, PICTURE):
        subject.expect_content(target, PICTURE)
        subject.expect_content(source, PICTURE)
        return
    subject.expect_missing(target, "nothing to be there, since it said that it did not copy")
    if subject.capabilities.copies:
        fail("to be copied, since the store is said to copy", "False")
    raise NotApplicable("the store copies nothing")


@CHAPTER.rule("copies nothing that has changed since it was read", method="copy_from", needs="copies")
def _copies_no_other(subject: Subject) -> None:
    source, target = subject.replaceable_key(), subject.key()
    read, *others = (*ONE_MD5, b"what was put in its place")
    subject.put(source, read)
    if not subject.copy_to(subject.key(), source, read):
        raise NotApplicable("the store copies nothing")
    for other in others:
        subject.put(source, other)
        if subject.copy_to(target, source, read):
            fail("not to be copied", "it was")
        subject.expect_missing(target, "nothing to be copied")


@CHAPTER.rule("gives a request that stores a blob", method="presign_upload", needs="uploadable")
def _is_uploaded(subject: Subject) -> None:
    key = subject.replaceable_key()
    status = _send(_target(subject, key), PICTURE)
    if not 200 <= status < 300:
        fail("a status of 200 or so", status)
    subject.expect_content(key, PICTURE)


@CHAPTER.rule("gives a request that is refused where it is not kept", method="presign_upload", needs="uploadable")
def _is_limited(subject: Subject) -> None:
    key = subject.replaceable_key()
    target = _target(subject, key)
    attempts = [("a signature that was altered", _altered(target), PICTURE)]
    if target.limits_size:
        attempts.append(("a file that is too long", target, PICTURE + b"!"))
    if target.limits_type and "Content-Type" in target.fields:
        wrong = {**target.fields, "Content-Type": "text/html"}
        attempts.append(("another type", UploadTarget(target.url, target.method, wrong, target.file_field), PICTURE))
    for what, each, content in attempts:
        if (status := _send(each, content)) < 400:
            fail(f"{what} to be refused", status)
    subject.expect_missing(key, "nothing to be stored")


def _target(subject: Subject, key: ImageKey) -> UploadTarget:
    return subject.presign(key, max_bytes=_LIMIT, lifetime=600, mimetype="image/jpeg")


def _altered(target: UploadTarget) -> UploadTarget:
    last = "A" if not target.url.endswith("A") else "B"
    fields = {
        name: value[:-1] + ("0" if value[-1:] != "0" else "1") if "signature" in name.lower() else value
        for name, value in target.fields.items()
    }
    url = target.url if target.fields else target.url[:-4] + last * 4
    return UploadTarget(url, target.method, fields, target.file_field, target.headers)


def _send(target: UploadTarget, content: bytes) -> int:
    """The status that the request is answered by, made as a browser makes it."""
    body, headers = content, dict(target.headers)
    if target.method == "POST":
        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in target.fields.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{target.file_field}"; filename="p.jpg"\r\n\r\n'
        buffer = io.BytesIO()
        buffer.write(("".join(parts) + head).encode())
        buffer.write(content)
        buffer.write(f"\r\n--{boundary}--\r\n".encode())
        body = buffer.getvalue()
        headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
    try:
        with urllib.request.urlopen(urllib.request.Request(target.url, body, headers, method=target.method)) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
    except (OSError, ValueError) as error:
        fail(f"an answer from {target.url}", error)
