"""Forms by which Google Cloud Storage takes a file (POST policies, version 4), which obstore does not sign.

They need the key of a service account, which obstore was given, and the extra ``google-forms``.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import StoreError
from .transfer import StoredObject

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["ServiceAccount", "form_url"]

_ALGORITHM = "GOOG4-RSA-SHA256"
_ENDPOINT = "https://storage.googleapis.com"


class ServiceAccount:
    """Who signs forms.

    :param email: its name
    :param key: its private key
    """

    def __init__(self, email: str, key: RSAPrivateKey) -> None:
        self.email = email
        self._key = key

    @classmethod
    def of(cls, blob: StoredObject) -> ServiceAccount | None:
        """That of a ``GCSStore`` of obstore, if it was given one by its key, and ``cryptography`` is installed.

        :raises StoreError: what it was given cannot be read
        """
        try:
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError:
            return None
        config: Mapping[str, Any] = blob.store.config
        try:
            text = config.get("service_account_key") or Path(config["service_account"]).read_text()
            info = json.loads(text)
            key: Any = load_pem_private_key(info["private_key"].encode(), None)
            return cls(info["client_email"], key)
        except KeyError:
            return None  # other credentials, which have no key
        except (OSError, ValueError) as error:
            msg = f"cannot sign a form for {blob}: the key of the service account cannot be read: {error}"
            raise StoreError(msg) from error

    def sign_form(
        self, bucket: str, name: str, fields: Mapping[str, str], sizes: tuple[int, int], lifetime: int
    ) -> dict[str, str]:
        """The fields of a form by which somebody without credentials can store one object.

        :param fields: those that it has to have as they are, such as ``Content-Type``
        :param sizes: the least and the most bytes
        :param lifetime: the seconds for which it can be used
        """
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        now = time.time()
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        signed = {
            **fields,
            "key": name,
            "x-goog-date": moment,
            "x-goog-credential": f"{self.email}/{moment[:8]}/auto/storage/goog4_request",
            "x-goog-algorithm": _ALGORITHM,
        }
        exact = [{field: value} for field, value in {"bucket": bucket, **signed}.items()]
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + lifetime))
        document = {"conditions": [*exact, ["content-length-range", *sizes]], "expiration": end}
        policy = base64.b64encode(json.dumps(document, separators=(",", ":")).encode())
        signature = self._key.sign(policy, PKCS1v15(), SHA256())
        return {**signed, "x-goog-signature": signature.hex(), "policy": policy.decode()}


def form_url(blob: StoredObject) -> str:
    """Where forms for the bucket are sent to."""
    config: Mapping[str, Any] = blob.store.config
    return f"{str(config.get('base_url', _ENDPOINT)).rstrip('/')}/{config['bucket']}/"
