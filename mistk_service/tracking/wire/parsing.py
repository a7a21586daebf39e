"""Entities from the JSON of a remote's answers.

Servers differ in what they leave out, and in whether a number is text, so all of that is taken. Where something cannot be
read even so, it is not an answer of MLflow's API.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, TypeVar

from mistk_service.tracking.errors import AnswerLost
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    DatasetSummary,
    Experiment,
    FileInfo,
    LifecycleStage,
    LoggedModel,
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

__all__ = [
    "dataset_summary",
    "experiment",
    "file_info",
    "logged_model",
    "metric",
    "model_version",
    "page",
    "read",
    "registered_model",
    "run",
    "run_info",
]

Json = dict[str, Any]
T = TypeVar("T")
E = TypeVar("E", bound=Enum)

_LARGEST = sys.float_info.max
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def read(build: Callable[[Json], T], answer: Any, name: str | None = None) -> T:
    """Return what ``build`` makes of an answer, or of the field ``name`` of it.

    Raises:
        AnswerLost: it is not of the form that MLflow's API has for it.
    """
    try:
        return build(answer if name is None else answer[name])
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerLost(
            f"The server's answer is not of the form of MLflow's API: {type(error).__name__}: {error}. Is that the address of "
            "a tracking server?"
        ) from error


def page(build: Callable[[Json], T], answer: Json, name: str) -> Page[T]:
    """Return a page of results; an absent list is an empty one. See :func:`read`."""
    items = read(lambda found: tuple(build(item) for item in found.get(name) or ()), answer)
    token = answer.get("next_page_token")
    return Page(items, token if isinstance(token, str) and token else None)


def experiment(item: Json) -> Experiment:
    """Read an experiment."""
    return Experiment(
        experiment_id=_required(item, "experiment_id"),
        name=_text(item, "name"),
        artifact_location=_text(item, "artifact_location"),
        lifecycle_stage=LifecycleStage(_text(item, "lifecycle_stage") or "active"),
        creation_time=_int(item, "creation_time") or 0,
        last_update_time=_int(item, "last_update_time") or 0,
        tags=_tags(item),
    )


def run_info(item: Json) -> RunInfo:
    """Read what a run is."""
    return RunInfo(
        run_id=_text(item, "run_id") or _required(item, "run_uuid"),
        run_name=_text(item, "run_name"),
        experiment_id=_text(item, "experiment_id"),
        user_id=_text(item, "user_id"),
        status=_enum(RunStatus, item, RunStatus.RUNNING),
        start_time=_int(item, "start_time") or 0,
        end_time=_int(item, "end_time"),
        artifact_uri=_text(item, "artifact_uri"),
        lifecycle_stage=LifecycleStage(_text(item, "lifecycle_stage") or "active"),
    )


def run(item: Json) -> Run:
    """Read a run."""
    data, inputs, outputs = (item.get(name) or {} for name in ("data", "inputs", "outputs"))
    return Run(
        info=run_info(item["info"]),
        data=RunData(
            metrics=tuple(sorted(map(metric, _list(data, "metrics")), key=_key)),
            params=tuple(sorted((Param(*_pair(each)) for each in _list(data, "params")), key=_key)),
            tags=_tags(data),
        ),
        inputs=RunInputs(
            tuple(map(_dataset_input, _list(inputs, "dataset_inputs"))),
            tuple(ModelInput(_text(each, "model_id")) for each in _list(inputs, "model_inputs")),
        ),
        outputs=RunOutputs(
            tuple(
                ModelOutput(_text(each, "model_id"), _int(each, "step") or 0)
                for each in _list(outputs, "model_outputs")
            )
        ),
    )


def metric(item: Json) -> Metric:
    """Read a point; the largest double is how MLflow's answers write infinity."""
    value = item["value"]
    if len(item) == 4 and type(value) is float and -_LARGEST < value < _LARGEST:
        # A history has a great many points, nearly all without a run, model or dataset.
        return Metric(item["key"], value, item["timestamp"], item["step"])
    number = _WORDS[value] if isinstance(value, str) and value in _WORDS else float(value)
    if number in (_LARGEST, -_LARGEST):
        number = math.copysign(math.inf, number)
    return Metric(
        _required(item, "key"),
        number,
        _int(item, "timestamp") or 0,
        _int(item, "step") or 0,
        _optional(item, "model_id"),
        _optional(item, "dataset_name"),
        _optional(item, "dataset_digest"),
        _optional(item, "run_id"),
    )


def dataset_summary(item: Json) -> DatasetSummary:
    """Read a use of a dataset."""
    return DatasetSummary(
        _text(item, "experiment_id"), _text(item, "name"), _text(item, "digest"), _optional(item, "context")
    )


