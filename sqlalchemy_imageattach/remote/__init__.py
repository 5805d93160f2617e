"""Pictures by URL: downloads that cannot be turned against the machine that makes them.

Whoever may name a URL may otherwise have the server ask what only the server can reach: its own services, its
neighbours, the metadata of its cloud.  :func:`fetch` asks public addresses only, and what it gets costs no more than
a :class:`FetchPolicy` allows::

    from sqlalchemy_imageattach.remote import fetch

    downloaded = fetch("https://images.example.com/portrait.jpg")
    user.picture.from_file(downloaded.content.open())

``user.picture.from_url(url)`` does both, with the limits of the image class.

It needs httpcore: ``pip install 'SQLAlchemy-ImageAttach[remote]'``.
"""

from __future__ import annotations

from .connection import RefusedAddress as _RefusedAddress  # isort: skip  # first: it says what to install
from .fetch import AsyncFetcher, Fetched, Fetcher, FetchPolicy, afetch, fetch
from .guard import is_public

__all__ = ["AsyncFetcher", "FetchPolicy", "Fetched", "Fetcher", "afetch", "fetch", "is_public"]

del _RefusedAddress
