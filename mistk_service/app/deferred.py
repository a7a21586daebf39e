"""The application with everything that it takes, loaded no sooner than it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Executor

from starlette.types import ASGIApp

from mistk_service.app.embedded_tracking import EmbeddedTracking
from mistk_service.app.settings import Settings
from mistk_service.core.controller import Controller
from mistk_service.doors.ops.metrics import ServiceMetrics

__all__ = ["load_app"]


def load_app(
    controller: Controller,
    settings: Settings,
    metrics: ServiceMetrics,
    version: str,
    tracking: EmbeddedTracking | None,
    register: Callable[[Executor], None] = lambda _: None,
) -> ASGIApp:
    """Load what takes longest, and return the application; see :func:`mistk_service.app.asgi.create_app`."""
    with warnings.catch_warnings():
        # Of what Connexion uses its libraries would like it to use no more; no user can act on that.
        warnings.simplefilter("ignore")
        from mistk_service.app.asgi import create_app
    return create_app(controller, settings, metrics, version, tracking, register)
