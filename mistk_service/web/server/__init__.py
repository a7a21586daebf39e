"""The HTTP server that every product of this project uses: uvicorn with limits on connections and requests."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from mistk_service.errors import SettingsError
from mistk_service.web.error_responses import ErrorBody
from mistk_service.web.server.config import HttpLimits, ServerConfig, load_certificate

__all__ = ["HttpLimits", "server_config", "tls_options"]


def server_config(
    app: Any, limits: HttpLimits, error_body: ErrorBody, *, parser: str | None = None, **options: Any
) -> ServerConfig:
    """Return uvicorn's configuration for an application.

    Args:
        app: the ASGI application.
        limits: limits on clients.
        error_body: makes the JSON of an error that is answered before there is a request for the application.
        parser: ``httptools`` or ``h11``; None for httptools if it is installed, else h11.
        options: further options of uvicorn.
    """
    return ServerConfig(app, limits, error_body, _protocol(parser), **options)


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


def _protocol(parser: str | None) -> type[asyncio.Protocol]:
    if parser != "h11":
        try:
            from mistk_service.web.server.with_httptools import LimitedHttpTools
        except ImportError:
            if parser == "httptools":
                raise
        else:
            return LimitedHttpTools
    from mistk_service.web.server.with_h11 import LimitedH11

    return LimitedH11
