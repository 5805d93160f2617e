"""A process that is gone at a given moment, as by ``kill -9``: the tests look at what such processes leave behind.

::

    python -m tests.stores.s3.victim MOMENT DATABASE STORE [DESTINATION]
"""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.migration import migrate
from sqlalchemy_imageattach.store import Store
from sqlalchemy_imageattach.stores.by_url import store_from_url
from sqlalchemy_imageattach.stores.s3 import S3Store
from tests.migrating import Base, attach, picture

from .support import large_picture

#: After so many copies a migration is killed.
COPIES = 10


def die(**_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_within_an_upload_to(store: Store) -> None:
    assert isinstance(store, S3Store)
    store.client.meta.events.register("after-call.s3.UploadPart", die)


def attach_one(session: Session, store: Store, blob: bytes) -> None:
    attach(session, store, blob)
    session.flush()
    die()


def copy(session: Session, source: Store, destination: Store) -> None:
    for number, _ in enumerate(migrate(session, Base, source, destination, workers=3), 1):
        if number == COPIES:
            die()


def main(moment: str, database: str, url: str, *others: str) -> None:
    store, *destinations = map(store_from_url, (url, *others))
    with Session(create_engine(database)) as session:
        match moment:
            case "between put and commit":
                attach_one(session, store, picture())
            case "within an upload":
                die_within_an_upload_to(store)
                attach_one(session, store, large_picture())
            case "after some copies":
                copy(session, store, *destinations)
            case "within a copy":
                die_within_an_upload_to(*destinations)
                migrate(session, Base, store, *destinations, workers=3).execute()


if __name__ == "__main__":
    main(*sys.argv[1:])
