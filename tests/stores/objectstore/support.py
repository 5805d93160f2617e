"""What the tests of object stores share."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, cast

from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.objectstore import ObjectStore


def put_from(store: Store, key: ImageKey, source: io.RawIOBase) -> None:
    """Stores what is read from ``source``."""
    store.put(key, cast("IO[bytes]", source), reproducible=False)


@dataclass(frozen=True, slots=True)
class Cloud:
    """An empty bucket on a server.

    :param name: the bucket's name
    :param open: gives a bucket by its name, as obstore has it
    :param endpoint: the server's URL, with what all paths start with
    :param port: the port of it
    :param names: tells the names of the objects in the bucket, past the stores
    """

    name: str
    open: Callable[..., Any]
    endpoint: str
    port: int
    names: Callable[[], set[str]]

    def store(
        self, *, bucket: str | None = None, port: int | None = None, options: Any = None, **own: Any
    ) -> ObjectStore:
        """A store in the bucket, which gives up at once unless told otherwise.

        :param bucket: another bucket
        :param port: that of a proxy in front of the server
        :param options: those of obstore
        """
        given = dict(options or {})
        if port is not None:
            endpoint = self.endpoint.replace(f":{self.port}", f":{port}")
            given["base_url" if "/" not in endpoint.removeprefix("http://") else "endpoint"] = endpoint
        if "public_base_url" not in own and "url_lifetime" not in own:
            own["public_base_url"] = f"{self.endpoint}/{bucket or self.name}"
        return ObjectStore(self.open(bucket or self.name, **given), **own)
