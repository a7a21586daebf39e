"""The standalone tracking server."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.page import Page
from mistk_service.process_exit import signals_handled
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.opening import open_store
from mistk_service.tracking.server.app import MAX_BODY, MAX_UPLOADS, create_tracking_app
from mistk_service.tracking.server.replies import error_json
from mistk_service.tracking.server.url_paths import answer
from mistk_service.tracking.server.users import users_of
from mistk_service.tracking.values import Permission
from mistk_service.web.access import Authenticator
from mistk_service.web.gate import gate
from mistk_service.web.listening import bind, url_of
from mistk_service.web.memory import collect_less_often
from mistk_service.web.server import HttpLimits, server_config

#: Maximum seconds for requests to end when the server shuts down.
_CLOSING = 5


def serve_tracking(
    store_uri: str,
    artifacts_uri: str | Path,
    host: str = "127.0.0.1",
    port: int = 5000,
    *,
    allowed_hosts: Sequence[str] = (),
    max_body: int = MAX_BODY,
    mlflow_ui: bool = False,
    limits: HttpLimits | None = None,
    authenticator: Authenticator | None = None,
    default_permission: Permission = Permission.READ,
    audited: bool = False,
    access_log: bool = False,
    max_uploads: int = MAX_UPLOADS,
    tls: Mapping[str, Any] | None = None,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve a store until SIGINT or SIGTERM.

    Args:
        store_uri: see :func:`mistk_service.tracking.open_store`.
        artifacts_uri: see :func:`mistk_service.tracking.artifacts.open_artifacts`.
        host: the address to listen on.
        port: the port; 0 for a free one.
        allowed_hosts: further names of the server; see :class:`~mistk_service.web.gate.origins.Origins`.
        max_body: the limit of a JSON body in bytes.
        mlflow_ui: whether to serve MLflow's own web pages at ``/mlflow/``.
        limits: limits on clients; by default those of :class:`HttpLimits`.
        authenticator: identifies the sender of a request; None if no log-in is required.
        audited: whether changes are written to the audit log.
        access_log: whether each request is written to the log.
        max_uploads: the maximum number of concurrent uploads of files.
        tls: the options from :func:`mistk_service.web.server.tls_options`.
        default_permission: the permission of users without another one for a resource.
        on_listening: called with the base URL when the server accepts connections.

    Raises:
        SettingsError: the address cannot be used, or MLflow's pages are not installed.
        StoreError: the store or the artifact root cannot be opened.
    """
    artifacts = open_artifacts(artifacts_uri)
    with open_store(store_uri) as store, bind(host, port) as sock:
        users = users_of(lambda: store)
        if authenticator is not None:
            users.ensure_admin(os.environ)
            authenticator.open_users = lambda: users
        tracking = create_tracking_app(
            store,
            artifacts,
            max_body=max_body,
            mlflow_ui=mlflow_ui,
            users=users,
            default_permission=default_permission,
            max_uploads=max_uploads,
        )
        app = gate(
            _with_page(tracking),
            host=host,
            allowed_hosts=allowed_hosts,
            max_body=max_body,
            authenticator=authenticator,
            answer=answer,
            audited=audited,
            access_log=access_log,
        )
        server = uvicorn.Server(
            server_config(app, limits or HttpLimits(), error_json, timeout_graceful_shutdown=_CLOSING, **(tls or {}))
        )
        collect_less_often()
        if on_listening is not None:
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
