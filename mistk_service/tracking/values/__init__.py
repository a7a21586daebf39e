"""What is tracked: experiments, runs, metrics, models and their kin, as frozen, typed values.

The vocabulary is MLflow's. The objects know neither JSON nor SQL: :mod:`mistk_service.tracking.wire.encoding` and
:mod:`mistk_service.tracking.sql` convert them. Times are integers as the client gave them, by convention milliseconds
since 1970 (UTC); times that the store sets are milliseconds. Ids are opaque strings. ``None`` means "not set".
"""

from __future__ import annotations

from mistk_service.tracking.values._models import (
    ExperimentPermission,
    LoggedModel,
    LoggedModelOrder,
    LoggedModelRegistration,
    LoggedModelStatus,
    ModelVersion,
    ModelVersionStatus,
    Permission,
    RegisteredModel,
    RegisteredModelAlias,
    RegisteredModelPermission,
    User,
)
from mistk_service.tracking.values._runs import (
    Dataset,
    DatasetInput,
    DatasetSummary,
    Experiment,
    FileInfo,
    LifecycleStage,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
    Tag,
    ViewType,
)

__all__ = [
    "Dataset",
    "DatasetInput",
    "DatasetSummary",
    "Experiment",
    "ExperimentPermission",
    "FileInfo",
    "LifecycleStage",
    "LoggedModel",
    "LoggedModelOrder",
    "LoggedModelRegistration",
    "LoggedModelStatus",
    "Metric",
    "ModelInput",
    "ModelOutput",
    "ModelVersion",
    "ModelVersionStatus",
    "Param",
    "Permission",
    "RegisteredModel",
    "RegisteredModelAlias",
    "RegisteredModelPermission",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunOutputs",
    "RunStatus",
    "Tag",
    "User",
    "ViewType",
]
