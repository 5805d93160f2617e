"""Where a bucket is on the web."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

__all__ = ["bucket_url", "service_of"]

_LABEL = r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"
_HOST = {
    # one label only: the certificate for *.s3.amazonaws.com does not cover two more
    "https": re.compile(_LABEL),
    "http": re.compile(rf"{_LABEL}(?:\.{_LABEL})*"),
}


def bucket_url(endpoint: str, bucket: str, style: str | None) -> str:
    """The URL of a bucket, without a slash at its end.

        >>> bucket_url("https://s3.eu-west-1.amazonaws.com", "pictures", None)
        'https://pictures.s3.eu-west-1.amazonaws.com'
        >>> bucket_url("https://s3.eu-west-1.amazonaws.com", "pictures.example.com", None)
        'https://s3.eu-west-1.amazonaws.com/pictures.example.com'
        >>> bucket_url("http://127.0.0.1:9000", "pictures", None)
        'http://127.0.0.1:9000/pictures'

    :param endpoint: the URL of the service
    :param bucket: the bucket's name
    :param style: ``"path"`` has the name in the path, ``"virtual"`` in the host, if it can be part of a host's name; by
        default it is in the host on AWS, if it can be, and in the path everywhere else
    """
    parts = urlsplit(endpoint)
    if style == "path" or (style != "virtual" and not _is_aws(parts.hostname)) or not _can_be_host(bucket, parts):
        return f"{endpoint.rstrip('/')}/{bucket}"
    return urlunsplit(parts._replace(netloc=f"{bucket}.{parts.netloc}", path=parts.path.rstrip("/")))


def service_of(meta: Any) -> str:
    """What tells one service from another: two buckets of the same name and the same service are one bucket.

    :param meta: that of a client of boto3
    """
    # names of buckets are known once in all regions of AWS together: in those of a partition, such as China's
    if _is_aws(urlsplit(meta.endpoint_url).hostname):
        return str(meta.partition)
    return str(meta.endpoint_url).rstrip("/")


def _is_aws(host: str | None) -> bool:
    return host is not None and ".amazonaws." in f"{host}."


def _can_be_host(bucket: str, endpoint: SplitResult) -> bool:
    try:
        ip_address(endpoint.hostname or "")
    except ValueError:
        return _HOST[endpoint.scheme].fullmatch(bucket) is not None
    return False  # names are not put in front of addresses
