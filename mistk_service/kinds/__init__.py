"""The kinds of container, one folder and one value each."""

from __future__ import annotations

import importlib
from typing import Any

from mistk_service.kinds.kind import Kind

__all__ = ["Kind", "kind_of"]


def kind_of(component: type[Any]) -> Kind:
    """Return the kind that the base class of a class belongs to."""
    module, _, name = str(component._mistk_kind).partition(":")
    kind: Kind = getattr(importlib.import_module(module), name)
    return kind
