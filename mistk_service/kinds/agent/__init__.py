"""The kind ``agent``: a player of games, which an orchestrator drives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistk_service.kinds.agent.base import AbstractAgent
from mistk_service.kinds.agent.operations import OPERATIONS
from mistk_service.kinds.agent.states import State
from mistk_service.kinds.call import Call
from mistk_service.kinds.kind import Kind


def _initialize(body: Mapping[str, Any]) -> Call:
    return Call((body.get("modelProperties") or {}, body.get("hyperparameters") or {}))


def _observations(body: Mapping[str, Any]) -> Call:
    return Call((body,))


def _reset(unload_model: bool = True) -> Call:
    return Call() if unload_model else Call(operation="unregister")


AGENT = Kind(
    name="agent",
    base=AbstractAgent,
    contract="mistk-agent-api.yaml",
    base_path="/v1/mistk/agent",
    states=State,
    initial=State.STARTED,
    ready=State.READY,
    operations=OPERATIONS,
    bodies={"initialize": _initialize, "getAction": _observations, "reset": _reset},
)
