"""The rows of image classes in parts of about the same size, one job for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..bulk.classes import image_mappers
from ..bulk.rows import KeyRange, RowReader
from ..errors import InvalidValueError
from .job import Job
from .keys import decode_key, encode_key
from .runner import Work

__all__ = ["jobs_by_range", "range_of"]


def jobs_by_range(session: Any, declarative_base: Any, kind: str, parts: int, **params: Any) -> Iterator[Job]:
    """Jobs that together have each row of each image class, also those that will have come by then.

    :param session: a session of the database
    :param declarative_base: the base class of the mapped classes, or their registry
    :param kind: of the jobs
    :param parts: into how many parts to divide each class, at most
    :param params: what each of the jobs has besides
    """
    if not isinstance(parts, int) or parts < 1:
        msg = f"parts: expected 1 or more, got {parts!r}"
        raise InvalidValueError(msg)
    reader = RowReader(session)
    for mapper in image_mappers(declarative_base):
        name = f"{mapper.class_.__module__}:{mapper.class_.__qualname__}"
        for part in reader.ranges(mapper, parts):
            limits = {"after": _encoded(part.after), "upto": _encoded(part.upto)}
            yield Job(kind, params={"image_class": name, **limits, **params})


def range_of(work: Work) -> tuple[type[Any], KeyRange]:
    """The class and the rows that such a job is about.

    :raises UnknownJobError: there is no such class any more
    """
    mapper = work.runner.find_mapper(work.job.params["image_class"])

    def limit(name: str) -> tuple[Any, ...] | None:
        values = work.job.params[name]
        return None if values is None else tuple(map(decode_key, values, mapper.primary_key))

    return mapper.class_, KeyRange(limit("after"), limit("upto"))


def _encoded(limit: tuple[Any, ...] | None) -> list[Any] | None:
    return None if limit is None else [encode_key(value) for value in limit]
