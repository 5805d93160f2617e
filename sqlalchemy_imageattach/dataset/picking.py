"""Counting and picking rows of a class of labelled images, within the caller's session."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..arguments import check_range, check_type, wrong_type, wrong_value
from .labels import LabelledImage, labels_of

__all__ = ["Split", "count", "random_sample", "sample", "split"]

_T = TypeVar("_T", bound=LabelledImage)

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")

#: How often a slot is drawn that nobody has, before the rows are counted through.
_DRAWS = 50

#: How many rows one statement looks up.
_LOOK_UP = 500


def count(session: Session, cls: type[LabelledImage], label: str | None = None) -> int:
    """How many pictures there are of a label, or in all: one look-up by key, or one sum over the labels.

    ::

        count(session, Fruit, "Apple")
    """
    counters = labels_of(cls)
    statement = select(func.coalesce(func.sum(counters.c.total), 0))
    if label is not None:
        statement = statement.where(counters.c.label == label)
    session.flush()
    return int(session.execute(statement).scalar_one())


def random_sample(session: Session, cls: type[_T], label: str, source: random.Random | None = None) -> _T | None:
    """One picture of a label, each with the same chance; ``None`` if there is none.

    It takes two look-ups by keys, and one more each time that the one drawn has been deleted since.

    :param source: where randomness comes from; give ``random.Random(1)`` to have the same again
    """
    draw = source or random
    total, slots = _counter(session, cls, label)
    if total <= 0:
        return None
    for _ in range(_DRAWS):
        found = session.scalars(select(cls).where(cls.label == label, cls.slot == draw.randrange(slots))).first()
        if found is not None:
            return found
    # nearly all were deleted
    ids = select(cls).where(cls.label == label).order_by(cls.slot)
    number = session.scalar(select(func.count()).select_from(cls).where(cls.label == label)) or 0
    return session.scalars(ids.offset(draw.randrange(number)).limit(1)).first() if number else None


def sample(
    session: Session,
    cls: type[_T],
    number: int,
    *,
    labels: Sequence[str] | None = None,
    balanced: bool = False,
    source: random.Random | None = None,
) -> list[_T]:
    """``number`` different pictures at random, or all if there are fewer.

    ::

        sample(session, Fruit, 100, balanced=True)

    :param number: how many
    :param labels: of which labels; of all by default
    :param balanced: whether each label is to have the same number, as far as it has so many.  Otherwise each picture
       has the same chance
    :param source: where randomness comes from
    :raises InvalidValueError: ``number`` is negative
    :raises InvalidTypeError: ``labels`` is a single string
    """
    check_range("number", check_type("number", number, int), "0 or more", 0)
    if isinstance(labels, str):  # of which each part would be one
        raise wrong_type("labels", labels, "a sequence of labels", "[label]")
    draw = source or random.Random()
    session.flush()
    counters = labels_of(cls)
    totals = {
        label: total
        for label, total in session.execute(select(counters.c.label, counters.c.total).order_by(counters.c.label))
        if total > 0 and (labels is None or label in labels)
    }
    shares = _balanced(totals, number, draw) if balanced else _proportional(totals, number, draw)
    found = [row for label, share in shares.items() for row in _distinct(session, cls, label, share, draw)]
    draw.shuffle(found)
    return found


class Split:
    """Parts of a dataset: which one a picture belongs to is told by its bytes alone.

    So it stays in its part when others are added or removed, and the same bytes under two labels are in the same part:
    nothing that a model was trained with is there to test it.

    >>> parts = Split(train=0.8, test=0.2)
    >>> parts.part_of("00" * 32), parts.part_of("ff" * 32)
    ('train', 'test')

    :param parts: the share of each, by its name; what is left of 1 belongs to no part
    :param seed: another number gives another division
    :raises InvalidValueError: a share is not between 0 and 1, or together they are more than 1
    """

    def __init__(self, *, seed: int = 0, **parts: float) -> None:
        for name, share in parts.items():
            check_range(name, check_type(name, share, (int, float)), "a share from 0 to 1", 0, 1)
        if not parts or sum(parts.values()) > 1 + 1e-9:
            raise wrong_value("parts", parts, "shares that are 1 together, such as train=0.8, test=0.2")
        self._parts = parts
        self._seed = seed

    @property
    def names(self) -> list[str]:
        """The names of the parts."""
        return list(self._parts)

    def part_of(self, checksum: str) -> str | None:
        """The part of a picture, by the SHA-256 of its bytes in hexadecimal; ``None`` if it is in none.

        :raises InvalidValueError: ``checksum`` is no such digest
        """
        if not _DIGEST.fullmatch(checksum):
            raise wrong_value("checksum", checksum, "64 hexadecimal digits, as Sample.checksum has them")
        digest = sha256(f"{self._seed}:{checksum}".encode()).hexdigest() if self._seed else checksum
        place, end = int(digest[:16], 16) / 16**16, 0.0
        for name, share in self._parts.items():
            end += share
            if place < end:
                return name
        return next(reversed(self._parts)) if sum(self._parts.values()) > 1 - 1e-9 else None


def split(
    session: Session,
    cls: type[_T],
    parts: Split | None = None,
    *,
    label: str | None = None,
    seed: int = 0,
    **shares: float,
) -> Iterator[tuple[str, _T]]:
    """Each picture with the name of its part, in pages: memory does not grow with their number.

    ::

        for part, fruit in split(session, Fruit, train=0.8, test=0.2):
            ...

    :param parts: how to divide; or give the shares by their names
    :param label: only the pictures of this label
    :raises InvalidValueError: as :class:`Split` does
    """
    return _split(session, cls, label, parts or Split(seed=seed, **shares))


def _split(session: Session, cls: type[_T], label: str | None, parts: Split) -> Iterator[tuple[str, _T]]:
    last = 0
    while True:
        statement = select(cls).where(cls.id > last).order_by(cls.id).limit(_LOOK_UP)
        if label is not None:
            statement = statement.where(cls.label == label)
        page = session.scalars(statement).all()
        if not page:
            return
        last = page[-1].id
        for row in page:
            part = parts.part_of(row.checksum or sha256(str(row.id).encode()).hexdigest())
            if part is not None:
                yield part, row


def _counter(session: Session, cls: type[LabelledImage], label: str) -> tuple[int, int]:
    counters = labels_of(cls)
    session.flush()
    found = session.execute(select(counters.c.total, counters.c.next_slot).where(counters.c.label == label)).first()
    return (0, 0) if found is None else (found.total, found.next_slot)


def _proportional(totals: Mapping[str, int], number: int, draw: random.Random) -> dict[str, int]:
    """How many of each label a draw from all pictures gives."""
    left, wanted, shares = sum(totals.values()), number, dict.fromkeys(totals, 0)
    chosen = sorted(draw.sample(range(left), min(wanted, left)))
    start, at = 0, 0
    for label, total in totals.items():
        end = start + total
        while at < len(chosen) and chosen[at] < end:
            shares[label] += 1
            at += 1
        start = end
    return shares


def _balanced(totals: Mapping[str, int], number: int, draw: random.Random) -> dict[str, int]:
    shares, left = dict.fromkeys(totals, 0), number
    while left and (open_labels := [label for label, total in totals.items() if shares[label] < total]):
        draw.shuffle(open_labels)
        each = left // len(open_labels)
        for label in open_labels:
            more = min(each or 1, totals[label] - shares[label], left)
            shares[label] += more
            left -= more
    return shares


def _distinct(session: Session, cls: type[_T], label: str, number: int, draw: random.Random) -> list[_T]:
    """``number`` different rows of a label, each set of them with the same chance."""
    if not number:
        return []
    _, slots = _counter(session, cls, label)
    order = draw.sample(range(slots), slots) if number * 4 > slots else None
    tried: set[int] = set()
    found: list[_T] = []
    while len(found) < number and len(tried) < slots:
        some = _some_slots(order, tried, slots, min(number - len(found), _LOOK_UP), draw)
        rows = {row.slot: row for row in session.scalars(select(cls).where(cls.label == label, cls.slot.in_(some)))}
        found += [rows[slot] for slot in some if slot in rows]
    return found


def _some_slots(
    order: Sequence[int] | None, tried: set[int], slots: int, number: int, draw: random.Random
) -> list[int]:
    """Slots that were not tried yet, in random order."""
    if order is not None:
        some = list(order[len(tried) : len(tried) + number])
    else:
        some = []
        while len(some) < number and len(tried) + len(some) < slots:
            slot = draw.randrange(slots)
            if slot not in tried and slot not in some:
                some.append(slot)
    tried.update(some)
    return some
