"""Blobs that a store did not delete when their transaction had ended, as jobs.

Without a queue they are left for the sweeper.  If the session has one, and the blob is in the store of the session,
which is that of the workers too, one of these jobs deletes it as soon as the store can.
"""

from __future__ import annotations

import logging

from sqlalchemy.orm import Session

from ..concurrency import run_blocking
from ..context import find_store
from ..entity.transactions.frame import BlobRef
from ..entity.transactions.ledger import left_behind
from ..errors import ImageAttachError
from ..key import ImageKey
from ..store import are_same_place
from .job import Job
from .queue import find_queue, hand_over
from .runner import Work, handles

__all__ = ["DELETE"]

#: The kind of these jobs.
DELETE = "imageattach.delete"

_log = logging.getLogger(__name__)


@handles(DELETE)
def _delete(work: Work) -> None:
    """The blob is not in the store any more.  A revision is given once, so no row has come to name it meanwhile."""
    key = ImageKey.parse_object_name(work.job.params["blob"])
    if key is None or key.revision is None:
        _log.error("%s is given up: expected the name of a blob with a revision", work.job)
        return
    work.store.delete_key(key)


def _enqueue(session: Session, blobs: list[BlobRef]) -> None:
    try:
        if (queue := find_queue(None, session.info)) is None:
            return
        store = find_store(None, session.info)
    except ImageAttachError:
        _log.exception("%d blobs are left for the sweeper", len(blobs))
        return
    for blob in blobs:
        if are_same_place(store, blob.store):
            run_blocking(hand_over, queue, Job(DELETE, params={"blob": blob.key.object_name()}))


left_behind.append(_enqueue)
