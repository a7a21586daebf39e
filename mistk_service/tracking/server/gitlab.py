"""GitLab's dialect of MLflow's API: the experiments and runs of one project, under the project's URL."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from mistk_service.tracking import wire
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.mlops.storing import (
    MEMBERSHIP,
    bare_name,
    experiment_name,
    experiment_tags,
)
from mistk_service.tracking.server.operations._base import Json, OperationsBase, page
from mistk_service.tracking.server.operations.artifacts import files
from mistk_service.tracking.server.projects import Projects
from mistk_service.tracking.server.transfers import Transfers
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import (
    Experiment,
    Metric,
    Param,
    Run,
    RunStatus,
    Tag,
    ViewType,
)
from mistk_service.tracking.values.limits import (
    MAX_METRICS,
    MAX_PARAMS,
    MAX_TAGS,
    check_metrics,
    check_params,
    check_run_tags,
)
from mistk_service.tracking.wire import Fields

#: The maximum length of a value in GitLab, in characters.
_LONGEST_PARAM, _LONGEST_TAG = 250, 5000
#: Items of a page: the default and the maximum.
_PAGE, _LARGEST_PAGE = 200, 1000
#: The prefix for the keys of tags that could be confused with the project's own.
_PREFIX = "gitlab."

_Item = TypeVar("_Item", Param, Tag)
_T = TypeVar("_T")


class GitLabOperations(OperationsBase):
    """The operations of the dialect; each gets the project in the path."""

    def __init__(self, store: Store, locations: Locations, projects: Projects) -> None:
        super().__init__(store, locations)
        self._projects = projects
        # Some values may only be written once, so the check and the write share a lock.
        self._once = threading.Lock()

    def create_experiment(self, fields: Fields, project: str) -> Json:
        owner = self._projects.project(project)
        given = [_stored(tag) for tag in _first_of_each(wire.read_tags(fields))]
        tags = [*experiment_tags(owner, None), *given]
        made = self._store.create_experiment(experiment_name(owner, fields.required_text("name")), tags=tags)
        return {"experiment_id": str(self._projects.number(owner, made))}

    def get_experiment(self, fields: Fields, project: str) -> Json:
        """Get an experiment by its number."""
        number, experiment = self._experiment(self._projects.project(project), fields)
        return {"experiment": _experiment(number, experiment)}

    def get_experiment_by_name(self, fields: Fields, project: str) -> Json:
        owner, name = self._projects.project(project), fields.required_text("experiment_name")
        for number, experiment in self._projects.experiments(owner).items():
            if bare_name(experiment) == name:
                return {"experiment": _experiment(number, experiment)}
        raise _no_experiment(owner, name)

    def list_experiments(self, fields: Fields, project: str) -> Json:  # noqa: ARG002 - all operations have the fields
        found = self._projects.experiments(self._projects.project(project))
        return {"experiments": [_experiment(number, experiment) for number, experiment in found.items()]}

    def search_experiments(self, fields: Fields, project: str) -> Json:
        """List experiments, page by page, by default the newest first."""
        found = list(self._projects.experiments(self._projects.project(project)).items())
        key, descending = _order(fields, ("created_at", "name"))
        found.sort(key=lambda item: (bare_name(item[1]), item[0]) if key == "name" else item[0], reverse=descending)
        start, size = _whole(fields.text("page_token") or "0", "page_token"), _page_size(fields)
        answer: Json = {"experiments": [_experiment(*item) for item in found[start : start + size]]}
        if start + size < len(found):
            answer["next_page_token"] = str(start + size)
        return answer

    def delete_experiment(self, fields: Fields, project: str) -> Json:
        _, experiment = self._experiment(self._projects.project(project), fields)
        self._store.delete_experiment(experiment.experiment_id)
        return {}

    def set_experiment_tag(self, fields: Fields, project: str) -> Json:
        """Set a tag of an experiment, once."""
        tag = _stored(Tag(fields.required_text("key"), fields.required_text("value")))
        with self._once:
            _, experiment = self._experiment(self._projects.project(project), fields)
            _refuse_rewrite(tag.key, experiment.tags)
            self._store.set_experiment_tag(experiment.experiment_id, tag)
        return {}

    def create_run(self, fields: Fields, project: str) -> Json:
        owner = self._projects.project(project)
        tags = _checked_tags(fields)
        number, experiment = self._experiment(owner, fields)
        run = self._store.create_run(
            experiment.experiment_id, "", fields.text("run_name") or "", fields.int64("start_time") or 0, tags
        )
        return {"run": _run(run, number)}

    def get_run(self, fields: Fields, project: str) -> Json:
        owner, run = self._run(fields, project)
        return {"run": _run(run, self._number(owner, run))}

    def update_run(self, fields: Fields, project: str) -> Json:
        status, end_time = fields.enum("status", RunStatus), fields.int64("end_time")
        owner, run = self._run(fields, project)
        info = self._store.update_run(run.info.run_id, status, end_time)
        return {"run_info": {**wire.run_info(info), "experiment_id": self._number(owner, run)}}

    def delete_run(self, fields: Fields, project: str) -> Json:
        self._store.delete_run(self._run(fields, project)[1].info.run_id)
        return {}

    def search_runs(self, fields: Fields, project: str) -> Json:
        owner, ids = self._projects.project(project), fields.texts("experiment_ids")
        if len(ids) != 1:
            raise InvalidParameter(
                f"'experiment_ids' must name one experiment, got {len(ids)}.", field="experiment_ids"
            )
        number, experiment = self._experiment(owner, Fields({"experiment_id": ids[0]}))
        key, descending = _order(fields, ("created_at", "name", "metrics."))
        by = {"created_at": "attributes.start_time", "name": "attributes.run_name"}.get(key) or _metric_order(key)
        found = self._store.search_runs(
            [experiment.experiment_id],
            view_type=ViewType.ACTIVE_ONLY,
            max_results=_page_size(fields),
            order_by=[f"{by} {'DESC' if descending else 'ASC'}"],
            page_token=fields.text("page_token") or None,
        )
        return page("runs", found, lambda run: _run(run, number))

    def log_metric(self, fields: Fields, project: str) -> Json:
        point = _finite([wire.read_metric(fields)])
        self._store.log_batch(self._run(fields, project)[1].info.run_id, point)
        return {}

    def log_param(self, fields: Fields, project: str) -> Json:
        """Log a param, once."""
        (param,) = _checked_params([Param(fields.required_text("key"), fields.required_text("value"))])
        with self._once:
            _, run = self._run(fields, project)
            _refuse_rewrite(param.key, run.data.params)
            self._store.log_param(run.info.run_id, param)
        return {}

    def set_tag(self, fields: Fields, project: str) -> Json:
        """Set a tag, once."""
        tag = Tag(fields.required_text("key"), _short(fields.required_text("value"), "value", _LONGEST_TAG))
        with self._once:
            _, run = self._run(fields, project)
            _refuse_rewrite(tag.key, run.data.tags)
            self._store.set_tag(run.info.run_id, tag)
        return {}

    def log_batch(self, fields: Fields, project: str) -> Json:
        """Log metrics, params and tags; all are checked before any is written, and existing keys keep their values."""
        points = _finite(wire.read_metrics(fields))
        for item in (*fields.objects("params"), *fields.objects("tags")):
            if not item.has("value"):
                raise item.missing("value")
        params, tags = _checked_params(wire.read_params(fields)), _checked_tags(fields)
        with self._once:
            _, run = self._run(fields, project)
            run_id = run.info.run_id
            new_params, new_tags = _new(params, run.data.params), _new(tags, run.data.tags)
            # The store has limits for a batch that GitLab does not have.
            for some_points in _chunks(points, MAX_METRICS):
                self._store.log_batch(run_id, some_points)
            for some_params in _chunks(new_params, MAX_PARAMS):
                self._store.log_batch(run_id, params=some_params)
            for some_tags in _chunks(new_tags, MAX_TAGS):
                self._store.log_batch(run_id, tags=some_tags)
        return {}

    def get_metric_history(self, fields: Fields, project: str) -> Json:
        _, run = self._run(fields, project)
        found = self._store.get_metric_history(
            run.info.run_id,
            fields.required_text("metric_key"),
            _page_size(fields, _LARGEST_PAGE),
            fields.text("page_token") or None,
        )
        return page("metrics", found, wire.metric)

    def list_artifacts(self, fields: Fields, project: str) -> Json:
        path = fields.required_text("path")
        self._projects.check_artifact(self._locations, project, path)
        return files(self._locations.artifacts.list_folder(path))

    def _experiment(self, owner: Experiment, fields: Fields) -> tuple[int, Experiment]:
        """Return the experiment that a request is about, with its number."""
        number = fields.required_int64("experiment_id")
        found = self._projects.experiments(owner).get(number)
        if found is None:
            raise _no_experiment(owner, str(number))
        return number, found

    def _run(self, fields: Fields, project: str) -> tuple[Experiment, Run]:
        """Return the project and the run that a request is about."""
        owner = self._projects.project(project)
        return owner, self._projects.run(owner, fields.required_text("run_id"))

    def _number(self, owner: Experiment, run: Run) -> str:
        return str(self._projects.number(owner, run.info.experiment_id))


class GitLabTransfers:
    """Moves the files of a project's runs."""

    def __init__(self, transfers: Transfers, locations: Locations, projects: Projects, executor: Executor) -> None:
        self._executor = executor
        self._transfers = transfers
        self._locations = locations
        self._projects = projects

    async def download_artifact(self, request: Request, project: str, artifact_path: str) -> Response:
        await self._check(project, artifact_path)
        return await self._transfers.download_artifact(request, artifact_path)

    async def upload_artifact(self, request: Request, project: str, artifact_path: str) -> Response:
        await self._check(project, artifact_path)
        return await self._transfers.upload_artifact(request, artifact_path)

    async def _check(self, project: str, path: str) -> None:
        check = partial(self._projects.check_artifact, self._locations, project, path)
        await asyncio.get_running_loop().run_in_executor(self._executor, check)


