"""The kinds of container, one value each. A new kind needs a folder here and an entry in the list."""

from __future__ import annotations

import importlib
from typing import Any

from mistk_service.kinds.kind import Kind
from mistk_service.kinds.model import MODEL

__all__ = ["KINDS", "Kind", "kind_of"]

KINDS: tuple[Kind, ...] = (MODEL,)


def kind_of(component: type[Any]) -> Kind:
    """Return the kind that the base class of a class belongs to."""
    module, _, name = str(component._mistk_kind).partition(":")
    kind: Kind = getattr(importlib.import_module(module), name)
    return kind
