"""The connection to an S3 service: how its client is made, when, and for whom."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ...arguments import choices_of, wrong_type, wrong_value
from ...errors import InvalidTypeError, InvalidValueError
from ...extras import needs_extra
from ..bucket import checked_endpoint, checked_number
from .errors import S3Object, s3_errors
from .signer import Signer, moment_of

__all__ = ["Connection", "LazyClient", "check_installed"]

#: The region that signatures name where none is known: that of S3's global endpoint.
_GLOBAL_REGION = "us-east-1"

#: More threads than these wait for each other's connections rather than opening their own.
_CONNECTIONS = 32

_STRINGS = (
    "access_key",
    "secret_key",
    "session_token",
    "profile",
    "region",
    "endpoint_url",
    "addressing_style",
    "ca_bundle",
)
_CHOICES = {
    "addressing_style": ("auto", "path", "virtual"),
    "request_checksum_calculation": ("when_required", "when_supported"),
}


@dataclass(frozen=True, slots=True)
class Connection:
    """All that a client is made of.  The parameters are those of :class:`~sqlalchemy_imageattach.stores.s3.S3Store`."""

    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    max_retry: int = 3
    connect_timeout: float = 5
    read_timeout: float = 30
    addressing_style: str | None = None
    request_checksum_calculation: str = "when_required"
    ca_bundle: str | None = None

    def __post_init__(self) -> None:
        for name in _STRINGS:
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidTypeError(f"{name}: expected str or None, got {type(value).__name__}")
        if (self.access_key is None) != (self.secret_key is None):
            given, missing = ("access_key", "secret_key") if self.secret_key is None else ("secret_key", "access_key")
            msg = f"expected access_key and secret_key, got {given} only; give {missing} too, or neither of them"
            raise InvalidValueError(msg)
        if self.access_key is None and self.session_token is not None:
            msg = "expected access_key and secret_key with session_token, got session_token only; give them too"
            raise InvalidValueError(msg)
        if self.access_key is not None and self.profile is not None:
            msg = "expected access_key or profile, got both; leave access_key out, the profile has its own credentials"
            raise InvalidValueError(msg)
        if self.endpoint_url is not None:
            checked_endpoint(self.endpoint_url, "https://s3.example.com")
        if self.ca_bundle is not None and not os.path.exists(self.ca_bundle):
            msg = f"ca_bundle: expected the path of a file with certificates, but there is no {self.ca_bundle!r}"
            raise InvalidValueError(msg)
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices and value is not None:
                raise wrong_value(name, value, choices_of(choices))
        checked_number("max_retry", self.max_retry, "a number of retries, 0 or more", 0)
        for name in ("connect_timeout", "read_timeout"):
            checked_number(name, getattr(self, name), "seconds, 0.001 or more", 0.001)

    def make_client(self, session: Any) -> Any:
        """A new client.  No request is made."""
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": self.max_retry + 1},
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            max_pool_connections=_CONNECTIONS,
            request_checksum_calculation=self.request_checksum_calculation,
            response_checksum_validation="when_required",
            signature_version="s3v4",
            s3=None if self.addressing_style is None else {"addressing_style": self.addressing_style},
        )
        return session.client("s3", **self._arguments(), config=config)

    def _arguments(self) -> Mapping[str, Any]:
        given = {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_session_token": self.session_token,
            "region_name": self.region,
            "endpoint_url": self.endpoint_url,
            "verify": self.ca_bundle,
        }
        return {name: value for name, value in given.items() if value is not None}


class LazyClient:
    """The client of a store: made when it is first needed, once in each process, and shared by its threads.

    A process that was forked makes its own: two processes on one connection would read each other's answers.

    :param connection: what to make it of
    :param session: what to make it with, a :class:`boto3.session.Session`
    :param client: what to take instead
    :raises MissingExtraError: boto3 is not installed
    :raises InvalidValueError: a client or session was given together with what it would be made of
    """

    def __init__(self, connection: Connection, session: Any = None, client: Any = None) -> None:
        check_installed()
        _check_consistent(connection, session, client)
        self.connection = connection
        self._session = session
        self._given = client
        self._made: tuple[int, Any, Any] | None = None
        self._signer: Signer | None = None
        self._lock = threading.Lock()

    def get(self) -> Any:
        """The client.

        :raises StoreError: it cannot be made: there is no such profile, or no such region
        """
        return self._given if self._given is not None else self._session_and_client()[1]

    @property
    def endpoint(self) -> str | None:
        """The URL of the service, for messages; ``None`` where it is as usual."""
        if self._given is not None:
            return str(self._given.meta.endpoint_url)
        return self.connection.endpoint_url

    def sign(self, bucket: str, name: str, url: str, lifetime: int) -> str:
        """A signed URL of an object.

        No request is made for it, but that by which the credentials of a role or of SSO come and are renewed.

        :param url: its URL without a signature
        :param lifetime: the seconds for which it can be used
        :raises StoreError: there are no credentials to sign with
        """
        with s3_errors("sign a URL of", S3Object(bucket, self.endpoint, name)):
            if self._given is None:
                return self._signed(url, lifetime)
            # nothing public tells a client's credentials
            parameters = {"Bucket": bucket, "Key": name}
            return str(self._given.generate_presigned_url("get_object", Params=parameters, ExpiresIn=lifetime))

    def sign_form(
        self, bucket: str, name: str, fields: Mapping[str, str], sizes: tuple[int, int], lifetime: int
    ) -> dict[str, str]:
        """The fields of a form by which somebody without credentials can store one object.

        :param fields: those that it has to have as they are, such as ``Content-Type``
        :param sizes: the least and the most bytes
        :param lifetime: the seconds for which it can be used
        :raises StoreError: there are no credentials to sign with
        """
        exact = {**fields, "bucket": bucket, "key": name}
        conditions = [*({name: value} for name, value in exact.items()), ["content-length-range", *sizes]]
        with s3_errors("sign a form for", S3Object(bucket, self.endpoint, name)):
            if self._given is None:
                now = time.time()
                signed = self._signer_at(now).sign_form(conditions, now, lifetime)
            else:
                signed = self._given.generate_presigned_post(
                    bucket, name, Fields={}, Conditions=conditions, ExpiresIn=lifetime
                )["fields"]
        return {**fields, "key": name, **signed}

    def __getstate__(self) -> object:
        if self._given is not None or self._session is not None:
            what = "client" if self._given is not None else "session"
            msg = f"a store with a {what} of its own cannot be pickled; give it its parameters rather than a {what}"
            raise InvalidTypeError(msg)
        return self.connection

    def __setstate__(self, connection: Connection) -> None:
        self.__init__(connection)  # type: ignore[misc]  # all that it was made of

    def _session_and_client(self) -> tuple[Any, Any]:
        made = self._made
        if made is None or made[0] != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made[0] != os.getpid():
                    made = self._made = self._make()
        return made[1:]

    def _make(self) -> tuple[int, Any, Any]:
        with s3_errors("connect to", S3Object("", self.endpoint)):
            session = self._session
            if session is None:
                # late: it takes longer to import than all of this package
                from boto3.session import Session

                # not boto3's default one, which no two threads may use at a time
                session = Session(profile_name=self.connection.profile)
            return os.getpid(), session, self.connection.make_client(session)

    def _signed(self, url: str, lifetime: int) -> str:
        now = time.time()
        return self._signer_at(now).sign(url, moment_of(now), lifetime)

    def _signer_at(self, seconds: float) -> Signer:
        session, client = self._session_and_client()
        moment = moment_of(seconds)
        region = client.meta.region_name
        region = _GLOBAL_REGION if region in {None, "aws-global"} else region
        access_key, secret_key, token = self._credentials(session)
        signer = Signer(access_key, secret_key, token, region, moment[:8])
        if self._signer == signer:
            signer = self._signer  # which has made its key already
        else:
            self._signer = signer
        return signer

    def _credentials(self, session: Any) -> tuple[str, str, str | None]:
        if self.connection.access_key is not None and self.connection.secret_key is not None:
            return self.connection.access_key, self.connection.secret_key, self.connection.session_token
        credentials = session.get_credentials()
        if credentials is None:
            from botocore.exceptions import NoCredentialsError

            raise NoCredentialsError
        frozen = credentials.get_frozen_credentials()  # renewed if it is time
        return frozen.access_key, frozen.secret_key, frozen.token


def check_installed() -> None:
    """Afterwards it is certain that boto3 can be imported, which is not done, since it takes long.

    :raises MissingExtraError: it cannot
    """
    with needs_extra("s3", "S3 needs boto3"):
        if importlib.util.find_spec("boto3") is None:
            raise ModuleNotFoundError("No module named 'boto3'", name="boto3")


def _check_consistent(connection: Connection, session: Any, client: Any) -> None:
    if session is not None and not callable(getattr(session, "client", None)):
        raise wrong_type("session", session, "a boto3.session.Session")
    if client is not None and not callable(getattr(client, "put_object", None)):
        raise wrong_type("client", client, "an S3 client of boto3")
    if session is not None and connection.profile is not None:
        raise InvalidValueError("expected profile or session, got both; make the session with profile_name=")
    if session is not None and connection.access_key is not None:
        msg = "expected access_key or session, got both; leave access_key out, the session has its own credentials"
        raise InvalidValueError(msg)
    if client is None:
        return
    default = Connection()
    given = [each.name for each in fields(connection) if getattr(connection, each.name) != getattr(default, each.name)]
    if session is not None:
        given.append("session")
    if given:
        names = ", ".join(given)
        msg = f"expected client or {names}, got both; the client has been made already: set these when making it"
        raise InvalidValueError(msg)
