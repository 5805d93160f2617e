"""A store as users wrote them for 1.x, after its manual."""

from __future__ import annotations

import io
import threading
from typing import IO

from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store

__all__ = ["FourMethodStore"]


class FourMethodStore(Store):
    """Four methods, no revisions, and a plain ``IOError`` for what is missing.

    ``blobs`` is what it has, and ``threads`` who has used it.
    """

    def __init__(self) -> None:
        self.blobs: dict[ImageKey, bytes] = {}
        self.threads: set[int] = set()

    def put_file(
        self,
        file: IO[bytes],
        object_type: str,
        object_id: int,
        width: int,
        height: int,
        mimetype: str,
        reproducible: bool,
    ) -> None:
        self.threads.add(threading.get_ident())
        self.blobs[ImageKey(object_type, object_id, width, height, mimetype)] = file.read()

    def get_file(self, object_type: str, object_id: int, width: int, height: int, mimetype: str) -> IO[bytes]:
        self.threads.add(threading.get_ident())
        try:
            return io.BytesIO(self.blobs[ImageKey(object_type, object_id, width, height, mimetype)])
        except KeyError:
            raise OSError("no such image") from None

    def get_url(self, object_type: str, object_id: int, width: int, height: int, mimetype: str) -> str:
        return f"http://old.example.com/{object_type}/{object_id}/{width}x{height}"

    def delete_file(self, object_type: str, object_id: int, width: int, height: int, mimetype: str) -> None:
        self.blobs.pop(ImageKey(object_type, object_id, width, height, mimetype), None)
