"""Which host serves the running request."""

from __future__ import annotations

import re
from contextvars import ContextVar
from urllib.parse import quote

from ..arguments import check_type, wrong_value

__all__ = ["application_url", "checked_base_url", "host_and_port", "request_url"]

#: Where the application that handles the running request is mounted, such as ``"https://example.com/"``; set by the
#: middlewares of this room, and seen by that request alone.
request_url: ContextVar[str | None] = ContextVar("sqlalchemy_imageattach.request_url", default=None)

_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def application_url(scheme: str, host: str, mounted: bytes) -> str | None:
    """The URL of an application; ``None`` if what should be a host is none.

    >>> application_url("https", "example.com", b"/my shop"), application_url("https", "example.com/", b"")
    ('https://example.com/my%20shop/', None)

    :param scheme: of the request
    :param host: the Host header, or the name of the server
    :param mounted: the path of the application
    """
    if not _HOST.fullmatch(host) or scheme not in {"http", "https"}:
        return None
    path = quote(mounted).strip("/")
    return f"{scheme}://{host}/{path}/" if path else f"{scheme}://{host}/"


def checked_base_url(name: str, url: object) -> str:
    """``url`` with a slash at its end.

    :param name: of the argument
    :raises InvalidTypeError: it is no string
    :raises InvalidValueError: it has characters that no URL can have
    """
    text = check_type(name, url, str, "a URL (str)")
    if any(char <= " " or char in "\"'<>\\`\x7f" for char in text):
        raise wrong_value(name, text, "a URL without spaces, quotes and control characters", "percent-encode them")
    return text if text.endswith("/") else f"{text}/"


def host_and_port(scheme: str, name: str, port: object) -> str:
    """A host, with the port where it is not the usual one of the scheme."""
    return name if (scheme, str(port)) in {("http", "80"), ("https", "443")} else f"{name}:{port}"
