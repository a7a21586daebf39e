"""Models that are registered or logged: the second half of :mod:`mistk_service.tracking.values`."""

from __future__ import annotations

from enum import Enum

import msgspec

from mistk_service.tracking.values._runs import Metric, Param, Tag

__all__ = [
    "LoggedModel",
    "LoggedModelOrder",
    "LoggedModelRegistration",
    "LoggedModelStatus",
    "ModelVersion",
    "ModelVersionStatus",
    "RegisteredModel",
    "RegisteredModelAlias",
]


class ModelVersionStatus(Enum):
    """State of a model version's registration; the values are the numbers of the protocol."""

    PENDING_REGISTRATION = 1
    FAILED_REGISTRATION = 2
    READY = 3


class LoggedModelStatus(Enum):
    """State of a logged model's upload; the values are the numbers of the protocol."""

    LOGGED_MODEL_STATUS_UNSPECIFIED = 0
    LOGGED_MODEL_PENDING = 1
    LOGGED_MODEL_READY = 2
    LOGGED_MODEL_UPLOAD_FAILED = 3


class ModelVersion(msgspec.Struct, frozen=True):
    """One version of a registered model.

    Attributes:
        name: the registered model's name.
        version: a number as text, counted per model and never reused.
        creation_timestamp: ms since 1970.
        last_updated_timestamp: ms since 1970.
        current_stage: ``None``, ``Staging``, ``Production`` or ``Archived``.
        description: a text, or "".
        source: the URI of the model's files.
        run_id: the run that made it, or "".
        status: the state of its registration.
        status_message: details of the status, or None.
        tags: sorted by key.
        run_link: the address of the run where that lives in another server, or "".
        aliases: those that point to this version, sorted.
        model_id: the logged model it was registered from, or None.
        model_params: that model's params.
        model_metrics: that model's metrics.
        user_id: who made it, or None.
    """

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str = "None"
    description: str = ""
    source: str = ""
    run_id: str = ""
    status: ModelVersionStatus = ModelVersionStatus.READY
    status_message: str | None = None
    tags: tuple[Tag, ...] = ()
    run_link: str = ""
    aliases: tuple[str, ...] = ()
    model_id: str | None = None
    model_params: tuple[Param, ...] = ()
    model_metrics: tuple[Metric, ...] = ()
    user_id: str | None = None


class RegisteredModelAlias(msgspec.Struct, frozen=True, gc=False):
    """A name that points to one version of a registered model.

    Attributes:
        alias: the name.
        version: the version's number as text.
    """

    alias: str
    version: str


class RegisteredModel(msgspec.Struct, frozen=True):
    """A named model with versions.

    Attributes:
        name: unique.
        creation_timestamp: ms since 1970.
        last_updated_timestamp: ms since 1970.
        description: a text, or None if it was never set.
        latest_versions: the highest version of each stage.
        tags: sorted by key.
        aliases: sorted by alias.
        user_id: who made it, or None.
        deployment_job_id: kept as given, or None.
    """

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str | None = None
    latest_versions: tuple[ModelVersion, ...] = ()
    tags: tuple[Tag, ...] = ()
    aliases: tuple[RegisteredModelAlias, ...] = ()
    user_id: str | None = None
    deployment_job_id: str | None = None


class LoggedModelRegistration(msgspec.Struct, frozen=True, gc=False):
    """A version of a registered model that was made from a logged model.

    Attributes:
        name: the registered model's name.
        version: the version's number as text.
    """

    name: str
    version: str


class LoggedModel(msgspec.Struct, frozen=True):
    """A model that a run logged (MLflow 3), with what was measured on it.

    Attributes:
        model_id: ``m-`` and 32 hexadecimal characters.
        experiment_id: the experiment it belongs to.
        name: a display name; need not be unique.
        creation_timestamp: ms since 1970.
        last_updated_timestamp: ms since 1970.
        artifact_uri: where its files are.
        status: the state of its upload.
        model_type: such as ``Agent``, or None.
        source_run_id: the run that made it, or None.
        status_message: details of the status, or None.
        tags: sorted by key.
        registrations: the registered versions made from it.
        params: sorted by key.
        metrics: every point that was measured on it, by key, timestamp and step.
    """

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    artifact_uri: str
    status: LoggedModelStatus
    model_type: str | None = None
    source_run_id: str | None = None
    status_message: str | None = None
    tags: tuple[Tag, ...] = ()
    registrations: tuple[LoggedModelRegistration, ...] = ()
    params: tuple[Param, ...] = ()
    metrics: tuple[Metric, ...] = ()


class LoggedModelOrder(msgspec.Struct, frozen=True, gc=False):
    """One key that a search for logged models is ordered by.

    Attributes:
        field_name: an attribute (``name``, ``creation_timestamp`` ...) or ``metrics.KEY``, ``params.KEY``,
            ``tags.KEY``.
        ascending: smallest first.
        dataset_name: for a metric: only points measured on this dataset; None for any.
        dataset_digest: for a metric: only points measured on the dataset of this digest; None for any.
    """

    field_name: str
    ascending: bool = True
    dataset_name: str | None = None
    dataset_digest: str | None = None
