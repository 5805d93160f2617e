"""What a web server and a worker import: each renders the SVG that it is given, and tells which children it has."""

from __future__ import annotations

import base64
import io
import os

from celery import Celery
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sqlalchemy_imageattach.imaging import ImagePolicy, Rendition, render
from sqlalchemy_imageattach.imaging.isolation import pool

POLICY = ImagePolicy().allowing("image/svg+xml")


def rendered(svg: bytes) -> dict[str, object]:
    """A PNG of it, and the process ids of the children that wait."""
    (made,) = render(io.BytesIO(svg), [Rendition(width=30, format="png")], POLICY)
    children = [child._process.pid for waiting in pool._pool._idle.values() for child in waiting]
    return {"png": base64.b64encode(made.blob).decode(), "children": children, "pid": os.getpid()}


async def _render(request: Request) -> JSONResponse:
    return JSONResponse(await run_in_threadpool(rendered, await request.body()))


web = Starlette(routes=[Route("/", _render, methods=["POST"])])

celery = Celery("hosts", broker=os.environ.get("HOSTS_BROKER"), backend=os.environ.get("HOSTS_BROKER"))
celery.conf.task_default_queue = os.environ.get("HOSTS_QUEUE", "hosts")
celery.conf.broker_connection_retry_on_startup = True


@celery.task(name="hosts.rendered")
def rendered_by_worker(svg: str) -> dict[str, object]:
    """The same, of text."""
    return rendered(svg.encode())
