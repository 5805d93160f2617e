"""Events as metrics of OpenTelemetry.

::

    stop = observe_by_opentelemetry()

makes a histogram of seconds for each kind of event, ``imageattach.render.duration``,
``imageattach.store.put.duration``, ``imageattach.job.duration`` and so on, and the counter
``imageattach.sweep.deleted``.  The attributes are those of the events that have few values
(:mod:`~sqlalchemy_imageattach.observing`), and ``error.type`` where something failed; the histogram's count is how
often it happened.

It needs the extra ``opentelemetry``, and a provider that the application has set up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..extras import needs_extra
from ..observing import Event, observe
from ..version import VERSION

with needs_extra("opentelemetry", "metrics need OpenTelemetry"):
    from opentelemetry import metrics

__all__ = ["OpenTelemetryObserver", "observe_by_opentelemetry"]

#: The attributes that have few values, so that each combination may be a time series.
_FEW = ("mimetype", "store", "kind", "outcome", "dry_run")


class OpenTelemetryObserver:
    """Makes metrics of events: an observer for :func:`~sqlalchemy_imageattach.observing.observe`.

    :param meter_provider: of OpenTelemetry; by default the one of the process
    """

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        self._meter = metrics.get_meter("sqlalchemy_imageattach", VERSION, meter_provider)
        self._durations: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._deleted = self._meter.create_counter("imageattach.sweep.deleted", "{blob}", "blobs that sweeps deleted")

    def __call__(self, event: Event) -> None:
        attributes: dict[str, Any] = {name: event.attributes[name] for name in _FEW if name in event.attributes}
        if event.error is not None:
            attributes["error.type"] = type(event.error).__qualname__
        self._duration_of(event.name).record(event.seconds, attributes)
        if deleted := event.attributes.get("deleted"):
            self._deleted.add(deleted)

    def _duration_of(self, name: str) -> Any:
        with self._lock:
            found = self._durations.get(name)
            if found is None:
                found = self._meter.create_histogram(f"imageattach.{name}.duration", "s", f"how long a {name} takes")
                self._durations[name] = found
            return found


def observe_by_opentelemetry(meter_provider: metrics.MeterProvider | None = None) -> Callable[[], None]:
    """From now on events are metrics.

    :param meter_provider: of OpenTelemetry; by default the one of the process
    :return: a function after which they are not any more
    """
    return observe(OpenTelemetryObserver(meter_provider))
