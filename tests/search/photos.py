"""Many rows with vectors that are given and not made, for what indexes of databases do."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Engine, String, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sqlalchemy_imageattach.search import ExtractorInfo, TinyExtractor, embeddings_of

DIMENSION = 48


class Given(TinyExtractor):
    """Extracts nothing here."""

    def describe(self) -> ExtractorInfo:
        return ExtractorInfo("given", "1", DIMENSION)


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "search_photo"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(String(50), default="x")
    part: Mapped[int] = mapped_column(default=0)


looks = embeddings_of(Photo, Given(), path="path", fill="never")


def vectors(count: int, seed: int = 1) -> Any:
    """Rows of unit length."""
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fill(engine: Engine, rows: Any, first: int = 0) -> None:
    """One photo for each vector; its part is its number modulo 100."""
    numbers = range(first, first + len(rows))
    values = {"attribute": "", "extractor": "given", "version": "1", "source": "x"}
    with engine.begin() as connection:
        connection.execute(insert(Photo), [{"id": n, "path": "x", "part": n % 100} for n in numbers])
        connection.execute(
            insert(looks.table),
            [{**values, "of_id": n, "source_sha256": f"{n:064}", "vector": rows[n - first]} for n in numbers],
        )
