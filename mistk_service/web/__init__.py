"""HTTP: the contract served by Connexion, the watch as a stream, health, and the page for people, as one ASGI application."""

from mistk_service.web.app import create_app
from mistk_service.web.tracking import EmbeddedTracking

__all__ = ["EmbeddedTracking", "create_app"]
