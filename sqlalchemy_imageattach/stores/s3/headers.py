"""What a store on S3 sends along with each object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidValueError
from ...key import ImageKey

if TYPE_CHECKING:
    from .store import S3Store

__all__ = ["check_encryption", "headers_of"]


def check_encryption(store: S3Store) -> None:
    """Accept how the store has its objects encrypted.

    :raises InvalidValueError: there is a key, but nothing that would use it
    """
    if store.sse_kms_key_id is not None and not (store.server_side_encryption or "").startswith("aws:kms"):
        msg = f"sse_kms_key_id: expected server_side_encryption='aws:kms' with it, got {store.server_side_encryption!r}"
        raise InvalidValueError(msg)


def headers_of(store: S3Store, key: ImageKey, content_type: str, *, reproducible: bool) -> dict[str, Any]:
    """The parameters of boto3 beyond the name and the body of an object.

    :param reproducible: whether it can be made again, as thumbnails can
    """
    caching = f"{'public' if store._is_plain else 'private'}, max-age={store.max_age}"
    given = {
        "ContentType": content_type,
        "CacheControl": caching if key.revision is None else f"{caching}, immutable",
        "ACL": store.acl,
        "StorageClass": (store.reproducible_storage_class if reproducible else None) or store.storage_class,
        "ServerSideEncryption": store.server_side_encryption,
        "SSEKMSKeyId": store.sse_kms_key_id,
    }
    return {name: value for name, value in given.items() if value is not None}
