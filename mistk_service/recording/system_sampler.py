"""Samples the system metrics of the worker while an activity runs, on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mistk_service.core.events import ActivityBegan, ActivityEnded, Event, WorkerStarted
from mistk_service.deadline import Deadline
from mistk_service.recording.system_metrics import SystemSampler
from mistk_service.tracking.errors import SystemMetricsUnavailable

__all__ = ["Sampling", "SystemSample"]

logger = logging.getLogger(__name__)

#: Seconds that a running measurement may take during shutdown.
_LONGEST = 1.0


@dataclass(frozen=True)
class SystemSample:
    """Measured values by name."""

    values: Mapping[str, float]


class Sampling:
    """Takes samples at intervals. :meth:`observe` returns at once.

    Args:
        interval: seconds between two samples.
        put: called with every sample, on the thread.
        note: called with a note if there will be no samples.
    """

    def __init__(
        self,
        interval: float,
        put: Callable[[SystemSample], None],
        note: Callable[[str], None],
        make: Callable[[int], SystemSampler] = SystemSampler,
    ) -> None:
        self._interval = interval
        self._put = put
        self._note = note
        self._make = make
        self._pid = 0
        self._running = 0
        #: Set while an activity runs, and during shutdown.
        self._busy = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking-system", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def observe(self, event: Event) -> None:
        """Follow the process id of the worker, and whether an activity runs."""
        if isinstance(event, WorkerStarted):
            self._pid = event.pid
        elif isinstance(event, ActivityBegan | ActivityEnded):
            self._running += 1 if isinstance(event, ActivityBegan) else -1
            if self._running:
                self._busy.set()
            elif not self._ending.is_set():
                self._busy.clear()

    def close(self, deadline: Deadline) -> None:
        """Stop. There are no samples after this, except for one that takes longer than a second or the deadline."""
        self._ending.set()
        self._busy.set()
        if self._thread.ident is not None:
            deadline.within(_LONGEST).join(self._thread)

    def _run(self) -> None:
        measured, sampler = 0, None
        try:
            while self._busy.wait() and not self._ending.is_set():
                if sampler is None or measured != self._pid:
                    if sampler is not None:
                        sampler.close()
                    measured, sampler = self._pid, self._make(self._pid)
                if not self._ending.wait(self._interval) and self._running and measured == self._pid:
                    self._put(SystemSample(sampler.sample()))
        except SystemMetricsUnavailable as error:
            self._note(f"There are no system metrics: {error}")
        except Exception as error:
            logger.exception("Sampling the system metrics failed unexpectedly.")
            self._note(f"There are no system metrics any more: {error}")
        finally:
            if sampler is not None:
                sampler.close()
