"""Work that follows the outermost commit: at once (:func:`on_commit`), or by a queue.

::

    queue = ThreadQueue(JobRunner(Session, Base))            # or CeleryQueue, DramatiqQueue, RQQueue
    Session.configure(info={"image_store": store, "image_queue": queue})

    with Session() as session:
        …
        enqueue_after_commit(session, Job.of("shop.watermark", photo.image.original))
        session.commit()
"""

from __future__ import annotations

from . import deletion  # noqa: F401 - which has a handler
from .after_commit import on_commit
from .job import Job
from .keys import decode_key, encode_key
from .queue import SESSION_QUEUE_KEY, Queue, enqueue_after_commit, find_queue
from .runner import Handler, JobRunner, Outcome, Work, handles
from .spread import Progress, Spread
from .threads import ThreadQueue
from .transient import is_transient

__all__ = [
    "SESSION_QUEUE_KEY",
    "Handler",
    "Job",
    "JobRunner",
    "Outcome",
    "Progress",
    "Queue",
    "Spread",
    "ThreadQueue",
    "Work",
    "decode_key",
    "encode_key",
    "enqueue_after_commit",
    "find_queue",
    "handles",
    "is_transient",
    "on_commit",
]
