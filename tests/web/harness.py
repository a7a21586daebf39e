"""The whole application in this process, called without a network."""

from __future__ import annotations

import functools
from typing import Any

import httpx
from starlette.types import ASGIApp

from mistk_service.app.asgi import create_app
from mistk_service.app.settings import Settings
from mistk_service.core.controller import Controller
from mistk_service.doors.mistk.status import status_encoder
from mistk_service.doors.ops.metrics import ServiceMetrics
from mistk_service.kinds.model import MODEL
from mistk_service.workers.protocol import Worker, WorkerListener

API = "/v1/mistk"


@functools.cache
def application(**settings: Any) -> ASGIApp:
    """Return the application, with a controller that has no worker; for the same settings the same, for it is slow to make."""
    return create_app(_controller(), Settings("model:Model", **settings), ServiceMetrics())


def client(app: ASGIApp, url: str = "http://localhost:8080") -> httpx.AsyncClient:
    """Return a client of an application in this process; ``url`` is what it takes the service's address to be."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url)


def _controller() -> Controller:
    return Controller(MODEL, "Model", _no_worker, status_encoder("ModelInstanceStatus", "an-id"))


def _no_worker(listener: WorkerListener, slot: int | None) -> Worker:
    raise NotImplementedError
