"""The length and the checksum of a blob that is in a store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, Protocol

from ..file import read_chunks
from ..key import ImageKey

__all__ = ["Digest", "Source", "digest_of"]


class Source(Protocol):
    """What blobs are read from: a store, as far as it matters here."""

    def get(self, key: ImageKey, /) -> IO[bytes]: ...


@dataclass(frozen=True, slots=True)
class Digest:
    """The length of a blob and its SHA-256; ``None`` where a row does not tell."""

    byte_size: int | None
    checksum: str | None

    @property
    def is_complete(self) -> bool:
        return self.byte_size is not None and self.checksum is not None

    def agrees_with(self, found: Digest) -> bool:
        """Whether ``found`` is the same, as far as this one tells."""
        return self.byte_size in {None, found.byte_size} and self.checksum in {None, found.checksum}


def digest_of(store: Source, key: ImageKey) -> Digest:
    """What ``store`` has as ``key``, read to its end in constant memory.

    :raises OSError: it has no such blob, or cannot be reached
    """
    digest, byte_size = hashlib.sha256(), 0
    with store.get(key) as file:
        for chunk in read_chunks(file):
            digest.update(chunk)
            byte_size += len(chunk)
    return Digest(byte_size, digest.hexdigest())
