"""The HTTP server that every product of this project uses: uvicorn with limits on connections and requests."""

from __future__ import annotations

import asyncio
from typing import Any

from mistk_service.web.refusals import ErrorBody
from mistk_service.web.server.config import HttpLimits, ServerConfig

__all__ = ["HttpLimits", "server_config"]


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
