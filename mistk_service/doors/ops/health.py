"""The endpoints for probes: liveness, startup and readiness."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from mistk_service.core.controller import Controller
from mistk_service.kinds.kind import FAILED, RESETTING, TERMINATED, TERMINATING
from mistk_service.web.json_response import JsonText

#: The body of the response to /healthz and /livez.
ALIVE = b'{"status":"alive"}\n'

#: Why a prediction would not be accepted, by state.
_REASONS = {
    FAILED: "The instance has failed; the status has the reason. Reset it to start over.",
    TERMINATING: "The service is shutting down.",
    TERMINATED: "The service has shut down.",
}


def liveness() -> Response:
    """Return 200. A process that can respond is alive, whatever the state of the model."""
    return JsonText(ALIVE)


def startup(started: bool) -> Response:
    """Return 200 once the service has started: the model is loaded, and built if the service builds it itself."""
    return _answer({"started": started}, started)


def readiness(controller: Controller, tracking_lost: str | None = None) -> Response:
    """Return 200 if the model can accept a stream prediction or an activity, otherwise 503.

    A failure of tracking is reported, but does not make the model unready.
    """
    ready = controller.can_accept_work
    body: dict[str, Any] = {"ready": ready, "state": controller.state}
    if not ready:
        body["reason"] = _REASONS.get(controller.state) or _reason(controller)
    if tracking_lost is not None:
        body["tracking"] = tracking_lost
    return _answer(body, ready)


def _answer(body: dict[str, Any], good: bool) -> Response:
    return Response(msgspec.json.encode(body) + b"\n", 200 if good else 503, media_type="application/json")


def _reason(controller: Controller) -> str:
    """Return why an instance accepts no prediction, unless it has failed or is shutting down."""
    if controller.view.running is not None or controller.state == RESETTING:
        return "The instance is busy and accepts no stream prediction until it is ready again."
    if controller.state == controller.kind.initial:
        return "The instance has not been initialized."
    return "The model has not been built."
