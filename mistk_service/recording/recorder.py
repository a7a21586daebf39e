"""Follows the lifecycle from the event loop, and writes what follows from it on a thread of its own.

Events are only put into a queue, so that a slow store costs the model nothing. When many points wait, the worker is asked to
hold its metrics back, so that memory stays bounded and nothing is dropped. While the store cannot be written, the thread tries
again, in order, and the status says why.
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
from typing import Any, Protocol

from mistk_service.core.events import (
    ActivityBegan,
    Event,
    InstanceReset,
    MetricsReported,
    ParamsReported,
    PredictionAnswered,
    TagsSet,
    WorkerStarted,
)
from mistk_service.deadline import Deadline
from mistk_service.recording.announcements import Announcer, NextRun
from mistk_service.recording.file_queue import FileLane
from mistk_service.recording.lifecycle import Lifecycle, StreamTotals
from mistk_service.recording.liveness import ContainerLock, dead_containers
from mistk_service.recording.notices import Notices
from mistk_service.recording.open_run import OpenRun
from mistk_service.recording.options import ReporterOptions
from mistk_service.recording.orphaned_runs import end_runs_of
from mistk_service.recording.retry import OutOfTime, Patience
from mistk_service.recording.run_setup import Desk
from mistk_service.recording.spool_cleanup import Leftovers
from mistk_service.recording.system_sampler import Sampling, SystemSample
from mistk_service.tracking.embedded.local import OpenedTracking
from mistk_service.tracking.errors import StoreLost

__all__ = ["HIGH", "LOW", "Reporter", "Sink"]

logger = logging.getLogger(__name__)

#: Points that wait, at which the worker is asked to hold back, and at which it may go on.
HIGH, LOW = 200_000, 100_000

#: Points that are written in one go.
_GROUP = 10_000

#: Seconds between two reports of what became of stream predictions.
_STREAM_INTERVAL = 10.0

#: Seconds between two looks at whether the store is still there while nothing happens.
_LOOK_INTERVAL = 1.0

#: What the thread is handed.
_Item = Event | NextRun | StreamTotals | SystemSample | Leftovers


class Sink(Protocol):
    """What opens the store."""

    def open(self) -> OpenedTracking:
        """Return the store and the artifacts.

        Raises:
            StoreError: they cannot be opened now.
        """


class Reporter:
    """See the module. :meth:`observe` and :meth:`start` belong to the event loop, :meth:`close` to any other thread.

    Args:
        sink: opens the store; called on the reporter's thread.
        options: who is reporting.
        show: shows a value under a key of the status, None removes it; called on the event loop.
        hold: asks the worker to hold metrics back, or to go on; called on the event loop.
    """

    def __init__(
        self,
        sink: Sink,
        options: ReporterOptions,
        *,
        show: Callable[[str, Any], None],
        hold: Callable[[bool], None],
    ) -> None:
        self._sink = sink
        self._options = options
        self._hold = hold
        self._held = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._announcer = Announcer(options.kind, options.steering, lambda run: show("run", run), options.root_path)
        self._notices = Notices(lambda key, value: self._on_loop(show, key, value))
        self._patience = Patience(self._wait, self._notices.obstacle)
        self._files = FileLane(self._notices.files)
        self._news = threading.Condition(threading.RLock())
        self._queue: deque[tuple[_Item, int]] = deque()
        self._waiting = 0
        self._totals = StreamTotals()
        self._totals_due = time.monotonic() + _STREAM_INTERVAL
        #: When everything has to be written, once the service ends.
        self._deadline: Deadline | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking-reporter", daemon=True)
        self._confirmed: dict[str, Any] = {}
        self._sampling: Sampling | None = None
        if options.system_interval is not None:
            self._sampling = Sampling(options.system_interval, self._put, self._notices.note)
        #: Whether everything was written, whether nothing will be, and whether the store could ever be opened.
        self._done = self._given_up = self._opened = False

    @property
    def waiting(self) -> int:
        """How many points, files and other things wait to be written."""
        return self._waiting + self._files.waiting

    @property
    def lost(self) -> str | None:
        """Why what is written would be lost, where the file of the store has been deleted or replaced."""
        error = self._patience.error
        return str(error) if isinstance(error, StoreLost) else None

    # --- on the event loop ----------------------------------------------------------------------------------------

    def observe(self, event: Event) -> None:
        """Take an event of the controller; returns at once."""
        if self._given_up:
            return
        if isinstance(event, PredictionAnswered):
            # Thousands a second may come; the thread looks at the totals now and then, or is told where it never rests.
            self._totals = self._totals.plus(event)
            if time.monotonic() >= self._totals_due:
                self._totals_due = time.monotonic() + _STREAM_INTERVAL
                self._put(self._totals)
            return
        if self._sampling is not None:
            self._sampling.observe(event)
        with self._news:
            if isinstance(event, ActivityBegan) and self._options.kind.operations[event.operation].configures_run:
                self._put(self._announcer.begin_anew(event.arguments[1]))
            self._announcer.observe(event)
            if isinstance(event, InstanceReset):
                totals, self._totals = self._totals, StreamTotals()
                self._put(totals)
            self._put(event)
            if isinstance(event, InstanceReset):
                self._put(self._announcer.begin_anew())
                # The worker has ended, and the next one has not been started.
                self._put(Leftovers.in_folder(self._options.spool))
        if not self._held and self._waiting > HIGH:
            self._held = True
            self._hold(True)

    def run_id(self, operation: str) -> str | None:
        """Return the id of the run that there is, or that an operation opens; None for neither."""
        return None if self._given_up else self._announcer.run_id(operation)

    async def run_written(self, seconds: float) -> None:
        """Wait until the run that the status shows can be found in the store, but not longer than that."""
        await self._announcer.written(seconds)

    def show_remotes(self, remotes: list[dict[str, Any]]) -> None:
        """Show how the remotes stand, as JSON."""
        self._notices.remotes(remotes)

    def _put(self, item: _Item) -> None:
        with self._news:
            if self._given_up:
                return  # nobody would ever take it
            self._queue.append((item, _now()))
            self._waiting += _weight(item)
            self._news.notify()

    def start(self) -> None:
        """Begin to write. What was observed before waits until then."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._files.start()
        if self._sampling is not None:
            self._sampling.start()

    def _release(self) -> None:
        if self._held and self._waiting <= LOW:
            self._held = False
            self._hold(False)

    def _on_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        """Let the event loop make a call; when it has ended, there is nobody to be told."""
        assert self._loop is not None
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    # --- from another thread --------------------------------------------------------------------------------------

    def close(self, deadline: Deadline) -> None:
        """Write what waits, end the run if one is open, and stop, by the deadline. What remains is logged."""
        if self._thread.ident is None:
            return  # it was never started, because there was no model
        if self._sampling is not None:
            self._sampling.close(deadline)
        with self._news:
            self._deadline = deadline
            self._ending.set()
            self._news.notify()
        deadline.join(self._thread)
        self._files.tell_rest()
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
        try:
            # Before the store is there, so that whoever comes after this container finds what it leaves in the spool.
            lock.hold()
            # Whatever it is that keeps it from being opened, no files left to open for example, may pass.
            opened = self._patience.insist(self._sink.open, on=Exception)
            lock.hold()  # where the folder could not be made before
            self._opened = True
            self._notices.opened(opened.store.uri)
            self._guarded(lambda: self._end_runs_of_the_dead(opened))
            desk = Desk(opened, self._options, self._patience, self._files, self._notices.note)
            self._follow(Lifecycle(self._options.kind, desk, self._options.steering, self._confirm), opened)
            self._done = True
            assert self._deadline is not None, "it follows until it is closed"
            self._files.close(self._deadline)
            shutil.rmtree(self._options.spool, ignore_errors=True)
            lock.release()
        except OutOfTime:
            pass  # close says what remains
        except Exception:
            logger.exception("Tracking has ended with a mistake of its own.")
            self._give_up()
        finally:
            if not self._done:
                self._files.close((self._deadline or Deadline()).within(0.0))
            # Where things are not in order, the file stays, and tells others so.
            lock.abandon()

    def _confirm(self, run: OpenRun, life: int) -> None:
        info = run.info
        name = run.tags.get("mlflow.runName", info.run_name)
        shown = {"id": info.run_id, "name": name, "experimentId": info.experiment_id}
        if shown != self._confirmed:
            self._confirmed = shown
            self._on_loop(self._announcer.confirm, life, shown)

    def _end_runs_of_the_dead(self, opened: OpenedTracking) -> None:
        with dead_containers(self._options.locks) as dead:
            for container_id, last_seen in dead.items():
                end_runs_of(container_id, opened.store, self._patience, last_seen, _now())
                shutil.rmtree(self._options.spool.with_name(container_id), ignore_errors=True)

    def _follow(self, lifecycle: Lifecycle, opened: OpenedTracking) -> None:
        """Write what comes, until the service ends and nothing is left."""
        looked = time.monotonic()
        while (item := self._next()) is not None or not self._ending.is_set():
            if item is not None:
                event, now, weight = item
                self._guarded(partial(self._take, lifecycle, event, now))
                self._written(weight)
                continue
            self._guarded(lambda: self._patience.insist(opened.store.check))
            if time.monotonic() - looked >= _STREAM_INTERVAL:
                looked = time.monotonic()
                self._guarded(lambda: lifecycle.take(self._totals, _now()))
        self._guarded(lambda: lifecycle.take(self._totals, _now()))
        self._guarded(lambda: lifecycle.close(_now()))

    def _take(self, lifecycle: Lifecycle, item: _Item, now: int) -> None:
        if isinstance(item, Leftovers):
            item.remove(self._files.claims())
            return
        lifecycle.take(item, now)
        if isinstance(item, InstanceReset):
            self._notices.clear()

    def _next(self) -> tuple[_Item, int, int] | None:
        """Wait for what comes next, and return it with its time and weight; None when nothing came for a while.

        Points that follow one another come together.
        """
        with self._news:
            if not self._queue and not self._ending.is_set():
                self._news.wait(_LOOK_INTERVAL)
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
        with self._news:
            self._waiting -= weight
        if self._held and self._waiting <= LOW:
            self._on_loop(self._release)

    def _guarded(self, write: Callable[[], None]) -> None:
        """Write; a mistake of ours costs what it concerns, and not everything that follows."""
        try:
            write()
        except OutOfTime:
            raise
        except Exception as error:
            logger.exception("Something could not be tracked.")
            self._notices.note(f"Something could not be tracked: {error}")

    def _give_up(self) -> None:
        with self._news:
            self._given_up = True
            self._queue.clear()
            self._waiting = 0
        self._notices.obstacle("Tracking has ended with a mistake of its own, which the service's log tells.")
        self._on_loop(self._release)

    def _has_something(self) -> bool:
        """Return whether there is, or may be, something that belongs into a run."""
        with self._news:
            nothing = self._totals == StreamTotals() and all(
                isinstance(item, WorkerStarted | InstanceReset | Leftovers | NextRun) or item == StreamTotals()
                for item, _ in self._queue
            )
        # What has been taken from the queue may be on its way, and a run may be open.
        return self._opened or not nothing

    def _wait(self, seconds: float) -> bool:
        """Wait before another attempt; return False when there is no time for one, or nothing to wait for."""
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
    return len(event.values) if isinstance(event, ParamsReported | TagsSet) else 1


def _now() -> int:
    return int(time.time() * 1000)
