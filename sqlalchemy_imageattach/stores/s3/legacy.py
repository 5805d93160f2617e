"""What :mod:`sqlalchemy_imageattach.stores.s3` had in 1.x and needs no more."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from types import ModuleType
from urllib.parse import urlsplit
from urllib.request import Request

from ...errors import InvalidValueError
from .addresses import bucket_url

__all__ = ["LegacyModule", "S3Request", "S3RequestV2", "S3RequestV4"]

_REGION = re.compile(r"(?:^|\.)s3[.-](?:dualstack\.)?(?P<region>[a-z0-9-]+)\.amazonaws\.")


class LegacyModule(ModuleType):
    """The module ``stores.s3`` with a variable that programs of 1.x read, and set to reach another service."""

    @property
    def BASE_URL_FORMAT(self) -> str:
        """What the URL of a bucket was made of."""
        msg = "BASE_URL_FORMAT is deprecated, and not used any more; ask a store for its URLs"
        warnings.warn(msg, DeprecationWarning, stacklevel=2)
        return "https://{0}.s3.amazonaws.com"

    @BASE_URL_FORMAT.setter
    def BASE_URL_FORMAT(self, value: object) -> None:
        raise InvalidValueError(
            f"BASE_URL_FORMAT cannot be set since 2.0 (to {value!r}): stores would go to Amazon all the same; give them"
            " endpoint_url='http://127.0.0.1:9000', say, or public_base_url for their URLs alone"
        )


class S3RequestV4(Request):
    """A request to S3 with a signature, to be sent by :func:`urllib.request.urlopen` within a quarter of an hour.

    .. deprecated:: 2.0
       Stores use boto3.  So should you.

    :param url: the URL of the object; a path that starts with a slash is taken to be within ``bucket``
    :param bucket: the name of the bucket
    :param region: the bucket's region
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
        region: str,
        access_key: str,
        secret_key: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        content_type: str | None = None,
    ) -> None:
        from .client import check_installed

        warnings.warn(f"{type(self).__name__} is deprecated; use boto3", DeprecationWarning, stacklevel=2)
        check_installed()
        self.bucket = bucket
        self.region = region
        if url.startswith("/"):
            url = bucket_url("https://s3.amazonaws.com", bucket, None) + url
        given = dict(headers or {}) | ({} if content_type is None else {"Content-Type": content_type})
        method = method or ("GET" if data is None else "PUT")
        signed = _signed(url, method, data, given, region, access_key, secret_key)
        super().__init__(url, data, signed, method=method)


class S3RequestV2(S3RequestV4):
    """The same, whose region is that of the URL.

    S3 takes signatures of version 2 no more, so this one is of version 4, too.

    .. deprecated:: 2.0
       Stores use boto3.  So should you.
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
        match = _REGION.search(urlsplit(url).hostname or "")
        region = "us-east-1" if match is None else match["region"]
        super().__init__(url, bucket, region, access_key, secret_key, data, headers, method, content_type)


class S3Request(S3RequestV2):
    """What :class:`S3RequestV2` was called before 1.1.

    .. deprecated:: 1.1
       Stores use boto3.  So should you.
    """


def _signed(
    url: str,
    method: str,
    data: bytes | None,
    headers: Mapping[str, str],
    region: str,
    access_key: str,
    secret_key: str,
) -> dict[str, str]:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import ReadOnlyCredentials

    request = AWSRequest(method, url, headers, data or b"")
    S3SigV4Auth(ReadOnlyCredentials(access_key, secret_key, None), "s3", region).add_auth(request)
    return dict(request.headers.items())
