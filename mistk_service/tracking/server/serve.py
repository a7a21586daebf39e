"""The standalone tracking server."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.opening import open_store
from mistk_service.tracking.server.app import MAX_BODY, create_tracking_app
from mistk_service.tracking.server.replies import error_json
from mistk_service.web.gate import exposure, gate
from mistk_service.web.listening import bind, url_of
from mistk_service.web.memory import collect_less_often
from mistk_service.web.server import HttpLimits, server_config

_log = logging.getLogger(__name__)

#: Seconds that requests get to end when the server shuts down.
_CLOSING = 5

_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def serve_tracking(
    store_uri: str,
    artifacts_uri: str | Path,
    host: str = "127.0.0.1",
    port: int = 5000,
    *,
    allowed_hosts: Sequence[str] = (),
    max_body: int = MAX_BODY,
    limits: HttpLimits | None = None,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve a store until SIGINT or SIGTERM.

    Args:
        store_uri: see :func:`mistk_service.tracking.open_store`.
        artifacts_uri: see :func:`mistk_service.tracking.artifacts.open_artifacts`.
        host: the address to listen on. There is no authentication.
        port: the port; 0 takes any that is free.
        allowed_hosts: further names of the server; see :class:`~mistk_service.web.gate.origins.Origins`.
        max_body: the limit of a JSON body in bytes.
        limits: limits on clients; by default those of :class:`HttpLimits`.
        on_listening: called with the base URL when the server accepts connections.

    Raises:
        SettingsError: the address cannot be used.
        StoreError: the store or the artifact root cannot be opened.
    """
    artifacts = open_artifacts(artifacts_uri)
    with open_store(store_uri) as store, bind(host, port) as sock:
        tracking = create_tracking_app(store, artifacts, max_body=max_body)
        app = gate(tracking, host=host, allowed_hosts=allowed_hosts, max_body=max_body, error_body=error_json)
        server = _Server(server_config(app, limits or HttpLimits(), error_json, timeout_graceful_shutdown=_CLOSING))
        if (warning := exposure(host)) is not None:
            _log.warning(warning)
        collect_less_often()
        # A signal that comes before the server handles signals waits, since it could interrupt the making of the event loop.
        unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if on_listening is not None:
                on_listening(url_of(sock))
            server.run(sockets=[sock])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)


class _Server(uvicorn.Server):
    """Uvicorn, which lets signals through once it handles them."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        await super().startup(sockets)
