"""The representation of projects, experiments, datasets and iterations in a store, and as JSON."""

from __future__ import annotations

import getpass
import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mistk_service.tracking.values import Dataset, DatasetInput, Experiment, Run, Tag

Json = dict[str, Any]

#: The experiment whose runs are the datasets. A project cannot have this name.
DATASETS_EXPERIMENT = "mlops.datasets"

#: The values of the tag ``mlops.kind``.
PROJECT, EXPERIMENT, DATASET, ITERATION = "project", "experiment", "dataset", "iteration"

MODEL_PATH = "mlops.modelPath"
USED_DATASETS = "mlops.datasets"
FAILURE = "mlops.failure"

_KIND = "mlops.kind"
_NOTE = "mlflow.note.content"
_STATUS = "mlops.status"
_ARCHIVED = "mlops.archived"
PROJECT_ID = "mlops.projectId"
_PROJECT_TITLE = "mlops.project"
#: The tags that make an experiment a part of a project.
MEMBERSHIP = frozenset({_KIND, PROJECT_ID, _PROJECT_TITLE})
_PATH = "mlops.path"
_VERSION = "mlops.version"
_LABELS = "mlops.tags"
_DATASET_ID = "mlops.datasetId"

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def is_a(kind: str, tags: Sequence[Tag]) -> bool:
    """Return whether the tags are those of an item of ``kind``."""
    return _texts(tags).get(_KIND) == kind


def project_tags(description: str | None, status: str | None, archived: bool) -> list[Tag]:
    """Return the tags of the experiment that represents a project."""
    return _tags({_KIND: PROJECT, _NOTE: description, _STATUS: status, _ARCHIVED: json.dumps(archived)})


def project_json(item: Experiment) -> Json:
    """Return a project as JSON."""
    texts = _texts(item.tags)
    return {
        "id": item.experiment_id,
        "title": item.name,
        "description": texts.get(_NOTE),
        "status": texts.get(_STATUS),
        "archived": texts.get(_ARCHIVED) == "true",
        "created_at": iso_time(item.creation_time),
        "updated_at": iso_time(item.last_update_time),
    }


def experiment_name(project: Experiment, name: str) -> str:
    """Return the name of a project's experiment in the store."""
    return f"{project.name}/{name}"


def experiment_tags(project: Experiment, description: str | None) -> list[Tag]:
    """Return the tags of an experiment of a project."""
    project_id, title = project.experiment_id, project.name
    return _tags({_KIND: EXPERIMENT, _NOTE: description, PROJECT_ID: project_id, _PROJECT_TITLE: title})


def project_of(item: Experiment) -> str:
    """Return the id of the project that an experiment belongs to."""
    return _texts(item.tags).get(PROJECT_ID, "")


def bare_name(item: Experiment) -> str:
    """Return the name of an experiment without its project's title, even if either has been renamed."""
    return item.name.removeprefix(f"{_texts(item.tags).get(_PROJECT_TITLE)}/")


def experiment_json(item: Experiment) -> Json:
    """Return an experiment as JSON, with its :func:`bare_name`."""
    texts = _texts(item.tags)
    return {
        "id": item.experiment_id,
        "project_id": project_of(item),
        "name": bare_name(item),
        "description": texts.get(_NOTE),
        "created_at": iso_time(item.creation_time),
        "updated_at": iso_time(item.last_update_time),
    }


def dataset_tags(
    path: str, description: str | None, labels: dict[str, str] | list[str] | str | None, version: str | None
) -> list[Tag]:
    """Return the tags of the run that represents a dataset. Labels in a dictionary also become separate tags."""
    own = labels if isinstance(labels, Mapping) else {}
    written = None if labels is None else json.dumps(labels, ensure_ascii=False)
    return _tags(
        {_KIND: DATASET, _NOTE: description, _PATH: path, _VERSION: version, _LABELS: written, **own, **_origin()}
    )


def dataset_json(run: Run) -> Json:
    """Return a dataset as JSON."""
    texts = _texts(run.data.tags)
    return {
        "id": run.info.run_id,
        "name": run.info.run_name,
        "path": texts.get(_PATH),
        "description": texts.get(_NOTE),
        "tags": json.loads(texts[_LABELS]) if _LABELS in texts else None,
        "version": texts.get(_VERSION),
        "created_at": iso_time(run.info.start_time),
    }


def dataset_input(run: Run) -> DatasetInput:
    """Return a dataset as the input of a run in MLflow's terms.

    The digest identifies a definition by path and version, not the content, since the path may only be readable on another
    machine.
    """
    texts = _texts(run.data.tags)
    path, version = texts.get(_PATH, ""), texts.get(_VERSION)
    scheme = _SCHEME.match(path)
    kind = scheme[1].lower() if scheme else "local"
    source_type, key = ("http", "url") if kind in ("http", "https") else ("local" if kind == "file" else kind, "uri")
    digest = hashlib.sha256(json.dumps([path, version]).encode()).hexdigest()[:16]
    dataset = Dataset(run.info.run_name, digest, source_type, json.dumps({key: path}))
    return DatasetInput(dataset, tuple(_tags({_DATASET_ID: run.info.run_id, _VERSION: version})))


def iteration_tags(project_id: str) -> list[Tag]:
    """Return the tags of the run that represents an iteration."""
    return _tags({_KIND: ITERATION, PROJECT_ID: project_id, **_origin()})


def user_name() -> str:
    """Return the name of the user of this process, or "" if it has none."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # which of them depends on the version of Python
        return ""


def iso_time(milliseconds: int | None) -> str | None:
    """Return milliseconds since 1970 as an ISO 8601 time in UTC, or None if there is none."""
    if not milliseconds:
        return None
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000).isoformat(timespec="milliseconds")


def number_json(value: float) -> float | str:
    """Return a number as a JSON value: NaN and the infinities become strings."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _origin() -> dict[str, str | None]:
    return {
        "mlflow.user": user_name() or None,
        "mlflow.source.name": sys.argv[0] or None,
        "mlflow.source.type": "LOCAL",
    }


def _tags(values: Mapping[str, str | None]) -> list[Tag]:
    return [Tag(key, value) for key, value in values.items() if value is not None]


def _texts(tags: Sequence[Tag]) -> dict[str, str]:
    return {tag.key: tag.value for tag in tags}
