"""Pictures for training, collected by a request to a FastAPI application and while it goes on answering."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from sqlalchemy_imageattach.dataset import (
    Candidate,
    Collection,
    LabelledImage,
    SQLAlchemyDataset,
    check_label,
    collect,
    search_serpapi,
)
from sqlalchemy_imageattach.errors import ImageAttachError
from sqlalchemy_imageattach.remote import FetchPolicy
from sqlalchemy_imageattach.store import Store


class Base(DeclarativeBase):
    pass


class LabelledPicture(Base, LabelledImage):
    __tablename__ = "labelled_picture"


class Query(BaseModel):
    google_domain: str = "google.com"
    num: str = "100"
    ijn: str = "0"
    q: str
    api_key: str


class Status(BaseModel):
    status: str
    added: int = 0
    present: int = 0
    failed: int = 0
    reasons: dict[str, int] = {}
    error: str | None = None


Search = Callable[..., Iterator[Candidate]]


def create_app(
    sessions: sessionmaker[Session],
    store: Store,
    search: Search = search_serpapi,
    fetching: FetchPolicy | None = None,
) -> FastAPI:
    app = FastAPI(title="Pictures for training")
    dataset = SQLAlchemyDataset(sessions, LabelledPicture, store)
    tasks: dict[str, Status] = {}  # of this process; a table of yours where there are several

    def work(task: str, query: Query) -> None:
        def progress(report: Collection) -> None:
            tasks[task] = _status("Running", report)

        try:
            found = search(query.q, query.api_key, google_domain=query.google_domain, num=query.num, ijn=query.ijn)
            report = collect(dataset, found, query.q, fetching=fetching, progress=progress)
        except ImageAttachError as error:
            tasks[task] = Status(status="Failed", error=str(error))
        else:
            tasks[task] = _status("Complete", report)

    @app.post("/add_to_db/", status_code=202)
    def add_to_db(query: Query, background: BackgroundTasks, request: Request) -> dict[str, str]:
        try:
            check_label(query.q)
        except ImageAttachError as error:
            raise HTTPException(422, str(error)) from error
        task = uuid.uuid4().hex
        tasks[task] = Status(status="Running")
        background.add_task(work, task, query)
        return {"status": "Running", "status_url": str(request.url_for("status", task=task))}

    @app.get("/status/{task}")
    def status(task: str) -> Status:
        if task not in tasks:
            raise HTTPException(404)
        return tasks[task]

    @app.get("/count/{label}")
    def count(label: str) -> dict[str, int]:
        return {"count": dataset.count(label)}

    @app.get("/random/{label}")
    def random_picture(label: str) -> dict[str, str]:
        sample = dataset.random(label)
        if sample is None:
            raise HTTPException(404)
        return {"uri": sample.uri, "mimetype": sample.mimetype, "sha256": sample.checksum}

    return app


def _status(word: str, report: Collection) -> Status:
    return Status(
        status=word,
        added=report.added,
        present=report.present,
        failed=report.failed,
        reasons=dict(report.reasons),
        error=None if report.source_error is None else str(report.source_error),
    )
