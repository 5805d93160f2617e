"""The vectors of a class of pictures, and the distances of its rows from a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image as Pillow
from sqlalchemy import ColumnElement, Dialect, Index, Select, func, select
from sqlalchemy.types import TypeEngine

from ..arguments import check_range, check_type, wrong_type
from ..concurrency import run_blocking
from ..entity import BaseImageSet, Image
from ..errors import InvalidValueError
from ..file import binary_file
from ..imaging import ImagePolicy
from ..spool import Spool
from .column import Vector
from .distance import CosineDistance, IsRanked
from .extractors import Extractor, TextExtractor, check_extractor, extract_unit_vectors
from .index import Fill, PictureIndex, Unreadable
from .pixels import read_pixels
from .query import Query
from .ranking import IndexedRows, VectorCache
from .sources import PictureSource
from .types import StoredVector, follow, is_native
from .vectors import Floats, unit_vector

__all__ = ["NOT_INDEXED", "Embeddings", "VectorMeasure", "vector_of"]

#: The distance of what is not indexed: beyond that of everything that is.
NOT_INDEXED: Final = 9999.0

_INDEX: Final = "imageattach_index"

#: The most dimensions that an HNSW index of pgvector takes.
_LARGEST_INDEXED: Final = 4000


class VectorMeasure:
    """The vector of an extractor, as an index keeps it."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = check_extractor(extractor)
        self.info = extractor.describe()

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def version(self) -> str:
        return self.info.version

    @property
    def column(self) -> tuple[str, TypeEngine[Any]]:
        return "vector", Vector(self.info.dimension)

    def prepare(self, picture: Pillow.Image) -> Any:
        return self.extractor.prepare(picture)

    def finish(self, prepared: Sequence[Any]) -> Sequence[Any]:
        return list(extract_unit_vectors(self.extractor, prepared))


class Embeddings(PictureIndex):
    """The vectors of a class of pictures, in a side table.

    Use :func:`embeddings_of` to make one.
    """

    measure: VectorMeasure

    def __init__(
        self,
        cls: type[Any],
        source: PictureSource,
        extractor: Extractor,
        *,
        attribute: str = "",
        table_name: str | None = None,
        unreadable: Unreadable = "skip",
        fill: Fill = "flush",
    ) -> None:
        super().__init__(
            cls,
            source,
            VectorMeasure(extractor),
            attribute=attribute,
            table_name=table_name,
            unreadable=unreadable,
            fill=fill,
        )
        self.dimension = self.measure.info.dimension
        self._cache = VectorCache(self.dimension)
        _add_index(self.table)

    @property
    def extractor(self) -> Extractor:
        """What makes the vectors."""
        return self.measure.extractor

    def vector_of(self, picture: Any) -> Floats:
        """The vector of a picture to search by; see :meth:`distance` for what it can be."""
        return vector_of(self.extractor, picture, self.source.policy)

    def distance(self, picture: Any, entity: Any = None, *, key: Any = None) -> ColumnElement[float]:
        """The distance of each row of the class from a picture: 0 is the same, 1 has nothing in common.

        It stands for itself, whatever else the statement does: in ORDER BY, in WHERE, in the columns, below ``min()``.
        Rows that are not indexed have ``NOT_INDEXED``, 9999, so they come last and are never near.

        ::

            near = looks.distance(upload)
            session.scalars(select(UserPicture).where(UserPicture.original, near < 0.4).order_by(near).limit(10))

        :param picture: the bytes of a picture, a file, a path, a picture of Pillow's, an image or an image set, or a
            vector; where the extractor takes texts, a string is one, and a path has to be a :class:`~pathlib.Path`
        :param entity: an alias of the class
        :param key: the column with the primary key, if it is not that of the class
        :raises RejectedImageError: the picture cannot be decoded, or is too large
        :raises VectorDimensionError: the vector has another number of dimensions
        """
        row = self.table.alias()
        here = self.cls if entity is None else entity
        found = select(self._distance_to(row, picture)).where(self.is_current(here, row, key=key)).correlate_except(row)
        # labelled, so that a statement with it in its columns orders by what it has reckoned
        return func.coalesce(found.scalar_subquery(), NOT_INDEXED).label(None)

    def nearest(
        self, statement: Select[Any], picture: Any, limit: int = 10, *, offset: int = 0, entity: Any = None
    ) -> Select[Any]:
        """``statement``, joined, ordered and limited so that an index of the database, if there is one, is of use.

        The nearest ``limit`` of the rows that the statement selects: never fewer because other rows are nearer.

        ::

            session.scalars(looks.nearest(select(UserPicture).where(UserPicture.user_id.in_(friends)), upload, 10))

        :param statement: selects from the class, among others; without an order and a limit of its own
        :param picture: see :meth:`distance`
        :param limit: how many rows
        :param offset: how many of the nearest to pass over
        :param entity: an alias of the class
        """
        check_range("limit", check_type("limit", limit, int), "1 or more", 1)
        check_range("offset", check_type("offset", offset, int), "0 or more", 0)
        row = self.table.alias()
        distance = self._distance_to(row, picture, limit=limit + offset)
        joined = statement.join(row, self.is_current(self.cls if entity is None else entity, row))
        ordered = joined.where(IsRanked.of(distance)).order_by(distance).limit(limit)
        return ordered.offset(offset) if offset else ordered

    def _distance_to(self, row: Any, picture: Any, limit: int | None = None) -> CosineDistance:
        columns = self.table.columns
        listing = select(columns.id, columns.source_sha256).where(self.is_ours())
        rows = IndexedRows(listing, columns.id, columns.vector, self._cache)
        query = Query(unit_vector(self.vector_of(picture), self.dimension), rows, self.check, limit)
        return CosineDistance.of(row.columns.vector, row.columns.id, query)


