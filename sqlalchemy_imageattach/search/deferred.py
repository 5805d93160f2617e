"""Indexing after the commit: by a queue where the session has one, else at once."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Final

from sqlalchemy.orm import Session

from ..bulk.rows import bind_of
from ..context import find_store
from ..entity import Image
from ..errors import ContextError
from ..jobs import Job, Work, encode_key, find_queue, handles, on_commit
from ..jobs.job import name_of_class
from ..jobs.queue import hand_over
from .filling import index_rows
from .index import PictureIndex
from .registry import indexes_of
from .shards import session_of_shard

__all__ = ["index_later"]

#: The kind of the jobs.
INDEX: Final = "imageattach.index"


def index_later(index: PictureIndex, session: Session, rows: list[Any], shard: Any = None) -> None:
    """Index ``rows`` once their transaction has committed; what fails then is left for ``build_index()``."""
    queue = find_queue(None, session.info)
    for row in rows:
        identity = tuple(index.mapper.primary_key_from_instance(row))
        if queue is not None and isinstance(row, Image):
            image_class = name_of_class(type(row))
            keys = tuple(encode_key(value) for value in identity)
            job = Job(INDEX, image_class, keys, getattr(row, "revision", None), {"extractor": index.measure.name})
            on_commit(session, partial(hand_over, queue, job))
        else:
            # the store is found now, while the context of the application is that of the attach
            info = dict(session.info)
            with suppress(ContextError):  # files need none
                info["image_store"] = find_store(None, session.info)
            bind = bind_of(session_of_shard(session, shard), index.mapper)
            on_commit(session, partial(_index_now, index, bind, info, identity))


def _index_now(index: PictureIndex, bind: Any, info: dict[Any, Any], identity: tuple[Any, ...]) -> None:
    with Session(bind, info=info) as session:
        row = session.get(index.cls, identity)
        if row is not None:
            index_rows(index, session, [row])
            session.commit()


@handles(INDEX)
def _index(work: Work) -> None:
    with work.session() as session:
        row = work.find_image(session)
        if row is None:
            return
        for index in indexes_of(type(row)):
            if index.measure.name == work.job.params["extractor"]:
                index_rows(index, session, [row], work.store)
        session.commit()
