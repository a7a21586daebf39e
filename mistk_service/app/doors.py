"""The APIs for predictions besides the lifecycle API."""

from __future__ import annotations

from collections.abc import Sequence

from mistk_service.app.settings import DOORS, Settings
from mistk_service.doors.inference.handlers import inference_door
from mistk_service.doors.invocations.handlers import invocations_door
from mistk_service.doors.kserve.handlers import kserve_door, vertex_door
from mistk_service.doors.openai.handlers import openai_door
from mistk_service.doors.prediction_api import Door
from mistk_service.doors.served_model import ServedModel


def prediction_doors(model: ServedModel, settings: Settings) -> list[Door]:
    """Return the selected APIs, if the kind of container has the hooks for them."""
    if not model.has_prediction_apis:
        return []
    chosen, max_body = settings.doors or DOORS, settings.max_body
    doors = []
    if "inference" in chosen:
        doors.append(inference_door(model, max_body))
    if "kserve" in chosen:
        doors.append(kserve_door(model, max_body))
    if "invocations" in chosen:
        doors.append(invocations_door(model, max_body, settings.max_queue))
    if "openai" in chosen:
        doors.append(openai_door(model, max_body, with_models="kserve" not in chosen))
    health, predict = settings.vertex_health_route, settings.vertex_predict_route
    # A route may be another door's, such as /invocations, which takes what Vertex AI sends.
    routes = [path for path in (health, predict) if path and door_of(path, doors) is None]
    if routes and "vertex" in chosen:
        doors.append(vertex_door(model, max_body, health, predict, routes))
    return doors


def door_of(path: str, doors: Sequence[Door]) -> Door | None:
    """Return the API that a path belongs to."""
    return next((door for door in doors if any(is_below(path, base) for base in door.paths)), None)


def is_below(path: str, base: str) -> bool:
    """Return whether a path is ``base`` or below it."""
    return path == base or path.startswith(f"{base}/")
