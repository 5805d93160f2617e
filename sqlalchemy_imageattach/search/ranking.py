"""Distances computed in the process, for databases that cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Executable, Select, select

from ..concurrency import run_blocking
from .vectors import Floats

__all__ = ["EXACT_ROWS", "ColumnRows", "Execute", "IndexedRows", "RankedRows", "Ranking", "VectorCache"]

#: Reads rows by the connection of a statement, and with its options: from the schemas that it reads from.
Execute = Callable[[Executable], Any]

#: Up to so many vectors, each is compared; beyond, the nearest few are found by an index, if usearch is installed.
EXACT_ROWS: Final = 50_000

#: So many vectors are read by one statement.
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Ranking:
    """What was found: keys, and the distances of their vectors.

    :param is_whole: whether it has all keys there are, rather than the nearest
    """

    keys: NDArray[np.int64]
    distances: Floats
    is_whole: bool = True


class RankedRows(Protocol):
    """Rows with vectors."""

    def rank(self, execute: Execute, vector: Floats, limit: int | None) -> Ranking:
        """Their distances from ``vector``, as the transaction of the statement sees them.

        :param limit: how many of the nearest are enough; there may be more, but no fewer unless there are no more
        """


@dataclass(frozen=True, slots=True, eq=False)
class ColumnRows:
    """All rows of the table of a column, read anew for each statement."""

    column: ColumnElement[Any]
    key: ColumnElement[Any]

    def rank(self, execute: Execute, vector: Floats, limit: int | None) -> Ranking:
        rows = execute(select(self.key, self.column).where(self.column.is_not(None))).all()
        keys = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        return Ranking(keys, distances(np.stack([row[1] for row in rows]), vector) if rows else np.empty(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class IndexedRows:
    """Rows whose vectors are kept in the process, each by the digest of the bytes that it was made of.

    What is not there any more, or not yet, is told by the keys and digests that the statement's own transaction reads;
    so what another transaction has not committed, or this one has rolled back, is never found.

    :param listing: selects key and digest
    :param key: the column of the key
    :param vector: the column of the vector
    :param cache: that of the extractor
    """

    listing: Select[Any]
    key: ColumnElement[Any]
    vector: ColumnElement[Any]
    cache: VectorCache

    def rank(self, execute: Execute, vector: Floats, limit: int | None) -> Ranking:
        rows = execute(self.listing).all()
        keys = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        digests = [row[1] for row in rows]
        unknown = self.cache.missing(digests)
        missing = {digest: key for key, digest in rows if digest in unknown}
        for page in _pages(list(missing.items())):
            found = execute(select(self.key, self.vector).where(self.key.in_([key for _, key in page]))).all()
            by_key = {key: value for key, value in found if value is not None}
            self.cache.add({digest: by_key[key] for digest, key in page if key in by_key})
        return run_blocking(self.cache.rank, keys, digests, vector, limit)


class VectorCache:
    """The vectors of one extractor, by the digests of what they were made of.

    >>> cache = VectorCache(2)
    >>> cache.add({"a": np.float32([1, 0]), "b": np.float32([0, 1])})
    >>> cache.rank(np.int64([7, 8]), ["a", "b"], np.float32([1, 0]), None).distances.tolist()
    [0.0, 1.0]

    :param dimension: of the vectors
    :param exact_rows: up to so many vectors, each is compared
    """

    def __init__(self, dimension: int, exact_rows: int = EXACT_ROWS) -> None:
        self._lock = threading.RLock()
        self._slots: dict[str, int] = {}
        self._matrix = np.empty((0, dimension), np.float32)
        self._exact_rows = exact_rows
        self._index: Any = None
        self._in_index = 0

    def missing(self, digests: Sequence[str]) -> set[str]:
        """Those that are not there yet."""
        with self._lock:
            return set(digests) - self._slots.keys()

    def add(self, vectors: dict[str, Floats]) -> None:
        """Take them in."""
        with self._lock:
            new = {digest: vector for digest, vector in vectors.items() if digest not in self._slots}
            start, end = len(self._slots), len(self._slots) + len(new)
            if end > len(self._matrix):
                grown = np.empty((max(end, 2 * len(self._matrix)), self._matrix.shape[1]), np.float32)
                grown[:start] = self._matrix[:start]
                self._matrix = grown
            for slot, (digest, vector) in enumerate(new.items(), start):
                self._slots[digest], self._matrix[slot] = slot, vector

    def rank(self, keys: NDArray[np.int64], digests: Sequence[str], vector: Floats, limit: int | None) -> Ranking:
        """The distances of the vectors of ``digests``, with their keys; of the nearest, where ``limit`` allows it."""
        with self._lock:
            known = [digest in self._slots for digest in digests]
            if not all(known):  # they were deleted while they were read
                keys, digests = keys[known], [digest for digest in digests if digest in self._slots]
            self._forget_others(digests)
            slots = np.fromiter((self._slots[digest] for digest in digests), np.int64, len(digests))
            if limit is not None and len(keys) > max(self._exact_rows, limit) and (index := self._find_index()):
                near = np.isin(slots, np.asarray(index.search(vector, limit).keys, np.int64))
                return Ranking(keys[near], distances(self._matrix[slots[near]], vector), is_whole=False)
            return Ranking(keys, distances(self._matrix[: len(self._slots)], vector)[slots])

    def _forget_others(self, digests: Sequence[str]) -> None:
        wanted = set(digests)
        if len(self._slots) <= 2 * len(wanted) + _PAGE:
            return
        kept = {digest: self._matrix[slot].copy() for digest, slot in self._slots.items() if digest in wanted}
        self._slots, self._matrix = {}, self._matrix[:0]
        self._index, self._in_index = None, 0
        self.add(kept)

    def _find_index(self) -> Any:
        """The index with all vectors in it, or ``None`` without usearch."""
        with suppress(ImportError):
            # first, or not at all: usearch makes symbols global by which a later import of it crashes the process
            import onnxruntime  # noqa: F401
        try:
            from usearch.index import Index
        except ImportError:
            return None
        if self._index is None:
            self._index = Index(ndim=self._matrix.shape[1], metric="cos", dtype="f16")
        new = np.arange(self._in_index, len(self._slots))
        if len(new):
            self._index.add(new, self._matrix[new])
            self._in_index = len(self._slots)
        return self._index


def distances(rows: Floats, vector: Floats) -> Floats:
    """Of unit vectors; never below zero, as rounding would have it."""
    found: Floats = np.maximum(1 - rows @ vector, 0)
    return found


def _pages(items: list[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _PAGE] for start in range(0, len(items), _PAGE)]
