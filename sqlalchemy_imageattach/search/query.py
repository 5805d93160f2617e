"""What is looked for, on its way into a statement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .ranking import Execute, RankedRows
from .vectors import Floats

__all__ = ["Pending", "Query"]


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is looked for: the value of a parameter.

    :param vector: of unit length
    :param rows: what there is to compare it with, where that is done in the process
    :param check: raises if the index cannot answer
    :param limit: how many of the nearest are enough, where the statement asks for no other rows
    """

    vector: Floats
    rows: RankedRows
    check: Callable[[Execute], None] | None = None
    limit: int | None = None


class Pending(str):
    """Stands for a ranking until the statement is executed."""

    __slots__ = ("query",)
    query: Query

    @classmethod
    def of(cls, query: Query) -> Pending:
        pending = cls("[]")
        pending.query = query
        return pending
