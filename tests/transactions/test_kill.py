"""A process that is killed at any moment leaves no committed row without its blob."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from sqlalchemy_imageattach.maintenance import sweep
from sqlalchemy_imageattach.store import key_of
from sqlalchemy_imageattach.stores.fs import FileSystemStore

from .conftest import sqlite_engine
from .models import Base, Product, ProductPhoto, UserPicture

ROOT = Path(__file__).parents[2]
KILLS = 200


def test_after_200_kills_all_committed_rows_open(tmp_path: Path) -> None:
    """Power failures are another matter, for which there is ``fsync``."""
    engine = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(engine)
    store = FileSystemStore(tmp_path / "images", "http://images/")
    rng = random.Random(4711)
    histories: set[frozenset[str | None]] = set()
    command = [sys.executable, "-m", "tests.transactions.victim", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victims:
        assert victims.stdin is not None
        assert victims.stdout is not None
        tell = partial(print, file=victims.stdin, flush=True)
        for _ in range(KILLS):
            tell("go")
            lines = {victims.stdout.readline().strip() for _ in range(2)}
            [child] = lines - {"begun"}
            time.sleep(rng.uniform(0, 0.05))
            os.kill(int(child), signal.SIGKILL)
            tell("dead")
            assert victims.stdout.readline() == "reaped\n"
            with Session(engine) as session:
                images: list[Any] = [
                    image for cls in (UserPicture, ProductPhoto) for image in session.scalars(select(cls))
                ]
                for image in images:
                    assert hashlib.sha256(image.make_blob(store)).hexdigest() == image.checksum
                for product in session.scalars(select(Product)):
                    names = ("card", "square", "corner") if product.photo else ()
                    assert all(product.photo.variant(name).is_complete for name in names), "with the picture, or not"
                histories.add(frozenset(image.revision for image in images))
        victims.stdin.close()
    with Session(engine) as session, sweep(session, Base, store, dry_run=False, grace=timedelta(0), limit=1) as swept:
        assert swept.deleted > 0, "some must have died between writing a blob and committing its row"
    left = list(store.list_blobs())
    assert {blob.key for blob in left} == {key_of(image) for image in images}
    assert len(left) == len(images), "what they have left is swept, files that they have not written to their end too"
    engine.dispose()
    assert len(histories) > KILLS / 4, "the children must have committed something before they died"
