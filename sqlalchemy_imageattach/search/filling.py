"""Indexing rows in the transaction of their session."""

from __future__ import annotations

import logging
from typing import Any, Final

from sqlalchemy.orm import Session

from ..store import Store
from .index import Measured, PictureIndex, measure

__all__ = ["UNREADABLE", "index_rows"]

_log = logging.getLogger(__name__)

#: The key in ``session.info`` by which a session decides for itself what becomes of a picture that cannot be decoded.
UNREADABLE: Final = "sqlalchemy_imageattach.search.unreadable"


def index_rows(
    index: PictureIndex, session: Session, rows: list[Any], store: Store | None = None, *, replace: bool = False
) -> list[Measured]:
    """Afterwards the index has what is to be known of ``rows``, in the transaction of their session.

    :param store: the store that has the pictures; that of the session or the current one by default
    :param replace: whether to look again at pictures that are called as they were
    :raises RejectedImageError: a picture cannot be decoded, and the index, or the session, refuses such ones
    """
    identities = {id(row): tuple(index.mapper.primary_key_from_instance(row)) for row in rows}
    known = {} if replace else index.sources(session, list(identities.values()))
    pictures, others = [], []
    for row in rows:
        picture = index.source.find(row, store, session)
        if picture is None:
            others.append(identities[id(row)])
        elif known.get(picture.identity) != picture.source:
            pictures.append(picture)
    index.remove(session, [identity for identity in others if identity in known or replace], all_versions=True)
    if not pictures:
        return []
    measured = measure(index, session, pictures, side_by_side=len(pictures) > 1)
    unreadable = session.info.get(UNREADABLE, index.unreadable)
    for each in measured:
        if each.error is None:
            continue
        if unreadable == "refuse":
            raise each.error
        _log.warning("%s %r is not indexed: %s", index.cls.__name__, each.picture.identity, each.error)
    index.before_write(session, measured)
    index.write(session, measured)
    return measured
