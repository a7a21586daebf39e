"""The recorder takes events on the event loop, and writes the run on its own thread.

Events are only put into a queue, so that a slow store does not slow down the model. If many points wait, the worker is asked
to hold back its metrics, so that memory stays bounded and nothing is lost. While the store is unavailable, the thread retries
in order, and the status shows why.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    Event,
    InstanceReset,
    MetricsReported,
    ParamsReported,
    PredictionAnswered,
    PredictionBegan,
    PredictionWithdrawn,
    TagsSet,
    WorkerStarted,
)
from mistk_service.deadline import Clock, Deadline
from mistk_service.recording.file_queue import FileQueue
from mistk_service.recording.lifecycle import Lifecycle, StreamTotals
from mistk_service.recording.liveness import ContainerLock, dead_containers
from mistk_service.recording.open_run import OpenRun
from mistk_service.recording.orphaned_runs import end_runs_of
from mistk_service.recording.retry import RetryTimeout, StoreRetry
from mistk_service.recording.run_lease import RunLease
from mistk_service.recording.run_manager import RunManager
from mistk_service.recording.run_options import RecorderOptions
from mistk_service.recording.run_preview import NextRun, RunPreview
from mistk_service.recording.spool_cleanup import SpoolCleanup
from mistk_service.recording.system_metrics import Sampling, SystemSample
from mistk_service.recording.tracking_status import TrackingStatus
from mistk_service.tracking.embedded.local_tracking import OpenedTracking
from mistk_service.tracking.errors import StoreLost

if TYPE_CHECKING:
    from mistk_service.tracking.sql.writer_leases import WriterLeases
    from mistk_service.tracking.store._store import Store

logger = logging.getLogger(__name__)

#: The numbers of waiting points at which the worker is asked to hold back, and to resume.
HIGH, LOW = 200_000, 100_000

#: Points that are written at once.
_GROUP = 10_000

#: Seconds between two writes of the totals of stream predictions.
_STREAM_INTERVAL = 10.0

#: Seconds between two checks of an idle store.
_CHECK_INTERVAL = 1.0

#: Events that a run does not have.
_UNRECORDED = (PredictionBegan, PredictionWithdrawn)

#: The items of the queue.
_Item = Event | NextRun | StreamTotals | SystemSample | SpoolCleanup


class Recorder:
    """Records the runs of a container.

    Call :meth:`observe` and :meth:`start` on the event loop, and :meth:`close` on another thread.

    Args:
        open_store: returns the store and the artifacts, or raises StoreError; called on the recorder's thread.
        show: shows a value under a key of the status, None removes it; called on the event loop.
        hold: asks the worker to hold back metrics, or to resume; called on the event loop.
        high: the number of waiting points above which the worker is asked to hold back.
        low: the number at which it is asked to resume.
        clock: a monotonic clock, in seconds, by which the totals of stream predictions are due.
    """

    def __init__(
        self,
        open_store: Callable[[], OpenedTracking],
        options: RecorderOptions,
        *,
        show: Callable[[str, Any], None],
        hold: Callable[[bool], None],
        high: int = HIGH,
        low: int = LOW,
        clock: Clock = time.monotonic,
    ) -> None:
        self._open_store = open_store
        self._options = options
        self._hold = hold
        self._held = False
        self._high, self._low = high, low
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._preview = RunPreview(options.kind, options.run_options, lambda run: show("run", run), options.root_path)
        self._status = TrackingStatus(lambda key, value: self._on_loop(show, key, value))
        self._retry = StoreRetry(self._wait, self._status.store_error)
        self._files = FileQueue(self._status.artifact_error)
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[tuple[_Item, int]] = deque([(self._preview.first_run, _now())])
        self._waiting = 0
        self._totals = StreamTotals()
        self._totals_due = clock() + _STREAM_INTERVAL
        #: When everything has to be written, once the service ends.
        self._deadline: Deadline | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking-recorder", daemon=True)
        self._confirmed: dict[str, Any] = {}
        self._sampling: Sampling | None = None
        if options.system_interval is not None:
            self._sampling = Sampling(options.system_interval, self._put, self._status.note)
        #: Whether everything was written, and whether the store was opened.
        self._done = self._opened = False

    @property
    def waiting(self) -> int:
        """The number of points, files and other items that wait to be written."""
        return self._waiting + self._files.waiting

    @property
    def lost(self) -> str | None:
        """Why writes would be lost, if the file of the store was deleted or replaced; otherwise None."""
        error = self._retry.error
        return str(error) if isinstance(error, StoreLost) else None

    # --- on the event loop ----------------------------------------------------------------------------------------

    def observe(self, event: Event) -> None:
        """Handle an event of the controller. Returns at once."""
        if isinstance(event, PredictionAnswered):
            # There may be thousands per second. An idle thread reads the totals; a busy one gets them through the queue.
            self._totals = self._totals.plus(event)
            if self._clock() >= self._totals_due:
                self._totals_due = self._clock() + _STREAM_INTERVAL
                self._put(self._totals)
            return
        if isinstance(event, _UNRECORDED):
            return  # waking the thread would cost as much as the prediction
        if isinstance(event, ActivityBegan | ActivityEnded) and self._options.kind.operations[event.operation].is_step:
            # There may be hundreds per second. Of a step that fails, the run gets the beginning and the end.
            if isinstance(event, ActivityBegan) or event.failure is None:
                return
            self._preview.observe(began := ActivityBegan(event.operation, id=event.id))
            self._put(began)
        if self._sampling is not None:
            self._sampling.observe(event)
        with self._changed:
            if isinstance(event, ActivityBegan):
                configure = self._options.kind.operations[event.operation].configures_run
                if configure is not None:
                    self._put(self._preview.restart(configure(event.arguments).properties))
            self._preview.observe(event)
            if isinstance(event, InstanceReset):
                totals, self._totals = self._totals, StreamTotals()
                self._put(totals)
            self._put(event)
            if isinstance(event, InstanceReset):
                self._put(self._preview.restart())
                # The worker has ended, and the next one has not started.
                self._put(SpoolCleanup.in_folder(self._options.spool))
        if not self._held and self._waiting > self._high:
            self._held = True
            self._hold(True)

    def run_id(self, operation: str, arguments: tuple[Any, ...]) -> str | None:
        """Return the id of the open run, or of the run that an operation opens; None if there is neither."""
        return self._preview.run_id(operation, arguments)

    async def run_written(self, seconds: float) -> None:
        """Wait until the store has the run that the status shows, for a limited time."""
        await self._preview.written(seconds)

    def show_remotes(self, remotes: list[dict[str, Any]]) -> None:
        """Show the states of the remotes, as JSON."""
        self._status.remotes(remotes)

    def _put(self, item: _Item) -> None:
        with self._changed:
            self._queue.append((item, _now()))
            self._waiting += _weight(item)
            self._changed.notify()

    def start(self) -> None:
        """Start writing. Earlier events have waited in the queue."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._files.start()
        if self._sampling is not None:
            self._sampling.start()

    def _release(self) -> None:
        if self._held and self._waiting <= self._low:
            self._held = False
            self._hold(False)

    def _on_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        """Make a call on the event loop, unless the loop has ended."""
        assert self._loop is not None
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    # --- from another thread --------------------------------------------------------------------------------------

    def close(self, deadline: Deadline) -> None:
        """Write what waits, end the open run, and stop by the deadline. What remains is logged."""
        if self._thread.ident is None:
            return  # it was never started, because there was no model
        if self._sampling is not None:
            self._sampling.close(deadline)
        with self._changed:
            self._deadline = deadline
            self._ending.set()
            self._changed.notify()
        deadline.join(self._thread)
        self._files.log_rest()
        if not self._done and self._has_something():
            logger.error(
                "The service ends before everything is tracked: %d %s not written. The next container with this state "
                "directory marks the run as failed.",
                self._waiting,
                "report was" if self._waiting == 1 else "reports were",
            )

    # --- on the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        lock = ContainerLock(self._options.locks, self._options.container_id)
        lease: RunLease | None = None
        try:
            # Before the store is opened, so that the next container finds the spool of this one even if it is killed now.
            lock.hold()
            # Any error may be temporary, such as too many open files.
            opened = self._retry.call(self._open_store, on=Exception)
            lock.hold()  # if the folder could not be created before
            self._opened = True
            self._status.opened(opened.store.uri)
            self._guarded(lambda: self._end_orphaned_runs(opened))
            if opened.leases is not None:
                lease = self._lease(opened.leases, opened.store)
                self._retry.call(lease.start)
            manager = RunManager(opened, self._options, self._retry, self._files, self._status.note, lease)
            self._follow(Lifecycle(self._options.kind, manager, self._options.run_options, self._confirm), opened)
            self._done = True
            assert self._deadline is not None, "it follows until it is closed"
            self._files.close(self._deadline)
            shutil.rmtree(self._options.spool, ignore_errors=True)
            lock.release()
        except RetryTimeout:
            pass  # close logs what remains
        except Exception:
            # Only a bug outside of the guarded writes leads here. What follows is not recorded.
            logger.exception("Recording has failed unexpectedly.")
            self._status.store_error("Recording has failed unexpectedly; see the service's log.")
        finally:
            soon = (self._deadline or Deadline()).within(0.0)
            if not self._done:
                self._files.close(soon)
            if lease is not None:
                lease.close(self._deadline or soon, done=self._done)
            # Unless everything is written, the file stays, so that another container cleans up.
            lock.abandon()

    def _lease(self, leases: WriterLeases, store: Store) -> RunLease:
        once = StoreRetry(lambda _: False, lambda _: None)  # the next claim is the next attempt

        def end_runs(container_id: str, last_seen: int) -> None:
            end_runs_of(container_id, store, once, last_seen, _now())

        return RunLease(leases, self._options.container_id, self._options.run_lease, end_runs)

    def _confirm(self, run: OpenRun, life: int) -> None:
        info = run.info
        name = run.tags.get("mlflow.runName", info.run_name)
        shown = {"id": info.run_id, "name": name, "experimentId": info.experiment_id}
        if shown != self._confirmed:
            self._confirmed = shown
            self._on_loop(self._preview.confirm, life, shown)

    def _end_orphaned_runs(self, opened: OpenedTracking) -> None:
        with dead_containers(self._options.locks) as dead:
            for container_id, last_seen in dead.items():
                end_runs_of(container_id, opened.store, self._retry, last_seen, _now())
                shutil.rmtree(self._options.spool.with_name(container_id), ignore_errors=True)

    def _follow(self, lifecycle: Lifecycle, opened: OpenedTracking) -> None:
        """Write items until the service ends and nothing is left."""
        checked = self._clock()
        while (item := self._next()) is not None or not self._ending.is_set():
            if item is not None:
                event, now, weight = item
                self._guarded(partial(self._take, lifecycle, event, now))
                self._written(weight)
                continue
            self._guarded(lambda: self._retry.call(opened.store.check))
            if self._clock() - checked >= _STREAM_INTERVAL:
                checked = self._clock()
                self._guarded(lambda: lifecycle.take(self._totals, _now()))
        self._guarded(lambda: lifecycle.take(self._totals, _now()))
        self._guarded(lambda: lifecycle.close(_now()))

    def _take(self, lifecycle: Lifecycle, item: _Item, now: int) -> None:
        if isinstance(item, SpoolCleanup):
            item.remove(self._files.claims())
            return
        lifecycle.take(item, now)
        if isinstance(item, InstanceReset):
            self._status.clear()

    def _next(self) -> tuple[_Item, int, int] | None:
        """Wait for the next item, and return it with its time and weight, or None after a timeout.

        Consecutive points are merged.
        """
        with self._changed:
            if not self._queue and not self._ending.is_set():
                self._changed.wait(_CHECK_INTERVAL)
            if not self._queue:
                return None
            first, now = self._queue.popleft()
            if not isinstance(first, MetricsReported):
                return first, now, _weight(first)
            points = list(first.points)
            while self._queue and len(points) < _GROUP and isinstance(following := self._queue[0][0], MetricsReported):
                points += following.points
                self._queue.popleft()
        return MetricsReported(tuple(points)), now, len(points)

    def _written(self, weight: int) -> None:
        with self._changed:
            self._waiting -= weight
        if self._held and self._waiting <= self._low:
            self._on_loop(self._release)

    def _guarded(self, write: Callable[[], None]) -> None:
        """Write. After an unexpected error, only this write is lost."""
        try:
            write()
        except RetryTimeout:
            raise
        except Exception as error:  # the thread has to survive, since other writes follow
            logger.exception("Something could not be tracked.")
            self._status.note(f"Something could not be tracked: {error}")

    def _has_something(self) -> bool:
        """Return whether there is, or may be, something to write to a run."""
        with self._changed:
            nothing = self._totals == StreamTotals() and all(
                isinstance(item, WorkerStarted | InstanceReset | SpoolCleanup | NextRun) or item == StreamTotals()
                for item, _ in self._queue
            )
        # An item may have been taken from the queue and not written yet, and a run may be open.
        return self._opened or not nothing

    def _wait(self, seconds: float) -> bool:
        """Wait before another attempt; return False if there is no time for one, or nothing to write."""
        if not self._ending.wait(seconds):
            return True
        if not self._has_something():
            return False
        assert self._deadline is not None
        time.sleep(min(seconds, self._deadline.left()))
        return self._deadline.left() > 0


def _weight(event: _Item) -> int:
    if isinstance(event, MetricsReported):
        return len(event.points)
    if isinstance(event, NextRun):
        return 0  # nothing is written for it
    return len(event.values) if isinstance(event, ParamsReported | TagsSet) else 1


def _now() -> int:
    return int(time.time() * 1000)