def vector_of(extractor: Extractor, picture: Any, policy: ImagePolicy) -> Floats:
    """The vector by which ``picture`` is compared."""
    dimension = extractor.describe().dimension
    if isinstance(picture, str) and isinstance(extractor, TextExtractor):
        return unit_vector(np.asarray(extractor.extract_text([picture]))[0], dimension)
    if isinstance(picture, str | os.PathLike):
        return run_blocking(_vector_of_file, extractor, Path(picture), policy)
    if isinstance(picture, bytes | bytearray | memoryview):
        return run_blocking(_vector_of_spool, extractor, Spool.of(bytes(picture)), policy)
    if isinstance(picture, Pillow.Image):
        return run_blocking(_vector_of_pixels, extractor, picture)
    if isinstance(picture, Image | BaseImageSet):
        return run_blocking(_vector_of_spool, extractor, Spool.of(picture.make_blob()), policy)
    if isinstance(picture, list | tuple) or hasattr(picture, "__array__"):
        return unit_vector(picture, dimension)
    if not hasattr(picture, "read") and not hasattr(picture, "file") and not hasattr(picture, "stream"):
        expected = "bytes, a file, a path, a picture of Pillow's, an image, or a vector"
        raise wrong_type("picture", picture, expected)
    return run_blocking(_vector_of_upload, extractor, picture, policy)


def _vector_of_file(extractor: Extractor, path: Path, policy: ImagePolicy) -> Floats:
    if not path.is_file():
        raise InvalidValueError(f"picture: expected the path of a file, but {str(path)!r} is none")
    with path.open("rb") as file:
        return _vector_of_upload(extractor, file, policy)


def _vector_of_upload(extractor: Extractor, upload: Any, policy: ImagePolicy) -> Floats:
    return _vector_of_spool(extractor, Spool.read_from(binary_file(upload), policy.max_bytes), policy)


def _vector_of_spool(extractor: Extractor, spool: Spool, policy: ImagePolicy) -> Floats:
    with spool.open() as file:
        return _vector_of_pixels(extractor, read_pixels(file, policy))


def _vector_of_pixels(extractor: Extractor, picture: Pillow.Image) -> Floats:
    first: Floats = extract_unit_vectors(extractor, [extractor.prepare(picture)])[0]
    return first


def _add_index(table: Any) -> None:
    """The table has an index of pgvector's while it is that of a database with it: Alembic would ask any for it."""
    if _INDEX in table.info or table.columns.vector.type.dimension > _LARGEST_INDEXED:
        return
    index = table.info[_INDEX] = Index(
        f"ix_{table.name}_vector"[:63],
        table.columns.vector,
        postgresql_using="hnsw",
        postgresql_ops={"vector": "halfvec_cosine_ops"},
    )
    index.ddl_if(callable_=_can_index)
    follow(lambda has_pgvector: table.indexes.add(index) if has_pgvector else table.indexes.discard(index))


def _can_index(*_: Any, dialect: Dialect, **__: Any) -> bool:
    return is_native(StoredVector(1), dialect)
