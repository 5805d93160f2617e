"""What is in a bucket: the objects, and the uploads that were begun and never ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ...arguments import wrong_value
from ...errors import StoreError
from ...key import ImageKey
from ...store import StoredBlob
from .errors import S3Object, s3_errors

__all__ = ["abort_upload", "list_objects", "list_uploads"]

# Part of the names of uploads, which have no names of their own; no key has it.
_UPLOAD_ID = "?uploadId="

_log = logging.getLogger("sqlalchemy_imageattach.stores.s3")


def list_objects(client: Any, s3_object: S3Object, root: str, prefix: str) -> Iterator[StoredBlob]:
    """All objects whose names start with ``root + prefix``, by pages of a thousand.

    :param root: the store's prefix, with a slash at its end unless it is empty
    """
    parameters = {"Bucket": s3_object.bucket, "Prefix": root + prefix}
    for page in _pages(client, "list_objects_v2", parameters, s3_object):
        for entry in page.get("Contents", ()):
            name: str = entry["Key"]
            # what file browsers make for a directory, and some services by themselves
            if name.endswith("/") and not entry["Size"]:
                continue
            key = ImageKey.parse_object_name(name, root)
            yield StoredBlob(name.removeprefix(root), entry["Size"], entry["LastModified"], key)


def list_uploads(client: Any, s3_object: S3Object, root: str, prefix: str) -> Iterator[StoredBlob]:
    """All uploads of blobs by multipart that are neither complete nor aborted, as temporary blobs.

    Those that were to become anything else are somebody else's, such as a backup that goes on for days.

    A service that does not list them, or not to these credentials, is taken to have none: they are no blobs, so nothing
    depends on them but money.
    """
    parameters = {"Bucket": s3_object.bucket, "Prefix": root + prefix}
    try:
        for page in _pages(client, "list_multipart_uploads", parameters, s3_object):
            for entry in page.get("Uploads", ()):
                name, upload_id, began = entry["Key"], entry["UploadId"], entry["Initiated"]
                if ImageKey.parse_object_name(name, root) is not None:
                    yield _unfinished(client, s3_object, root, name, upload_id, began)
    except StoreError as error:
        if not _is_unlisted(error):
            raise
        _log.warning("unfinished uploads are not known: %s", error)


def abort_upload(client: Any, s3_object: S3Object, root: str, blob: StoredBlob) -> bool:
    """Afterwards the parts of an unfinished upload are gone.

    :return: whether there were any
    :raises InvalidValueError: ``blob`` is no unfinished upload
    """
    name, found, upload_id = blob.name.rpartition(_UPLOAD_ID)
    if not blob.is_temporary or not found:
        raise wrong_value("", blob, "an unfinished upload as list_blobs() gives it")
    target = {"Bucket": s3_object.bucket, "Key": root + name, "UploadId": upload_id}
    try:
        with s3_errors("abort an upload to", s3_object):
            client.abort_multipart_upload(**target)
    except StoreError as error:
        if _code(error) == "NoSuchUpload":
            return False
        raise
    return True


def _unfinished(client: Any, s3_object: S3Object, root: str, name: str, upload_id: str, began: datetime) -> StoredBlob:
    parameters = {"Bucket": s3_object.bucket, "Key": name, "UploadId": upload_id}
    try:
        pages = _pages(client, "list_parts", parameters, s3_object)
        byte_size = sum(part["Size"] for page in pages for part in page.get("Parts", ()))
    except StoreError as error:
        # it came to its end in the meantime, or only its size is not to be known
        if _code(error) != "NoSuchUpload" and not _is_unlisted(error):
            raise
        byte_size = 0
    return StoredBlob(f"{name.removeprefix(root)}{_UPLOAD_ID}{upload_id}", byte_size, began, None, is_temporary=True)


def _pages(client: Any, operation: str, parameters: dict[str, Any], s3_object: S3Object) -> Iterator[dict[str, Any]]:
    with s3_errors("list", s3_object):
        pages = iter(client.get_paginator(operation).paginate(**parameters))
    while True:
        # only the request: what the caller does with a page is not S3's
        with s3_errors("list", s3_object):
            page = next(pages, None)
        if page is None:
            return
        yield page


def _is_unlisted(error: StoreError) -> bool:
    return isinstance(error, PermissionError) or _code(error) in {"NotImplemented", "MethodNotAllowed", "501"}


def _code(error: StoreError) -> str:
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
