"""What a download may ask, and cost."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass

from ..arguments import check_callable, check_range, check_type
from .guard import Resolve, resolve

__all__ = ["FetchPolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicy:
    """What :func:`fetch` may ask, and what an answer may cost.

    ::

        FetchPolicy(max_bytes=10 * 2**20, max_seconds=10)

    :param max_bytes: the most bytes that are taken, after decompression; none is kept of a longer answer
    :param max_seconds: for the whole download: names, connections, redirects and all
    :param wait_seconds: for each single wait for something to come
    :param max_redirects: how many are followed, each checked as the first URL was
    :param max_header_bytes: how long the head of one answer may be; 100 KiB is the limit of the library besides
    :param ports: the only ones that may be asked; ``None`` for all
    :param allow_private: whether addresses that are not on the Internet will do, as they do in tests.  **Never for what
       a stranger may name**
    :param proxy: the URL of a proxy for HTTP, which has to refuse private addresses itself; none of the environment is
       used
    :param user_agent: how the client names itself
    :param headers: further headers of each request, also of those after a redirect: none that is a secret
    :param ssl_context: which certificates are believed; by default those that the system believes
    :param resolve: gives the addresses of a name; by default the resolver of the system
    :raises InvalidTypeError: a parameter has another type than it must have
    :raises InvalidValueError: a number is out of range
    """

    max_bytes: int = 64 * 2**20
    max_seconds: float = 30.0
    wait_seconds: float = 10.0
    max_redirects: int = 5
    max_header_bytes: int = 64 * 2**10
    ports: Collection[int] | None = None
    allow_private: bool = False
    proxy: str | None = None
    user_agent: str = "SQLAlchemy-ImageAttach/2"
    headers: tuple[tuple[str, str], ...] = ()
    ssl_context: ssl.SSLContext | None = None
    resolve: Resolve = resolve

    def __post_init__(self) -> None:
        for name, least in (("max_bytes", 1), ("max_redirects", 0), ("max_header_bytes", 1)):
            value = check_type(name, getattr(self, name), int)
            check_range(name, value, f"{least} or more", least)
        for name in ("max_seconds", "wait_seconds"):
            seconds = check_type(name, getattr(self, name), (int, float), "a number of seconds")
            check_range(name, seconds, "more than 0 seconds", 1e-9)
        check_type("allow_private", self.allow_private, bool)
        check_callable("resolve", self.resolve, "a function of a host name and a port that gives addresses")
