"""A process of an application that many ask for one size at once: run by ``test_on_demand_processes.py``.

``python -m tests.variants.asking DATABASE DIRECTORY SECRET PATH COUNT``: prints ``ready``, waits for a line, and prints
the statuses, the digests of what it has sent, and how many pictures it has made.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from sqlalchemy_imageattach.stores.fs import FileSystemStore
from sqlalchemy_imageattach.variants import OnDemand

from ..serving.doors import wsgi
from .models import ProductPhoto


def main(database: str, directory: str, secret: str, path: str, count: int) -> None:
    made: list[object] = []
    thumbnails: Any = importlib.import_module("sqlalchemy_imageattach.entity.thumbnails")
    render = thumbnails.render

    def counting(*args: Any) -> Any:
        made.append(args)
        threading.Event().wait(0.3)  # so that the others come meanwhile, as they do with a large picture
        return render(*args)

    thumbnails.render = counting
    options = {"timeout": 60} if database.startswith("sqlite") else {}
    sessions = sessionmaker(create_engine(database, connect_args=options))
    store = FileSystemStore(directory, "/images/")
    endpoint = OnDemand(sessions, secret, [ProductPhoto], base_url="/sized/", store=store)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with ThreadPoolExecutor(count) as pool:
        replies = [job.result() for job in [pool.submit(wsgi.ask, endpoint, path) for _ in range(count)]]
    endpoint.close()
    bodies = {hashlib.sha256(reply.body).hexdigest() for reply in replies}
    json.dump(
        {"statuses": [reply.status for reply in replies], "bodies": sorted(bodies), "made": len(made)}, sys.stdout
    )


if __name__ == "__main__":
    _, database, directory, secret, path, number = sys.argv
    main(database, directory, secret, path, int(number))