def _experiment(number: int, item: Experiment) -> Json:
    answer = {
        "experiment_id": str(number),
        "name": bare_name(item),
        "lifecycle_stage": item.lifecycle_stage.value,
        "artifact_location": "not_implemented",
    }
    tags = [{"key": _shown_key(tag.key), "value": tag.value} for tag in item.tags if tag.key not in MEMBERSHIP]
    return {**answer, "tags": tags} if tags else answer


def _stored(tag: Tag) -> Tag:
    """Return a client's tag of an experiment under a key that does not collide with the tags for its project.

    The mlops module is such a client if its store is a project.
    """
    return Tag(_PREFIX + tag.key, tag.value) if tag.key in MEMBERSHIP else tag


def _shown_key(key: str) -> str:
    return bare if (bare := key.removeprefix(_PREFIX)) in MEMBERSHIP else key


def _run(run: Run, number: int | str) -> Json:
    found = wire.run(run, outputs=False)
    return {"info": {**found["info"], "experiment_id": str(number)}, "data": found["data"]}


def _no_experiment(owner: Experiment, key: str) -> ResourceNotFound:
    return ResourceNotFound(f"The project {owner.name!r} has no experiment {key!r}.")


def _refuse_rewrite(key: str, there: Iterable[Param | Tag]) -> None:
    if any(item.key == key for item in there):
        raise InvalidParameter(f"'{key}' exists, and can only be written once. Choose another name.", field="key")


