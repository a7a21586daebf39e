"""The HTTP server that every product of this project uses: uvicorn with limits on connections and requests."""

from __future__ import annotations

import ssl
from typing import Any

from mistk_service.errors import SettingsError
from mistk_service.web.error_responses import ErrorBody
from mistk_service.web.server.config import HttpLimits, ServerConfig, load_certificate
from mistk_service.web.server.connection import HttpConnection

__all__ = ["HttpLimits", "server_config", "tls_options"]


def server_config(app: Any, limits: HttpLimits, error_body: ErrorBody, **options: Any) -> ServerConfig:
    """Return uvicorn's configuration for an application.

    Args:
        app: the ASGI application.
        limits: limits on clients.
        error_body: makes the JSON of an error that is answered before there is a request for the application.
        options: further options of uvicorn.
    """
    return ServerConfig(app, limits, error_body, HttpConnection, **options)


def tls_options(cert: str | None, key: str | None) -> dict[str, str]:
    """Return the options of :func:`server_config` for HTTPS with a certificate and its key; none without them.

    Raises:
        SettingsError: they cannot be read, or do not belong together.
    """
    if cert is None or key is None:
        return {}
    try:
        load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)
    except OSError as error:
        raise SettingsError(
            f"--tls-cert, --tls-key: {cert} and {key} cannot be used ({error}); expected a certificate and its key (PEM)."
        ) from error
    return {"ssl_certfile": cert, "ssl_keyfile": key}
