"""MLflow's limits for names, values and batches, checked without a database.

Every function raises ``InvalidParameter`` with the field's name, or returns the value as it is to be stored.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.values import DatasetInput, Metric, Param, Tag

MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_ENTITIES = 1000
MAX_DATASETS = 1000

#: Results in one page.
MAX_PAGE = 50_000
MAX_MODELS_PAGE = 1000
MAX_VERSIONS_PAGE = 200_000
MAX_POINTS_PAGE = 2**31 - 1
#: Columns of pixels that a history is divided into.
MAX_COLUMNS = 10_000
#: Experiments whose datasets are searched together.
MAX_DATASET_EXPERIMENTS = 20

#: Characters.
MAX_KEY = 250
MAX_PARAM_VALUE = 6000
MAX_RUN_TAG_VALUE = 8000
MAX_EXPERIMENT_NAME = 500
MAX_EXPERIMENT_TAG_VALUE = 20_000
MAX_REGISTRY_TAG_VALUE = 100_000
MAX_ALIAS = 255
MAX_MODEL_NAME = 500
MAX_DATASET_NAME = 500
MAX_DATASET_DIGEST = 36
MAX_DATASET_SOURCE = 65_535
MAX_DATASET_SCHEMA = 1_048_575
MAX_DATASET_PROFILE = 16_777_215
_DATASET_LIMITS = (
    ("name", MAX_DATASET_NAME),
    ("digest", MAX_DATASET_DIGEST),
    ("source", MAX_DATASET_SOURCE),
    ("schema", MAX_DATASET_SCHEMA),
    ("profile", MAX_DATASET_PROFILE),
)
MAX_INPUT_TAG_KEY = 255
MAX_INPUT_TAG_VALUE = 500

#: The beginning of MLflow's message for too many runs in a request for sampled histories.
INTERVAL_RUNS = "GetMetricHistoryBulkInterval request must specify at most"

_INT64_MAX = 2**63 - 1
_WHOLE = re.compile(r"-?\d{1,19}", re.ASCII)
_KEY = re.compile(r"[/\w.\- :]+")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,255}")
_ALIAS = re.compile(r"[A-Za-z0-9_\-]+")
_LATEST = "latest"
_RESERVED_ALIAS = re.compile(rf"{_LATEST}|v\d+", re.IGNORECASE)

_T = TypeVar("_T", Tag, Param)


def check_text(value: str, field: str, limit: int | None = None) -> str:
    """Check a text that may contain anything that every database can hold, and is at most ``limit`` characters long."""
    if limit is not None and len(value) > limit:
        raise InvalidParameter(
            f"'{field}' has {len(value)} characters; at most {limit} are allowed. Shorten it.", field=field
        )
    if "\0" in value:
        raise InvalidParameter(f"'{field}' contains the character NUL, which cannot be stored. Remove it.", field=field)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidParameter(
                f"'{field}' is not valid Unicode: there is half of a surrogate pair at character {error.start}.",
                field=field,
            ) from error
    return value


@lru_cache(maxsize=4096)
def _key_problem(key: str) -> str | None:
    """Return what is wrong with the key of a metric, param or tag; cached, since keys repeat."""
    if not key:
        return "it is empty"
    if len(key) > MAX_KEY:
        return f"it has {len(key)} characters; at most {MAX_KEY} are allowed"
    if not _KEY.fullmatch(key):
        return (
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) "
            "and slashes (/)"
        )
    if key == "." or key.startswith(("..", "/")) or posixpath.normpath(key) != key:
        return (
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. "
            f"This name would resolve to '{posixpath.normpath(key)}'"
        )
    return None


def check_key(key: str, field: str) -> str:
    """Check the key of a metric, a param or a tag."""
    problem = _key_problem(key)
    if problem is not None:
        shown = key if len(key) <= MAX_KEY else key[:MAX_KEY] + "..."
        raise InvalidParameter(
            f"Invalid value {json.dumps(shown)} for parameter '{field}' supplied: {problem}.", field=field
        )
    return key


def check_run_id(run_id: str) -> str:
    """Check the form of a run's id."""
    if not _RUN_ID.fullmatch(run_id):
        raise InvalidParameter(
            f"Invalid value {json.dumps(run_id[:300])} for parameter 'run_id' supplied. Expected a letter or digit and up to "
            "255 letters, digits, _ or -.",
            field="run_id",
        )
    return run_id


