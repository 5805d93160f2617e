"""What a store on S3 sends along with each object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...arguments import wrong_value
from ...key import ImageKey

__all__ = ["ObjectHeaders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHeaders:
    """What the objects of a store have in common.  The parameters are those of :class:`.S3Store`.

    :param is_public: whether everybody can read what has a URL, and so may caches that many share
    :raises InvalidValueError: there is a key to encrypt with, but nothing that would use it
    """

    max_age: int
    is_public: bool
    acl: str | None = None
    storage_class: str | None = None
    reproducible_storage_class: str | None = None
    server_side_encryption: str | None = None
    sse_kms_key_id: str | None = None

    def __post_init__(self) -> None:
        if self.sse_kms_key_id is not None and not (self.server_side_encryption or "").startswith("aws:kms"):
            raise wrong_value("sse_kms_key_id", self.server_side_encryption, "server_side_encryption='aws:kms' with it")

    def of(self, key: ImageKey, content_type: str, *, reproducible: bool) -> dict[str, Any]:
        """The parameters of boto3 beyond the name and the body of an object.

        :param reproducible: whether it can be made again, as thumbnails can
        """
        caching = f"{'public' if self.is_public else 'private'}, max-age={self.max_age}"
        given = {
            "ContentType": content_type,
            "CacheControl": caching if key.revision is None else f"{caching}, immutable",
            "ACL": self.acl,
            "StorageClass": (self.reproducible_storage_class if reproducible else None) or self.storage_class,
            "ServerSideEncryption": self.server_side_encryption,
            "SSEKMSKeyId": self.sse_kms_key_id,
        }
        return {name: value for name, value in given.items() if value is not None}
