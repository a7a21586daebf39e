"""The kinds of container, one folder and one value each."""

from __future__ import annotations

import importlib
from typing import Any

from mistk_service.kinds.kind import Kind

__all__ = ["KINDS", "Kind", "all_kinds", "kind_at", "kind_of"]

#: Where the value of each kind is, by the name of its base class.
KINDS = {
    "AbstractModel": "mistk_service.kinds.model:MODEL",
    "AbstractEvaluationPlugin": "mistk_service.kinds.evaluation:EVALUATION",
    "AbstractTransformPlugin": "mistk_service.kinds.transform:TRANSFORM",
    "AbstractAgent": "mistk_service.kinds.agent:AGENT",
    "AbstractOrchestrator": "mistk_service.kinds.orchestrator:ORCHESTRATOR",
}


def kind_of(component: type[Any]) -> Kind:
    """Return the kind that the base class of a class belongs to."""
    return kind_at(component._mistk_kind)


def kind_at(place: str) -> Kind:
    """Return the kind at ``package.module:NAME``."""
    module, _, name = place.partition(":")
    kind: Kind = getattr(importlib.import_module(module), name)
    return kind


def all_kinds() -> tuple[Kind, ...]:
    """Return every kind."""
    return tuple(map(kind_at, KINDS.values()))
