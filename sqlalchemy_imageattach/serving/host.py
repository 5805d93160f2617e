"""Which host serves the running request."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["request_url"]

#: Where the application that handles the running request is mounted, such as ``"https://example.com/"``; set by the
#: middlewares of this room, and seen by that request alone.
request_url: ContextVar[str | None] = ContextVar("sqlalchemy_imageattach.request_url", default=None)
