"""What an iteration has gathered and the store has not acknowledged yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import DatasetInput, LifecycleStage, Metric, Param, Tag
from mistk_service.tracking.values.limits import MAX_DATASETS, MAX_METRICS, MAX_PARAMS, MAX_TAGS

__all__ = ["Outgoing", "Refusal"]

_Item = TypeVar("_Item", DatasetInput, Param, Metric, Tag)


@dataclass(frozen=True)
class Refusal:
    """A thing that a store will never take.

    Attributes:
        what: the thing, in words.
        error: why it is not taken.
    """

    what: str
    error: InvalidParameter

    def __str__(self) -> str:
        return f"{self.what}: {self.error}"


@dataclass
class Outgoing:
    """Things on their way to one run, in the order in which they were logged.

    Attributes:
        inputs: datasets that the run uses.
        params: no key twice.
        metrics: points of any number.
        tags: of two with one key the later counts.
        refused: what was taken out, because the store has stricter rules than those that were checked before.
        unsure: whether the first batch of metrics was sent, and no answer came.
    """

    inputs: list[DatasetInput] = field(default_factory=list)
    params: list[Param] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    unsure: bool = False

    def send(self, store: Store, run_id: str) -> None:
        """Write everything to a run, in batches that a store takes; what is acknowledged is gone from here.

        What the store refuses for its own sake holds up nothing else: it is searched for, and set aside.

        Raises:
            StoreError: the store cannot take a batch now, or the run cannot be written to. The batch and what comes after
                it are still here.
        """

        def drain(items: list[_Item], limit: int, write: Callable[[list[_Item]], None]) -> None:
            size = limit
            while items:
                batch = items[:size]
                try:
                    write(batch)
                except InvalidParameter as error:
                    if store.get_run(run_id).info.lifecycle_stage is not LifecycleStage.ACTIVE:
                        raise
                    if len(batch) > 1:
                        size = len(batch) // 2
                        continue
                    self.refused.append(Refusal(_in_words(batch[0]), error))
                del items[: len(batch)]
                size = min(2 * size, limit)

        def write_metrics(batch: list[Metric]) -> None:
            self.unsure = True
            store.log_batch(run_id, metrics=batch)
            self.unsure = False

        if self.unsure:
            self._forget_known(store, run_id)
        drain(self.inputs, MAX_DATASETS, lambda batch: store.log_inputs(run_id, batch))
        drain(self.params, MAX_PARAMS, lambda batch: store.log_batch(run_id, params=batch))
        drain(self.metrics, MAX_METRICS, write_metrics)
        drain(self.tags, MAX_TAGS, lambda batch: store.log_batch(run_id, tags=batch))

    def _forget_known(self, store: Store, run_id: str) -> None:
        """Drop the metrics that the store has taken without its answer coming through.

        Everything else can be written twice. Of a metric, some remotes would keep a point twice.
        """
        # Only those who meet with an outage need it, and it belongs to a larger package.
        from mistk_service.tracking.replication.metric_points import missing_points

        unsure, rest = self.metrics[:MAX_METRICS], self.metrics[MAX_METRICS:]
        self.metrics = missing_points(store, run_id, unsure) + rest
        self.unsure = False


def _in_words(item: DatasetInput | Param | Metric | Tag) -> str:
    match item:
        case DatasetInput():
            return f"the dataset {item.dataset.name!r}"
        case Metric():
            return f"the metric {item.key!r} with the value {item.value} at step {item.step}"
        case Param():
            return f"the parameter {item.key!r}"
        case Tag():
            return f"the tag {item.key!r}"
