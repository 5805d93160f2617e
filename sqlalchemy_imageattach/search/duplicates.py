"""Pictures that look the same: an index of hashes, and what it finds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from sqlalchemy import ColumnElement, and_, not_, select
from sqlalchemy.orm import Session

from ..arguments import check_callable, check_choice, check_range, check_type
from ..bulk.rows import sync_session
from ..errors import DuplicateImageError
from .fingerprint import HammingDistance, HashMeasure, dhash64, hamming_distance
from .index import Fill, Measured, PictureIndex, Unreadable
from .sources import PictureSource

__all__ = ["DuplicateGroup", "Fingerprints"]

_log = logging.getLogger(__name__)

OnDuplicate = Literal["allow", "refuse", "tell"]

#: Of 64 bits: what resizing and compressing change.
THRESHOLD: Final = 8

#: The hash of all pictures of a single colour: such ones are alike only if their bytes are.
FEATURELESS: Final = 0

#: So many hashes are compared with all others at a time.
_BLOCK: Final = 256


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Pictures that look the same.

    :param cls: their class
    :param identities: their primary keys, in the order of their indexing
    """

    cls: type[Any]
    identities: tuple[tuple[Any, ...], ...]


class Fingerprints(PictureIndex):
    """The perceptual hashes of a class of pictures.

    Use :func:`fingerprints_of` to make one.

    :param on_duplicate: what happens when a picture is attached that looks like one that is stored
    :param threshold: how many of 64 bits may differ
    :param told: called with the class, the primary key of the picture and those of the others, where it is to be told
    """

    def __init__(
        self,
        cls: type[Any],
        source: PictureSource,
        *,
        attribute: str = "",
        table_name: str | None = None,
        unreadable: Unreadable = "skip",
        fill: Fill = "flush",
        on_duplicate: OnDuplicate = "allow",
        threshold: int = THRESHOLD,
        told: Callable[[type[Any], tuple[Any, ...], list[tuple[Any, ...]]], object] | None = None,
    ) -> None:
        check_choice("on_duplicate", on_duplicate, get_args(OnDuplicate))
        _check_threshold(threshold)
        if told is not None:
            check_callable("told", told, "a function of a class, a primary key and a list of them")
        super().__init__(
            cls, source, HashMeasure(), attribute=attribute, table_name=table_name, unreadable=unreadable, fill=fill
        )
        self.on_duplicate, self.threshold, self._told = on_duplicate, threshold, told

    def distance(self, hash_: int | Pillow.Image, table: Any = None) -> ColumnElement[int]:
        """How many bits of each hash in the side table differ from this one.

        :param hash_: a hash, or a picture of Pillow's
        :param table: an alias of the side table
        """
        number = dhash64(hash_) if isinstance(hash_, Pillow.Image) else hash_
        return HammingDistance.of((self.table if table is None else table).columns.dhash, number)

    def duplicates(self, session: Session, threshold: int | None = None) -> list[DuplicateGroup]:
        """Groups of pictures, each of which differs from another one of its group by few bits.

        :param session: reads the hashes, in its transaction
        :param threshold: how many of 64 bits may differ; by default that of the index
        :raises EmptyIndexError: no picture is indexed
        """
        limit = self.threshold if threshold is None else threshold
        _check_threshold(limit)
        own = sync_session(session)
        self.check(own.connection(bind_arguments={"mapper": self.mapper}).execute)
        columns = self.table.columns
        statement = select(columns.dhash, columns.source_sha256, *self.side.owner_columns()).where(self.is_ours())
        by_hash: dict[int, list[tuple[Any, ...]]] = {}
        featureless: dict[str, list[tuple[Any, ...]]] = {}
        rows = [tuple(row) for row in self._execute(own, statement.order_by(columns.id))]
        order = {row[2:]: number for number, row in enumerate(rows)}.__getitem__
        for dhash, checksum, *identity in rows:
            if dhash == FEATURELESS:
                featureless.setdefault(checksum, []).append(tuple(identity))
            else:
                by_hash.setdefault(dhash, []).append(tuple(identity))
        hashes = np.fromiter(by_hash, np.int64, len(by_hash))
        groups = [[each for dhash in group for each in by_hash[dhash]] for group in _linked(hashes, limit)]
        groups += featureless.values()
        return [DuplicateGroup(self.cls, tuple(sorted(group, key=order))) for group in groups if len(group) > 1]

    def before_write(self, session: Session, measured: Sequence[Measured]) -> None:
        if self.on_duplicate == "allow":
            return
        for number, each in enumerate(measured):
            if each.error is not None:
                continue
            like = self._like(session, each)
            like += [
                other.picture.identity
                for other in measured[:number]
                if other.error is None and self._are_alike(other, each)
            ]
            if like:
                self._found(each.picture.identity, like)

    def _like(self, session: Session, measured: Measured) -> list[tuple[Any, ...]]:
        columns = self.table.columns
        if measured.value == FEATURELESS:
            alike: ColumnElement[bool] = columns.source_sha256 == measured.checksum
        else:
            alike = and_(columns.dhash != FEATURELESS, self.distance(measured.value) <= self.threshold)
        statement = select(*self.side.owner_columns()).where(
            self.is_ours(), not_(self.side.is_of(measured.picture.identity)), alike
        )
        return [tuple(row) for row in self._execute(session, statement)]

    def _are_alike(self, first: Measured, second: Measured) -> bool:
        if FEATURELESS in {first.value, second.value}:
            return first.checksum == second.checksum
        return hamming_distance(first.value, second.value) <= self.threshold

    def _found(self, identity: tuple[Any, ...], like: list[tuple[Any, ...]]) -> None:
        if self.on_duplicate == "refuse":
            raise DuplicateImageError(
                f"expected a {self.cls.__name__} that looks like no other, got one that differs from {like[0]} by at"
                f" most {self.threshold} of 64 bits; attach another picture, or remove that one first"
            )
        if self._told is None:
            _log.warning("%s %r looks like %r", self.cls.__name__, identity, like)
        else:
            self._told(self.cls, identity, like)


def _check_threshold(threshold: object) -> None:
    check_range("threshold", check_type("threshold", threshold, int), "0 to 64 bits", 0, 64)


def _linked(hashes: NDArray[np.int64], threshold: int) -> Iterator[list[int]]:
    """The connected parts of the graph in which an edge is a difference of at most ``threshold`` bits."""
    parents = list(range(len(hashes)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK, None] ^ hashes[None, start:]
        for first, second in np.argwhere(np.bitwise_count(block.view(np.uint64)) <= threshold):
            parents[max(root(start + first), root(start + second))] = min(root(start + first), root(start + second))
    groups: dict[int, list[int]] = {}
    for number, value in enumerate(hashes.tolist()):
        groups.setdefault(root(number), []).append(value)
    yield from groups.values()
