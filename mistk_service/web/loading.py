"""The application with everything that it takes, loaded no sooner than it is asked for."""

from __future__ import annotations

import warnings

from starlette.types import ASGIApp

from mistk_service.controller import Controller
from mistk_service.settings import Settings
from mistk_service.web.metrics import ServiceMetrics
from mistk_service.web.tracking import EmbeddedTracking

__all__ = ["load_app"]


def load_app(
    controller: Controller, settings: Settings, metrics: ServiceMetrics, version: str, tracking: EmbeddedTracking | None
) -> ASGIApp:
    """Load what takes longest, and return the application; see :func:`mistk_service.web.app.create_app`."""
    with warnings.catch_warnings():
        # Of what Connexion uses its libraries would like it to use no more; no user can act on that.
        warnings.simplefilter("ignore")
        from mistk_service.web.app import create_app
    return create_app(controller, settings, metrics, version, tracking)
