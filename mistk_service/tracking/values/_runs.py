"""Experiments, runs and what is logged to them: the first half of :mod:`mistk_service.tracking.values`."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Annotated

import msgspec

__all__ = [
    "Curve",
    "CurveColumn",
    "Dataset",
    "DatasetInput",
    "DatasetSummary",
    "Experiment",
    "FileInfo",
    "LifecycleStage",
    "Metric",
    "ModelInput",
    "ModelOutput",
    "Param",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunOutputs",
    "RunStatus",
    "Tag",
    "ViewType",
]


# The form of a JSON object that is read as a metric directly; a constructor checks nothing.
_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63) + 1, le=2**63 - 1)]


class ViewType(Enum):
    """Which lifecycle stages a search looks at; the values are the numbers of the protocol."""

    ACTIVE_ONLY = 1
    DELETED_ONLY = 2
    ALL = 3


class LifecycleStage(StrEnum):
    """Active or deleted. A deleted item stays readable and can be restored."""

    ACTIVE = "active"
    DELETED = "deleted"


class RunStatus(Enum):
    """Status of a run; the values are the numbers of the protocol. Any status may follow any other."""

    RUNNING = 1
    SCHEDULED = 2
    FINISHED = 3
    FAILED = 4
    KILLED = 5


class Tag(msgspec.Struct, frozen=True, gc=False):
    """A note on a run, an experiment, a dataset input, a registered model, a model version or a logged model.

    Attributes:
        key: its name; keys that start with ``mlflow.`` have a meaning to clients.
        value: its text.
    """

    key: str
    value: str


class Param(msgspec.Struct, frozen=True, gc=False):
    """An input of a run or of a logged model, written once.

    Attributes:
        key: its name.
        value: its value as text.
    """

    key: str
    value: str


class Metric(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """One measured point. All of tracking uses this order of fields.

    Attributes:
        key: the metric's name.
        value: the number, NaN and the infinities included.
        timestamp: when it was measured, not negative.
        step: where in the training, any int64.
        model_id: the logged model that was measured, if any.
        dataset_name: the dataset it was measured on, if any.
        dataset_digest: that dataset's digest.
        run_id: the run it belongs to, among points of several runs or models; otherwise None.
    """

    key: _Name
    value: float
    timestamp: _Int64
    step: _Int64 = msgspec.field(default_factory=int)
    model_id: _Name | None = None
    dataset_name: _Name | None = None
    dataset_digest: _Name | None = None
    run_id: _Name | None = None


class CurveColumn(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The summary of the finite points of a metric in one column of pixels of a chart.

    Attributes:
        start: the smallest x.
        end: the largest x.
        count: how many points.
        first: the value at ``start``, the earliest if there are several.
        minimum: the smallest value.
        maximum: the largest value.
        last: the value at ``end``, the latest if there are several.
        mean: the mean of the values.
    """

    start: int
    end: int
    count: int
    first: float
    minimum: float
    maximum: float
    last: float
    mean: float


class Curve(msgspec.Struct, frozen=True, omit_defaults=True):
    """The history of a metric of a run for a chart: all points if they are few, otherwise columns.

    Attributes:
        run_id: the run.
        count: how many points are in the range.
        points: (x, value) by x and time, or none.
        columns: the columns that have points, from left to right, or none.
        not_finite: what the columns do not contain: (x of the first, value, how many) for NaN and each infinity in
            a column of pixels.
    """

    run_id: str
    count: int
    points: tuple[tuple[int, float], ...] = ()
    columns: tuple[CurveColumn, ...] = ()
    not_finite: tuple[tuple[int, float, int], ...] = ()


