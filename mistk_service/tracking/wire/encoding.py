"""Entities to and from MLflow's JSON, once for everyone who speaks the protocol.

The functions named after an entity return the JSON object for it: unset fields and empty lists are left out, whole
numbers are numbers, NaN is the string ``"NaN"``, and the infinities are the largest finite doubles, which is what
MLflow answers. The functions ``read_...`` go the other way and raise ``InvalidParameter``; :class:`Fields` reads
single fields.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from math import isfinite
from typing import Any

import msgspec

from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    DatasetSummary,
    Experiment,
    FileInfo,
    LoggedModel,
    LoggedModelOrder,
    Metric,
    ModelInput,
    ModelOutput,
    ModelVersion,
    Param,
    RegisteredModel,
    Run,
    RunInfo,
    RunInputs,
    Tag,
    User,
)
from mistk_service.tracking.values.light import Point, RunDataRecord, RunRecord
from mistk_service.tracking.wire.fields import Fields

__all__ = [
    "Fields",
    "dataset_summary",
    "experiment",
    "file_info",
    "listed_version",
    "logged_model",
    "metric",
    "model_version",
    "points",
    "read_dataset_inputs",
    "read_datasets",
    "read_logged_model_order",
    "read_metric",
    "read_metrics",
    "read_model_inputs",
    "read_model_outputs",
    "read_params",
    "read_tags",
    "registered_model",
    "run",
    "run_info",
    "run_record",
    "user",
]

Json = dict[str, Any]

_POINTS = list[Point]


def _number(value: float) -> float | str:
    if isfinite(value):
        return value
    return "NaN" if math.isnan(value) else math.copysign(sys.float_info.max, value)


def _present(**fields: Any) -> Json:
    """Return the fields that are set; an empty string is set, an empty list is not."""
    return {key: value for key, value in fields.items() if value is not None and value != []}


def _pairs(items: Iterable[Tag | Param]) -> list[Json]:
    return [{"key": item.key, "value": item.value} for item in items]


def metric(point: Metric | Point) -> Json:
    """Return a metric; where the point names its run, model or dataset, those too."""
    wire: Json = {
        "key": point.key,
        "value": _number(point.value),
        "timestamp": point.timestamp,
        "step": point.step,
    }
    for name in ("run_id", "model_id", "dataset_name", "dataset_digest"):
        value = getattr(point, name)
        if value is not None:
            wire[name] = value
    return wire


def points(found: Iterable[Point | Metric]) -> list[Point | Json]:
    """Return what is encoded as points; a history has a great many of them, nearly all of which are so already."""
    return [point if type(point) is Point and isfinite(point.value) else metric(point) for point in found]


def experiment(item: Experiment) -> Json:
    """Return an experiment."""
    return _present(
        experiment_id=item.experiment_id,
        name=item.name,
        artifact_location=item.artifact_location,
        lifecycle_stage=item.lifecycle_stage.value,
        last_update_time=item.last_update_time,
        creation_time=item.creation_time,
        tags=_pairs(item.tags),
        workspace="default",
    )


def run_info(info: RunInfo) -> Json:
    """Return what a run is; ``run_uuid`` repeats the id for old clients."""
    return _present(
        run_id=info.run_id,
        run_uuid=info.run_id,
        run_name=info.run_name,
        experiment_id=info.experiment_id,
        user_id=info.user_id,
        status=info.status.name,
        start_time=info.start_time,
        end_time=info.end_time,
        artifact_uri=info.artifact_uri,
        lifecycle_stage=info.lifecycle_stage.value,
    )


def run(item: Run, *, outputs: bool = True) -> Json:
    """Return a run; ``data`` and ``inputs`` are always there, ``outputs`` unless the caller leaves them out."""
    data = _present(
        metrics=[metric(point) for point in item.data.metrics],
        params=_pairs(item.data.params),
        tags=_pairs(item.data.tags),
    )
    wire: Json = {"info": run_info(item.info), "data": data, "inputs": _run_inputs(item.inputs)}
    if outputs:
        models = [{"model_id": model.model_id, "step": model.step} for model in item.outputs.model_outputs]
        wire["outputs"] = _present(model_outputs=models)
    return wire


def run_record(item: RunRecord) -> Json:
    """Return a run, the same as :func:`run` does."""
    data = item.data
    if data.metrics:
        data = RunDataRecord(points(data.metrics), data.params, data.tags)
    models = [{"model_id": model.model_id, "step": model.step} for model in item.outputs.model_outputs]
    return {
        "info": item.info,
        "data": data,
        "inputs": _run_inputs(item.inputs),
        "outputs": {"model_outputs": models} if models else {},
    }


def _run_inputs(inputs: RunInputs) -> Json:
    return _present(
        dataset_inputs=[
            {"tags": _pairs(use.tags), "dataset": _dataset(use.dataset)}
            if use.tags
            else {"dataset": _dataset(use.dataset)}
            for use in inputs.dataset_inputs
        ],
        model_inputs=[{"model_id": model.model_id} for model in inputs.model_inputs],
    )


def _dataset(item: Dataset) -> Json:
    return _present(
        name=item.name,
        digest=item.digest,
        source_type=item.source_type,
        source=item.source,
        schema=item.schema,
        profile=item.profile,
    )


def dataset_summary(item: DatasetSummary) -> Json:
    """Return a use of a dataset in an experiment."""
    return _present(experiment_id=item.experiment_id, name=item.name, digest=item.digest, context=item.context)


def file_info(item: FileInfo) -> Json:
    """Return an artifact; a folder has no size."""
    return _present(path=item.path, is_dir=item.is_dir, file_size=item.file_size)


def registered_model(item: RegisteredModel) -> Json:
    """Return a registered model with the latest version of each stage."""
    return _present(
        name=item.name,
        creation_timestamp=item.creation_timestamp,
        last_updated_timestamp=item.last_updated_timestamp,
        user_id=item.user_id,
        description=item.description,
        latest_versions=[listed_version(version) for version in item.latest_versions],
        tags=_pairs(item.tags),
        aliases=[{"alias": alias.alias, "version": alias.version} for alias in item.aliases],
        deployment_job_id=item.deployment_job_id,
    )


def model_version(item: ModelVersion) -> Json:
    """Return a version of a registered model."""
    return _present(
        name=item.name,
        version=item.version,
        creation_timestamp=item.creation_timestamp,
        last_updated_timestamp=item.last_updated_timestamp,
        user_id=item.user_id,
        current_stage=item.current_stage,
        description=item.description,
        source=item.source,
        run_id=item.run_id,
        status=item.status.name,
        status_message=item.status_message,
        tags=_pairs(item.tags),
        run_link=item.run_link,
        aliases=list(item.aliases),
        model_id=item.model_id,
        model_params=[{"name": param.key, "value": param.value} for param in item.model_params],
        model_metrics=[metric(point) for point in item.model_metrics],
    )


def listed_version(item: ModelVersion) -> Json:
    """Return a version as searches show it, without its aliases: some clients choke on them there."""
    return {key: value for key, value in model_version(item).items() if key != "aliases"}


def logged_model(item: LoggedModel) -> Json:
    """Return a logged model."""
    info = _present(
        model_id=item.model_id,
        experiment_id=item.experiment_id,
        name=item.name,
        creation_timestamp_ms=item.creation_timestamp,
        last_updated_timestamp_ms=item.last_updated_timestamp,
        artifact_uri=item.artifact_uri,
        status=item.status.name,
        model_type=item.model_type,
        source_run_id=item.source_run_id,
        status_message=item.status_message,
        tags=_pairs(item.tags),
        registrations=[{"name": made.name, "version": made.version} for made in item.registrations],
    )
    data = _present(params=_pairs(item.params), metrics=[metric(point) for point in item.metrics])
    return {"info": info, "data": data}


def user(item: User) -> Json:
    """Return a user with what was granted explicitly."""
    return {
        "id": item.id,
        "username": item.username,
        "is_admin": item.is_admin,
        "experiment_permissions": [
            {"experiment_id": grant.experiment_id, "user_id": grant.user_id, "permission": grant.permission.value}
            for grant in item.experiment_permissions
        ],
        "registered_model_permissions": [
            {"name": grant.name, "user_id": grant.user_id, "permission": grant.permission.value}
            for grant in item.registered_model_permissions
        ],
    }


def read_metric(fields: Fields) -> Metric:
    """Read one point; the step is 0 where it is absent."""
    return Metric(
        key=fields.required_text("key"),
        value=fields.required_double("value"),
        timestamp=fields.required_int64("timestamp"),
        step=fields.int64("step") or 0,
        model_id=fields.text("model_id") or None,
        dataset_name=fields.text("dataset_name") or None,
        dataset_digest=fields.text("dataset_digest") or None,
    )


def read_metrics(fields: Fields, name: str = "metrics") -> list[Metric | Point]:
    """Read a list of points; those that are in the plainest form, as nearly all are, take the fast way."""
    values = fields.raw_list(name)
    try:
        found: list[Metric | Point] = msgspec.convert(values, _POINTS)
    except msgspec.ValidationError:
        return [_plain_point(value) or read_metric(item) for value, item in _with_objects(fields, name)]
    return found


def _with_objects(fields: Fields, name: str) -> Iterable[tuple[Any, Fields]]:
    return zip(fields.raw_list(name), fields.objects(name), strict=True)


def _plain_point(value: Any) -> Point | None:
    try:
        return msgspec.convert(value, Point)
    except msgspec.ValidationError:
        return None


def _key_and_value(fields: Fields) -> tuple[str, str]:
    return fields.required_text("key"), fields.text("value") or ""


def read_params(fields: Fields, name: str = "params") -> list[Param]:
    """Read a list of params; an absent value is the empty string."""
    return [Param(*_key_and_value(item)) for item in fields.objects(name)]


def read_tags(fields: Fields, name: str = "tags") -> list[Tag]:
    """Read a list of tags; an absent value is the empty string."""
    return [Tag(*_key_and_value(item)) for item in fields.objects(name)]


def read_datasets(fields: Fields, name: str = "datasets") -> list[Dataset]:
    """Read the datasets that a search for logged models is limited to."""
    return [
        Dataset(item.required_text("dataset_name"), item.text("dataset_digest") or "") for item in fields.objects(name)
    ]


def read_dataset_inputs(fields: Fields, name: str = "datasets") -> list[DatasetInput]:
    """Read the datasets that a run uses; absent fields of a dataset are empty strings."""
    return [
        DatasetInput(_read_dataset(item.object("dataset") or Fields({})), tuple(read_tags(item)))
        for item in fields.objects(name)
    ]


def _read_dataset(fields: Fields) -> Dataset:
    return Dataset(
        name=fields.text("name") or "",
        digest=fields.text("digest") or "",
        source_type=fields.text("source_type") or "",
        source=fields.text("source") or "",
        schema=fields.text("schema"),
        profile=fields.text("profile"),
    )


def read_model_inputs(fields: Fields, name: str = "models") -> list[ModelInput]:
    """Read the logged models that a run uses."""
    return [ModelInput(item.required_text("model_id")) for item in fields.objects(name)]


def read_model_outputs(fields: Fields, name: str = "models") -> list[ModelOutput]:
    """Read the logged models that a run made; an absent step is 0."""
    return [ModelOutput(item.required_text("model_id"), item.int64("step") or 0) for item in fields.objects(name)]


def read_logged_model_order(fields: Fields, name: str = "order_by") -> list[LoggedModelOrder]:
    """Read the keys that a search for logged models is ordered by; the order is ascending unless it says otherwise."""
    found = []
    for item in fields.objects(name):
        ascending = item.boolean("ascending")
        found.append(
            LoggedModelOrder(
                field_name=item.required_text("field_name"),
                ascending=True if ascending is None else ascending,
                dataset_name=item.text("dataset_name") or None,
                dataset_digest=item.text("dataset_digest") or None,
            )
        )
    return found
