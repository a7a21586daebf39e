"""HTTP: the contract served by Connexion, the watch as a stream, health, and the page for people, as one ASGI application."""

from mistk_service.web.app import create_app

__all__ = ["create_app"]
