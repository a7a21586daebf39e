"""The status on MISTK's wire: a ``...InstanceStatus`` object as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from mistk_service.core.status_log import StatusEvent
from mistk_service.core.view import MetricSummary, Status
from mistk_service.logs import timestamp


def status_encoder(kind: str, container_id: str) -> Callable[[str, Status, int], bytes]:
    """Return a function that encodes a status, given the model's name and the version.

    Args:
        kind: the kind of the object (``ModelInstanceStatus``).
        container_id: the id of the object.
    """
    created = timestamp()

    def encode(name: str, status: Status, version: int) -> bytes:
        info = {
            "name": name,
            "kind": kind,
            "id": container_id,
            "resourceVersion": version,
            "creationTime": created,
            "modificationTime": timestamp(),
        }
        return msgspec.json.encode({"objectInfo": info, "state": status.state, "payload": _payload(status)})

    return encode


def relocated(event: StatusEvent, *, prefix: str, root_path: str) -> StatusEvent:
    """Return an event with another prefix in its link to the run.

    Args:
        event: the event; its links begin with ``root_path``.
        prefix: the prefix to use instead.
        root_path: the path below which a reverse proxy serves the container.
    """
    status = msgspec.json.decode(event.status)
    run = status["payload"].get("run")
    if not isinstance(run, dict) or not isinstance(run.get("link"), str):
        return event
    run["link"] = prefix + run["link"].removeprefix(root_path)
    return replace(event, status=msgspec.json.encode(status))


def _payload(status: Status) -> dict[str, Any]:
    """Return the payload of the status.

    The model's own payload is at the top level, where MISTK's clients expect it. The service's keys take precedence over the
    model's. If they hide any, the model's payload is repeated as a whole under ``model``.
    """
    own = {
        "possible": status.possible,
        **status.shown,
        **_activities(status),
        **_reports(status),
        **_notice_and_failure(status),
    }
    if status.reported is None:
        return own
    if not isinstance(status.reported, dict):
        return {"model": status.reported, **own}
    hidden = {"model": status.reported} if status.reported.keys() & own.keys() else {}
    return {**status.reported, **hidden, **own}


def _activities(status: Status) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if status.activity is not None:
        shown["activity"] = {"operation": status.activity.operation, "startedAt": status.activity.started_at}
    if (progress := status.progress) is not None:
        shown["progress"] = {
            "done": progress.done,
            "total": progress.total,
            "unit": progress.unit,
            "rate": _rounded(progress.rate),
            "timeLeft": _rounded(progress.time_left),
        }
    if status.last is not None:
        ended, started_at = status.last
        shown["lastActivity"] = {
            "operation": ended.operation,
            "outcome": ended.outcome,
            "startedAt": started_at,
            "endedAt": ended.ended_at,
            "seconds": _rounded(ended.seconds),
        }
    return shown


def _reports(status: Status) -> dict[str, Any]:
    artifacts = [{"path": each.path, "artifactPath": each.artifact_path} for each in status.artifacts]
    values = {
        "metrics": {key: _metric(point) for key, point in status.metrics.items()},
        "params": status.params,
        "tags": status.tags,
        "artifacts": artifacts,
        "notShown": status.hidden,
    }
    return {key: value for key, value in values.items() if value}


def _notice_and_failure(status: Status) -> dict[str, Any]:
    shown: dict[str, Any] = {} if status.notice is None else {"notice": status.notice}
    if status.failure is not None:
        failure = status.failure.failure
        error: dict[str, Any] = {"type": failure.type, "message": failure.message, "traceback": failure.traceback}
        if failure.output:
            error["output"] = failure.output
        shown |= {"operation": status.failure.operation, "error": error}
    return shown


def _metric(metric: MetricSummary) -> dict[str, Any]:
    shown = {"value": _finite(metric.value), "step": metric.step, "timestamp": metric.timestamp}
    return shown if metric.low > metric.high else shown | {"min": metric.low, "max": metric.high}


def _finite(value: float) -> float | str:
    """Return the value. NaN and infinities, which JSON cannot express, become the names that MLflow's JSON uses."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
