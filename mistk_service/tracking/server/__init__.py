"""The tracking server: MLflow's REST API, served out of a store."""

from mistk_service.tracking.server.app import MAX_BODY, create_tracking_app
from mistk_service.tracking.server.serve import serve_tracking

__all__ = ["MAX_BODY", "create_tracking_app", "serve_tracking"]
