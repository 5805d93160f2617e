"""The programs that run web sites and workers, with their own processes, render a picture in a child each."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.jobs.workers import REDIS, is_reachable, new_name
from tests.needs import unavailable
from tests.pictures import SVG, color_of, size_of

from .test_pool import ends, is_alive

pytestmark = pytest.mark.skipif(os.name != "posix", reason="children are limited by POSIX")
HOSTS = "tests.imaging.isolation.hosts"


@contextmanager
def program(arguments: Sequence[str], *descriptors: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program of the site, which is asked to end at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", *arguments],
        cwd=Path(__file__).parents[3],
        env=os.environ | environment,
        pass_fds=descriptors,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def check_picture(answer: dict[str, Any], process: subprocess.Popen[bytes]) -> list[int]:
    blob = base64.b64decode(answer["png"])
    assert (size_of(blob), color_of(blob)) == ((30, 20), (255, 0, 0))
    assert answer["children"], "a child has drawn it"
    assert all(is_alive(pid) for pid in answer["children"])
    assert process.poll() is None
    return answer["children"]


def test_uvicorn_renders_in_a_child_that_ends_with_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ["uvicorn", f"{HOSTS}:web", "--fd", str(listener.fileno()), "--log-level", "error"]
        with program(server, listener.fileno()) as process:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            answer = httpx.post(address, content=SVG, timeout=None).json()
            assert answer["pid"] == process.pid
            children = check_picture(answer, process)
    assert all(ends(pid) for pid in children)


def test_a_process_of_celerys_prefork_pool_renders_in_a_child_that_ends_with_it() -> None:
    if not is_reachable(REDIS):
        unavailable(f"no Redis at {REDIS} (set IMAGEATTACH_REDIS)")
    from celery import Celery

    name = new_name()
    worker = ["celery", "--app", f"{HOSTS}:celery", "worker", "--pool", "prefork", "--concurrency", "1"]
    quiet = ["--queues", name, "--without-gossip", "--without-mingle", "--without-heartbeat"]
    client = Celery("client", broker=REDIS, backend=REDIS)
    try:
        with program([*worker, *quiet], HOSTS_BROKER=REDIS, HOSTS_QUEUE=name) as process:
            result = client.send_task("hosts.rendered", [SVG.decode()], queue=name)
            answer = result.get()
            assert answer["pid"] != process.pid, "it is a process below the worker"
            children = check_picture(answer, process)
            result.forget()
            os.kill(answer["pid"], signal.SIGKILL)
            assert all(ends(pid) for pid in children)
    finally:
        client.close()
        _forget(name)


def _forget(name: str) -> None:
    from redis import Redis

    with Redis.from_url(REDIS) as redis:
        for key in redis.scan_iter(f"*{name}*", count=1000):
            redis.delete(key)
