"""Serving alone: the tracking server as a process of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from mistk_service.errors import SettingsError
from mistk_service.resources import contract_path
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.server.app import MAX_BODY, create_tracking_app
from mistk_service.tracking.store import open_store

__all__ = ["serve_tracking"]

#: Seconds that requests get to end once the server has been told to stop.
_CLOSING = 5

#: How many connections may wait to be accepted.
_BACKLOG = 2048


def serve_tracking(
    store_uri: str,
    artifacts_uri: str | Path,
    host: str = "127.0.0.1",
    port: int = 5000,
    *,
    max_body: int = MAX_BODY,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve a store until the process is told to stop by SIGINT or SIGTERM.

    Args:
        store_uri: see :func:`mistk_service.tracking.open_store`.
        artifacts_uri: see :func:`mistk_service.tracking.artifacts.open_artifacts`.
        host: the address to listen on. There is no authentication.
        port: the port; 0 takes any that is free.
        max_body: bytes that a JSON body may have.
        on_listening: called with the base URL once connections are accepted.

    Raises:
        SettingsError: the address cannot be had.
        StoreError: the store or the artifact root cannot be opened; the class says why.
    """
    artifacts = open_artifacts(artifacts_uri)
    with open_store(store_uri) as store, _bound(host, port) as sock:
        app = create_tracking_app(store, artifacts, contract_path("mlflow-api.yaml"), max_body=max_body)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=_CLOSING,
                server_header=False,
                backlog=_BACKLOG,
            )
        )
        if on_listening is not None:
            on_listening(_url(sock))
        server.run(sockets=[sock])


def _bound(host: str, port: int) -> socket.socket:
    """Return a listening socket; what connects before the server accepts waits.

    Raises:
        SettingsError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(
            f"Cannot listen on {host}:{port} ({error.strerror}); give another --port, 0 for any, or another --host.",
            setting="port",
        ) from error
    return sock


def _url(sock: socket.socket) -> str:
    host, port, *_ = sock.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