def file_info(item: Json) -> FileInfo:
    """Read an artifact."""
    folder = bool(item.get("is_dir"))
    return FileInfo(_required(item, "path"), folder, None if folder else _int(item, "file_size"))


def registered_model(item: Json) -> RegisteredModel:
    """Read a registered model."""
    return RegisteredModel(
        name=_required(item, "name"),
        creation_timestamp=_int(item, "creation_timestamp") or 0,
        last_updated_timestamp=_int(item, "last_updated_timestamp") or 0,
        description=item.get("description"),
        latest_versions=tuple(map(model_version, _list(item, "latest_versions"))),
        tags=_tags(item),
        aliases=tuple(
            RegisteredModelAlias(_text(each, "alias"), _text(each, "version")) for each in _list(item, "aliases")
        ),
        user_id=_optional(item, "user_id"),
        deployment_job_id=_optional(item, "deployment_job_id"),
    )


def model_version(item: Json) -> ModelVersion:
    """Read a version of a registered model."""
    return ModelVersion(
        name=_required(item, "name"),
        version=_required(item, "version"),
        creation_timestamp=_int(item, "creation_timestamp") or 0,
        last_updated_timestamp=_int(item, "last_updated_timestamp") or 0,
        current_stage=_text(item, "current_stage") or "None",
        description=_text(item, "description"),
        source=_text(item, "source"),
        run_id=_text(item, "run_id"),
        status=_enum(ModelVersionStatus, item, ModelVersionStatus.READY),
        status_message=_optional(item, "status_message"),
        tags=_tags(item),
        run_link=_text(item, "run_link"),
        aliases=tuple(sorted(str(alias) for alias in _list(item, "aliases"))),
        model_id=_optional(item, "model_id"),
        model_params=tuple(Param(_text(each, "name"), _text(each, "value")) for each in _list(item, "model_params")),
        model_metrics=tuple(map(metric, _list(item, "model_metrics"))),
        user_id=_optional(item, "user_id"),
    )


def logged_model(item: Json) -> LoggedModel:
    """Read a logged model."""
    info, data = item["info"], item.get("data") or {}
    return LoggedModel(
        model_id=_required(info, "model_id"),
        experiment_id=_text(info, "experiment_id"),
        name=_text(info, "name"),
        creation_timestamp=_int(info, "creation_timestamp_ms") or 0,
        last_updated_timestamp=_int(info, "last_updated_timestamp_ms") or 0,
        artifact_uri=_text(info, "artifact_uri"),
        status=_enum(LoggedModelStatus, info, LoggedModelStatus.LOGGED_MODEL_STATUS_UNSPECIFIED),
        model_type=_optional(info, "model_type"),
        source_run_id=_optional(info, "source_run_id"),
        status_message=_optional(info, "status_message"),
        tags=_tags(info),
        registrations=tuple(
            LoggedModelRegistration(_text(each, "name"), _text(each, "version"))
            for each in _list(info, "registrations")
        ),
        params=tuple(sorted((Param(*_pair(each)) for each in _list(data, "params")), key=_key)),
        metrics=tuple(map(metric, _list(data, "metrics"))),
    )


def _dataset_input(item: Json) -> DatasetInput:
    dataset = item.get("dataset") or {}
    return DatasetInput(
        Dataset(
            name=_text(dataset, "name"),
            digest=_text(dataset, "digest"),
            source_type=_text(dataset, "source_type"),
            source=_text(dataset, "source"),
            schema=dataset.get("schema"),
            profile=dataset.get("profile"),
        ),
        _tags(item),
    )


def _tags(item: Json) -> tuple[Tag, ...]:
    return tuple(sorted((Tag(*_pair(each)) for each in _list(item, "tags")), key=_key))


def _key(item: Tag | Param | Metric) -> str:
    return item.key


def _pair(item: Json) -> tuple[str, str]:
    return _text(item, "key"), _text(item, "value")


def _list(item: Json, name: str) -> Iterable[Any]:
    return item.get(name) or ()


def _text(item: Json, name: str) -> str:
    value = item.get(name)
    return "" if value is None else value if isinstance(value, str) else str(value)


def _required(item: Json, name: str) -> str:
    return _text({name: item[name]}, name)


def _optional(item: Json, name: str) -> str | None:
    return _text(item, name) or None


def _int(item: Json, name: str) -> int | None:
    value = item.get(name)
    return None if value is None or value == "" else int(value)


def _enum(kind: type[E], item: Json, absent: E) -> E:
    value = item.get("status")
    if value is None or value == "":
        return absent
    return kind(value) if isinstance(value, int) else kind[value.upper()]
