"""Whether an application speaks as ASGI 3.0 has it; of WSGI, the same is said by ``wsgiref.validate`` and Werkzeug."""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_HOP_BY_HOP = {b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"te", b"trailer"}


def conforming(app: Any) -> Any:
    """``app``, of which every message is checked."""

    async def checked(scope: dict[str, Any], receive: Any, send: Any) -> None:
        before = dict(scope)
        checker = _Checker(scope, send)
        await app(scope, receive, checker)
        assert scope == before, "the scope is the server's"
        assert checker.is_over, "the answer was never ended"

    return checked


class _Checker:
    def __init__(self, scope: dict[str, Any], send: Any) -> None:
        self._method = scope["method"]
        self._send = send
        self._headers: dict[bytes, bytes] | None = None
        self._status = 0
        self._sent = 0
        self.is_over = False

    async def __call__(self, message: dict[str, Any]) -> None:
        assert not self.is_over, f"{message} after the end"
        if self._headers is None:
            self._check_start(message)
        else:
            self._check_body(message)
        await self._send(message)

    def _check_start(self, message: dict[str, Any]) -> None:
        assert message["type"] == "http.response.start"
        assert set(message) <= {"type", "status", "headers", "trailers"}
        self._status = message["status"]
        assert type(self._status) is int
        assert 200 <= self._status <= 599
        self._headers = {}
        for pair in message["headers"]:
            name, value = pair
            assert type(name) is bytes, name
            assert type(value) is bytes, value
            assert _TOKEN.fullmatch(name), f"{name!r}: names are in lower case"
            assert not re.search(rb"[\x00-\x1f\x7f]|^ | $", value), f"{value!r} would end the header"
            assert name not in _HOP_BY_HOP
            assert name not in self._headers, f"{name!r} comes twice"
            self._headers[name] = value

    def _check_body(self, message: dict[str, Any]) -> None:
        assert message["type"] == "http.response.body"
        assert set(message) <= {"type", "body", "more_body"}
        body, more = message.get("body", b""), message.get("more_body", False)
        assert type(body) is bytes
        assert type(more) is bool
        self._sent += len(body)
        self.is_over = not more
        assert self._headers is not None
        if self.is_over and self._method != "HEAD" and b"content-length" in self._headers:
            assert self._sent == int(self._headers[b"content-length"])
        if self._method == "HEAD" or self._status in {204, 304}:
            assert not self._sent, "an answer without a body has one"
