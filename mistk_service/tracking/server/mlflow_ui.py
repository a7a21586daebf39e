"""MLflow's own web pages on this server's store, from an installed ``mlflow``.

The pages are the static files of the package. Nearly all of their requests are for MLflow's REST API. The others are
answered here: two GraphQL queries, and requests for features that do not exist here, before the pages hide them.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.errors import SettingsError
from mistk_service.tracking import wire
from mistk_service.tracking.errors import InvalidParameter, StoreError
from mistk_service.tracking.server.replies import Refused, error_response
from mistk_service.tracking.server.url_paths import answer
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.wire.fields import camel
from mistk_service.web.json_limits import FREE_JSON
from mistk_service.web.request_body import read_body

Json = dict[str, Any]

#: The path of the pages.
MLFLOW_UI_PATH = "/mlflow"

#: The scripts of the pages insert styles, and compile some of their charts.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)

#: The responses for features that this server does not have, by the path below that of the pages.
_ABSENT: dict[str, Json] = {
    "/ajax-api/2.0/mlflow/gateway-proxy": {"endpoints": []},
    "/ajax-api/3.0/mlflow/assistant/config": {"providers": {}, "projects": {}},
    "/ajax-api/3.0/mlflow/assistant/providers": {"providers": []},
    "/ajax-api/3.0/mlflow/ui-telemetry": {
        "disable_ui_telemetry": True,
        "disable_ui_events": [],
        "ui_rollout_percentage": 0,
    },
}

#: The versions of a run that a page shows.
_VERSIONS = 1000


class MlflowUI:
    """ASGI application: MLflow's pages below ``/mlflow/``, and the tracking server for everything else.

    Args:
        tracking: the tracking server, which the pages call through their own path.
        store: answers the GraphQL queries.
        executor: runs them.

    Raises:
        SettingsError: ``mlflow`` with its pages is not installed.
    """

    def __init__(self, tracking: ASGIApp, store: Store, executor: Executor) -> None:
        self._tracking = tracking
        self._executor = executor
        self._folder = _pages()
        self._files = StaticFiles(directory=self._folder)
        self._queries: dict[str, Callable[[Json], Json]] = {
            "MlflowGetExperimentQuery": lambda variables: _response(
                "MlflowGetExperiment", "experiment", lambda: _experiment(store, str(variables["input"]["experimentId"]))
            ),
            "GetRun": lambda variables: _response(
                "MlflowGetRun", "run", lambda: _run(store, str(variables["data"]["runId"]))
            ),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path != MLFLOW_UI_PATH and not path.startswith(f"{MLFLOW_UI_PATH}/"):
            await self._tracking(scope, receive, send)
            return
        below = path.removeprefix(MLFLOW_UI_PATH)
        if below == "/graphql":
            app: ASGIApp = await self._graphql(scope, receive)
        elif below in _ABSENT:
            app = JSONResponse(_ABSENT[below])
        elif below.startswith(("/ajax-api/", "/get-artifact", "/model-versions/")):
            app, scope = self._tracking, {**scope, "path": below, "raw_path": below.encode()}
        else:
            app = await self._page(below, scope)
        await app(scope, receive, send)

    async def _page(self, path: str, scope: Scope) -> ASGIApp:
        if scope["method"] not in ("GET", "HEAD"):
            return error_response(Refused(405, f"{scope['path']} takes GET only.", {"Allow": "GET, HEAD"}))
        if not path:
            return RedirectResponse(f"{MLFLOW_UI_PATH.rpartition('/')[2]}/")
        if path == "/":
            index = (self._folder / "index.html").read_bytes()
            return Response(index, media_type="text/html", headers={"Content-Security-Policy": _POLICY})
        try:
            return await self._files.get_response(path.removeprefix("/static-files").lstrip("/"), scope)
        except Exception as error:  # noqa: BLE001 - above all a missing file
            return answer(error, scope)

    async def _graphql(self, scope: Scope, receive: Receive) -> Response:
        loop = asyncio.get_running_loop()
        try:
            body = await read_body(scope, receive, FREE_JSON.size)
            data = await loop.run_in_executor(self._executor, self._answer, body)
        except Exception as error:  # noqa: BLE001 - the page gets an answer in any case
            return answer(error, scope)
        return JSONResponse({"data": data})

    def _answer(self, body: bytes | bytearray) -> Json:
        try:
            request = msgspec.json.decode(body)
            query, variables = self._queries[request["operationName"]], request["variables"]
            return query(variables)
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            names = " and ".join(self._queries)
            raise InvalidParameter(
                f"The GraphQL request is not one of MLflow's pages; expected {names} with their variables.",
                field="query",
            ) from error


def _pages() -> Path:
    spec = importlib.util.find_spec("mlflow")  # without loading it
    places = spec.submodule_search_locations if spec is not None else None
    folder = Path(places[0], "server", "js", "build") if places else None
    if folder is None or not (folder / "index.html").is_file():
        raise SettingsError(
            "--mlflow-ui: the pages are in the package mlflow, which is not installed; install it with: pip install mlflow."
        )
    return folder


def _response(kind: str, name: str, load: Callable[[], Json]) -> Json:
    """Return the response of a query: an object under a name, or an error."""
    response: Json = {"apiError": None, name: None, "__typename": f"{kind}Response"}
    try:
        response[name] = load()
    except StoreError as error:
        response["apiError"] = _error(error)
    return {f"m{kind[1:]}": response}


def _experiment(store: Store, experiment_id: str) -> Json:
    fields = _graphql_value(wire.experiment(store.get_experiment(experiment_id)))
    return {"effectiveTraceArchivalRetention": None, "tags": []} | fields


def _run(store: Store, run_id: str) -> Json:
    run = store.get_run(run_id)
    versions = store.search_model_versions(f"run_id = '{run.info.run_id}'", _VERSIONS)
    fields = _graphql_value(wire.run(run))
    fields["info"].setdefault("endTime", None)
    fields["data"] = {"metrics": [], "params": [], "tags": []} | fields["data"]
    fields["inputs"] = {"datasetInputs": [], "modelInputs": []} | fields["inputs"]
    fields["outputs"] = {"modelOutputs": []} | fields["outputs"]
    for each in fields["inputs"]["datasetInputs"]:
        each["dataset"] = {"profile": None, "schema": None} | each["dataset"]
        each.setdefault("tags", [])
    return fields | {
        "experiment": _experiment(store, run.info.experiment_id),
        "modelVersions": [_graphql_value(wire.listed_version(each)) for each in versions],
    }


def _error(error: StoreError) -> Json:
    return {"code": error.error_code, "message": str(error), "helpUrl": None, "__typename": "ApiError"}


def _graphql_value(value: Any) -> Json:
    """Convert an object of the REST API to GraphQL: names in camel case, and 64-bit integers as text."""
    converted: Json = _converted(msgspec.to_builtins(value))
    return converted


def _converted(value: Any) -> Any:
    if isinstance(value, dict):
        # Caches of clients require a type in every object, with any name.
        return {camel(key): _converted(each) for key, each in value.items()} | {"__typename": "Mlflow"}
    if isinstance(value, list | tuple):
        return [_converted(each) for each in value]
    return str(value) if type(value) is int else value
