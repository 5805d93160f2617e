"""What :mod:`sqlalchemy_imageattach.stores.s3` had in 1.x and needs no more."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import Request

from .addresses import bucket_url

__all__ = ["BASE_URL_FORMAT", "S3Request", "base_url_format"]

BASE_URL_FORMAT = "https://{}{}.s3.amazonaws.com"

_REGION = re.compile(r"(?:^|\.)s3[.-](?:dualstack\.)?(?P<region>[a-z0-9-]+)\.amazonaws\.")


def base_url_format() -> str:
    """:data:`BASE_URL_FORMAT`, with a warning to whoever asks the module for it."""
    msg = "BASE_URL_FORMAT is deprecated, and not used any more; ask a store for its URLs"
    warnings.warn(msg, DeprecationWarning, stacklevel=3)
    return BASE_URL_FORMAT


class S3Request(Request):
    """A request to S3 with a signature, to be sent by :func:`urllib.request.urlopen` within a quarter of an hour.

    .. deprecated:: 2.0
       Stores use boto3.  So should you.

    :param url: the URL of the object; a path that starts with a slash is taken to be within ``bucket``
    :param bucket: the name of the bucket
    :param access_key: the access key
    :param secret_key: the secret key
    :param data: the body, if any
    :param headers: further headers, which are signed too
    :param method: ``GET`` by default, or ``PUT`` where there is a body
    :param content_type: the type of the body
    :raises MissingExtraError: boto3 is not installed
    """

    def __init__(
        self,
        url: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        content_type: str | None = None,
    ) -> None:
        from .client import check_installed

        warnings.warn("S3Request is deprecated; use boto3", DeprecationWarning, stacklevel=2)
        check_installed()
        self.bucket = bucket
        if url.startswith("/"):
            url = bucket_url("https://s3.amazonaws.com", bucket, None) + url
        given = dict(headers or {}) | ({} if content_type is None else {"Content-Type": content_type})
        method = method or ("GET" if data is None else "PUT")
        signed = _signed(url, method, data, given, access_key, secret_key)
        super().__init__(url, data, signed, method=method)


def _signed(
    url: str, method: str, data: bytes | None, headers: Mapping[str, str], access_key: str, secret_key: str
) -> dict[str, str]:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials

    match = _REGION.search(urlsplit(url).hostname or "")
    region = "us-east-1" if match is None else match["region"]
    request = AWSRequest(method, url, headers, data or b"")
    S3SigV4Auth(ReadOnlyCredentials(access_key, secret_key, None), "s3", region).add_auth(request)
    return dict(request.headers.items())
