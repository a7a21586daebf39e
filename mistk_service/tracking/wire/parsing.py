"""Reads values from MLflow's JSON, of requests and of responses.

The functions ``read_...`` raise ``InvalidParameter``, which is what a server answers; :func:`from_answer` and
:func:`page_from_answer` turn that into the error of a client whose server does not speak MLflow's API.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from mistk_service.tracking.errors import AnswerLost, InvalidParameter
from mistk_service.tracking.values import (
    Curve,
    Dataset,
    DatasetInput,
    DatasetSummary,
    Experiment,
    FileInfo,
    LifecycleStage,
    LoggedModel,
    LoggedModelOrder,
    LoggedModelRegistration,
    LoggedModelStatus,
    Metric,
    ModelInput,
    ModelOutput,
    ModelVersion,
    ModelVersionStatus,
    Param,
    RegisteredModel,
    RegisteredModelAlias,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
    Tag,
)
from mistk_service.tracking.values.page import Page
from mistk_service.tracking.wire.fields import Fields

__all__ = [
    "from_answer",
    "history_from_answer",
    "page_from_answer",
    "read_curves",
    "read_dataset_inputs",
    "read_dataset_summary",
    "read_datasets",
    "read_experiment",
    "read_file_info",
    "read_logged_model",
    "read_logged_model_order",
    "read_metric",
    "read_metrics",
    "read_model_inputs",
    "read_model_outputs",
    "read_model_version",
    "read_params",
    "read_registered_model",
    "read_run",
    "read_run_info",
    "read_tags",
]

Json = dict[str, Any]
T = TypeVar("T")
Pair = TypeVar("Pair", Tag, Param)

_LARGEST = sys.float_info.max
_METRICS, _TAGS, _PARAMS = list[Metric], list[Tag], list[Param]


def from_answer(read: Callable[[Fields], T], answer: Any, name: str | None = None) -> T:
    """Return the value that ``read`` reads from a server's answer, or from the object ``name`` in it.

    Raises:
        AnswerLost: it does not have the form that MLflow's API has for it.
    """
    try:
        fields = Fields(answer)
        return read(fields if name is None else fields.required_object(name))
    except (InvalidParameter, ValueError) as error:
        raise AnswerLost(
            f"The server's answer does not have the form of MLflow's API: {str(error).rstrip('.')}. Is that the address of "
            "a tracking server?"
        ) from error


def page_from_answer(read: Callable[[Fields], T], answer: Json, name: str) -> Page[T]:
    """Return a page of results; an absent list is an empty one. See :func:`from_answer`."""
    return _page(answer, from_answer(lambda fields: list(map(read, fields.objects(name))), answer))


def history_from_answer(answer: Json) -> Page[Metric]:
    """Return a page of a history, whose many points are read together. See :func:`from_answer`."""
    return _page(answer, from_answer(_read_measured, answer))


def _page(answer: Json, items: Sequence[T]) -> Page[T]:
    token = answer.get("next_page_token")
    return Page(tuple(items), token if isinstance(token, str) and token else None)


def read_metric(fields: Fields) -> Metric:
    """Read one point; the step is 0 where it is absent."""
    return Metric(
        fields.required_text("key"),
        fields.required_double("value"),
        fields.required_int64("timestamp"),
        fields.int64("step") or 0,
        fields.text("model_id") or None,
        fields.text("dataset_name") or None,
        fields.text("dataset_digest") or None,
        fields.text("run_id") or None,
    )


def read_metrics(fields: Fields, name: str = "metrics") -> list[Metric]:
    """Read a list of points; nearly all are in the plain form, which takes a fast path."""
    values = fields.raw_list(name)
    try:
        return msgspec.convert(values, _METRICS)
    except msgspec.ValidationError:
        return [
            _plain_metric(value) or read_metric(item) for value, item in zip(values, fields.objects(name), strict=True)
        ]


def _plain_metric(value: Any) -> Metric | None:
    try:
        return msgspec.convert(value, Metric)
    except msgspec.ValidationError:
        return None


def _read_measured(fields: Fields, name: str = "metrics") -> list[Metric]:
    """Read the points of an answer, in which the largest double means infinity."""
    return list(map(_with_infinity, read_metrics(fields, name)))


def _with_infinity(point: Metric) -> Metric:
    if abs(point.value) != _LARGEST:
        return point
    return msgspec.structs.replace(point, value=math.copysign(math.inf, point.value))


def read_curves(fields: Fields) -> list[Curve]:
    """Read the curves of an answer."""
    # Not strict: values that are not finite are text.
    return msgspec.convert(fields.raw_list("curves"), list[Curve], strict=False)


def read_params(fields: Fields) -> list[Param]:
    """Read a list of params; an absent value is the empty string."""
    return _read_pairs(fields, "params", Param, _PARAMS)


def read_tags(fields: Fields) -> list[Tag]:
    """Read a list of tags; an absent value is the empty string."""
    return _read_pairs(fields, "tags", Tag, _TAGS)


def _read_pairs(fields: Fields, name: str, kind: type[Pair], listed: type[list[Pair]]) -> list[Pair]:
    values = fields.raw_list(name)
    try:
        found = msgspec.convert(values, listed) if values else []
    except msgspec.ValidationError:
        found = None
    if found is not None and all(item.key for item in found):
        return found
    return [kind(item.required_text("key"), item.text("value") or "") for item in fields.objects(name)]


def _by_key(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(sorted(items, key=lambda item: item.key))  # type: ignore[attr-defined]  # metrics, params and tags


def read_datasets(fields: Fields) -> list[Dataset]:
    """Read the datasets that a search for logged models is limited to."""
    found = fields.objects("datasets")
    return [Dataset(item.required_text("dataset_name"), item.text("dataset_digest") or "") for item in found]


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


def read_dataset_summary(fields: Fields) -> DatasetSummary:
    """Read a use of a dataset."""
    return DatasetSummary(
        fields.identifier("experiment_id") or "",
        fields.text("name") or "",
        fields.text("digest") or "",
        fields.text("context") or None,
    )


def read_model_inputs(fields: Fields, name: str = "models") -> list[ModelInput]:
    """Read the logged models that a run uses."""
    return [ModelInput(item.required_text("model_id")) for item in fields.objects(name)]


def read_model_outputs(fields: Fields, name: str = "models") -> list[ModelOutput]:
    """Read the logged models that a run made; an absent step is 0."""
    return [ModelOutput(item.required_text("model_id"), item.int64("step") or 0) for item in fields.objects(name)]


def read_logged_model_order(fields: Fields) -> list[LoggedModelOrder]:
    """Read the keys that a search for logged models is ordered by; the order is ascending by default."""
    return [
        LoggedModelOrder(
            field_name=item.required_text("field_name"),
            ascending=item.boolean("ascending") is not False,
            dataset_name=item.text("dataset_name") or None,
            dataset_digest=item.text("dataset_digest") or None,
        )
        for item in fields.objects("order_by")
    ]


def read_experiment(fields: Fields) -> Experiment:
    """Read an experiment."""
    return Experiment(
        experiment_id=fields.required_identifier("experiment_id"),
        name=fields.text("name") or "",
        artifact_location=fields.text("artifact_location") or "",
        lifecycle_stage=_read_stage(fields),
        creation_time=fields.int64("creation_time") or 0,
        last_update_time=fields.int64("last_update_time") or 0,
        tags=_by_key(read_tags(fields)),
    )


def _read_stage(fields: Fields) -> LifecycleStage:
    return LifecycleStage(fields.text("lifecycle_stage") or "active")


def read_run_info(fields: Fields) -> RunInfo:
    """Read the description of a run."""
    return RunInfo(
        run_id=fields.text("run_id") or fields.required_text("run_uuid"),
        run_name=fields.text("run_name") or "",
        experiment_id=fields.identifier("experiment_id") or "",
        user_id=fields.identifier("user_id") or "",
        status=fields.enum("status", RunStatus) or RunStatus.RUNNING,
        start_time=fields.int64("start_time") or 0,
        end_time=fields.int64("end_time"),
        artifact_uri=fields.text("artifact_uri") or "",
        lifecycle_stage=_read_stage(fields),
    )


def read_run(fields: Fields) -> Run:
    """Read a run."""
    data, inputs, outputs = (fields.object(name) or Fields({}) for name in ("data", "inputs", "outputs"))
    return Run(
        read_run_info(fields.required_object("info")),
        RunData(_by_key(_read_measured(data)), _by_key(read_params(data)), _by_key(read_tags(data))),
        RunInputs(
            tuple(read_dataset_inputs(inputs, "dataset_inputs")), tuple(read_model_inputs(inputs, "model_inputs"))
        ),
        RunOutputs(tuple(read_model_outputs(outputs, "model_outputs"))),
    )


def read_file_info(fields: Fields) -> FileInfo:
    """Read an artifact."""
    folder = bool(fields.boolean("is_dir"))
    return FileInfo(fields.required_text("path"), folder, None if folder else fields.int64("file_size"))


def read_registered_model(fields: Fields) -> RegisteredModel:
    """Read a registered model."""
    return RegisteredModel(
        name=fields.required_text("name"),
        creation_timestamp=fields.int64("creation_timestamp") or 0,
        last_updated_timestamp=fields.int64("last_updated_timestamp") or 0,
        description=fields.text("description"),
        latest_versions=tuple(map(read_model_version, fields.objects("latest_versions"))),
        tags=_by_key(read_tags(fields)),
        aliases=tuple(
            RegisteredModelAlias(item.required_text("alias"), item.required_identifier("version"))
            for item in fields.objects("aliases")
        ),
        user_id=fields.identifier("user_id") or None,
        deployment_job_id=fields.identifier("deployment_job_id") or None,
    )


def read_model_version(fields: Fields) -> ModelVersion:
    """Read a version of a registered model."""
    return ModelVersion(
        name=fields.required_text("name"),
        version=fields.required_identifier("version"),
        creation_timestamp=fields.int64("creation_timestamp") or 0,
        last_updated_timestamp=fields.int64("last_updated_timestamp") or 0,
        current_stage=fields.text("current_stage") or "None",
        description=fields.text("description") or "",
        source=fields.text("source") or "",
        run_id=fields.text("run_id") or "",
        status=fields.enum("status", ModelVersionStatus) or ModelVersionStatus.READY,
        status_message=fields.text("status_message") or None,
        tags=_by_key(read_tags(fields)),
        run_link=fields.text("run_link") or "",
        aliases=tuple(sorted(fields.texts("aliases"))),
        model_id=fields.text("model_id") or None,
        model_params=tuple(
            Param(item.text("name") or "", item.text("value") or "") for item in fields.objects("model_params")
        ),
        model_metrics=tuple(_read_measured(fields, "model_metrics")),
        user_id=fields.identifier("user_id") or None,
    )


def read_logged_model(fields: Fields) -> LoggedModel:
    """Read a logged model."""
    info, data = fields.required_object("info"), fields.object("data") or Fields({})
    return LoggedModel(
        model_id=info.required_text("model_id"),
        experiment_id=info.identifier("experiment_id") or "",
        name=info.text("name") or "",
        creation_timestamp=info.int64("creation_timestamp_ms") or 0,
        last_updated_timestamp=info.int64("last_updated_timestamp_ms") or 0,
        artifact_uri=info.text("artifact_uri") or "",
        status=info.enum("status", LoggedModelStatus) or LoggedModelStatus.LOGGED_MODEL_STATUS_UNSPECIFIED,
        model_type=info.text("model_type") or None,
        source_run_id=info.text("source_run_id") or None,
        status_message=info.text("status_message") or None,
        tags=_by_key(read_tags(info)),
        registrations=tuple(
            LoggedModelRegistration(item.required_text("name"), item.required_identifier("version"))
            for item in info.objects("registrations")
        ),
        params=_by_key(read_params(data)),
        metrics=tuple(_read_measured(data)),
    )
