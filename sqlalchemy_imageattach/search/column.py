"""The type of columns of vectors."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.types import TypeDecorator

from .distance import distance_of_column
from .types import StoredVector
from .vectors import Floats

__all__ = ["Vector"]


class Vector(StoredVector):
    """A vector of so many numbers, read as a NumPy array of unit length.

    ::

        class Sketch(Base):
            __tablename__ = "sketch"
            id: Mapped[int] = mapped_column(primary_key=True)
            looks: Mapped[Any] = mapped_column(Vector(48), nullable=True)

        session.scalars(select(Sketch).order_by(Sketch.looks.cosine_distance(vector)).limit(10))

    Two vectors are compared by their directions alone, so they are stored at unit length.

    :param dimension: how many numbers, 1 to 16,000
    :param postgresql: ``"halfvec"`` or ``"bytea"``; by default the former where pgvector is installed.  Say it where
        there is no database to ask, as in Alembic's ``--sql`` mode
    :raises InvalidValueError: an argument is none of these
    """

    cache_ok = True

    class Comparator(TypeDecorator.Comparator[Floats]):
        """What can be done with the column."""

        def cosine_distance(self, other: Any) -> ColumnElement[float]:
            """From 0, the same, by 1 to 2, the opposite; NULL where there is no vector.

            :param other: a row of numbers
            :raises VectorDimensionError: it has another number of dimensions than the column
            """
            return distance_of_column(self.expr, other)

    comparator_factory = Comparator
