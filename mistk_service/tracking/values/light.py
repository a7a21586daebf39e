"""Points and runs as light as they get, for those who pass on a great many of them.

An entity (:mod:`mistk_service.tracking.values`) is checked to be immutable at every field, which costs ten times what
everything else about making one does. These carry the same and are made and encoded without any of it: the fields have the
names and the order that they have in MLflow's JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from mistk_service.tracking.values import Metric, Param, Run, RunInputs, RunOutputs, Tag

__all__ = ["Pair", "Point", "RunDataRecord", "RunInfoRecord", "RunRecord", "point_of", "record_of"]

_Int64 = Annotated[int, Meta(ge=-(2**63) + 1, le=2**63 - 1)]


class Point(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A point of a metric that says no more than that, as nearly all do; see :class:`Metric` for the fields."""

    key: Annotated[str, Meta(min_length=1)]
    value: float
    timestamp: _Int64
    step: _Int64 = 0

    model_id: ClassVar[None] = None
    dataset_name: ClassVar[None] = None
    dataset_digest: ClassVar[None] = None
    run_id: ClassVar[None] = None


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A param or a tag."""

    key: str
    value: str


class RunInfoRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a run is; see :class:`RunInfo`. ``run_uuid`` repeats the id for old clients."""

    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    end_time: int | None = None


class RunDataRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was logged to a run; see :class:`RunData`. A metric that says more than a :class:`Point` is a :class:`Metric`."""

    metrics: list[Any] = []
    params: list[Pair] = []
    tags: list[Pair] = []


class RunRecord(msgspec.Struct, frozen=True):
    """A run. What went in and what came out are entities, since there are few of them."""

    info: RunInfoRecord
    data: RunDataRecord
    inputs: RunInputs
    outputs: RunOutputs


def point_of(metric: Metric) -> Point | Metric:
    """Return the point of a metric, or the metric itself where it says more than that."""
    if metric.model_id is None and metric.dataset_name is None and metric.run_id is None:
        return Point(metric.key, metric.value, metric.timestamp, metric.step)
    return metric


def record_of(run: Run) -> RunRecord:
    """Return a run in the lighter form."""
    info, data = run.info, run.data
    return RunRecord(
        RunInfoRecord(
            info.run_id,
            info.run_id,
            info.run_name,
            info.experiment_id,
            info.user_id,
            info.status.name,
            info.start_time,
            info.artifact_uri,
            info.lifecycle_stage.value,
            info.end_time,
        ),
        RunDataRecord(list(map(point_of, data.metrics)), _pairs(data.params), _pairs(data.tags)),
        run.inputs,
        run.outputs,
    )


def _pairs(items: Iterable[Param | Tag]) -> list[Pair]:
    return [Pair(item.key, item.value) for item in items]
