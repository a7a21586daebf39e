"""The run to which the recorder writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from mistk_service.recording.retry import StoreRetry
from mistk_service.recording.run_lease import LeaseExpired, RunLease
from mistk_service.recording.spelling import Names, same_value, text_of
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import DatasetInput, Metric, Param, Run, RunStatus, Tag
from mistk_service.tracking.values.limits import MAX_METRICS, MAX_PARAM_VALUE, MAX_PARAMS, MAX_RUN_TAG_VALUE, MAX_TAGS

logger = logging.getLogger(__name__)

#: A reported point: key, value, step or None, timestamp in milliseconds.
Point = tuple[str, float, int | None, int]

T = TypeVar("T")


class RunGone(Exception):
    """The run was deleted, or ended, by someone else. The message says which."""


class OpenRun:
    """Writes to one run. Used by one thread.

    What the store refuses is left out with a note; everything else is written. Every write raises :class:`RunGone` if the run
    was deleted, or if the container has lost its lease on it.
    """

    def __init__(
        self, store: Store, run: Run, retry: StoreRetry, note: Callable[[str], None], lease: RunLease | None = None
    ) -> None:
        self._store = store
        self._retry = retry
        self._note = note
        self._lease = lease
        self._term = 0 if lease is None else lease.term
        self._names = Names()
        self._params = {param.key: param.value for param in run.data.params}
        self._latest = {metric.key: metric for metric in run.data.metrics}
        self.tags = {tag.key: tag.value for tag in run.data.tags}
        self.info = run.info

    @property
    def id(self) -> str:
        """The run's id."""
        return self.info.run_id

    def latest(self, key: str) -> float:
        """Return the latest value that a metric had when the run was opened, or 0."""
        metric = self._latest.get(key)
        return metric.value if metric else 0.0

    # --- writing --------------------------------------------------------------------------------------------------

    def log_points(self, points: Sequence[Point]) -> None:
        """Write metric points, in order. A point without a step gets step 0, as with MLflow's clients."""
        spelled = self._names.spelled
        metrics = [Metric(spelled(key), value, timestamp, step or 0) for key, value, step, timestamp in points]
        self._write(metrics, MAX_METRICS, lambda some: self._store.log_batch(self.id, metrics=some))

    def log_values(self, params: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None) -> None:
        """Write params and tags. A param is written once; another value for it becomes the tag ``mistk.param.<key>``."""
        texts = self._texts("param", params or {}, MAX_PARAM_VALUE)
        new_tags = self._texts("tag", tags or {}, MAX_RUN_TAG_VALUE)
        new_params = []
        for key, value in texts.items():
            first = self._params.setdefault(key, value)
            if first is value:
                new_params.append(Param(key, value))
            elif not same_value(first, value):
                self._note(
                    f"The param {key} already is {first[:100]!r}; its new value is stored as the tag mistk.param.{key}."
                )
                new_tags[self._names.spelled(f"mistk.param.{key}")] = value
        self._write(new_params, MAX_PARAMS, lambda some: self._store.log_batch(self.id, params=some))
        self.tags |= new_tags
        tag_list = [Tag(key, value) for key, value in new_tags.items()]
        self._write(tag_list, MAX_TAGS, lambda some: self._store.log_batch(self.id, tags=some))

    def _texts(self, kind: str, values: Mapping[str, Any], longest: int) -> dict[str, str]:
        """Return keys and values as the store accepts them; values that are too long are truncated."""
        texts: dict[str, str] = {}
        for given, value in values.items():
            key, text = self._names.spelled(given), text_of(value)
            if len(text) > longest:
                self._note(f"The {kind} {key} has {len(text)} characters; the first {longest} are stored.")
                text = text[:longest]
            texts[key] = text
        return texts

    def remove_tag(self, key: str) -> None:
        """Remove a tag, if the run has it."""
        if self.tags.pop(key, None) is not None:
            with suppress(ResourceNotFound):  # someone else removed it
                self._call(lambda: self._store.delete_tag(self.id, key))

    def log_inputs(self, datasets: Sequence[DatasetInput]) -> None:
        """Record datasets that the run uses."""
        self._leaving_out(datasets, lambda some: self._store.log_inputs(self.id, some))

    def set_status(self, status: RunStatus, end_time: int | None = None) -> None:
        """Set the status of the run. The end is not before the start, even if the clock was set back."""
        if end_time is not None:
            end_time = max(end_time, self.info.start_time)
        if status is not self.info.status or end_time is not None:
            self.info = self._call(lambda: self._store.update_run(self.id, status, end_time))

    # --- calls ----------------------------------------------------------------------------------------------------

    def _write(self, items: Sequence[T], most: int, write: Callable[[Sequence[T]], None]) -> None:
        """Write items, ``most`` at once; see :meth:`_leaving_out`."""
        for start in range(0, len(items), most):
            self._leaving_out(items[start : start + most], write)

    def _leaving_out(self, items: Sequence[T], write: Callable[[Sequence[T]], None]) -> None:
        """Write items together. If the store refuses them, find the invalid items by bisection and leave them out."""
        if not items:
            return
        try:
            self._call(lambda: write(items))
        except InvalidParameter as error:
            if len(items) == 1:
                logger.error("The tracking store refused %s: %s", items[0], error)
                self._note(f"Not tracked: {error}")
                return
            middle = len(items) // 2
            self._leaving_out(items[:middle], write)
            self._leaving_out(items[middle:], write)

    def _call(self, call: Callable[[], T]) -> T:
        def leased() -> T:
            if self._lease is not None:
                self._lease.require(self._term)
            return call()

        try:
            return self._retry.call(leased)
        except LeaseExpired as error:
            raise RunGone("was ended by another container, since the lease of this one had expired") from error
        except (InvalidParameter, ResourceNotFound) as error:
            if self._is_gone():
                raise RunGone("was deleted") from error
            raise

    def _is_gone(self) -> bool:
        try:
            run = self._retry.call(lambda: self._store.get_run(self.id))
        except ResourceNotFound:
            return True
        return run.info.lifecycle_stage.value != "active"
