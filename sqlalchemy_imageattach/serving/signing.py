"""Tokens for URLs: what is in them was written here, for this purpose, and is still valid.

>>> signer = Signer("one secret of at least thirty-two bytes", purpose="greeting")
>>> token = signer.sign(b"hello")
>>> token
'aGVsbG8..jQOXgx9o5n-KJx6uuXv4BmFsck9_JbHEvkdh-8CMl2I'
>>> signer.unsign(token)
b'hello'
>>> signer.unsign(token.replace("aGVs", "aGVt"))
Traceback (most recent call last):
  ...
sqlalchemy_imageattach.errors.InvalidTokenError: expected a token signed for 'greeting', got another one

A token has three parts: the payload, the second at which it expires or nothing, and an HMAC-SHA256 of both.  It needs
no quoting in a URL.  Nothing in it is encrypted: who has it can read it.

Keys are derived from the secret and the purpose, so a token for one purpose is none for another.  One payload with one
expiry has one token and no second spelling, so caches keep it once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Iterable
from typing import Any, Final

from ..arguments import check_range, check_type, wrong_type, wrong_value
from ..errors import ExpiredTokenError, InvalidTokenError

__all__ = ["SHORTEST_SECRET", "Signer"]

#: The fewest bytes that a secret may have: as many as the digest has.
SHORTEST_SECRET: Final = 32

_CONTEXT: Final = b"sqlalchemy-imageattach/token/1\0"
_ADVICE: Final = "make one by: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
# of a token, in characters; and of a time, in seconds
_LONGEST: Final = 8192
_LATEST: Final = 10**15 - 1
_to_json = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False).encode


class Signer:
    """Makes tokens by one secret, and takes those of former secrets too.

    To rotate, put the new secret first, and drop the old one when nothing signed by it is in use any more::

        signer = Signer([new_secret, old_secret], purpose="greeting")

    :param secret: 32 bytes or more that nobody can guess, as ``str`` or ``bytes``; or several, the first of which signs
    :param purpose: what the tokens are for
    :raises InvalidValueError: there is no secret, or one is too short; or the purpose is empty
    :raises InvalidTypeError: one of them has another type
    """

    __slots__ = ("_keys", "purpose")

    def __init__(self, secret: str | bytes | Iterable[str | bytes], *, purpose: str) -> None:
        if not check_type("purpose", purpose, str):
            raise wrong_value("purpose", purpose, "what the tokens are for")
        self.purpose = purpose
        self._keys = tuple(hmac.digest(each, _CONTEXT + purpose.encode(), "sha256") for each in _secrets(secret))

    def sign(self, payload: bytes, *, expires_at: float | None = None) -> str:
        """A token that says ``payload``.

        :param expires_at: seconds since 1970 after which it is not valid any more; for ever by default
        :raises InvalidValueError: that is no time
        """
        if expires_at is not None:
            check_range("expires_at", expires_at, "seconds since 1970", 0, _LATEST)
        signed = _encode(payload) + (b".." if expires_at is None else b".%d." % int(expires_at))
        return (signed + _encode(hmac.digest(self._keys[0], signed, "sha256"))).decode()

    def unsign(self, token: str, *, now: float | None = None) -> bytes:
        """What the token says.

        :param now: seconds since 1970, in place of the clock's
        :raises InvalidTokenError: it was not made by one of the secrets for this purpose, or was altered
        :raises ExpiredTokenError: it was valid once
        """
        payload, expires_at, signature = self._parts(token)
        signed = f"{payload}.{expires_at}.".encode()
        # all keys, whichever fits; and the text is compared, since several texts stand for one digest
        given = signature.encode()
        fits = [hmac.compare_digest(_encode(hmac.digest(key, signed, "sha256")), given) for key in self._keys]
        if not any(fits):
            raise self._invalid()
        if expires_at and int(expires_at) <= (time.time() if now is None else now):
            msg = f"expected a token for {self.purpose!r} that is still valid, got one that has expired"
            raise ExpiredTokenError(f"{msg}; ask for a new one")
        return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))

    def dumps(self, value: Any, *, expires_at: float | None = None) -> str:
        """A token that says ``value``, which JSON can say.  The order of names in a mapping makes no difference.

        :raises InvalidTypeError: JSON cannot say it
        """
        try:
            text = _to_json(value)
        except (TypeError, ValueError) as error:
            raise wrong_type("value", value, "what JSON can say") from error
        return self.sign(text.encode(), expires_at=expires_at)

    def loads(self, token: str, *, now: float | None = None) -> Any:
        """The value of which :meth:`dumps` made the token.

        :raises InvalidTokenError: as :meth:`unsign`; or what was signed is no JSON
        :raises ExpiredTokenError: it was valid once
        """
        try:
            return json.loads(self.unsign(token, now=now))
        except ValueError as error:
            if isinstance(error, InvalidTokenError):
                raise
            raise self._invalid() from None

    def expiry_of(self, token: str) -> int | None:
        """The second since 1970 at which the token expires; ``None`` for never.  It is not checked whether it is valid.

        :raises InvalidTokenError: it is no token at all
        """
        expires_at = self._parts(token)[1]
        return int(expires_at) if expires_at else None

    def _parts(self, token: str) -> tuple[str, str, str]:
        # everything that int() and Base64 would take in several spellings is no token
        if not isinstance(token, str) or len(token) > _LONGEST or not token.isascii():
            raise self._invalid()
        match token.split("."):
            case [payload, expires_at, signature] if not expires_at or (expires_at.isdigit() and len(expires_at) < 16):
                return payload, expires_at, signature
        raise self._invalid()

    def _invalid(self) -> InvalidTokenError:
        return InvalidTokenError(f"expected a token signed for {self.purpose!r}, got another one")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Signer):
            return NotImplemented
        return self.purpose == other.purpose and self._keys == other._keys

    def __hash__(self) -> int:
        return hash((self.purpose, self._keys))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(purpose={self.purpose!r})"  # never the secret


def _secrets(given: object) -> list[bytes]:
    several = [given] if isinstance(given, str | bytes) else given
    if several is None or (isinstance(several, Iterable) and not (several := list(several))):
        raise wrong_value("secret", given, f"{SHORTEST_SECRET} bytes or more", _ADVICE, got="none")
    if not isinstance(several, Iterable):
        raise wrong_type("secret", given, "str, bytes or several of them", got=type(given).__name__)
    secrets = []
    for each in several:
        if not isinstance(each, str | bytes):  # what it is, and never what it says
            raise wrong_type("secret", each, "str, bytes or several of them", got=type(each).__name__)
        secret = each.encode() if isinstance(each, str) else each
        if len(secret) < SHORTEST_SECRET:
            got = f"one of {len(secret)}" if secret else "an empty one"
            raise wrong_value("secret", "", f"{SHORTEST_SECRET} bytes or more", _ADVICE, got=got)
        secrets.append(secret)
    return secrets


def _encode(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE)


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
