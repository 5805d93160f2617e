"""The database of a row, where its session has several for one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.horizontal_shard import ShardedSession, set_shard_id
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
    return [session_of_shard(session, each) for each in _said(state) or session.execute_chooser(state)]


def _said(state: ORMExecuteState) -> list[Any]:
    """The shard that the statement names, if it does; in the order in which SQLAlchemy looks for it."""
    options = state.execution_options
    named: list[Any] = [each.shard_id for each in state._non_compile_orm_options if isinstance(each, set_shard_id)]
    named += [options.get("identity_token"), options.get("_sa_shard_id"), state.bind_arguments.get("shard_id")]
    return [each for each in named if each is not None][:1]
