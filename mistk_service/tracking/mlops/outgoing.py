"""What an iteration has gathered and the store has not acknowledged yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mistk_service.tracking.entities import DatasetInput, Metric, Param, Tag
from mistk_service.tracking.limits import MAX_DATASETS, MAX_METRICS, MAX_PARAMS, MAX_TAGS
from mistk_service.tracking.store import Store

__all__ = ["Outgoing"]

_Item = TypeVar("_Item")


@dataclass
class Outgoing:
    """Things on their way to one run, in the order in which they were logged.

    Attributes:
        inputs: datasets that the run uses.
        params: no key twice.
        metrics: points of any number.
        tags: of two with one key the later counts.
    """

    inputs: list[DatasetInput] = field(default_factory=list)
    params: list[Param] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)

    def send(self, store: Store, run_id: str) -> None:
        """Write everything to a run, in batches that a store takes; what is acknowledged is gone from here.

        Raises:
            StoreError: a batch was not acknowledged. It and what comes after it are still here.
        """
        _drain(self.inputs, MAX_DATASETS, lambda batch: store.log_inputs(run_id, batch))
        _drain(self.params, MAX_PARAMS, lambda batch: store.log_batch(run_id, params=batch))
        _drain(self.metrics, MAX_METRICS, lambda batch: store.log_batch(run_id, metrics=batch))
        _drain(self.tags, MAX_TAGS, lambda batch: store.log_batch(run_id, tags=batch))


def _drain(items: list[_Item], limit: int, write: Callable[[list[_Item]], None]) -> None:
    while items:
        batch = items[:limit]
        write(batch)
        del items[: len(batch)]
