"""The standalone tracking server."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.command_line import ListenSettings
from mistk_service.page import Page
from mistk_service.process_exit import signals_handled
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.opening import open_store
from mistk_service.tracking.server.app import create_tracking_app
from mistk_service.tracking.server.replies import error_json
from mistk_service.tracking.server.url_paths import answer
from mistk_service.tracking.server.users import users_of
from mistk_service.tracking.values import Permission
from mistk_service.web.access import Authenticator
from mistk_service.web.gate import gate
from mistk_service.web.listening import bind, url_of
from mistk_service.web.memory import collect_less_often
from mistk_service.web.server import HttpLimits, server_config, tls_options

#: Maximum seconds for requests to end when the server shuts down.
_CLOSING = 5


def serve_tracking(
    store_uri: str,
    artifacts_uri: str,
    settings: ListenSettings,
    authenticator: Authenticator | None,
    *,
    limits: HttpLimits,
    mlflow_ui: bool,
    on_listening: Callable[[str], None],
) -> None:
    """Serve a store until SIGINT or SIGTERM.

    Args:
        store_uri: see :func:`mistk_service.tracking.open_store`.
        artifacts_uri: see :func:`mistk_service.tracking.artifacts.open_artifacts`.
        settings: the address, and what clients may do.
        authenticator: identifies the sender of a request; None if no log-in is required.
        limits: limits on connections.
        mlflow_ui: whether to serve MLflow's own web pages at ``/mlflow/``.
        on_listening: called with the base URL when the server accepts connections.

    Raises:
        SettingsError: the address or the certificate cannot be used, or MLflow's pages are not installed.
        StoreError: the store or the artifact root cannot be opened.
    """
    tls = tls_options(settings.tls_cert, settings.tls_key)
    artifacts = open_artifacts(artifacts_uri)
    with open_store(store_uri) as store, bind(settings.host, settings.port) as sock:
        users = users_of(lambda: store)
        if authenticator is not None:
            users.ensure_admin(os.environ)
            authenticator.open_users = lambda: users
        tracking = create_tracking_app(
            store,
            artifacts,
            max_body=settings.max_body,
            mlflow_ui=mlflow_ui,
            users=users,
            default_permission=Permission(settings.default_permission),
            max_uploads=settings.max_uploads,
        )
        app = gate(
            _with_page(tracking),
            host=settings.host,
            allowed_hosts=settings.allowed_hosts,
            max_body=settings.max_body,
            authenticator=authenticator,
            answer=answer,
            audited=settings.audit_file is not None,
            access_log=settings.access_log,
        )
        server = uvicorn.Server(server_config(app, limits, error_json, timeout_graceful_shutdown=_CLOSING, **tls))
        collect_less_often()
        on_listening(url_of(sock, tls=bool(tls)))
        with _postponed_signals(server):
            server.run(sockets=[sock])


def _with_page(tracking: ASGIApp) -> ASGIApp:
    """Return the application with the web page at ``/``."""
    links = [["Contract", "api/2.0/mlflow/openapi.json"], ["Health", "health"]]
    about = {"name": "Tracking server", "reference": None, "api": None, "tracking": "api/2.0/mlflow", "links": links}
    page = Page(lambda _: about, answer)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        app = page if scope["type"] == "http" and page.serves(scope["path"]) else tracking
        await app(scope, receive, send)

    return dispatch


@contextmanager
def _postponed_signals(server: uvicorn.Server) -> Iterator[None]:
    """Let an early signal end the server instead of interrupting the creation of its event loop.

    After the server has ended, the signal is raised again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)
        server.should_exit = True
        # After a second SIGINT, uvicorn would log the traceback of its own task that is cancelled.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    with signals_handled((signal.SIGTERM, signal.SIGINT), receive):
        yield
    if received:
        signal.raise_signal(received[-1])