def _first_of_each(items: Iterable[_Item]) -> list[_Item]:
    return list({item.key: item for item in reversed(list(items))}.values())


def _new(items: Sequence[_Item], there: Iterable[_Item]) -> list[_Item]:
    """Return the items with new keys."""
    known = {item.key for item in there}
    return [item for item in items if item.key not in known]


def _checked_params(params: Iterable[Param]) -> list[Param]:
    first = _first_of_each(params)
    for i, param in enumerate(first):
        _short(param.value, f"params[{i}].value", _LONGEST_PARAM)
    return check_params(first, limit=None)


def _checked_tags(fields: Fields) -> list[Tag]:
    first = _first_of_each(wire.read_tags(fields))
    for i, tag in enumerate(first):
        _short(tag.value, f"tags[{i}].value", _LONGEST_TAG)
    return [tag for some in _chunks(first, MAX_TAGS) for tag in check_run_tags(some)]


def _chunks(items: list[_T], size: int) -> Iterable[list[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _short(value: str, field: str, longest: int) -> str:
    if len(value) > longest:
        raise InvalidParameter(
            f"'{field}' has {len(value)} characters; at most {longest} are allowed. Shorten it.", field=field
        )
    return value


def _finite(points: list[Metric]) -> list[Metric]:
    """Return the points unchanged if all are finite."""
    for some in _chunks(points, MAX_METRICS):
        check_metrics(some)
    for i, point in enumerate(points):
        if not math.isfinite(point.value):
            raise InvalidParameter(f"'metrics[{i}].value' must be a finite number.", field=f"metrics[{i}].value")
    return points


def _page_size(fields: Fields, default: int = _PAGE) -> int:
    wanted = fields.int64("max_results")
    return min(default if wanted is None else wanted, _LARGEST_PAGE)


def _order(fields: Fields, keys: Sequence[str]) -> tuple[str, bool]:
    """Return the key that a list is ordered by, and whether the order is descending."""
    words = (fields.text("order_by") or "created_at DESC").split()
    key, direction = words[0] if words else "", "".join(words[1:]).upper()
    known = any(key == name or (name.endswith(".") and key.startswith(name)) for name in keys)
    if not known or direction not in ("", "ASC", "DESC"):
        raise InvalidParameter(
            f"'order_by' must be one of {', '.join(keys)}, and ASC or DESC after it, got {' '.join(words)!r}.",
            field="order_by",
        )
    return key, direction == "DESC"


def _metric_order(key: str) -> str:
    name = key.removeprefix("metrics.").strip('`"')
    return f"metrics.`{name}`"


def _whole(text: str, field: str) -> int:
    if not text.isdecimal():
        raise InvalidParameter(f"'{field}' was not returned by this search: {text!r}.", field=field)
    return int(text)