def experiment_number(experiment_id: str, field: str = "experiment_id") -> int:
    """Return an experiment's id as a number.

    Raises:
        InvalidParameter: it is not a number.
    """
    if _WHOLE.fullmatch(experiment_id) and abs(int(experiment_id)) <= _INT64_MAX:
        return int(experiment_id)
    raise InvalidParameter(
        f"Invalid experiment ID {experiment_id[:100]!r}. Experiment ID must be a valid integer.", field=field
    )


def check_metrics(metrics: Sequence[Metric], *, single: bool = False) -> None:
    """Check the points of a batch; ``single`` leaves the index out of the field's name."""
    _check_count(len(metrics), MAX_METRICS, "metrics")
    for i, metric in enumerate(metrics):
        if (
            _key_problem(metric.key) is None
            and 0 <= metric.timestamp <= _INT64_MAX
            and -_INT64_MAX <= metric.step <= _INT64_MAX
        ):
            continue
        prefix = "" if single else f"metrics[{i}]."
        check_key(metric.key, prefix + "name")
        if 0 <= metric.timestamp <= _INT64_MAX:
            check_int64(metric.step, prefix + "step")
            continue
        raise InvalidParameter(
            f"Invalid value {metric.timestamp} for parameter '{prefix}timestamp' supplied: expected a number of 64 "
            "bits that is not negative, such as milliseconds since 1970.",
            field=prefix + "timestamp",
        )


def check_params(params: Sequence[Param], *, limit: int | None = MAX_PARAMS, single: bool = False) -> list[Param]:
    """Check the params of a batch, and return them with their values cut to what is stored."""
    if limit is not None:
        _check_count(len(params), limit, "params")
    seen: set[str] = set()
    for i, param in enumerate(params):
        prefix = "" if single else f"params[{i}]."
        check_key(param.key, prefix + "key")
        if param.key in seen:
            raise InvalidParameter(
                f"Duplicate parameter keys have been submitted: {[param.key]}. Please ensure the request contains only one "
                "param value per param key.",
                field=prefix + "key",
            )
        seen.add(param.key)
        check_text(param.value, prefix + "value")
    return [Param(p.key, p.value[:MAX_PARAM_VALUE]) if len(p.value) > MAX_PARAM_VALUE else p for p in params]


def check_run_tags(tags: Sequence[Tag], *, cut: bool = True, single: bool = False) -> list[Tag]:
    """Check tags of a run; ``cut`` shortens their values to what is stored, and limits their number.

    A run that is created (``cut=False``) may bring tags with keys and values that no later call may set, as in MLflow.
    """
    if cut:
        _check_count(len(tags), MAX_TAGS, "tags")
    for i, tag in enumerate(tags):
        prefix = "" if single else f"tags[{i}]."
        if cut or not tag.key:
            check_key(tag.key, prefix + "key")
        else:
            check_text(tag.key, prefix + "key", MAX_KEY)
        check_text(tag.value, prefix + "value")
    if not cut:
        return list(tags)
    return [Tag(t.key, t.value[:MAX_RUN_TAG_VALUE]) if len(t.value) > MAX_RUN_TAG_VALUE else t for t in tags]


def check_total(metrics: int, params: int, tags: int) -> None:
    """Check the total number of items in a batch."""
    _check_count(metrics + params + tags, MAX_ENTITIES, "metrics, params, and tags")


def check_experiment_name(name: str, field: str = "name") -> str:
    """Check the name of an experiment."""
    if not name.strip():
        raise InvalidParameter(f"Invalid experiment name {name!r}: it must not be blank.", field=field)
    return check_text(name, field, MAX_EXPERIMENT_NAME)


def check_tag(tag: Tag, limit: int, place: str = "") -> None:
    """Check a tag of something other than a run. A value of more than ``limit`` characters is refused, not cut."""
    check_key(tag.key, place + "key")
    check_text(tag.value, place + "value", limit)


def check_tags(tags: Sequence[Tag], limit: int) -> list[Tag]:
    """Check several tags, as :func:`check_tag` does, and return the last of each key."""
    for i, tag in enumerate(tags):
        check_tag(tag, limit, f"tags[{i}].")
    return last_of_each_key(tags)


