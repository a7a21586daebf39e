"""The tracking server: a store behind MLflow's REST API."""

from mistk_service.tracking.server.app import create_tracking_app
from mistk_service.tracking.server.serve import serve_tracking

__all__ = ["create_tracking_app", "serve_tracking"]
