"""The database of a row, where its session has several for one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import ORMExecuteState, Session

__all__ = ["session_of_shard", "sessions_of"]


class _OfShard:
    """What an index asks of a session, asked for one shard."""

    def __init__(self, session: ShardedSession, shard: Any) -> None:
        self._session, self._shard = session, shard
        self.info = session.info

    def connection(self, *, bind_arguments: Mapping[str, Any]) -> Connection:
        return self._session.connection(bind_arguments={**bind_arguments, "shard_id": self._shard})

    def get_bind(self, mapper: Any) -> Engine | Connection:
        return self._session.get_bind(mapper, shard_id=self._shard)


def session_of_shard(session: Session, shard: Any) -> Session:
    """``session`` for the rows of one shard, given by the ``identity_token`` that they have; else as it is."""
    if shard is None or not isinstance(session, ShardedSession):
        return session
    return cast("Session", _OfShard(session, shard))


def sessions_of(state: ORMExecuteState) -> list[Session]:
    """The session of a statement, once for each shard that the statement goes to."""
    session = state.session
    if not isinstance(session, ShardedSession):
        return [session]
    shard = state.bind_arguments.get("shard_id")
    shards = session.execute_chooser(state) if shard is None else [shard]
    return [session_of_shard(session, each) for each in shards]
