"""Signed URLs (Signature Version 4 in the query), as they are made for pages with hundreds of pictures; and forms.

What boto3 makes has the same signature, but takes many times as long, and for some regions has the wrong host.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

__all__ = ["Signer", "moment_of"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Signer:
    """Signs with one set of credentials, for one region, on one day.

    :param access_key: the access key
    :param secret_key: the secret key
    :param token: the session token of temporary credentials, or ``None``
    :param region: the bucket's region
    :param day: the day by UTC, such as ``"20261231"``
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
    region: str
    day: str

    def sign(self, url: str, moment: str, lifetime: int) -> str:
        """``url`` with a signature by which it can be read.

        :param url: without a query, and quoted as signatures want it
        :param moment: when it is signed: :attr:`day`, ``T``, time, ``Z``
        :param lifetime: the seconds for which it can be used
        """
        parts = urlsplit(url)
        query = f"{self._query}&X-Amz-Date={moment}&X-Amz-Expires={lifetime}{self._end_of_query}"
        canonical = f"GET\n{parts.path}\n{query}\nhost:{_host(parts)}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{moment}\n{self._scope}\n{digest}"
        return f"{url}?{query}&X-Amz-Signature={_hmac(self._key, to_sign).hex()}"

    def sign_form(self, conditions: Sequence[Any], seconds: float, lifetime: int) -> dict[str, str]:
        """The fields that make a form one by which a file is taken, besides those that the conditions are about.

        :param conditions: what the form has to keep, as POST policies have it
        :param seconds: when it is signed, since the epoch; on :attr:`day`
        :param lifetime: the seconds for which it can be used
        """
        fields = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{self._scope}",
            "X-Amz-Date": moment_of(seconds),
        } | ({} if self.token is None else {"X-Amz-Security-Token": self.token})
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds + lifetime))
        document = {"expiration": end, "conditions": [*conditions, *({name: fields[name]} for name in fields)]}
        policy = base64.b64encode(json.dumps(document).encode()).decode()
        return {**fields, "Policy": policy, "X-Amz-Signature": _hmac(self._key, policy).hex()}

    @cached_property
    def _scope(self) -> str:
        return f"{self.day}/{self.region}/s3/aws4_request"

    # in alphabetical order, as they are signed
    @cached_property
    def _query(self) -> str:
        credential = quote(f"{self.access_key}/{self._scope}", safe="")
        return f"X-Amz-Algorithm={_ALGORITHM}&X-Amz-Credential={credential}"

    @cached_property
    def _end_of_query(self) -> str:
        token = "" if self.token is None else f"&X-Amz-Security-Token={quote(self.token, safe='')}"
        return f"{token}&X-Amz-SignedHeaders=host"

    @cached_property
    def _key(self) -> bytes:
        key = f"AWS4{self.secret_key}".encode()
        for step in self._scope.split("/"):
            key = _hmac(key, step)
        return key


def moment_of(seconds: float) -> str:
    """A time since the epoch as signatures have it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _host(parts: SplitResult) -> str:
    """The ``Host`` header that a browser sends."""
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return name if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{name}:{parts.port}"