def check_model_name(name: str, field: str = "name") -> str:
    """Check the name of a registered model, which has to fit into ``models:/NAME/VERSION``."""
    if not name.strip():
        raise InvalidParameter("Registered model name cannot be empty.", field=field)
    if "/" in name or ":" in name:
        raise InvalidParameter(
            f"Invalid model name: '{name}'. Registered model names cannot contain '/' or ':'.", field=field
        )
    if name in (".", ".."):
        raise InvalidParameter(f"Invalid model name: '{name}' would be read as a path. Choose another.", field=field)
    return check_text(name, field, MAX_MODEL_NAME)


def check_logged_model_name(name: str) -> str:
    """Check the name of a logged model, which becomes a folder and a part of ``models:/`` addresses; "" is for any name."""
    found = sorted(set(name) & set("/:.%\"'"))
    if found:
        raise InvalidParameter(
            f"Invalid model name: {name[:MAX_MODEL_NAME]!r}. Names of logged models cannot contain {' '.join(found)}; use "
            "a dash or an underscore instead.",
            field="name",
        )
    return check_text(name, "name", MAX_MODEL_NAME)


def check_alias(alias: str) -> str:
    """Check an alias of a model version."""
    if not alias or len(alias) > MAX_ALIAS or not _ALIAS.fullmatch(alias):
        raise InvalidParameter(
            f"Invalid alias name: '{alias[:MAX_ALIAS]}'. Expected 1 to {MAX_ALIAS} letters, digits, "
            "underscores or dashes.",
            field="alias",
        )
    if _RESERVED_ALIAS.fullmatch(alias):
        raise InvalidParameter(
            f"Invalid alias name: '{alias}' is reserved. 'latest' and names such as 'v1' cannot be aliases.",
            field="alias",
        )
    return alias


def is_latest(alias: str) -> bool:
    """Return whether an alias is ``latest``, in any letter case, which every model has for its highest version."""
    return alias.lower() == _LATEST


def check_dataset_inputs(inputs: Sequence[DatasetInput]) -> None:
    """Check the datasets that a run uses."""
    _check_count(len(inputs), MAX_DATASETS, "datasets")
    for i, use in enumerate(inputs):
        for name, limit in _DATASET_LIMITS:
            check_text(getattr(use.dataset, name) or "", f"datasets[{i}].dataset.{name}", limit)
        check_text(use.dataset.source_type, f"datasets[{i}].dataset.source_type", MAX_KEY)
        for j, tag in enumerate(use.tags):
            check_text(tag.key, f"datasets[{i}].tags[{j}].key", MAX_INPUT_TAG_KEY)
            check_text(tag.value, f"datasets[{i}].tags[{j}].value", MAX_INPUT_TAG_VALUE)


def check_max_results(value: int, limit: int, field: str = "max_results") -> int:
    """Check the number of requested results."""
    if not 1 <= value <= limit:
        raise InvalidParameter(
            f"Invalid value {value} for parameter '{field}' supplied. It must be a positive integer, at most {limit}.",
            field=field,
        )
    return value


#: The maximum number of runs in a request for histories.
_MAX_RUNS = 100


def check_run_ids(
    run_ids: Sequence[str], refusal: str = "GetMetricHistoryBulk request cannot specify more than"
) -> list[str]:
    """Check the runs in a request for histories; ``refusal`` is the beginning of MLflow's message for too many."""
    if not run_ids:
        raise InvalidParameter("GetMetricHistoryBulk request must specify at least one run_id.", field="run_ids")
    if len(run_ids) > _MAX_RUNS:
        raise InvalidParameter(f"{refusal} {_MAX_RUNS} run_ids. Received {len(run_ids)} run_ids.", field="run_ids")
    return [check_text(run_id, "run_ids") for run_id in run_ids]


def last_of_each_key(items: Iterable[_T]) -> list[_T]:
    """Return the last item of each key."""
    return list({item.key: item for item in items}.values())


def check_int64(value: int, field: str) -> None:
    """Check a whole number."""
    if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
        raise InvalidParameter(
            f"Invalid value {value} for parameter '{field}' supplied: expected a whole number of 64 bits.", field=field
        )


def _check_count(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise InvalidParameter(
            f"A batch logging request can contain at most {limit} {what}. Got {count} {what}. Please split up {what} across "
            "multiple requests and try again.",
            field=what.split(",", maxsplit=1)[0],
        )
