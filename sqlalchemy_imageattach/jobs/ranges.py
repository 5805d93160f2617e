"""The rows of classes in parts of about the same size, one job for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy.orm import Mapper

from ..arguments import wrong_value
from ..bulk.rows import KeyRange, RowReader
from ..entity import Image
from .job import Job, name_of_class
from .keys import decode_key, encode_key
from .runner import Work

__all__ = ["jobs_by_range", "range_of"]


def jobs_by_range(session: Any, mappers: Iterable[Mapper[Any]], kind: str, parts: int, **params: Any) -> Iterator[Job]:
    """Jobs that together have each row of each class, also those that will have come by then.

    :param session: a session of the database
    :param mappers: of the classes
    :param kind: of the jobs
    :param parts: into how many parts to divide each class, at most
    :param params: what each of the jobs has besides
    """
    if not isinstance(parts, int) or parts < 1:
        raise wrong_value("parts", parts, "1 or more")
    reader = RowReader(session)
    for mapper in mappers:
        name = name_of_class(mapper.class_)
        for part in reader.ranges(mapper, parts):
            limits = {"after": _encoded(part.after), "upto": _encoded(part.upto)}
            yield Job(kind, params={"mapped_class": name, **limits, **params})


def range_of(work: Work, base: type[Any] = Image) -> tuple[Mapper[Any], KeyRange]:
    """The class and the rows that such a job is about.

    :param base: what the class has to be derived from
    :raises UnknownJobError: there is no such class any more
    """
    mapper = work.runner.find_mapper(work.job.params["mapped_class"], base)

    def limit(name: str) -> tuple[Any, ...] | None:
        values = work.job.params[name]
        return None if values is None else tuple(map(decode_key, values, mapper.primary_key))

    return mapper, KeyRange(limit("after"), limit("upto"))


def _encoded(limit: tuple[Any, ...] | None) -> list[Any] | None:
    return None if limit is None else [encode_key(value) for value in limit]
