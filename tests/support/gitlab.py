"""A fake of GitLab for tests of clients: this project's dialect, behind GitLab's paths.

What the dialect does not have is here: tokens, the package registry for artifacts, models with semantic versions, and older
versions. It is the project with the id 1. A point that is sent twice is there twice in GitLab and once in the dialect, so what
was sent is counted.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.mlops import Workspace
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Run
from tests.support.serving import served

ROOT = "/api/v4/projects/1"
_MLFLOW = f"{ROOT}/ml/mlflow/api/2.0/mlflow"
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_ARTIFACTS = re.compile(rb'"mlflow-artifacts:/(\d+)/(\w+)/artifacts"')

Json = dict[str, Any]


class Refused(Exception):
    """An error as GitLab words it."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


class GitLab:
    """The project.

    Args:
        token: who has it may do everything.
        batch_tags: whether ``log-batch`` stores tags, which it does not declare.
        metric_history: whether histories can be read and artifacts have a package of their own, as in newer versions.

    Attributes:
        uri: what clients have as their tracking URI.
        files: by their paths, every version of each.
        received: how often each point was sent and taken.
        requests: method and operation of all requests so far.
    """

    def __init__(self, token: str = "glpat-secret", *, batch_tags: bool = True, metric_history: bool = True) -> None:
        self.token = token
        self.read_token = f"{token}-read"
        self.batch_tags = batch_tags
        self._new = metric_history
        self.url = ""
        self.store = SqlStore.open("sqlite://")
        assert Workspace(self.store).create_project("gitlab")["id"] == "1"
        self.models: dict[str, Json] = {}
        self.files: dict[str, list[bytes]] = {}
        self.received: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self._numbers: dict[str, int] = {}
        self._dialect = create_tracking_app(self.store, open_artifacts("memory://gitlab"))
        calls = {
            ("POST", "registered-models/create"): self._create_model,
            ("POST", "model-versions/create"): self._create_version,
            ("GET", "registered-models/get"): self._get_model,
        }
        routes = [self._route(method, path, call) for (method, path), call in calls.items()]
        for package in ("generic/{package}/{version}/{file}", "ml_models/{candidate}/files/{file}"):
            routes.append(Route(f"{ROOT}/packages/{package}", self._package, methods=["GET", "PUT"]))
        self._own = Starlette(routes=routes)
        self._others = {f"{_MLFLOW}/{path}" for _, path in calls}

    @property
    def uri(self) -> str:
        return f"{self.url}{ROOT}/ml/mlflow"

    @property
    def runs(self) -> dict[str, Run]:
        """The runs, by their ids."""
        experiments = [experiment.experiment_id for experiment in self.store.search_experiments()]
        return {run.info.run_id: run for run in self.store.search_runs(experiments)}

    @property
    def experiments(self) -> list[str]:
        """The names of the experiments in the store, that of the project before them."""
        return [experiment.name for experiment in self.store.search_experiments()]

    def place(self, run_id: str) -> str:
        """Return where the packages of a run are."""
        number = self._numbers.setdefault(run_id, len(self._numbers) + 1)
        experiment = self.store.get_run(run_id).info.experiment_id
        return f"ml_models/candidate:{number}/files/" if self._new else f"generic/ml_experiment_{experiment}/{number}/"

    # --- the way in -----------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        if scope["type"] != "http":
            await self._dialect(scope, receive, send)
            return
        path, request = scope["path"], Request(scope, receive)
        operation = "packages" if "/packages/" in path else path.removeprefix(f"{_MLFLOW}/")
        self.requests.append((scope["method"], operation))
        body = await request.body()
        try:
            if not path.startswith(f"{ROOT}/"):
                raise Refused(404, {"message": "404 Project Not Found"})
            self._authenticate(request)
            if operation == "metrics/get-history" and not self._new:
                raise Refused(404, {"error": "404 Not Found"})
        except Refused as error:
            await JSONResponse(error.body, error.status)(scope, receive, send)
            return
        own: ASGIApp = self._own if operation == "packages" or path in self._others else self._dialect
        if operation == "runs/log-batch" and not self.batch_tags:
            body = json.dumps({key: value for key, value in json.loads(body).items() if key != "tags"}).encode()
        headers = [(k, v) for k, v in scope["headers"] if k != b"content-length"]
        inner = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        await own(inner, _replay(body), self._outgoing(operation, body, send))

    def _outgoing(self, operation: str, body: bytes, send: Send) -> Send:
        """Return what sends an answer on, with the artifacts of runs in the package registry."""
        begun: list[Message] = []

        async def rewritten(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
                return
            text = _ARTIFACTS.sub(
                lambda found: f'"{self.url}{ROOT}/packages/{self.place(found[2].decode())}"'.encode(), message["body"]
            )
            (start,) = begun
            if start["status"] == 200:
                self._count(operation, body)
            elif b'"RESOURCE_DOES_NOT_EXIST"' in text:
                # GitLab says no more than that.
                text = b'{"error_code":"RESOURCE_DOES_NOT_EXIST"}'
            length = (b"content-length", str(len(text)).encode())
            headers = [(k, v) for k, v in start["headers"] if k != b"content-length"]
            await send({**start, "headers": [*headers, length]})
            await send({**message, "body": text})

        return rewritten

    def _count(self, operation: str, body: bytes) -> None:
        if operation in ("runs/log-batch", "runs/log-metric"):
            fields = json.loads(body)
            points = fields.get("metrics", []) if operation == "runs/log-batch" else [fields]
            self.received.update(f"{fields['run_id']} {json.dumps(point, sort_keys=True)}" for point in points)

    def _route(self, method: str, path: str, call: Callable[[Json], Json]) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                fields = dict(request.query_params) if method == "GET" else json.loads(await request.body())
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
        if request.method == "PUT":
            self.files.setdefault(path, []).append(await request.body())
            return JSONResponse({"message": "201 Created"}, 201)
        if path not in self.files:
            return JSONResponse({"message": "404 Not Found"}, 404)
        return Response(self.files[path][-1], media_type="application/octet-stream")

    # --- models ---------------------------------------------------------------------------------------------------

    def _create_model(self, fields: Json) -> Json:
        name = fields["name"]
        if name in self.models:
            raise Refused(400, {"error_code": "RESOURCE_ALREADY_EXISTS"})
        self.models[name] = {"name": name, "description": fields.get("description") or "", "versions": []}
        return {"registered_model": {"name": name, "tags": []}}

    def _get_model(self, fields: Json) -> Json:
        name = fields["name"]
        if name not in self.models:
            raise Refused(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})
        return {"registered_model": {"name": name, "tags": [], "latest_versions": self.models[name]["versions"][-1:]}}

    def _create_version(self, fields: Json) -> Json:
        name = fields["name"]
        if name not in self.models:
            raise Refused(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})
        versions = self.models[name]["versions"]
        tags = {tag["key"]: tag["value"] for tag in fields.get("tags") or ()}
        version = tags.get("gitlab.version", f"{len(versions) + 1}.0.0")
        if not _VERSION.fullmatch(version) or version in [each["version"] for each in versions]:
            raise Refused(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Version is invalid"})
        versions.append({"name": name, "version": version, "current_stage": "development", "status": "READY"})
        return {"model_version": versions[-1]}


def _replay(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


@contextlib.contextmanager
def gitlab(**options: Any) -> Iterator[GitLab]:
    """Serve a GitLab of its own."""
    project = GitLab(**options)
    try:
        with served(project) as url:
            project.url = url
            yield project
    finally:
        project.store.close()
