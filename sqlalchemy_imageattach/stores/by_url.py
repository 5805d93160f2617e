"""Stores by URL, for configuration files and command lines.

=====================================================  ================================================================
URL                                                    store
=====================================================  ================================================================
``file:///srv/images?base_url=https://cdn.test/i/``    :class:`~sqlalchemy_imageattach.stores.fs.FileSystemStore`;
                                                       without ``base_url`` the blobs have ``file:`` URLs.
                                                       ``fsync`` and ``follow_symlinks`` may be given
``memory:``                                            a new :class:`~sqlalchemy_imageattach.stores.memory.MemoryStore`
``s3://bucket/prefix?region=eu-west-1``                ``S3Store``; further options are its other keywords, such as
                                                       ``endpoint_url`` and ``public_base_url``
``gs://bucket/prefix``                                 :class:`~sqlalchemy_imageattach.stores.objectstore.ObjectStore`
                                                       in Google Cloud Storage
``az://container/prefix?account=example``              the same in Azure Blob Storage
=====================================================  ================================================================

    >>> store_from_url("file:///srv/images?base_url=https://cdn.test/i/&fsync=false")
    FileSystemStore('/srv/images', 'https://cdn.test/i/')

``gs`` and ``az`` take the options of ``ObjectStore``: ``public_base_url``, ``url_lifetime``, ``max_age``; and those of
its connections: ``endpoint_url``, ``max_retry``, ``connect_timeout``, ``read_timeout``.

URLs end up in logs and in the list of processes, so they hold no passwords.  Credentials are found as all programs of
the service find them: S3's in the environment, in ``~/.aws`` or in the role of the machine; Google's in
``GOOGLE_APPLICATION_CREDENTIALS`` or ``GOOGLE_SERVICE_ACCOUNT``, or by the machine; Azure's in
``AZURE_STORAGE_ACCOUNT_KEY``, ``AZURE_STORAGE_SAS_TOKEN``, ``AZURE_CLIENT_ID`` and so on, or by the machine.

Where one command needs two sets of them, as a migration between accounts does, each URL names its own: an S3 profile by
``s3://bucket?profile=archive``, and variables of the environment by ``credentials=ARCHIVE``, which all three take::

    ARCHIVE_AWS_ACCESS_KEY_ID=… ARCHIVE_AWS_SECRET_ACCESS_KEY=…  s3://archive?credentials=ARCHIVE
    ARCHIVE_GOOGLE_APPLICATION_CREDENTIALS=/etc/archive.json     gs://archive?credentials=ARCHIVE
    ARCHIVE_AZURE_STORAGE_ACCOUNT_KEY=…                          az://archive?account=example&credentials=ARCHIVE

A distribution adds a scheme by an entry point of the group ``sqlalchemy_imageattach.stores``, whose name is the scheme,
and whose object is a function that takes the URL and returns the store:

.. code-block:: toml

   [project.entry-points."sqlalchemy_imageattach.stores"]
   swift = "my_package:store_from_url"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..arguments import wrong_type, wrong_value
from ..errors import InvalidValueError
from ..store import Store
from .credentials import AZURE, GOOGLE, S3, Ways, credentials_of

__all__ = ["ENTRY_POINTS", "store_from_url"]

#: The group of entry points by which other distributions add schemes.
ENTRY_POINTS = "sqlalchemy_imageattach.stores"


def store_from_url(url: str) -> Store:
    """The store that ``url`` describes.  Nothing is read, written or connected to.

    :param url: see the module's documentation
    :raises InvalidTypeError: ``url`` is no string, or the scheme's entry point returned something that is no store
    :raises InvalidValueError: the scheme is not known, or a part is missing, wrong or too much
    """
    if not isinstance(url, str):
        raise wrong_type("url", url, "the URL of a store (str)")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        msg = f"expected the URL of a store, such as file:///srv/images, got one that is malformed: {error}"
        raise InvalidValueError(msg) from error
    if parts.scheme in _SCHEMES:
        return _SCHEMES[parts.scheme](_Url.of(parts))
    return _third_party(parts.scheme, url)


# --- what comes with this package ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Url:
    """A URL taken to pieces, without any that no scheme here has."""

    scheme: str
    host: str
    path: str
    options: Mapping[str, str]

    @classmethod
    def of(cls, parts: SplitResult) -> _Url:
        if "@" in parts.netloc:
            msg = f"{parts.scheme}: expected no user name and no password in a store's URL, since URLs end up in logs"
            raise InvalidValueError(msg)
        if parts.fragment:
            raise wrong_value(parts.scheme, parts.fragment, "nothing after '#' (write it as %23)")
        options = parse_qsl(parts.query, keep_blank_values=True)
        names = [name for name, _ in options]
        if twice := {name for name in names if names.count(name) > 1}:
            msg = f"{parts.scheme}: expected each option once, got {', '.join(sorted(twice))} several times"
            raise InvalidValueError(msg)
        return cls(parts.scheme, parts.netloc, unquote(parts.path), dict(options))

    def converted(self, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
        """The options as Python values.

        :raises InvalidValueError: one is not ``known``, or cannot be converted
        """
        if unknown := self.options.keys() - known.keys():
            msg = f"{self.scheme}: unknown option {', '.join(sorted(unknown))}; expected {', '.join(sorted(known))}"
            raise InvalidValueError(msg)
        return {name: self._convert(name, value, known[name]) for name, value in self.options.items()}

    def _convert(self, name: str, value: str, convert: Callable[[str], Any]) -> Any:
        try:
            return convert(value)
        except (KeyError, ValueError) as error:
            kind = {_boolean: "true or false", int: "an integer", float: "a number"}[convert]
            raise InvalidValueError(f"{self.scheme}: option {name}: expected {kind}, got {value!r}") from error


def _boolean(value: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[value.lower()]


def _file_system(url: _Url) -> Store:
    from .fs import FileSystemStore

    if url.host not in {"", "localhost"} or not url.path.startswith("/") or not url.path.strip("/"):
        raise wrong_value(
            "file",
            url.host + url.path,
            "three slashes and the absolute path of a directory, such as file:///srv/images",
        )
    options = url.converted({"base_url": str, "fsync": _boolean, "follow_symlinks": _boolean})
    base_url = options.pop("base_url", None) or Path(url.path).absolute().as_uri()
    return FileSystemStore(url.path, base_url, **options)


def _memory(url: _Url) -> Store:
    from .memory import MemoryStore

    if url.host or url.path.strip("/"):
        raise wrong_value("memory", url.host + url.path, "no more than 'memory:'", "each one is new and empty")
    return MemoryStore(**url.converted({"base_url": str}))


_S3_OPTIONS: dict[str, Callable[[str], Any]] = {
    "acl": str,
    "addressing_style": str,
    "ca_bundle": str,
    "connect_timeout": float,
    "credentials": str,
    "endpoint_url": str,
    "max_age": int,
    "max_retry": int,
    "profile": str,
    "public": _boolean,
    "public_base_url": str,
    "read_timeout": float,
    "region": str,
    "reproducible_storage_class": str,
    "request_checksum_calculation": str,
    "server_side_encryption": str,
    "sse_kms_key_id": str,
    "storage_class": str,
    "url_lifetime": int,
}


def _s3(url: _Url) -> Store:
    from .s3 import S3Store

    if not url.host:
        msg = "s3: expected the name of a bucket after the two slashes, such as s3://bucket/prefix, got none"
        raise InvalidValueError(msg)
    return S3Store(url.host, prefix=url.path.strip("/"), **_with_credentials(url, url.converted(_S3_OPTIONS), S3))


_OBJECT_OPTIONS: dict[str, Callable[[str], Any]] = {
    "connect_timeout": float,
    "credentials": str,
    "endpoint_url": str,
    "max_age": int,
    "max_retry": int,
    "public_base_url": str,
    "read_timeout": float,
    "url_lifetime": int,
}


def _google(url: _Url) -> Store:
    from .objectstore import ObjectStore, google_bucket

    if not url.host:
        msg = "gs: expected the name of a bucket after the two slashes, such as gs://bucket/prefix, got none"
        raise InvalidValueError(msg)
    own, connection = _object_options(url, _OBJECT_OPTIONS)
    connection = _with_credentials(url, connection, GOOGLE)
    return ObjectStore(google_bucket(url.host, **connection), prefix=url.path.strip("/"), **own)


def _azure(url: _Url) -> Store:
    from .objectstore import ObjectStore, azure_container

    if not url.host:
        msg = "az: expected the name of a container after the two slashes, such as az://container/prefix, got none"
        raise InvalidValueError(msg)
    own, connection = _object_options(url, _OBJECT_OPTIONS | {"account": str})
    connection = _with_credentials(url, connection, AZURE)
    return ObjectStore(azure_container(url.host, **connection), prefix=url.path.strip("/"), **own)


def _with_credentials(url: _Url, options: dict[str, Any], ways: Ways) -> dict[str, Any]:
    """The options, with the credentials that they name in place of their name."""
    name = options.pop("credentials", None)
    return options if name is None else options | credentials_of(url.scheme, name, ways)


def _object_options(url: _Url, known: Mapping[str, Callable[[str], Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of the store, and those of the connection."""
    options = url.converted(known)
    mine = options.keys() & {"max_age", "public_base_url", "url_lifetime"}
    own = {name: options.pop(name) for name in mine}
    return own, options


_SCHEMES: dict[str, Callable[[_Url], Store]] = {
    "az": _azure,
    "file": _file_system,
    "gs": _google,
    "memory": _memory,
    "s3": _s3,
}


# --- what others add -------------------------------------------------------------------------------------------------


def _third_party(scheme: str, url: str) -> Store:
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if scheme not in found:
        known = ", ".join(f"{name}:" for name in sorted({*_SCHEMES, *found}))
        what = f"the scheme {scheme!r}" if scheme else f"{url!r}, which has none"
        msg = f"expected a store's URL with a scheme of {known}; got {what}. Other schemes come by entry points"
        raise InvalidValueError(msg)
    store = found[scheme].load()(url)
    if not isinstance(store, Store):
        raise wrong_type("", store, f"the entry point of {scheme!r} to return a store")
    return store
