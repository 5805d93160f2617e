"""Which pictures may be of a label: those that look like the ones that have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import exists, inspect, select
from sqlalchemy.orm import Session, aliased

from ..arguments import check_range, check_type, wrong_type
from ..errors import DatasetError
from .labels import LabelledImage
from .sample import check_label

if TYPE_CHECKING:
    from ..search import Embeddings

__all__ = ["Suggestion", "suggest"]


class Suggestion(NamedTuple):
    """A picture that may be of a label.

    :ivar picture: its row, which has another label, or the same one as yet
    :ivar distance: from the middle of the pictures of the label: 0 is the same, 1 has nothing in common
    """

    picture: LabelledImage
    distance: float


def suggest(
    session: Session, index: Embeddings, label: str, *, among: str | None = None, limit: int = 10, examples: int = 1000
) -> list[Suggestion]:
    """The pictures of other labels that look most like those of ``label``, the nearest first.

    They are compared with the middle of the label's pictures, the mean of their vectors (the *nearest centroid*, or
    Rocchio's, classifier).  Pictures whose bytes the label has already are left out.  Nothing is changed: whoever looks
    at them decides ::

        looks = embeddings_of(Fruit)
        for picture, distance in suggest(session, looks, "Apple", among="unsorted"):
            print(picture.uri, round(distance, 2))

    :param session: reads, in its transaction
    :param index: of the class of the pictures, by :func:`~sqlalchemy_imageattach.search.embeddings_of`
    :param label: that has some pictures already
    :param among: the one label whose pictures are looked at, such as that of what nobody has sorted; by default all
        others
    :param limit: how many pictures to give at most
    :param examples: of how many pictures of the label the middle is reckoned at most, the first ones
    :raises DatasetError: no picture of the label is indexed
    :raises EmptyIndexError: no picture at all is indexed
    :raises InvalidTypeError: the index is not one of the embeddings of a :class:`LabelledImage` class
    :raises InvalidValueError: a label is empty or a path, or a number is less than 1
    """
    cls = _class_of(index)
    for name, number in (("limit", limit), ("examples", examples)):
        check_range(name, check_type(name, number, int), "1 or more", 1)
    middle = _middle(session, index, cls, check_label(label), examples)
    twin = aliased(cls)
    is_there = exists().where(twin.label == label, twin.checksum == cls.checksum)
    others: Any = select(cls, index.distance(middle)).where(cls.label != label, ~is_there)
    if among is not None:
        others = others.where(cls.label == check_label(among))
    found = session.execute(index.nearest(others, middle, limit))
    return [Suggestion(picture, distance) for picture, distance in found]


def _class_of(index: Any) -> type[LabelledImage]:
    cls = getattr(index, "cls", None)
    if not (isinstance(cls, type) and issubclass(cls, LabelledImage) and hasattr(index, "nearest")):
        raise wrong_type("index", index, "the embeddings of a LabelledImage class", "embeddings_of(Fruit) makes them")
    return cls


def _middle(session: Session, index: Embeddings, cls: type[LabelledImage], label: str, examples: int) -> Any:
    session.flush()
    index.check(session.connection(bind_arguments={"mapper": inspect(cls)}).execute)
    row = index.table.alias()
    statement = select(row.columns.vector).select_from(cls).join(row, index.is_current(cls, row))
    found = session.scalars(statement.where(cls.label == label).order_by(cls.id).limit(examples))
    total: Any = None
    for vector in found:
        total = vector if total is None else total + vector
    if total is None:
        raise DatasetError(
            f"expected pictures of {label!r} that are indexed, got none; collect or attach some, or run build_index()"
        )
    return total
