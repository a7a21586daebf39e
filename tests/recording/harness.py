"""A recorder with a store in a file, for tests of its writes and of outages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mistk_service.core.events import ActivityBegan, ActivityEnded, MetricsReported
from mistk_service.deadline import Deadline
from mistk_service.kinds.model import MODEL
from mistk_service.recording import Recorder, RecorderOptions
from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.embedded.local_tracking import OpenedTracking
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Run
from tests.service.harness import wait_until
from tests.support.harness import TIMEOUT

CONTAINER = "6f1c2a34-0000-4000-8000-000000000001"
INITIALIZED = [ActivityBegan("initialize", ([], {}, {"epochs": 1})), ActivityEnded("initialize", "completed", 0.1)]
TRAINING = [*INITIALIZED, ActivityBegan("train")]


class RecorderHarness:
    """A recorder with a store in a file, and what it shows and requests.

    Attributes:
        refusals: errors that opening the store raises first.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.refusals: list[Exception] = []
        self.shown: dict[str, Any] = {}
        self.held: list[bool] = []
        self._news = asyncio.Event()
        self.store = SqlStore.open(f"sqlite:///{folder / 'store.db'}", lock_timeout=0.05)
        self.opened = OpenedTracking(self.store, open_artifacts(folder / "artifacts"))
        self.options = RecorderOptions(
            MODEL, CONTAINER, "Digits", "digits:Digits", folder / "state", lambda: "1", **options
        )
        self.recorder: Recorder
        self.overdue: list[threading.Thread] = []
        self.record()

    def record(self, **options: Any) -> None:
        """Make a new recorder."""
        self.recorder = Recorder(self.open, self.options, show=self._show, hold=self._hold, **options)

    def open(self) -> OpenedTracking:
        if self.refusals:
            raise self.refusals.pop(0)
        return self.opened

    def _show(self, key: str, value: Any) -> None:
        self.shown[key] = value
        self._news.set()

    def _hold(self, held: bool) -> None:
        self.held.append(held)
        self._news.set()

    def observe(self, *events: Any) -> None:
        for event in events:
            self.recorder.observe(event)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something that the recorder shows or requests."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def stored(self) -> None:
        """Wait until files, too, are where they belong."""
        await asyncio.to_thread(wait_until, lambda: not self.recorder.waiting)

    async def recorded(self, status: str = "FINISHED") -> None:
        """Wait until the run stands so, and all that was observed is written."""
        await self.until(lambda: (self.shown.get("run") or {}).get("status") == status)
        await self.stored()
        await self.until(lambda: "experimentId" in self.shown["run"])

    async def close(self, seconds: float = TIMEOUT) -> None:
        deadline = Deadline(seconds)
        await asyncio.to_thread(self.recorder.close, deadline)
        self.overdue = deadline.overdue

    async def ended(self) -> None:
        """Wait for the end of a recorder that had no time for it: it does not wait for the store any more."""
        for thread in self.overdue:
            await asyncio.to_thread(thread.join, TIMEOUT)

    @property
    def runs(self) -> list[Run]:
        with open_store(f"sqlite:///{self.folder / 'store.db'}") as store:
            experiments = [experiment.experiment_id for experiment in store.search_experiments()]
            return [store.get_run(run.info.run_id) for run in store.search_runs(experiments)]

    def steps(self, key: str = "loss") -> list[int]:
        """The steps of a metric of the one run."""
        (run,) = self.runs
        return [point.step for point in self.store.get_metric_history(run.info.run_id, key)]


def points(first: int, last: int) -> MetricsReported:
    return MetricsReported(tuple(("loss", step / 7, step, step) for step in range(first, last)))
