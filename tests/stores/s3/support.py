"""What the tests of stores on S3 share."""

from __future__ import annotations

import io
import os
import random
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from sqlalchemy import Engine

from sqlalchemy_imageattach.key import ImageKey, new_revision
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.s3 import S3Store
from sqlalchemy_imageattach.stores.s3.transfer import PART_SIZE
from tests.stores.servers.seaweed import ADMIN, Identity, SeaweedFS

ROOT = Path(__file__).parents[3]

BLOB = b"\xff\xd8\xff\xe0 a picture, as far as a store can tell"

_NOISE = random.Random(0).randbytes(1_000_003)

OLD = ImageKey("user-picture", 1234, 640, 480, "image/jpeg")


def url_at(server: SeaweedFS, bucket: str, prefix: str = "") -> str:
    """The URL of a store on the server, for a process that has its credentials in the environment."""
    return f"s3://{bucket}/{prefix}?endpoint_url={server.endpoint}&region={server.region}&max_retry=0"


def kill(moment: str, engine: Engine, *urls: str) -> None:
    """Run :mod:`.victim`, which is killed at that moment."""
    credentials = {"AWS_ACCESS_KEY_ID": ADMIN.access_key, "AWS_SECRET_ACCESS_KEY": ADMIN.secret_key}
    command = [sys.executable, "-m", "tests.stores.s3.victim", moment, str(engine.url), *urls]
    victim = subprocess.run(command, cwd=ROOT, env=os.environ | credentials, capture_output=True, text=True)
    assert victim.returncode == -signal.SIGKILL, victim.stderr


def fresh_key() -> ImageKey:
    """A key that nothing has been stored under."""
    return replace(OLD, revision=new_revision())


def store_at(server: SeaweedFS, bucket: str, identity: Identity = ADMIN, **options: Any) -> S3Store:
    """A store on the server; it gives up at once unless it is told to try again."""
    defaults: dict[str, Any] = {"endpoint_url": server.endpoint, "region": server.region, "max_retry": 0}
    return S3Store(bucket, identity.access_key, identity.secret_key, **defaults | options)


def put(store: Store, key: ImageKey, blob: bytes = BLOB, reproducible: bool = False) -> None:
    store.put(key, io.BytesIO(blob), reproducible=reproducible)


def read(store: Store, key: ImageKey) -> bytes:
    with store.get(key) as file:
        return file.read()


def fetch(url: str, authority: str | None = None) -> tuple[int, bytes]:
    """What a browser gets: the status and the body.

    :param authority: the path of the certificate of an authority that the browser trusts
    """
    context = None if authority is None else ssl.create_default_context(cafile=authority)
    try:
        with urllib.request.urlopen(url, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def url_of(store: Store, key: ImageKey) -> str:
    """The URL, for a store that takes revisions."""
    get_url: Any = store.get_url
    url: str = get_url(key.object_type, key.object_id, key.width, key.height, key.mimetype, revision=key.revision)
    return url


def large_picture() -> bytes:
    """The bytes of a PNG that is uploaded in two parts."""
    file = io.BytesIO()
    Pillow.frombytes("RGB", (1800, 1800), pattern(0, 1800 * 1800 * 3)).save(file, "PNG", compress_level=0)
    assert PART_SIZE < len(file.getvalue()) < 2 * PART_SIZE
    return file.getvalue()


# --- past the stores -------------------------------------------------------------------------------------------------


def objects_of(client: Any, bucket: str) -> dict[str, bytes]:
    """All objects of a bucket, as a bare client of boto3 reads them."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return {name: client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


def uploads_of(client: Any, bucket: str) -> set[str]:
    """What the unfinished uploads to a bucket were to become."""
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    return {upload["Key"] for page in pages for upload in page.get("Uploads", ())}


def begin_upload(client: Any, bucket: str, name: str) -> None:
    """Leave an unfinished upload behind."""
    target = {"Bucket": bucket, "Key": name}
    target["UploadId"] = client.create_multipart_upload(**target)["UploadId"]
    client.upload_part(**target, PartNumber=1, Body=io.BytesIO(b"half of a picture"))


# --- sources ---------------------------------------------------------------------------------------------------------


class Unrewindable(io.RawIOBase):
    """A source that cannot be rewound and gives little at a time, as a socket does.

    :param size: how many bytes it has
    :param fails_at: after how many of them it fails
    """

    def __init__(self, size: int, fails_at: int | None = None) -> None:
        self.left = size
        self.given = 0
        self.fails_at = fails_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.fails_at is not None and self.given >= self.fails_at:
            msg = "the source is gone"
            raise OSError(msg)
        size = min(len(buffer), self.left, 100_003)
        buffer[:size] = pattern(self.given, size)
        self.left -= size
        self.given += size
        return size


def pattern(start: int, size: int) -> bytes:
    """Noise that tells where it was cut out, since its period goes into no power of two."""
    start %= len(_NOISE)
    return (_NOISE * ((start + size) // len(_NOISE) + 1))[start : start + size]
