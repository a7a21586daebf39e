"""``mistk.cfg``: settings. This service has none of MISTK's settings, so each has its fallback value."""

from __future__ import annotations

from typing import Any

__all__ = ["get"]


def get(section: str, key: str, fallback: Any = None) -> Any:  # noqa: ARG001 - MISTK's signature
    """Return ``fallback``."""
    return fallback
