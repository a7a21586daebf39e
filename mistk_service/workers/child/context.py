"""What a model's calls to its container become inside the worker: a pause gate, and reports that cost next to nothing.

A report is only put into memory, on whatever thread the model calls from. The control thread sends what has gathered, at
most twenty times a second; of the status and the progress only the last is kept, of metrics everything. A model that reports
faster than the service reads, or than the service has said it can take, is slowed down when :data:`METRICS_HELD` values have
gathered; nothing is dropped. Artifacts are copied before the call returns.
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
from mistk_service.workers.child.spool import Spool, artifact_folder, artifact_source, draw, split_artifact_file
from mistk_service.workers.messages import FromWorker, Progressed, Reported, StatusUpdated, Unsendable

__all__ = ["FLUSH_INTERVAL", "METRICS_HELD", "WorkerContext"]

logger = logging.getLogger(__name__)

#: Seconds between two sendings of what has gathered.
FLUSH_INTERVAL = 0.05

#: How many metric values may wait before the reporting thread has to send them itself.
METRICS_HELD = 10_000

#: The most bytes of JSON that a call may report; of a status they stand in the history of the watch too, of tags and params in
#: every status.
_REPORT_LIMIT = 256 * 1024

#: How many bytes of tags and params may wait before the reporting thread has to send them itself.
_BYTES_HELD = 4 * 1024 * 1024

T = TypeVar("T")
D = TypeVar("D")


class _Halts(threading.local):
    """The pauses in which a thread of the model has stood still: when each began, and for how many seconds."""

    def __init__(self) -> None:
        self.list: list[tuple[float, float]] = []


class WorkerContext:
    """The context of a model in a worker.

    Args:
        send: sends a message to the service; called from several threads, blocks when the service is slow to read.
        wait: called by a model's thread at a pause point when there is something to wait for; returns whether it stood still.
            See the runner.
        set_pause: tells the runner whether a pause is wanted.
        wake: makes the control thread look at :meth:`flush_due` soon.
        spool: the folder for copies of artifacts; None to keep none.
    """

    def __init__(
        self,
        send: Callable[[FromWorker], None],
        wait: Callable[[], bool],
        set_pause: Callable[[bool], None],
        wake: Callable[[], None],
        spool: str | None = None,
    ) -> None:
        #: The run that the model is tracked as, if there is one.
        self.run: RunReference | None = None
        self._send = send
        self._wait = wait
        self._set_pause = set_pause
        self._wake = wake
        #: Whether a pause point has to stop and look; read without the lock on every turn of a training loop.
        self.interrupted = False
        self._spool = None if spool is None else Spool(Path(spool))
        self._lock = threading.Lock()
        #: Notified when a thread that waits with too many metrics may go on.
        self._relieved = threading.Condition(self._lock)
        self._held = self._ending = False
        self._send_lock = threading.Lock()
        self._dirty = False
        self._last_flush = 0.0
        self._status: Any = msgspec.UNSET
        self._progress: tuple[int, int | None, str, float, int] | None = None
        self._metrics: list[Point] = []
        self._params: dict[str, Any] = {}
        self._tags: dict[str, Any] = {}
        #: How many bytes of params and tags were reported since they were last sent.
        self._bytes_held = 0
        self._artifacts: list[tuple[str, str | None, str | None]] = []
        self._halts = _Halts()
        #: What was wrong with progress, to say it once and not at every turn.
        self._complaints: set[str] = set()
        _contexts.add(self)

    # --- the gate -------------------------------------------------------------------------------------------------

    def pause_point(self) -> None:
        """Block while a pause is wanted; raise StopActivity when the activity has to end."""
        if self.interrupted:
            began = time.monotonic()
            if self._wait():
                self._halts.list.append((began, time.monotonic() - began))

    def request_pause(self) -> None:
        """Make the next pause point block."""
        self._set_pause(True)

    def release_pause(self) -> None:
        """Let a blocked pause point go on."""
        self._set_pause(False)

    def interrupt(self, *, pause: bool, end: bool) -> None:
        """Say whether a pause is wanted, and whether the worker is to end; whoever waits to report is let on its way there."""
        with self._relieved:
            self.interrupted = pause or end
            self._ending = end
            self._relieved.notify_all()
            if end and self._metrics:
                self._mark()  # those that were held

    # --- reports --------------------------------------------------------------------------------------------------

    def update_status(self, payload: Any) -> None:
        """Keep ``payload``, as it is now, for the next status."""
        try:
            encoded = msgspec.json.encode(payload, enc_hook=json_ready)
        except (TypeError, ValueError, RecursionError) as error:
            logger.error("update_status was given something that JSON cannot express, and left it out: %s", error)
            return
        if len(encoded) > _REPORT_LIMIT:
            _too_large("update_status", len(encoded))
            return
        with self._lock:
            self._status = encoded
            self._mark()

    def progress(self, done: int, total: int | None, unit: str, started: float, initial: int) -> None:
        """Keep the figures for the next status; the time for which this thread has been paused since does not count."""
        if self._halts.list:
            started += sum(seconds for began, seconds in self._halts.list if began >= started)
        self._progress = (done, total, unit, started, initial)
        if not self._dirty:
            with self._lock:
                self._mark()

    def report_metrics(self, values: Mapping[str, Any], step: int | None, timestamp: int | None) -> None:
        """Keep the values for the next report; one that is no number is an error in the log and harms no other."""
        reported = points(values, step, timestamp)
        if len(reported) > METRICS_HELD:
            logger.error(
                "report_metrics was given %d values and left them out; at most %d are taken at once. Log an artifact instead.",
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
            self._relieve()

    def report_params(self, values: Mapping[str, Any]) -> None:
        """Keep the values for the next report."""
        self._keep(self._params, values, "report_params")

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Keep the tags for the next report."""
        self._keep(self._tags, values, "set_tags")

    def log_artifact(self, path: Path, artifact_path: str | None) -> None:
        """Copy a file or folder and send word of it; one that cannot be had is an error in the log."""
        try:
            folder, source = artifact_folder(artifact_path), artifact_source(path)
            kept = None if self._spool is None else self._spool.copy(source)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a training
            logger.error("log_artifact: %r was left out: %s", os.fspath(path), error)
            return
        self._hand_over(str(source), folder, kept)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Write a text and send word of it."""
        self._write("log_text", artifact_file, lambda target: target.write_text(text, encoding="utf-8", newline=""))

    def log_figure(self, figure: Any, artifact_file: str, save_kwargs: Mapping[str, Any]) -> None:
        """Draw a figure and send word of it."""
        self._write("log_figure", artifact_file, lambda target: draw(figure, target, dict(save_kwargs)))

    def _write(self, caller: str, artifact_file: str, write: Callable[[Path], object]) -> None:
        try:
            name, folder = split_artifact_file(artifact_file)
            kept = None if self._spool is None else self._spool.write(Path(name).suffix, write)
        except Exception as error:  # noqa: BLE001 - to draw is the business of the author's libraries, which raise what they like
            logger.error("%s: %r was left out: %s", caller, artifact_file, error)
            return
        self._hand_over(name, folder, kept)

    def _hand_over(self, path: str, folder: str | None, kept: str | None) -> None:
        with self._lock:
            self._artifacts.append((path, folder, kept))
            self._mark()
        if kept is not None:
            # At once: a worker that is killed now leaves no copy behind that nobody knows of.
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
            except Exception as error:  # noqa: BLE001 - the value is the author's, and may raise what it likes
                logger.error("%s: the value of %r was left out: %s", caller, shown(key), error)
            if size > _REPORT_LIMIT:
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
        """Keep metrics back from now on, or send them again."""
        with self._relieved:
            self._held = held
            self._relieved.notify_all()
            if self._metrics:
                self._mark()

    def _relieve(self) -> None:
        """Send the metrics, of which there are many; while they are held, wait. On a thread of the model."""
        with self._relieved:
            self._relieved.wait_for(self._may_go_on)
            if self._holds:
                return
        self.flush()

    @property
    def _holds(self) -> bool:
        return self._held and not self._ending

    def _may_go_on(self) -> bool:
        """Return whether a thread that reports need not wait: there is room, as there is on the way to a pause point."""
        return not self._holds or len(self._metrics) < METRICS_HELD * (2 if self.interrupted else 1)

    # --- sending --------------------------------------------------------------------------------------------------

    def flush_due(self) -> float | None:
        """Return in how many seconds the next flush is due, or None when there is nothing to send."""
        if not self._dirty:
            return None
        return max(0.0, self._last_flush + FLUSH_INTERVAL - time.monotonic())

    def flush(self, *, held_too: bool = True) -> None:
        """Send what has gathered, in the order in which it came.

        Args:
            held_too: whether to send also metrics that are held, as before the end of an activity, which they belong to.
        """
        with self._send_lock:
            with self._lock:
                # First, since progress looks at it without the lock: what it sets after this is marked again.
                self._dirty = False
                status, self._status = self._status, msgspec.UNSET
                progress, self._progress = self._progress, None
                metrics: list[Point] = []
                if held_too or not self._holds:
                    metrics, self._metrics = self._metrics, metrics
                    self._relieved.notify_all()
                params, tags, artifacts = dict(self._params), dict(self._tags), tuple(self._artifacts)
                self._params.clear()
                self._tags.clear()
                self._bytes_held = 0
                self._artifacts.clear()
                self._last_flush = time.monotonic()
            if metrics or params or tags or artifacts:
                self._deliver(Reported(tuple(metrics), params, tags, artifacts))
            if status is not msgspec.UNSET:
                self._deliver(StatusUpdated(msgspec.json.decode(status)))
            if progress is not None:
                self._deliver(self._progressed(*progress))

    def fall_silent(self) -> None:
        """Take nothing any more, and wait for nobody: for a process that the model has forked.

        It has the worker's channel, but neither its threads nor, maybe, its locks.
        """
        told = False

        def refuse(*_: object, **__: object) -> None:
            nonlocal told
            if not told:
                told = True
                logger.error(
                    "A process that the model has forked cannot report anything; report from the worker's own."
                )

        reports = (self.report_metrics, self.report_params, self.set_tags, self.update_status)
        for method in (*reports, self.log_artifact, self.log_text, self.log_figure):
            setattr(self, method.__name__, refuse)
        for quiet in (self.progress, self.pause_point, self.flush):
            setattr(self, quiet.__name__, lambda *_, **__: None)

    def _progressed(self, done: int, total: int | None, unit: str, started: float, initial: int) -> Progressed:
        """Return the message. What the model gave is made plain only here, since this is not called on every turn."""
        done, initial = self._plain(int64, done, 0), self._plain(int64, initial, 0)
        total = None if total is None else self._plain(int64, total, None)
        elapsed = time.monotonic() - started
        rate = (done - initial) / elapsed if done > initial and elapsed > 0 else None
        left = (total - done) / rate if rate and total is not None else None
        return Progressed(done, total, "steps" if unit is None else self._plain(text, unit, "steps"), rate, left)

    def _plain(self, convert: Callable[[Any], T], value: Any, otherwise: D) -> T | D:
        try:
            return convert(value)
        except Exception as error:  # noqa: BLE001 - the value is the author's, and may raise what it likes
            # Not the value itself, which may be another one at every turn.
            complaint = f"{convert.__name__} {type(value).__name__} {type(error).__name__}"
            if complaint not in self._complaints:
                self._complaints.add(complaint)
                logger.error("steps: %r was left out: %s", value, error)
            return otherwise

    def _deliver(self, message: FromWorker) -> None:
        try:
            self._send(message)
        except Unsendable as error:
            logger.error("%s was left out, since it holds %s.", type(message).__name__, error)


def _after_fork() -> None:
    """In a process that a model has forked: let its reports go nowhere, since they would garble those of the worker."""
    for context in _contexts:
        context.fall_silent()


#: Those of this process; more than one where workers are threads.
_contexts: weakref.WeakSet[WorkerContext] = weakref.WeakSet()

os.register_at_fork(after_in_child=_after_fork)


def _too_large(caller: str, size: int) -> None:
    logger.error(
        "%s was given %d bytes of JSON or more and left them out; at most %d are taken. Log an artifact instead.",
        caller,
        size,
        _REPORT_LIMIT,
    )


def _sendable(value: Any) -> tuple[Any, int]:
    """Return ``value`` as JSON has it, and as MessagePack can express it too; and how many bytes of JSON it has."""
    encoded = msgspec.json.encode(value, enc_hook=json_ready)
    plain = msgspec.json.decode(encoded)
    if plain is None and value is not None:
        # JSON has no NaN and no infinity.
        return str(number(value)), len(encoded)
    msgspec.msgpack.encode(plain)
    return plain, len(encoded)
