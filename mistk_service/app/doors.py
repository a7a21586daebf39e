"""The APIs for predictions beside the lifecycle API, each with its paths and its form of errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp

from mistk_service.app.settings import Settings
from mistk_service.core.controller import Controller
from mistk_service.doors.inference.handlers import INFERENCE_PATH, inference_app, inference_error
from mistk_service.doors.inference.statistics import Statistics
from mistk_service.doors.served_model import ServedModel
from mistk_service.web.refusals import ErrorBody


@dataclass(frozen=True)
class Door:
    """An API for predictions.

    Attributes:
        name: its name in ``--doors`` and in the metrics.
        paths: the paths that belong to it, with everything below them.
        operations: the last segments of its paths that the metrics tell apart.
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


def prediction_doors(controller: Controller, settings: Settings) -> list[Door]:
    """Return the doors that are chosen, if the kind of container answers predictions."""
    if controller.kind.prediction is None:
        return []
    model = ServedModel(controller, settings.model_name, settings.model_version)
    doors = [
        Door(
            "inference",
            [INFERENCE_PATH],
            ["infer", "ready", "live", "stats", "index"],
            inference_error,
            inference_app(model, settings.max_body, Statistics()),
        )
    ]
    return [door for door in doors if not settings.doors or door.name in settings.doors]


def door_of(path: str, doors: Sequence[Door]) -> Door | None:
    """Return the door that a path belongs to."""
    return next((door for door in doors if any(is_below(path, base) for base in door.paths)), None)


def is_below(path: str, base: str) -> bool:
    """Return whether a path is ``base`` or lies below it."""
    return path == base or path.startswith(f"{base}/")
