"""An application behind the project's HTTP server, on the event loop of a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from mistk_service.web.server import HttpLimits, server_config


@contextlib.asynccontextmanager
async def served(app: ASGIApp, limits: HttpLimits | None = None, **options: Any) -> AsyncIterator[int]:
    """Serve on the running loop, with options of uvicorn; give the port."""
    config = server_config(app, limits or HttpLimits(), refusal, lifespan="off", **options)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    protocol: Any = config.http_protocol_class
    server = await loop.create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0, ssl=config.ssl
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        for connection in list(state.connections):
            connection.shutdown()


def refusal(status: int, message: str) -> bytes:
    """Return what the server answers to a request that it does not pass on."""
    return msgspec.json.encode({"code": status, "message": message})
