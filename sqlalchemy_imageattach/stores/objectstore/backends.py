"""Stores of obstore: how they are made so that pictures of any length pass, and how they are told from other things."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from ...arguments import wrong_type
from ...errors import InvalidTypeError, InvalidValueError
from ...extras import needs_extra
from ..bucket import checked_endpoint, checked_number

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore
    from obstore.store import ObjectStore as AnyObjectStore

__all__ = ["azure_container", "checked_backend", "google_bucket"]

_BACKENDS = ("AzureStore", "GCSStore", "HTTPStore", "LocalStore", "MemoryStore", "S3Store")

# What obstore finds in the environment and takes before the credentials that are given.
_TOKENS = {"AZURE_STORAGE_TOKEN"}
_KEYS = {"AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_MASTER_KEY"}
_OVERRULED = {
    "account_key": _TOKENS,
    "client_secret": _TOKENS | _KEYS,
    "application_credentials": {"GOOGLE_BEARER_TOKEN"},
    "service_account": {"GOOGLE_BEARER_TOKEN"},
    "service_account_key": {"GOOGLE_BEARER_TOKEN"},
}

# obstore has a limit for whole requests, however well they go
_NO_LIMIT = timedelta(days=1)


def google_bucket(
    bucket: str,
    *,
    endpoint_url: str | None = None,
    max_retry: int = 3,
    connect_timeout: float = 5,
    read_timeout: float = 60,
    **options: Any,
) -> GCSStore:
    """A bucket of Google Cloud Storage as a store of obstore, with timeouts that let long blobs pass.

    ::

        google_bucket("pictures", service_account="/etc/app/service-account.json")

    :param bucket: its name; it has to exist
    :param endpoint_url: the service, if it is not Google's own
    :param max_retry: how many times a request that failed is made again, with pauses that grow
    :param connect_timeout: the seconds that connecting may take
    :param read_timeout: the seconds in which a part of 8 MiB has to be sent, and each piece of an answer to come
    :param options: further ones of :class:`!obstore.store.GCSStore`, such as ``service_account``; by default
        credentials are found as all programs of Google Cloud find them
    :raises MissingExtraError: obstore is not installed
    :raises InvalidTypeError: a parameter has another type than it must have
    :raises InvalidValueError: a number is out of range, obstore does not take the options, or the environment has a
        token that it would use instead of the credentials given
    """
    _connect(options, endpoint_url, max_retry, connect_timeout, read_timeout)
    if endpoint_url is not None:
        options["base_url"] = endpoint_url
    return cast("GCSStore", _made("GCSStore", bucket, options))


def azure_container(
    container: str,
    *,
    account: str | None = None,
    endpoint_url: str | None = None,
    max_retry: int = 3,
    connect_timeout: float = 5,
    read_timeout: float = 60,
    **options: Any,
) -> AzureStore:
    """A container of Azure Blob Storage as a store of obstore, with timeouts that let long blobs pass.

    ::

        azure_container("pictures", account="example", account_key="…")

    :param container: its name; it has to exist
    :param account: the name of the storage account; by default that of ``AZURE_STORAGE_ACCOUNT_NAME``
    :param endpoint_url: the service, if it is not ``https://<account>.blob.core.windows.net``
    :param max_retry: how many times a request that failed is made again, with pauses that grow
    :param connect_timeout: the seconds that connecting may take
    :param read_timeout: the seconds in which a part of 8 MiB has to be sent, and each piece of an answer to come
    :param options: further ones of :class:`!obstore.store.AzureStore`, such as ``account_key`` or ``sas_key``; by
        default credentials are found in the environment, or got from the machine
    :raises MissingExtraError: obstore is not installed
    :raises InvalidTypeError: a parameter has another type than it must have
    :raises InvalidValueError: a number is out of range, no account is known, obstore does not take the options, or the
        environment has a key that it would use instead of the credentials given
    """
    _connect(options, endpoint_url, max_retry, connect_timeout, read_timeout)
    if isinstance(options.get("sas_key"), str):  # by itself it would stand behind all keys of the environment
        options.setdefault("credential_provider", _SharedAccess(options.pop("sas_key")))
    if account is not None:
        options["account_name"] = account
    if endpoint_url is not None:
        options["endpoint"] = endpoint_url
    return cast("AzureStore", _made("AzureStore", container, options))


@dataclass(frozen=True, slots=True)
class _SharedAccess:
    """Gives obstore a SAS token as its one credential."""

    token: str = field(repr=False)

    def __call__(self) -> dict[str, Any]:
        return {"sas_token": self.token, "expires_at": None}


def _refuse_overruled(options: dict[str, Any]) -> None:
    for name in options.keys() & _OVERRULED.keys():
        if instead := sorted(_OVERRULED[name] & os.environ.keys()):
            raise InvalidValueError(
                f"{name}: expected no {' and no '.join(instead)} in the environment, which would be used instead; unset"
                f" it, or leave {name} out"
            )


def _connect(
    options: dict[str, Any],
    endpoint_url: str | None,
    max_retry: int,
    connect_timeout: float,
    read_timeout: float,
) -> None:
    """Adds to ``options`` what they do not say of how to connect."""
    _refuse_overruled(options)
    if endpoint_url is not None:
        checked_endpoint(endpoint_url, "https://storage.example.com")
    waits = {
        name: timedelta(seconds=checked_number(name, seconds, "seconds, 0.001 to 86400", 0.001, 86400))
        for name, seconds in (("connect_timeout", connect_timeout), ("read_timeout", read_timeout))
    }
    allow_http = endpoint_url is not None and endpoint_url.startswith("http://")
    retries = checked_number("max_retry", max_retry, "a number of retries, 0 or more", 0)
    client_options = {"allow_http": allow_http, "timeout": _NO_LIMIT, **waits}
    options["client_options"] = client_options | options.get("client_options", {})
    options["retry_config"] = {"max_retries": retries} | options.get("retry_config", {})


def _made(kind: str, name: str, options: dict[str, Any]) -> Any:
    cls = getattr(_obstore_classes(), kind)
    if not isinstance(name, str):
        raise wrong_type("", name, "the name of a bucket or container (str)")
    try:
        return cls(name, **options)
    except TypeError as error:
        raise InvalidTypeError(f"{kind}: {error}") from error
    except Exception as error:
        raise InvalidValueError(f"{kind}: {str(error).partition(chr(10))[0]}") from error


def checked_backend(backend: object) -> AnyObjectStore:
    """``backend``, if it is a store of obstore.

    :raises MissingExtraError: obstore is not installed
    :raises InvalidTypeError: it is something else
    """
    classes = _obstore_classes()
    known = (getattr(classes, name) for name in _BACKENDS)
    if not isinstance(backend, tuple(known)):
        came = f"{type(backend).__name__} ({backend!r})"
        msg = f"backend: expected a store of obstore, as google_bucket('pictures') gives one, got {came}"
        raise InvalidTypeError(msg)
    return cast("AnyObjectStore", backend)


def _obstore_classes() -> ModuleType:
    with needs_extra("objectstore", "Google Cloud Storage and Azure Blob Storage need obstore"):
        import obstore.store
    return obstore.store
