"""``mistk.data``: the types of MISTK's contracts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mistk_service.kinds.evaluation.values import Metric, MetricDataParameters
from mistk_service.kinds.values import Dataset, DatasetStatistics, MistkDataset, ObjectInfo, ObjectReference, Value

__all__ = [
    "DataRecord",
    "DataRecordList",
    "Dataset",
    "DatasetStatistics",
    "EvaluationInstanceStatus",
    "EvaluationSpecificationInitParams",
    "Metric",
    "MetricDataParameters",
    "MistkDataRecord",
    "MistkDataRecordList",
    "MistkDataset",
    "MistkMetric",
    "MistkMetricList",
    "MistkWatchEvent",
    "ModelInstanceInitParams",
    "ModelInstanceStatus",
    "ObjectInfo",
    "ObjectReference",
    "ServiceError",
    "TransformInstanceStatus",
    "TransformSpecificationInitParams",
    "WatchEvent",
]

MistkMetric = Metric


@dataclass
class DataRecord(Value):
    """One record of a dataset, or the predictions for it.

    Attributes:
        record_id: the identifier of the record.
        referenced_set_id: the identifier of its dataset.
        reference_set_project: the project of this dataset.
        values: objects such as ``{"label": ..., "confidence": ..., "bounds": ...}``.
    """

    record_id: str | None = None
    referenced_set_id: str | None = None
    reference_set_project: str | None = None
    values: list[dict[str, Any]] | None = None


@dataclass
class MistkDataRecord(DataRecord):
    """A record of MISTK."""


@dataclass
class DataRecordList(Value):
    """A page of records; ``continue_token`` asks for the next page."""

    items: list[DataRecord] | None = None
    continue_token: str | None = None


@dataclass
class MistkDataRecordList(Value):
    """A page of records of MISTK; ``continue_token`` asks for the next page."""

    items: list[MistkDataRecord] | None = None
    continue_token: str | None = None


@dataclass
class MistkMetricList(Value):
    """A page of metrics; ``continue_token`` asks for the next page."""

    items: list[Any] | None = None
    continue_token: str | None = None


@dataclass
class ModelInstanceInitParams(Value):
    """The arguments of ``initialize``."""

    objectives: list[str] | None = None
    model_properties: dict[str, Any] | None = None
    hyperparameters: dict[str, Any] | None = None


@dataclass
class _Status(Value):
    object_info: ObjectInfo = field(default_factory=ObjectInfo)
    state: str | None = None
    payload: Any = None


@dataclass
class ModelInstanceStatus(_Status):
    """The status of a model."""


@dataclass
class EvaluationInstanceStatus(_Status):
    """The status of an evaluation."""


@dataclass
class TransformInstanceStatus(_Status):
    """The status of a transform."""


@dataclass
class EvaluationSpecificationInitParams(Value):
    """The arguments of ``evaluate``."""

    assessment_type: str | None = None
    metrics: list[Any] | None = None
    input_data_path: str | None = None
    evaluation_input_format: str | None = None
    ground_truth_path: str | None = None
    evaluation_path: str | None = None
    properties: dict[str, Any] | None = None


@dataclass
class TransformSpecificationInitParams(Value):
    """The arguments of ``transform``."""

    input_datasets: list[MistkDataset] | None = None
    output_dataset: MistkDataset | None = None
    properties: dict[str, Any] | None = None


@dataclass
class WatchEvent(Value):
    """A change of an object; ``event_type`` is ``added``, ``modified`` or ``deleted``."""

    event_type: str | None = None
    payload: Any = None


@dataclass
class MistkWatchEvent(WatchEvent):
    """A change of an object of MISTK."""


@dataclass
class ServiceError(Value):
    """An error of a service: its HTTP status and a text."""

    code: int | None = None
    message: str | None = None