class Experiment(msgspec.Struct, frozen=True):
    """A named set of runs.

    Attributes:
        experiment_id: a decimal number as text; "0" is the default experiment.
        name: unique among active and deleted experiments.
        artifact_location: the URI below which its runs keep their artifacts.
        lifecycle_stage: active or deleted.
        creation_time: ms since 1970.
        last_update_time: ms since 1970.
        tags: sorted by key.
    """

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: LifecycleStage
    creation_time: int
    last_update_time: int
    tags: tuple[Tag, ...] = ()


class RunInfo(msgspec.Struct, frozen=True, gc=False):
    """The description of a run.

    Attributes:
        run_id: 32 lower-case hexadecimal characters.
        run_name: a display name; need not be unique.
        experiment_id: the experiment it belongs to.
        user_id: as given when the run was created, or "".
        status: its status.
        start_time: as given, 0 by default.
        end_time: as given, None until then.
        artifact_uri: where its artifacts are.
        lifecycle_stage: active or deleted.
    """

    run_id: str
    run_name: str
    experiment_id: str
    user_id: str
    status: RunStatus
    start_time: int
    end_time: int | None
    artifact_uri: str
    lifecycle_stage: LifecycleStage


class RunData(msgspec.Struct, frozen=True):
    """What was logged to a run.

    Attributes:
        metrics: the latest point of each key, which is the greatest by (step, timestamp, value); sorted by key.
        params: sorted by key.
        tags: sorted by key.
    """

    metrics: tuple[Metric, ...] = ()
    params: tuple[Param, ...] = ()
    tags: tuple[Tag, ...] = ()


class Dataset(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A reference to data; it is identified by its experiment, name and digest.

    Attributes:
        name: the dataset's name.
        digest: a fingerprint of the data, at most 36 characters.
        source_type: the kind of the source (``local``, ``http``, ``code`` ...).
        source: where the data comes from, often JSON.
        schema: the columns, often JSON.
        profile: statistics, often JSON.
    """

    name: str
    digest: str
    source_type: str = msgspec.field(default_factory=str)
    source: str = msgspec.field(default_factory=str)
    schema: str | None = None
    profile: str | None = None


class DatasetInput(msgspec.Struct, frozen=True, omit_defaults=True):
    """A dataset that a run used.

    Attributes:
        dataset: the dataset.
        tags: notes on the use, such as ``mlflow.data.context`` = ``training``; sorted by key.
    """

    dataset: Dataset
    tags: tuple[Tag, ...] = ()


class DatasetSummary(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One use of a dataset within an experiment, as the search for datasets returns it.

    Attributes:
        experiment_id: the experiment.
        name: the dataset's name.
        digest: its digest.
        context: the value of the tag ``mlflow.data.context``, or None.
    """

    experiment_id: str
    name: str
    digest: str
    context: str | None = None


class ModelInput(msgspec.Struct, frozen=True, gc=False):
    """A logged model that a run used.

    Attributes:
        model_id: the logged model.
    """

    model_id: str


class ModelOutput(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A logged model that a run made.

    Attributes:
        model_id: the logged model.
        step: where in the training.
    """

    model_id: str
    step: int = msgspec.field(default_factory=int)


class RunInputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """The inputs of a run.

    Attributes:
        dataset_inputs: the datasets, in the order they were logged.
        model_inputs: the models, likewise.
    """

    dataset_inputs: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[ModelInput, ...] = ()


class RunOutputs(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outputs of a run.

    Attributes:
        model_outputs: the models, in the order they were logged.
    """

    model_outputs: tuple[ModelOutput, ...] = ()


class Run(msgspec.Struct, frozen=True):
    """A single execution: its description, logged data, inputs and outputs."""

    info: RunInfo
    data: RunData = RunData()
    inputs: RunInputs = RunInputs()
    outputs: RunOutputs = RunOutputs()


class FileInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An artifact or a folder of artifacts.

    Attributes:
        path: relative to the root of the listing, ``/``-separated.
        is_dir: whether it is a folder.
        file_size: bytes; None for folders.
    """

    path: str
    is_dir: bool
    file_size: int | None = None
