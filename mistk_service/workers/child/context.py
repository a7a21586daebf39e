"""The worker's implementation of the context of a component: the pause gate, and reports with little overhead.

A report is only stored in memory, on the thread that calls. The control thread sends the stored reports at most twenty times a
second: the latest status and progress, and all metrics. If a model reports faster than the service reads, or than the service
has said that it can handle, the model is slowed down once :data:`METRICS_HELD` values are waiting. Nothing is dropped.
Artifacts are copied before the call returns.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mistk_service.kinds.component import RunReference
from mistk_service.workers.child.plain_values import Point, int64, json_ready, number, points, shown, text
from mistk_service.workers.child.publisher import Publisher
from mistk_service.workers.child.spool import Spool, artifact_folder, artifact_source, draw, split_artifact_file
from mistk_service.workers.framing import Unsendable
from mistk_service.workers.messages import FromWorker, Progressed, Reported, StatusUpdated

logger = logging.getLogger(__name__)

#: Minimum seconds between two flushes.
FLUSH_INTERVAL = 0.05

#: The number of metric values that may wait before the reporting thread has to send them itself.
METRICS_HELD = 10_000

#: The maximum size of one call's report, in bytes of JSON. A status is also stored in the history of the watch, and every
#: status contains the tags and params.
REPORT_LIMIT = 256 * 1024

#: The size of tags and params that may wait before the reporting thread has to send them itself, in bytes.
_BYTES_HELD = 4 * 1024 * 1024

T = TypeVar("T")
D = TypeVar("D")


class _Pauses(threading.local):
    """The pauses that blocked a thread of the model: when each began, and its duration in seconds."""

    def __init__(self) -> None:
        self.list: list[tuple[float, float]] = []


class WorkerContext:
    """The context of a model in a worker.

    Args:
        send: sends a message to the service. It is called from several threads, and blocks while the service is slow to read.
        wait: called at a pause point on the model's thread if a pause or a stop is pending; returns whether it blocked.
        set_pause: tells the runner whether a pause is wanted.
        wake: makes the control thread check :meth:`flush_due` soon.
        spool: the folder for copies of artifacts; None to make no copies.
        clock: a monotonic clock, in seconds; the same that activities use for their start time.

    Attributes:
        publisher: streams what the hook of an activity publishes.
    """

    def __init__(
        self,
        send: Callable[[FromWorker], None],
        wait: Callable[[], bool],
        set_pause: Callable[[bool], None],
        wake: Callable[[], None],
        spool: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: The run that tracks the model, if any.
        self.run: RunReference | None = None
        #: The state of the instance, as far as the worker moves it; None until the model is loaded.
        self.state: str | None = None
        #: Why the running activity is to fail when its hook returns.
        self.failure: str | None = None
        self._send = send
        self._wait = wait
        self._set_pause = set_pause
        self._wake = wake
        self._clock = clock
        self.publisher = Publisher(send)
        #: Whether a pause point has to check for a pause. It is read without the lock in every iteration of a training loop.
        self.interrupted = False
        self._spool = None if spool is None else Spool(Path(spool))
        self._lock = threading.Lock()
        #: Notified when a thread that is blocked by too many metrics may continue.
        self._unblocked = threading.Condition(self._lock)
        self._held = self._ending = False
        #: The number of threads of the model that wait until they may report more.
        self.waiting = 0
        self._send_lock = threading.Lock()
        self._dirty = False
        self._last_flush = 0.0
        self._status: Any = msgspec.UNSET
        self._progress: tuple[int, int | None, str, float, int] | None = None
        self._metrics: list[Point] = []
        self._params: dict[str, Any] = {}
        self._tags: dict[str, Any] = {}
        #: The size of the params and tags reported since the last flush, in bytes.
        self._bytes_held = 0
        self._artifacts: list[tuple[str, str | None, str | None]] = []
        self._pauses = _Pauses()
        #: The last error about progress, to log it once and not in every iteration.
        self._logged: set[str] = set()
        _contexts.add(self)

    # --- the gate -------------------------------------------------------------------------------------------------

    def pause_point(self) -> None:
        """Block while a pause is wanted; raise StopActivity when the activity has to end."""
        if self.interrupted:
            began = self._clock()
            if self._wait():
                self._pauses.list.append((began, self._clock() - began))

    def request_pause(self) -> None:
        """Make the next pause point block."""
        self._set_pause(True)

    def release_pause(self) -> None:
        """Let a blocked pause point continue."""
        self._set_pause(False)

    def interrupt(self, *, pause: bool, end: bool) -> None:
        """Set whether a pause is wanted and whether the worker is to end. Unblocks threads that wait to report."""
        with self._unblocked:
            self.interrupted = pause or end
            self._ending = end
            self._unblocked.notify_all()
            if end and self._metrics:
                self._mark()  # the metrics that were held back

    # --- reports --------------------------------------------------------------------------------------------------

    def update_status(self, payload: Any) -> None:
        """Store ``payload``, as it is now, for the next status."""
        try:
            encoded = msgspec.json.encode(payload, enc_hook=json_ready)
        except (TypeError, ValueError, RecursionError) as error:
            logger.error("update_status: the payload was left out, because JSON cannot express it: %s", error)
            return
        if len(encoded) > REPORT_LIMIT:
            _too_large("update_status", len(encoded))
            return
        with self._lock:
            self._status = encoded
            self._mark()

    def progress(self, done: int, total: int | None, unit: str, started: float, initial: int) -> None:
        """Store the progress for the next status. Time that this thread has spent paused since ``started`` does not count."""
        if self._pauses.list:
            started += sum(seconds for began, seconds in self._pauses.list if began >= started)
        self._progress = (done, total, unit, started, initial)
        if not self._dirty:
            with self._lock:
                self._mark()

    def report_metrics(self, values: Mapping[str, Any], step: int | None, timestamp: int | None) -> None:
        """Store the values for the next report. Log an error for each invalid value and keep the others."""
        reported = points(values, step, timestamp)
        if len(reported) > METRICS_HELD:
            logger.error(
                "report_metrics: %d values were left out; at most %d are accepted in one call. Log an artifact instead.",
                len(reported),
                METRICS_HELD,
            )
            return
        with self._lock:
            self._metrics += reported
            full = len(self._metrics) >= METRICS_HELD
            if not self._dirty:
                self._mark()
        if full:
            self._send_or_block()

    def report_params(self, values: Mapping[str, Any]) -> None:
        """Store the values for the next report."""
        self._keep(self._params, values, "report_params")

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Store the tags for the next report."""
        self._keep(self._tags, values, "set_tags")

    def log_artifact(self, path: str | Path, artifact_path: str | None) -> None:
        """Copy a file or folder and report it. If it cannot be copied, log an error."""
        try:
            folder, source = artifact_folder(artifact_path), artifact_source(Path(path))
            kept = None if self._spool is None else self._spool.copy(source)
        except Exception as error:  # noqa: BLE001 - no error may end a training
            logger.error("log_artifact: %r was left out: %s", str(path) if isinstance(path, Path) else path, error)
            return
        self._report_artifact(str(source), folder, kept)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Write a text to the spool and report it."""
        self._write("log_text", artifact_file, lambda target: target.write_text(text, encoding="utf-8", newline=""))

    def log_figure(self, figure: Any, artifact_file: str, save_kwargs: Mapping[str, Any]) -> None:
        """Write a figure to the spool and report it."""
        self._write("log_figure", artifact_file, lambda target: draw(figure, target, dict(save_kwargs)))

    def fail(self, reason: str) -> None:
        """Let the running activity fail when its hook returns."""
        logger.error("The model reported a failure: %s", reason)
        self.failure = reason

    @property
    def streaming(self) -> bool:
        """Whether a client wants more of what the activity publishes."""
        return self.publisher.streaming

    @streaming.setter
    def streaming(self, wanted: bool) -> None:
        if not wanted:
            self.publisher.stop()

    def publish(self, value: Any) -> None:
        """Send a value to the client of the activity. Block while the client is slow."""
        self.publisher.publish(value)

    def _write(self, caller: str, artifact_file: str, write: Callable[[Path], object]) -> None:
        try:
            name, folder = split_artifact_file(artifact_file)
            kept = None if self._spool is None else self._spool.write(Path(name).suffix, write)
        except Exception as error:  # noqa: BLE001 - the plotting library may raise anything
            logger.error("%s: %r was left out: %s", caller, artifact_file, error)
            return
        self._report_artifact(name, folder, kept)

    def _report_artifact(self, path: str, folder: str | None, kept: str | None) -> None:
        with self._lock:
            self._artifacts.append((path, folder, kept))
            self._mark()
        if kept is not None:
            # Flush at once, so that a worker that is killed now does not leave behind a copy that was never reported.
            self.flush(held_too=False)

    def _keep(self, store: dict[str, Any], values: Mapping[str, Any], caller: str) -> None:
        plain, size = {}, 0
        if not hasattr(values, "items"):
            logger.error("%s: expected names and values as {'rate': 0.1}, got %s", caller, type(values).__name__)
            return
        for key, value in values.items():
            try:
                name = text(key)
                plain[name], length = _sendable(value)
                size += len(name) + length
            except Exception as error:  # noqa: BLE001 - the value is the author's, and may raise anything
                logger.error("%s: the value of %r was left out: %s", caller, shown(key), error)
            if size > REPORT_LIMIT:
                _too_large(caller, size)
                return
        with self._lock:
            store.update(plain)
            self._bytes_held += size
            full = self._bytes_held > _BYTES_HELD
            self._mark()
        if full:
            self.flush(held_too=False)

    def _mark(self) -> None:
        if not self._dirty:
            self._dirty = True
            self._wake()

    # --- back pressure --------------------------------------------------------------------------------------------

    def hold(self, held: bool) -> None:
        """Hold metrics back from now on, or send them again."""
        with self._unblocked:
            self._held = held
            self._unblocked.notify_all()
            if self._metrics:
                self._mark()

    def _send_or_block(self) -> None:
        """Send the metrics, of which many are waiting. Block while metrics are held back. Called on a thread of the model."""
        with self._unblocked:
            self.waiting += 1
            self._unblocked.wait_for(self._may_continue)
            self.waiting -= 1
            if self._holds:
                return
        self.flush()

    @property
    def _holds(self) -> bool:
        return self._held and not self._ending

    def _may_continue(self) -> bool:
        """Return whether a reporting thread need not block: there is room, or it has to reach a pause point."""
        return not self._holds or len(self._metrics) < METRICS_HELD * (2 if self.interrupted else 1)

    # --- sending --------------------------------------------------------------------------------------------------

    def flush_due(self) -> float | None:
        """Return the seconds until the next flush is due, or None if there is nothing to send."""
        if not self._dirty:
            return None
        return max(0.0, self._last_flush + FLUSH_INTERVAL - self._clock())

    def flush(self, *, held_too: bool = True) -> None:
        """Send what is waiting, in the order in which it was reported.

        Args:
            held_too: whether to include metrics that are held back, as at the end of the activity that they belong to.
        """
        with self._send_lock:
            with self._lock:
                # First, since progress reads it without the lock. A report that comes after this sets it again.
                self._dirty = False
                status, self._status = self._status, msgspec.UNSET
                progress, self._progress = self._progress, None
                metrics: list[Point] = []
                if held_too or not self._holds:
                    metrics, self._metrics = self._metrics, metrics
                    self._unblocked.notify_all()
                params, tags, artifacts = dict(self._params), dict(self._tags), tuple(self._artifacts)
                self._params.clear()
                self._tags.clear()
                self._bytes_held = 0
                self._artifacts.clear()
                self._last_flush = self._clock()
            if metrics or params or tags or artifacts:
                self._deliver(Reported(tuple(metrics), params, tags, artifacts))
            if status is not msgspec.UNSET:
                self._deliver(StatusUpdated(msgspec.json.decode(status)))
            if progress is not None:
                self._deliver(self._progressed(*progress))

    def discard_reports(self) -> None:
        """Discard all further reports without taking a lock. For a process that the model has forked.

        Such a process has the worker's channel, but not its threads, and locks may be held for ever.
        """
        logged = False

        def refuse(*_: object, **__: object) -> None:
            nonlocal logged
            if not logged:
                logged = True
                logger.error(
                    "A process that the model has forked cannot report anything; report from the worker process itself."
                )

        reports = (self.report_metrics, self.report_params, self.set_tags, self.update_status)
        for method in (*reports, self.log_artifact, self.log_text, self.log_figure):
            setattr(self, method.__name__, refuse)
        for quiet in (self.progress, self.pause_point, self.flush):
            setattr(self, quiet.__name__, lambda *_, **__: None)

    def _progressed(self, done: int, total: int | None, unit: str, started: float, initial: int) -> Progressed:
        """Return the message. Values of the model are only made plain here, since this is not called in every iteration."""
        done, initial = self._plain(int64, done, 0), self._plain(int64, initial, 0)
        total = None if total is None else self._plain(int64, total, None)
        elapsed = self._clock() - started
        rate = (done - initial) / elapsed if done > initial and elapsed > 0 else None
        left = (total - done) / rate if rate and total is not None else None
        return Progressed(done, total, "steps" if unit is None else self._plain(text, unit, "steps"), rate, left)

    def _plain(self, convert: Callable[[Any], T], value: Any, otherwise: D) -> T | D:
        try:
            return convert(value)
        except Exception as error:  # noqa: BLE001 - the value is the author's, and may raise anything
            # Without the value itself, which may differ in every iteration.
            kind = f"{convert.__name__} {type(value).__name__} {type(error).__name__}"
            if kind not in self._logged:
                self._logged.add(kind)
                logger.error("steps: %r was left out: %s", value, error)
            return otherwise

    def _deliver(self, message: FromWorker) -> None:
        try:
            self._send(message)
        except Unsendable as error:
            logger.error("%s was left out, because it contains %s.", type(message).__name__, error)


def _after_fork() -> None:
    """Discard the reports of a process that a model has forked, since they would corrupt those of the worker."""
    for context in _contexts:
        context.discard_reports()


#: The contexts of this process; more than one if workers are threads.
_contexts: weakref.WeakSet[WorkerContext] = weakref.WeakSet()

os.register_at_fork(after_in_child=_after_fork)


def _too_large(caller: str, size: int) -> None:
    logger.error(
        "%s: %d bytes of JSON or more were left out; at most %d are accepted. Log an artifact instead.",
        caller,
        size,
        REPORT_LIMIT,
    )


def _sendable(value: Any) -> tuple[Any, int]:
    """Return ``value`` as plain values that both JSON and MessagePack can express, and its size in bytes of JSON."""
    encoded = msgspec.json.encode(value, enc_hook=json_ready)
    plain = msgspec.json.decode(encoded)
    if plain is None and value is not None:
        # JSON has no NaN and no infinity.
        return str(number(value)), len(encoded)
    msgspec.msgpack.encode(plain)
    return plain, len(encoded)
