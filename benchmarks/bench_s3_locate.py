"""URLs of pictures on S3: how many a second, and that no request is made for them.

Signed ones are compared with boto3's own ``generate_presigned_url()``.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import harness

harness.require(boto3="boto3>=1.36,<2")

from sqlalchemy_imageattach.key import new_revision  # noqa: E402
from sqlalchemy_imageattach.stores.s3 import S3Store  # noqa: E402

COUNT = int(os.environ.get("COUNT", "20000"))
WANTED = 50_000


class Picture:
    """All that a store needs to know of a picture."""

    object_type = "user-picture"
    width, height, mimetype, original = 640, 480, "image/jpeg", True
    created_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __init__(self, number: int, revision: str | None) -> None:
        self.object_id = number
        self.revision = revision


def no_network(*_: object) -> NoReturn:
    """What a connection is replaced by."""
    msg = "locate() made a connection"
    raise AssertionError(msg)


def locating(store: S3Store, pictures: list[Picture]) -> Callable[[], None]:
    """Ask for the URL of each picture."""

    def run() -> None:
        for picture in pictures:
            store.locate(picture)

    return run


def main() -> int:
    """Print the figures."""
    socket.socket.connect = no_network  # type: ignore[method-assign,assignment]
    pictures = [Picture(number, new_revision()) for number in range(COUNT)]
    old = [Picture(number, None) for number in range(COUNT)]
    few = pictures[: COUNT // 10]
    bucket = S3Store("pictures", "key", "secret", region="eu-west-1", prefix="images")
    private = S3Store("pictures", "key", "secret", region="eu-west-1", prefix="images", public=False)
    cdn = S3Store("pictures", public_base_url="https://d1.cloudfront.net")
    client = private.client
    began = time.perf_counter()
    S3Store("pictures", "key", "secret", region="eu-west-1").locate(pictures[0])
    print(f"first URL of a store: {(time.perf_counter() - began) * 1000:.0f} ms (its client is made)\n")

    def by_boto3() -> None:
        for picture in few:
            name = f"images/user-picture/{picture.object_id}/640x480.{picture.revision}.jpe"
            client.generate_presigned_url("get_object", Params={"Bucket": "pictures", "Key": name}, ExpiresIn=3600)

    candidates = {
        "public bucket": (locating(bucket, pictures), COUNT),
        "public bucket, pictures of 1.x": (locating(bucket, old), COUNT),
        "CDN": (locating(cdn, pictures), COUNT),
        "signed": (locating(private, few), len(few)),
        "signed, by boto3": (by_boto3, len(few)),
    }
    figures = harness.race({name: run for name, (run, _) in candidates.items()}, turns=7)
    each = {
        name: figure._replace(wall=figure.wall / candidates[name][1], cpu=figure.cpu / candidates[name][1])
        for name, figure in figures.items()
    }
    harness.report("one URL of S3", each, "public bucket")
    for name, figure in each.items():
        rate = 1 / figure.wall
        print(f"{name:32} {rate:10,.0f} a second")
    slowest = 1 / max(each["public bucket"].cpu, each["CDN"].cpu)
    return 0 if harness.verdict("public URLs a second, by CPU time", slowest, at_least=WANTED) else 1


if __name__ == "__main__":
    sys.exit(main())
