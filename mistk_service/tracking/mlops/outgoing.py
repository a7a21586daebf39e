"""What was logged to an iteration and has not been acknowledged by the store yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import DatasetInput, LifecycleStage, Metric, Param, Tag
from mistk_service.tracking.values.limits import MAX_DATASETS, MAX_METRICS, MAX_PARAMS, MAX_TAGS

_Item = TypeVar("_Item", DatasetInput, Param, Metric, Tag)


@dataclass(frozen=True)
class RefusedItem:
    """An item that a store refuses permanently.

    Attributes:
        what: the item, in words.
        error: the reason.
    """

    what: str
    error: InvalidParameter

    def __str__(self) -> str:
        return f"{self.what}: {self.error}"


@dataclass
class Outgoing:
    """Items to be sent to one run, in the order in which they were logged.

    Attributes:
        inputs: datasets that the run uses.
        params: without duplicate keys.
        metrics: any number of points.
        tags: of two with one key, the later one counts.
        refused: items that were removed because the store refuses them.
        unsure: whether the first batch of metrics was sent without a response.
    """

    inputs: list[DatasetInput] = field(default_factory=list)
    params: list[Param] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    refused: list[RefusedItem] = field(default_factory=list)
    unsure: bool = False

    def send(self, store: Store, run_id: str) -> None:
        """Write everything to a run, in batches within the limits of a store, and remove what is acknowledged.

        An item that the store refuses is found by bisection and recorded; the others are sent.

        Raises:
            StoreError: the store is unavailable, or the run cannot be written to. What was not acknowledged is still here.
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
                    self.refused.append(RefusedItem(_in_words(batch[0]), error))
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
        """Drop the metrics that the store has accepted although its response was lost.

        Everything else can be written twice, but some servers would store a metric point twice.
        """
        # Loaded late: only needed after an outage, and part of a larger package.
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
