"""A double of GitLab's MLflow API, which takes what GitLab takes and refuses what GitLab refuses.

A project with the id 1 under a token. What differs from MLflow: experiments are numbered from 1 and have no restoring and no
renaming; tags and params are written once; a point that is sent twice is there twice; searches know neither filters nor view
types; what is not declared is ignored; errors of validation have no code; artifacts go to the package registry.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.serving import served

ROOT = "/api/v4/projects/1"
_MLFLOW = f"{ROOT}/ml/mlflow/api/2.0/mlflow"
_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
_PAGE = 1000
_VERSION = re.compile(r"\d+\.\d+\.\d+")

Json = dict[str, Any]


class Refused(Exception):
    """An error as GitLab words it."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


@dataclass
class Candidate:
    """What GitLab makes of a run."""

    run_id: str
    number: int
    experiment_id: str
    name: str | None
    start_time: int
    artifact_uri: str
    status: str = "RUNNING"
    end_time: int | None = None
    metrics: list[Json] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class GitLab:
    """The project.

    Args:
        token: who has it may do everything.
        batch_tags: whether ``log-batch`` stores tags, which it does not declare.
        metric_history: whether histories can be read and artifacts have a package of their own, as in newer versions.

    Attributes:
        uri: what clients have as their tracking URI.
        runs: by their ids.
        experiments: names by ids.
        files: by their paths, every version of each.
        requests: method and operation of all requests so far.
    """

    def __init__(self, token: str = "glpat-secret", *, batch_tags: bool = True, metric_history: bool = True) -> None:
        self.token = token
        self.read_token = f"{token}-read"
        self.batch_tags = batch_tags
        self._new = metric_history
        self.url = ""
        self.runs: dict[str, Candidate] = {}
        self.experiments: dict[str, str] = {}
        self.experiment_tags: dict[str, dict[str, str]] = {}
        self.models: dict[str, Json] = {}
        self.files: dict[str, list[bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        posts = {
            "experiments/create": self._create_experiment,
            "experiments/search": self._search_experiments,
            "experiments/set-experiment-tag": self._tag_experiment,
            "experiments/delete": self._delete_experiment,
            "runs/create": self._create_run,
            "runs/search": self._search_runs,
            "runs/update": self._update_run,
            "runs/log-metric": self._log_metric,
            "runs/log-parameter": self._log_parameter,
            "runs/set-tag": self._set_tag,
            "runs/log-batch": self._log_batch,
            "runs/delete": self._delete_run,
            "registered-models/create": self._create_model,
            "model-versions/create": self._create_version,
        }
        gets = {
            "experiments/get": self._get_experiment,
            "experiments/get-by-name": self._get_experiment,
            "experiments/list": self._list_experiments,
            "runs/get": self._get_run,
            "registered-models/get": self._get_model,
        }
        if metric_history:
            gets["metrics/get-history"] = self._history
        routes = [self._route("POST", path, call) for path, call in posts.items()]
        routes += [self._route("GET", path, call) for path, call in gets.items()]
        for package in ("generic/{package}/{version}/{file}", "ml_models/{candidate}/files/{file}"):
            routes.append(Route(f"{ROOT}/packages/{package}", self._package, methods=["GET", "PUT"]))
        self.app = Starlette(routes=routes, exception_handlers={404: _no_route, 405: _no_route})

    @property
    def uri(self) -> str:
        return f"{self.url}{ROOT}/ml/mlflow"

    def run(self, name: str) -> Candidate:
        """Return the one run of that name."""
        (found,) = [run for run in self.runs.values() if run.name == name]
        return found

    # --- the way in -----------------------------------------------------------------------------------------------

    def _route(self, method: str, path: str, call: Callable[[Json], Json]) -> Route:
        async def endpoint(request: Request) -> Response:
            self.requests.append((method, path))
            try:
                self._authenticate(request)
                if method == "GET":
                    fields: Json = dict(request.query_params)
                else:
                    fields = json.loads(await request.body() or b"{}")
                return JSONResponse(call(fields))
            except Refused as error:
                return JSONResponse(error.body, error.status)

        return Route(f"{_MLFLOW}/{path}", endpoint, methods=[method])

    def _authenticate(self, request: Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        token = request.headers.get("private-token", token)
        if token != self.token and not (token == self.read_token and request.method in ("GET", "HEAD")):
            raise Refused(401, {"message": "401 Unauthorized"})

    async def _package(self, request: Request) -> Response:
        path = request.url.path.removeprefix(f"{ROOT}/packages/")
        self.requests.append((request.method, "packages"))
        try:
            self._authenticate(request)
        except Refused as error:
            return JSONResponse(error.body, error.status)
        if request.method == "PUT":
            self.files.setdefault(path, []).append(await request.body())
            return JSONResponse({"message": "201 Created"}, 201)
        if path not in self.files:
            return JSONResponse({"message": "404 Not Found"}, 404)
        return Response(self.files[path][-1], media_type="application/octet-stream")

    # --- experiments ----------------------------------------------------------------------------------------------

    def _create_experiment(self, fields: Json) -> Json:
        name = _required(fields, "name")
        if name in self.experiments.values() or not name or len(name) > 255:
            raise Refused(400, {"error_code": "RESOURCE_ALREADY_EXISTS"})
        experiment_id = str(len(self.experiment_tags) + 1)
        self.experiments[experiment_id] = name
        self.experiment_tags[experiment_id] = {tag["key"]: tag["value"] for tag in fields.get("tags") or ()}
        return {"experiment_id": experiment_id}

    def _get_experiment(self, fields: Json) -> Json:
        for experiment_id, name in self.experiments.items():
            if fields.get("experiment_id") == experiment_id or fields.get("experiment_name") == name:
                return {"experiment": self._experiment(experiment_id)}
        raise _not_found()

    def _experiment(self, experiment_id: str) -> Json:
        tags = [{"key": key, "value": value} for key, value in self.experiment_tags[experiment_id].items()]
        return {
            "experiment_id": experiment_id,
            "name": self.experiments[experiment_id],
            "lifecycle_stage": "active",
            "artifact_location": "not_implemented",
            "tags": tags,
        }

    def _list_experiments(self, fields: Json) -> Json:
        return {"experiments": [self._experiment(experiment_id) for experiment_id in self.experiments]}

    def _search_experiments(self, fields: Json) -> Json:
        _order(fields)
        return _page("experiments", [self._experiment(each) for each in reversed(self.experiments)], fields, 200)

    def _tag_experiment(self, fields: Json) -> Json:
        experiment_id, key, value = (_required(fields, name) for name in ("experiment_id", "key", "value"))
        if experiment_id not in self.experiments:
            raise _not_found()
        if key in self.experiment_tags[experiment_id]:
            raise _taken(key)
        self.experiment_tags[experiment_id][key] = value
        return {}

    def _delete_experiment(self, fields: Json) -> Json:
        experiment_id = _required(fields, "experiment_id")
        if self.experiments.pop(experiment_id, None) is None:
            raise _not_found()
        return {}

    # --- runs -----------------------------------------------------------------------------------------------------

    def _create_run(self, fields: Json) -> Json:
        experiment_id = str(_integer(fields, "experiment_id", required=True))
        if experiment_id not in self.experiments:
            raise _not_found()
        number = len(self.runs) + 1
        run = Candidate(
            str(uuid.uuid4()),
            number,
            experiment_id,
            fields.get("run_name"),
            _integer(fields, "start_time") or 0,
            f"{self.url}{ROOT}/packages/"
            + (
                f"ml_models/candidate:{number}/files/"
                if self._new
                else f"generic/ml_experiment_{experiment_id}/{number}/"
            ),
        )
        self._insert(run.tags, fields.get("tags") or (), 5000)
        self.runs[run.run_id] = run
        return {"run": self._run(run)}

    def _candidate(self, fields: Json) -> Candidate:
        run_id = _required(fields, "run_id")
        if run_id not in self.runs:
            raise _not_found()
        return self.runs[run_id]

    def _get_run(self, fields: Json) -> Json:
        return {"run": self._run(self._candidate(fields))}

    def _search_runs(self, fields: Json) -> Json:
        if not isinstance(fields.get("experiment_ids"), list):
            raise Refused(400, {"error": "experiment_ids is missing"})
        _order(fields)
        experiment_id = next(iter(fields["experiment_ids"]), None)
        if experiment_id not in self.experiments:
            raise _not_found()
        found = [self._run(run) for run in reversed(self.runs.values()) if run.experiment_id == experiment_id]
        return _page("runs", found, fields, 200)

    def _update_run(self, fields: Json) -> Json:
        status, end_time = fields.get("status"), _integer(fields, "end_time")
        if status is not None and status not in _STATUSES:
            raise Refused(400, {"error": "status does not have a valid value"})
        run = self._candidate(fields)
        run.status = status or run.status
        run.end_time = end_time or run.end_time
        return {"run_info": self._info(run)}

    def _log_metric(self, fields: Json) -> Json:
        metric = _metric(fields, "")
        self._candidate(fields).metrics.append(metric)
        return {}

    def _log_parameter(self, fields: Json) -> Json:
        key, value, run = _required(fields, "key"), _required(fields, "value"), self._candidate(fields)
        if not value or len(value) > 250:
            raise _invalid("Validation failed: Value is not of the right length")
        if key in run.params:
            raise _taken(key)
        run.params[key] = value
        return {}

    def _set_tag(self, fields: Json) -> Json:
        key, value, run = _required(fields, "key"), _required(fields, "value"), self._candidate(fields)
        if not value or len(value) > 5000:
            raise _invalid("Validation failed: Value is not of the right length")
        if key in run.tags:
            raise _taken(key)
        run.tags[key] = value
        return {}

    def _log_batch(self, fields: Json) -> Json:
        metrics = [_metric(each, f"metrics[{i}]") for i, each in enumerate(fields.get("metrics") or ())]
        for i, each in enumerate(fields.get("params") or ()):
            for name in ("key", "value"):
                if each.get(name) is None:
                    raise Refused(400, {"error": f"params[{i}][{name}] is missing"})
        run = self._candidate(fields)
        # One after the other, without a transaction around all of it.
        if any(len(metric["key"]) > 250 for metric in metrics):
            raise _invalid("PG::CheckViolation")
        run.metrics.extend(metrics)
        self._insert(run.params, fields.get("params") or (), 250)
        if self.batch_tags:
            self._insert(run.tags, fields.get("tags") or (), 5000)
        return {}

    def _insert(self, into: dict[str, str], items: Any, longest: int) -> None:
        """Insert what is not there yet; a value that the database refuses refuses all of them."""
        if any(len(item["value"]) > longest or len(item["key"]) > 250 for item in items):
            raise _invalid("PG::CheckViolation")
        for item in items:
            into.setdefault(item["key"], item["value"])

    def _delete_run(self, fields: Json) -> Json:
        del self.runs[self._candidate(fields).run_id]
        return {}

    def _history(self, fields: Json) -> Json:
        key, run = _required(fields, "metric_key"), self._candidate(fields)
        return _page("metrics", [metric for metric in run.metrics if metric["key"] == key], fields, _PAGE)

    def _run(self, run: Candidate) -> Json:
        latest = {
            metric["key"]: metric for metric in sorted(run.metrics, key=lambda m: (m["step"] or 0, m["timestamp"]))
        }
        data = {
            "metrics": list(latest.values()),
            "params": [{"key": key, "value": value} for key, value in run.params.items()],
            "tags": [{"key": key, "value": value} for key, value in run.tags.items()],
        }
        return {"info": self._info(run), "data": data}

    def _info(self, run: Candidate) -> Json:
        info = {
            "run_id": run.run_id,
            "run_uuid": run.run_id,
            "experiment_id": run.experiment_id,
            "start_time": run.start_time,
            "run_name": run.name,
            "status": run.status,
            "artifact_uri": run.artifact_uri,
            "lifecycle_stage": "active",
            "user_id": "7",
        }
        return info | ({} if run.end_time is None else {"end_time": run.end_time})

    # --- models ---------------------------------------------------------------------------------------------------

    def _create_model(self, fields: Json) -> Json:
        name = _required(fields, "name")
        if name in self.models:
            raise Refused(400, {"error_code": "RESOURCE_ALREADY_EXISTS"})
        self.models[name] = {"name": name, "description": fields.get("description") or "", "versions": []}
        return {"registered_model": {"name": name, "tags": []}}

    def _get_model(self, fields: Json) -> Json:
        name = _required(fields, "name")
        if name not in self.models:
            raise _not_found()
        return {"registered_model": {"name": name, "tags": [], "latest_versions": self.models[name]["versions"][-1:]}}

    def _create_version(self, fields: Json) -> Json:
        name = _required(fields, "name")
        if name not in self.models:
            raise _not_found()
        versions = self.models[name]["versions"]
        tags = {tag["key"]: tag["value"] for tag in fields.get("tags") or ()}
        version = tags.get("gitlab.version", f"{len(versions) + 1}.0.0")
        if not _VERSION.fullmatch(version) or version in [each["version"] for each in versions]:
            raise _invalid("Version is invalid")
        versions.append({"name": name, "version": version, "current_stage": "development", "status": "READY"})
        return {"model_version": versions[-1]}


def _no_route(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "404 Not Found"}, 404)


def _not_found() -> Refused:
    return Refused(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})


def _invalid(message: str) -> Refused:
    return Refused(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": message})


def _taken(key: str) -> Refused:
    return _invalid(f"Validation failed: Name '{key}' already taken")


def _required(fields: Json, name: str) -> str:
    if fields.get(name) is None:
        raise Refused(400, {"error": f"{name} is missing"})
    return str(fields[name])


def _integer(fields: Json, name: str, *, required: bool = False) -> int | None:
    value = _required(fields, name) if required else fields.get(name)
    try:
        return None if value is None else int(value)
    except ValueError:
        raise Refused(400, {"error": f"{name} is invalid"}) from None


def _metric(fields: Json, place: str) -> Json:
    found = {}
    for name in ("key", "value", "timestamp", "step"):
        value = fields.get(name)
        if value is None and name != "step":
            raise Refused(400, {"error": f"{place}[{name}] is missing"})
        # Ruby's Float() reads no NaN and no Infinity.
        if name == "value" and not isinstance(value, int | float):
            raise Refused(400, {"error": f"{place}[value] is invalid"})
        found[name] = value
    return found


def _order(fields: Json) -> None:
    if fields.get("order_by") is not None and not isinstance(fields["order_by"], str):
        raise Refused(400, {"error": "order_by is invalid"})


def _page(name: str, items: list[Json], fields: Json, default: int) -> Json:
    size = min(_integer(fields, "max_results") or default, _PAGE)
    token = fields.get("page_token")
    start = int(base64.b64decode(token)) if token else 0
    page: Json = {name: items[start : start + size]}
    page["next_page_token"] = (
        base64.b64encode(str(start + size).encode()).decode() if start + size < len(items) else None
    )
    return page


@contextlib.contextmanager
def gitlab(**options: Any) -> Iterator[GitLab]:
    """Serve a GitLab of its own."""
    project = GitLab(**options)
    with served(project.app) as url:
        project.url = url
        yield project
