"""The whole application in this process, asked without a network; and pieces of it behind a real server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from mistk_service.controller import Controller
from mistk_service.settings import Settings
from mistk_service.web.app import create_app
from mistk_service.web.metrics import ServiceMetrics
from mistk_service.worker.parent import Worker, WorkerListener

API = "/v1/mistk"


@functools.cache
def application(**settings: Any) -> ASGIApp:
    """Return the application, with a controller that has no worker; for the same settings the same, for it is slow to make."""
    return create_app(Controller("Model", _no_worker), Settings("model:Model", **settings), ServiceMetrics(), "1.2.3")


def client(app: ASGIApp, url: str = "http://localhost:8080") -> httpx.AsyncClient:
    """Return a client of an application in this process; ``url`` is what it takes the service's address to be."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url)


@contextlib.asynccontextmanager
async def served(app: ASGIApp, http: str) -> AsyncIterator[int]:
    """Serve with uvicorn's parser ``h11`` or ``httptools``; give the port."""
    config = uvicorn.Config(app, http=http, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    protocol: Any = config.http_protocol_class
    server = await loop.create_server(lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for connection in list(state.connections):
            connection.shutdown()


def _no_worker(listener: WorkerListener) -> Worker:
    raise NotImplementedError
