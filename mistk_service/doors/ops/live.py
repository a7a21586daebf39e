"""Live data for the web page besides the status: the worker's output, predictions, and the usage of the machine."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Scope

from mistk_service.core.controller import Controller
from mistk_service.core.events import Event, PredictionAnswered, WorkerStarted
from mistk_service.errors import ServiceBusy
from mistk_service.recording.system_metrics import SystemSampler
from mistk_service.tracking.errors import SystemMetricsUnavailable

#: The number of lines kept, and the maximum length of each in characters.
_LINES, _LENGTH = 1000, 2000

#: Seconds between two checks for new lines, and the number of checks between two sets of figures.
_TICK, _TICKS = 0.25, 8

#: The number of predictions whose durations are summarized, and the seconds over which their rate is measured.
_RECENT, _RATE = 1000, 10.0

#: The maximum number of open streams.
_STREAMS = 256


class Live:
    """Collects live data for the page, and serves it as a stream of Server-Sent Events.

    :meth:`observe` is an observer of the controller, :meth:`add_line` receives the worker's output.
    """

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=_LINES)
        self._numbers = itertools.count(1)
        self._adding = threading.Lock()
        self._answered: deque[tuple[float, PredictionAnswered]] = deque(maxlen=_RECENT)
        self._failed = 0
        self._pid = 0
        self._sampler: SystemSampler | None = None
        self._sampled: tuple[float, Mapping[str, float]] = (-math.inf, {})
        self._sampling = asyncio.Lock()
        self._streams = 0

    def add_line(self, text: str) -> None:
        """Add a line of the worker's output. May be called on any thread."""
        with self._adding:  # several workers may print at the same time
            self._lines.append((next(self._numbers), text[:_LENGTH]))

    def observe(self, event: Event) -> None:
        """Handle an event of the controller."""
        if isinstance(event, PredictionAnswered):
            self._answered.append((time.monotonic(), event))
            self._failed += not event.succeeded
        elif isinstance(event, WorkerStarted):
            self._pid, self._sampler = event.pid, None

    def response(self, controller: Controller, scope: Scope) -> Response:
        """Return the stream: ``log`` events with new lines, and ``figures`` events every two seconds."""
        # Imported here, since it takes long to load and the service listens before.
        from mistk_service.doors.mistk.problems import answer
        from mistk_service.doors.mistk.watch import STREAM_HEADERS

        if scope["method"] == "HEAD":
            return Response(media_type="text/event-stream", headers=STREAM_HEADERS)
        if self._streams >= _STREAMS:
            return answer(ServiceBusy(f"{_STREAMS} pages are already open, which is the limit.", retry_after=5), {})
        return StreamingResponse(self._events(controller), media_type="text/event-stream", headers=STREAM_HEADERS)

    async def _events(self, controller: Controller) -> AsyncIterator[bytes]:
        known = 0
        self._streams += 1
        try:
            for tick in itertools.count():
                if lines := [line for line in tuple(self._lines) if line[0] > known]:
                    known = lines[-1][0]
                    yield _event("log", {"first": lines[0][0], "lines": [text for _, text in lines]})
                if tick % _TICKS == 0:
                    yield _event("figures", self._predictions(controller) | {"system": await self._system()})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(controller.terminated.wait(), _TICK)
                    return
        finally:
            self._streams -= 1

    def _predictions(self, controller: Controller) -> dict[str, Any]:
        """Return the number of predictions in flight, and statistics of the latest ones; durations in seconds."""
        seconds = sorted(event.seconds for _, event in self._answered)
        since = time.monotonic() - _RATE
        recent = sum(event.records for at, event in self._answered if at > since)
        found = {"inFlight": controller.view.in_flight, "failed": self._failed, "recordsPerSecond": recent / _RATE}
        if seconds:
            found |= {"median": seconds[len(seconds) // 2], "p95": seconds[len(seconds) * 95 // 100]}
        return found

    async def _system(self) -> Mapping[str, float]:
        """Return the usage of the machine by the worker, measured once for all streams; empty if it cannot be measured."""
        async with self._sampling:
            if time.monotonic() - self._sampled[0] > _TICK * (_TICKS - 1):
                with contextlib.suppress(SystemMetricsUnavailable):
                    sample = await asyncio.to_thread(self._sample, self._pid)
                    self._sampled = time.monotonic(), sample
            return self._sampled[1]

    def _sample(self, pid: int) -> Mapping[str, float]:
        sampler = self._sampler = self._sampler or SystemSampler(pid)
        return sampler.sample()


def _event(name: str, value: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(value))
