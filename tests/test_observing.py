"""Events: renders, calls of stores, jobs and sweeps, told to whoever observes, and as metrics of OpenTelemetry."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy.orm import Session, sessionmaker

from sqlalchemy_imageattach.errors import InvalidTypeError, StoreError, TryAgainError, UnreadableImageError
from sqlalchemy_imageattach.imaging import Rendition, render
from sqlalchemy_imageattach.integrations.opentelemetry import observe_by_opentelemetry
from sqlalchemy_imageattach.jobs import Job, JobRunner
from sqlalchemy_imageattach.key import ImageKey
from sqlalchemy_imageattach.maintenance import sweep
from sqlalchemy_imageattach.observing import Event, measured, observe
from sqlalchemy_imageattach.stores.memory import MemoryStore
from sqlalchemy_imageattach.stores.observed import ObservedStore
from sqlalchemy_imageattach.storewrapper import StoreWrapper
from sqlalchemy_imageattach.testing import Capabilities, FaultyStore, StoreContract

from .pictures import picture
from .uploads.models import Base, User

PNG = picture(80, 60, "red", "PNG")
KEY = ImageKey("user-picture", 1, 640, 480, "image/jpeg", "Xk3v9QpLm2wAbCdE")


@pytest.fixture
def events() -> Iterator[list[Event]]:
    found: list[Event] = []
    stop = observe(found.append)
    yield found
    stop()


class TestObservedStore(StoreContract):
    """It is a store as any other."""

    large = 400_000
    capabilities = Capabilities(copies=False)

    @pytest.fixture
    def store(self) -> ObservedStore:
        return ObservedStore(MemoryStore())


def test_each_call_of_a_store_is_an_event(events: list[Event]) -> None:
    store = ObservedStore(MemoryStore())
    store.put(KEY, io.BytesIO(PNG), reproducible=False)
    store.get(KEY).close()
    store.get_part(KEY, 1, 2).file.close()
    store.has_key(KEY)
    assert len(list(store.list_blobs())) == 1
    store.delete_key(KEY)
    store.put_once(KEY, io.BytesIO(PNG))
    store.url_of(KEY)  # no call of anything
    names = ["put", "get", "get", "has", "list", "delete", "put"]
    assert [event.name for event in events] == [f"store.{name}" for name in names]
    assert {event.attributes["store"] for event in events} == {"MemoryStore"}
    assert all(event.seconds >= 0 and event.error is None for event in events)


def test_no_verb_that_asks_a_store_is_forgotten() -> None:
    public = {name for name, value in vars(StoreWrapper).items() if callable(value) and not name.startswith("_")}
    by_calculation = {"get_url", "url_of", "locate", "own_key", "presign_upload"}
    about_itself = {"parts", "replicas", "targets", "is_same_place", "require_presence", "discard_temporary"}
    assert public - by_calculation - about_itself == {name for name in vars(ObservedStore) if not name.startswith("_")}


def test_what_fails_is_an_event_with_its_error(events: list[Event]) -> None:
    faulty = FaultyStore(MemoryStore())
    faulty.fail("get")
    with pytest.raises(StoreError):
        ObservedStore(faulty).get(KEY)
    [event] = events
    assert isinstance(event.error, StoreError)


def test_attaching_and_making_thumbnails_are_seen(events: list[Event], tmp_path) -> None:
    from sqlalchemy import create_engine

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    store = ObservedStore(MemoryStore())
    with Session(engine, info={"image_store": store}) as session:
        session.add(user := User(id=1))
        user.picture.from_blob(PNG)
        user.picture.generate_thumbnails([{"width": 40}, {"width": 20}])
        session.commit()
        assert [event.name for event in events].count("store.put") == 3
        [rendered] = [event for event in events if event.name == "render"]
        assert rendered.attributes == {"mimetype": "image/png", "pictures": 2}
        store.put(ImageKey("picture", 7, 1, 1, "image/png", "Xk3v9QpLm2wAbCdE"), io.BytesIO(PNG), reproducible=False)
        events.clear()
        with sweep(session, Base, store, dry_run=False, grace=timedelta(0)):
            pass
    [swept] = [event for event in events if event.name == "sweep"]
    assert swept.attributes == {"dry_run": False, "deleted": 1, "failed": 0}
    engine.dispose()


def test_a_render_that_fails_is_seen(events: list[Event]) -> None:
    damaged = PNG[:60] + bytes(20) + PNG[80:]
    with pytest.raises(UnreadableImageError):
        render(io.BytesIO(damaged), [Rendition(width=10)])
    assert [(event.name, type(event.error)) for event in events] in ([("render", UnreadableImageError)], [])


def test_jobs_are_seen_with_how_they_ended(events: list[Event]) -> None:
    def fail(_work: object) -> None:
        raise ConnectionResetError

    runner = JobRunner(sessionmaker(), Base, handlers={"good": lambda _work: None, "bad": fail})
    runner.run(Job("good"))
    runner.run(Job("nobody knows"))
    with pytest.raises(TryAgainError):
        runner.run(Job("bad"))
    assert [(event.attributes.get("kind"), event.attributes.get("outcome")) for event in events] == [
        ("good", "done"),
        ("nobody knows", "unknown"),
        ("bad", None),
    ]
    assert isinstance(events[-1].error, TryAgainError)


def test_an_observer_that_fails_is_logged_and_hinders_nobody(
    events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_event: Event) -> None:
        raise ZeroDivisionError

    stop = observe(broken)
    try:
        with measured("render"):
            pass
    finally:
        stop()
    assert [event.name for event in events] == ["render"]
    assert "ZeroDivisionError" in caplog.text
    with pytest.raises(InvalidTypeError, match="observer: expected a function"):
        observe("print")  # type: ignore[arg-type]


def test_who_has_stopped_is_told_no_more_and_stopping_twice_is_no_error() -> None:
    found: list[Event] = []
    stops = [observe(found.append) for _ in range(2)]
    with measured("render"):
        pass
    assert len(found) == 2
    for stop in (stops[0], stops[1], stops[1]):
        stop()
    with measured("render"):
        pass
    assert len(found) == 2


def test_threads_can_observe_at_once() -> None:
    def come_and_go() -> None:
        for _ in range(200):
            stop = observe(print)
            stop()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    from sqlalchemy_imageattach import observing

    assert observing._observers == ()


def test_opentelemetry_gets_metrics_with_few_attributes() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    stop = observe_by_opentelemetry(provider)
    try:
        store = ObservedStore(MemoryStore())
        for _ in range(3):
            store.has_key(KEY)
        with pytest.raises(ValueError, match="no"), measured("job", kind="mine", key="a secret name"):
            raise ValueError("no")
        with measured("sweep", dry_run=False, deleted=4, failed=0):
            pass
    finally:
        stop()
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: [*metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    [has] = found["imageattach.store.has.duration"]
    assert (has.count, dict(has.attributes)) == (3, {"store": "MemoryStore"})
    [job] = found["imageattach.job.duration"]
    assert dict(job.attributes) == {"kind": "mine", "error.type": "ValueError"}
    [deleted] = found["imageattach.sweep.deleted"]
    assert deleted.value == 4
    provider.shutdown()
