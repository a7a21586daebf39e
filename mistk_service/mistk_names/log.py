"""``mistk.log``: loggers. The worker has configured logging."""

from __future__ import annotations

import logging

__all__ = ["get_logger"]


def get_logger(name: str | None = None) -> logging.Logger:
    """Return a logger; by default that of the worker's own messages."""
    return logging.getLogger(name or "mistk")
