"""An endpoint asked through both of its doors, each of which is checked for what its standard says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, unquote_to_bytes
from wsgiref.validate import validator

from werkzeug.middleware.lint import LintMiddleware
from werkzeug.test import EnvironBuilder, run_wsgi_app

from .conformance import conforming

__all__ = ["DOORS", "Door", "Reply", "asgi", "wsgi"]


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Door:
    name: str
    ask_it: Any

    def ask(
        self,
        endpoint: Any,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        query: str = "",
        **more: Any,
    ) -> Reply:
        """What the endpoint answers.

        :param path: below the endpoint, percent-encoded, without a leading slash
        :param more: of the ``environ`` or the ``scope``
        """
        reply: Reply = self.ask_it(endpoint, path, method, headers or {}, query, more)
        assert len(reply.body) == 0 or method != "HEAD"
        return reply

    def __str__(self) -> str:
        return self.name


def _ask_wsgi(endpoint: Any, path: str, method: str, headers: Any, query: str, more: dict[str, Any]) -> Reply:
    environ = EnvironBuilder("/", "http://localhost", method=method, headers=headers).get_environ()
    environ |= {"PATH_INFO": "/" + unquote_to_bytes(path).decode("latin-1"), "QUERY_STRING": query, **more}
    if method not in {"POST", "PUT"}:  # which the validator wants to be absent rather than empty
        environ.pop("CONTENT_TYPE", None)
        environ.pop("CONTENT_LENGTH", None)
    # Werkzeug does not know that the length in an answer to HEAD is that of the answer to GET
    app = validator(endpoint.wsgi if method == "HEAD" else LintMiddleware(endpoint.wsgi))
    body, status, found = run_wsgi_app(app, environ, buffered=True)
    return Reply(int(status.split()[0]), b"".join(body), {name.lower(): value for name, value in found})


def _ask_asgi(endpoint: Any, path: str, method: str, headers: Any, query: str, more: dict[str, Any]) -> Reply:
    return asyncio.run(ask_asgi(endpoint, path, method, headers, query, **more))


async def ask_asgi(
    endpoint: Any,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    query: str = "",
    **more: Any,
) -> Reply:
    """The same within an event loop."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> Any:
        return await asyncio.Event().wait()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/" + unquote(path),
        "raw_path": b"/" + path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ],
        "server": ("localhost", 80),
        **more,
    }
    await conforming(endpoint.asgi)(scope, receive, send)
    start, *parts = sent
    found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Reply(start["status"], b"".join(part["body"] for part in parts), found)


wsgi = Door("wsgi", _ask_wsgi)
asgi = Door("asgi", _ask_asgi)
DOORS = [wsgi, asgi]
