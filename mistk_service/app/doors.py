"""The APIs for predictions besides the lifecycle API, each with its paths and its error format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp

from mistk_service.app.settings import Settings
from mistk_service.doors.inference.handlers import INFERENCE_PATH, inference_app
from mistk_service.doors.invocations.handlers import PATHS as INVOCATIONS_PATHS
from mistk_service.doors.invocations.handlers import error_body as invocations_error
from mistk_service.doors.invocations.handlers import invocations_app
from mistk_service.doors.kserve.handlers import kserve_app, vertex_app
from mistk_service.doors.openai.handlers import PATHS as OPENAI_PATHS
from mistk_service.doors.openai.handlers import error_body as openai_error
from mistk_service.doors.openai.handlers import openai_app
from mistk_service.doors.prediction_api import json_error
from mistk_service.doors.served_model import ServedModel
from mistk_service.web.error_responses import ErrorBody

#: The maximum number of concurrent requests of a SageMaker batch transform.
_CONCURRENT = 64


@dataclass(frozen=True)
class Door:
    """An API for predictions.

    Attributes:
        name: its name in ``--doors`` and in the metrics.
        paths: the paths that belong to it, with everything below them.
        operations: the last segments of its paths that the metrics distinguish.
        error_body: makes the JSON of its errors.
        app: serves it.
    """

    name: str
    paths: Sequence[str]
    operations: Sequence[str]
    error_body: ErrorBody
    app: ASGIApp

    def operation(self, path: str) -> str:
        """Return the operation of a path for the metrics."""
        last = re.split("[/:]", path)[-1]
        return last if last in self.operations else "other"


def prediction_doors(model: ServedModel, settings: Settings) -> list[Door]:
    """Return the selected APIs, if the kind of container has the hooks for them."""
    if not model.has_prediction_apis:
        return []
    doors = [make(model, settings) for name, make in _DOORS.items() if _is_chosen(name, settings)]
    health, predict = settings.vertex_health_route, settings.vertex_predict_route
    # A route may be another door's, such as /invocations, which takes what Vertex AI sends.
    routes = [path for path in (health, predict) if path and door_of(path, doors) is None]
    if routes and _is_chosen("vertex", settings):
        doors.append(Door("vertex", routes, [], json_error, vertex_app(model, settings.max_body, health, predict)))
    return doors


def _is_chosen(name: str, settings: Settings) -> bool:
    return not settings.doors or name in settings.doors


def _inference(model: ServedModel, settings: Settings) -> Door:
    operations = ["infer", "generate", "generate_stream", "ready", "live", "stats", "index"]
    app = inference_app(model, settings.max_body)
    return Door("inference", [INFERENCE_PATH], operations, json_error, app)


def _kserve(model: ServedModel, settings: Settings) -> Door:
    return Door("kserve", ["/v1/models"], ["models", "predict"], json_error, kserve_app(model, settings.max_body))


def _invocations(model: ServedModel, settings: Settings) -> Door:
    app = invocations_app(model, settings.max_body, min(settings.max_queue, _CONCURRENT))
    return Door("invocations", INVOCATIONS_PATHS, ["ping", "invocations"], invocations_error, app)


def _openai(model: ServedModel, settings: Settings) -> Door:
    # The paths of the models are KServe's too, whose answers hold what OpenAI's clients read.
    paths = OPENAI_PATHS if _is_chosen("kserve", settings) else [*OPENAI_PATHS, "/v1/models"]
    return Door("openai", paths, ["completions", "models"], openai_error, openai_app(model, settings.max_body))


_DOORS = {"inference": _inference, "kserve": _kserve, "invocations": _invocations, "openai": _openai}


def door_of(path: str, doors: Sequence[Door]) -> Door | None:
    """Return the API that a path belongs to."""
    return next((door for door in doors if any(is_below(path, base) for base in door.paths)), None)


def is_below(path: str, base: str) -> bool:
    """Return whether a path is ``base`` or lies below it."""
    return path == base or path.startswith(f"{base}/")
