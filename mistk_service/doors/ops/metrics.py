"""Metrics for Prometheus, from the controller's events and from the requests to the API."""

from __future__ import annotations

import itertools
import math
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.core.controller import Controller
from mistk_service.core.events import ActivityEnded, Event, PredictionAnswered, WorkerStarted
from mistk_service.core.view import InstanceView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Buckets in seconds, from a stream prediction of a small model to a training of a day.
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ACTIVITY_BUCKETS = (0.1, 1, 10, 60, 300, 1800, 3600, 14400, 86400)

_OUTCOMES = {True: "completed", False: "failed"}


class ServiceMetrics:
    """The metrics of one service, in a separate registry.

    :meth:`observe` is an observer of the controller, :meth:`count` the middleware around the application.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = _RequestCollector()
        self.registry.register(self._requests)
        self._activities = Histogram(
            "mistk_activity_seconds",
            "Seconds that activities of the model took, by operation and outcome.",
            ["operation", "outcome"],
            buckets=_ACTIVITY_BUCKETS,
            registry=self.registry,
        )
        self._restarts = Counter(
            "mistk_worker_restarts_total", "Workers started after the first.", registry=self.registry
        )
        self._state = Gauge("mistk_state", "1 for the current state, otherwise 0.", ["state"], registry=self.registry)

        self._worker_pid = 0  # there is no such process, so there are no metrics yet
        ProcessCollector(registry=self.registry)
        ProcessCollector(namespace="mistk_worker", pid=lambda: self._worker_pid, registry=self.registry)
        PlatformCollector(registry=self.registry)

    def watch(self, controller: Controller, build: Mapping[str, str]) -> None:
        """Add the metrics that are computed on request, and the facts about the build."""
        view = controller.view
        Info("mistk_build", "Version of the service, and the model it serves.", registry=self.registry).info(
            dict(build)
        )
        self.registry.register(_ProgressCollector(view))
        for state in controller.kind.states:
            self._state.labels(state.value).set_function(partial(lambda state: float(view.state == state), state))
        queue = Gauge("mistk_stream_queue", "Stream predictions in flight.", registry=self.registry)
        queue.set_function(lambda: view.in_flight)
        usable = Gauge("mistk_replicas_usable", "Replicas that can answer predictions now.", registry=self.registry)
        usable.set_function(lambda: view.replicas.usable)
        watchers = Gauge("mistk_watchers", "Open watches of the status.", registry=self.registry)
        watchers.set_function(lambda: controller.log.watchers)

    def observe(self, event: Event) -> None:
        """Count an event of the controller."""
        if isinstance(event, PredictionAnswered):
            self._requests.records[event.succeeded] += event.records
        elif isinstance(event, ActivityEnded):
            self._activities.labels(event.operation, event.outcome).observe(event.seconds)
        elif isinstance(event, WorkerStarted):
            self._worker_pid = event.pid
            if event.restarts:
                self._restarts.inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def count(self, app: ASGIApp, label: Callable[[str], tuple[str, str] | None]) -> ASGIApp:
        """Return ``app`` with its requests to APIs counted.

        Args:
            app: the whole application, so that requests refused before they reach an API are counted too.
            label: returns the API and the operation of a path; None for paths that are not counted, such as probes, scrapes
                and the page. It returns few different values, so that clients cannot fill the memory with paths.
        """

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            operation = label(scope["path"]) if scope["type"] == "http" else None
            if operation is None:
                await app(scope, receive, send)
                return
            began = time.perf_counter()

            async def recording_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self.add_request(*operation, message["status"], time.perf_counter() - began)
                await send(message)

            await app(scope, receive, recording_send)

        return counted

    def add_request(self, door: str, operation: str, status: int | str, seconds: float) -> None:
        """Count a request to an API: its HTTP status, or the name of its status in gRPC, and the seconds that it took."""
        self._requests.add(door, operation, status, seconds)


class _RequestCollector(Collector):
    """The number of requests and their latencies. The library's own metrics lock several times for each request."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, str, int | str], int] = defaultdict(int)
        #: The number of requests in each bucket, and above the last one.
        self._buckets: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * (len(_REQUEST_BUCKETS) + 1))
        self._seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        #: The records of stream predictions, by whether they succeeded.
        self.records = dict.fromkeys(_OUTCOMES, 0)

    def add(self, door: str, operation: str, status: int | str, seconds: float) -> None:
        """Count a request."""
        self._counts[door, operation, status] += 1
        key = door, operation
        self._buckets[key][bisect_left(_REQUEST_BUCKETS, seconds)] += 1
        self._seconds[key] += seconds

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "mistk_requests", "HTTP requests, by API, operation and status.", labels=["door", "operation", "status"]
        )
        for (door, operation, status), count in self._counts.items():
            requests.add_metric([door, operation, str(status)], count)
        latency = HistogramMetricFamily(
            "mistk_request_seconds",
            "Seconds until the response headers, by API and operation.",
            labels=["door", "operation"],
        )
        for key, counts in self._buckets.items():
            bounds = map(floatToGoString, (*_REQUEST_BUCKETS, math.inf))
            latency.add_metric(key, list(zip(bounds, itertools.accumulate(counts), strict=True)), self._seconds[key])
        records = CounterMetricFamily(
            "mistk_stream_records", "Records answered by stream prediction.", labels=["outcome"]
        )
        for succeeded, count in self.records.items():
            records.add_metric([_OUTCOMES[succeeded]], count)
        yield from (requests, latency, records)


class _ProgressCollector(Collector):
    """The progress of the running activity, if it reports any."""

    def __init__(self, view: InstanceView) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        labels = ["operation", "unit"]
        done = GaugeMetricFamily("mistk_progress_done", "Steps that the running activity has done.", labels=labels)
        total = GaugeMetricFamily(
            "mistk_progress_total", "Total steps of the running activity, if known.", labels=labels
        )
        running, progress = self._view.running, self._view.progress
        if running is not None and progress is not None:
            values = [running.operation, progress.unit]
            done.add_metric(values, progress.done)
            if progress.total is not None:
                total.add_metric(values, progress.total)
        yield from (done, total)
