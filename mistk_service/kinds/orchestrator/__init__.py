"""The kind ``orchestrator``: runs games between agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistk_service.kinds.call import Call
from mistk_service.kinds.kind import LOGIN_VARIABLE, Kind
from mistk_service.kinds.orchestrator.base import AbstractOrchestrator
from mistk_service.kinds.orchestrator.operations import OPERATIONS
from mistk_service.kinds.orchestrator.states import State


def _initialize(body: Mapping[str, Any]) -> Call:
    return Call((body.get("env") or {}, body["agents_needed"]))


ORCHESTRATOR = Kind(
    name="orchestrator",
    base=AbstractOrchestrator,
    contract="mistk-orchestrator-api.yaml",
    base_path="/v1/mistk/orchestrator",
    states=State,
    initial=State.UNINITIALIZED,
    ready=State.READY,
    operations=OPERATIONS,
    bodies={"initialize": _initialize},
    secrets=frozenset({LOGIN_VARIABLE}),  # for its agents
)
