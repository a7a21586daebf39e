"""Runs a container: starts worker, controller and HTTP server, and shuts them down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import msgspec
import uvicorn
from starlette.types import ASGIApp

from mistk_service.app.embedded_tracking import EmbeddedTracking
from mistk_service.app.exit_codes import ExitCode, exit_code_of
from mistk_service.app.grpc_port import GrpcPort
from mistk_service.app.kind_detection import detected_kind
from mistk_service.app.prerequisites import require_prerequisites
from mistk_service.app.settings import Settings, without_password
from mistk_service.app.startup import LoadingApp
from mistk_service.app.workers import replica_count, worker_factory
from mistk_service.core.controller import Controller
from mistk_service.core.events import Event, Observer
from mistk_service.core.shutdown import Shutdown
from mistk_service.doors.mistk.status import status_encoder
from mistk_service.doors.ops.live import Live
from mistk_service.doors.ops.metrics import ServiceMetrics
from mistk_service.doors.served_model import ServedModel
from mistk_service.errors import MistkError, SettingsError
from mistk_service.kinds import Kind
from mistk_service.process_exit import watch
from mistk_service.web import memory
from mistk_service.web.access import Authenticator, open_access
from mistk_service.web.listening import leads_to, local_url_of, url_of
from mistk_service.web.server import HttpLimits, server_config, tls_options
from mistk_service.workers.child.loader import split_reference
from mistk_service.workers.host.environment import worker_environment

logger = logging.getLogger(__name__)

#: Seconds that uvicorn always pauses before and during its shutdown.
_PAUSES = 0.2

#: Minimum seconds for open requests: a response that is written takes a moment to be sent.
_LEAST = 0.05


class Script(Protocol):
    """Operates the instance in place of an orchestrator."""

    #: The exit code of the process, if the service ends before the script.
    exit_code: int

    async def __call__(self, controller: Controller) -> int | None:
        """Call operations. Called when the model is loaded.

        Returns:
            The exit code if the service has to exit now; None to keep serving.

        Raises:
            MistkError: an operation failed, and the service has to exit.
        """

    def observe(self, event: Event) -> None:
        """Handle an event of the controller."""

    def on_signal(self, controller: Controller) -> None:
        """Handle the first SIGTERM or SIGINT: shut the controller down, at once or later."""

    def on_drain(self, controller: Controller) -> None:
        """Handle the announcement that the worker's machine, another one, is about to leave the cluster."""


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers, since a signal has to reach the controller first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    settings: Settings,
    sock: socket.socket,
    on_listening: Callable[[str], None],
    on_ready: Callable[[str, Kind], None],
    kind: Kind | None = None,
    script: Script | None = None,
) -> Shutdown:
    """Serve until the instance is terminated by a call, by a signal or by a script.

    Returns the schedule of the shutdown, by which the process has to end. Threads may still be running, for example in a
    request that waits for a locked database.

    Args:
        settings: the settings.
        sock: the socket to listen on; closed at the end.
        on_listening: called with the base URL when connections are accepted. Their requests are answered a moment later.
        on_ready: called with the base URL and the kind once the model is loaded, and the script has ended.
        kind: the kind of container; by default, that of the class.
        script: runs when the model is loaded.

    Raises:
        ModelLoadError: the model cannot be loaded at the start.
        WorkerDied: the worker ended while it loaded the model at the start.
        SettingsError: a remote is this container, or would receive another's login; or a prerequisite is missing.
        MistkError: raised by the script.
    """
    # Only the user of the service may read what it writes. The worker gets the original umask.
    umask = os.umask(0o077)
    tls = tls_options(settings.tls_cert, settings.tls_key)
    authenticator = _check(settings, sock, on_listening)
    if settings.worker == "ray":
        from mistk_service.workers.host.ray_worker import connect

        connect(settings.ray_address)
    kind = kind or detected_kind(settings.model, worker_environment(os.environ, settings.worker_env))
    metrics, live = ServiceMetrics(), Live()
    shutdown = _plan_shutdown(settings, script)
    address = local_url_of(sock, tls=bool(tls))
    controller, tracking = assemble(kind, settings, metrics, live, umask, shutdown, address, script)
    if authenticator is not None and tracking is not None:
        authenticator.open_users = tracking.users
    model = ServedModel(controller, settings.model_name, settings.model_version)
    grpc_port = GrpcPort(settings, model, metrics, authenticator)
    # First, so that its process loads the model while this one loads the rest.
    await controller.start()

    def make() -> ASGIApp:
        from mistk_service.app.asgi import create_app

        return create_app(controller, settings, metrics, tracking, authenticator, model, live)

    loading = LoadingApp(make)
    # Before the loading begins, which slows everything else down.
    server = _make_server(loading, settings, tls)
    _on_signals(controller, server, shutdown, script)
    loading.load()
    if settings.stdin_lifeline:
        _on_end_of_input(controller)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    closing = asyncio.create_task(_close_when_terminated(controller, server, grpc_port, shutdown))
    preparing = asyncio.create_task(_prepare(controller, loading, grpc_port, tracking, script, shutdown))
    try:
        if await _becomes_ready(preparing, serving, controller, shutdown):
            controller.started.set()
            on_ready(url_of(sock, tls=bool(tls)), kind)
        await serving
    finally:
        for task in (closing, preparing):
            task.cancel()
        shutdown.begin()  # for a service whose model could not be loaded
        await grpc_port.close(0)
        if tracking is not None:
            await tracking.close()
    return shutdown


def _check(settings: Settings, sock: socket.socket, on_listening: Callable[[str], None]) -> Authenticator | None:
    """Check the prerequisites and the settings, publish the address, and return the authenticator."""
    authenticator = open_access(
        host=settings.host,
        auth=settings.requires_login,
        insecure=settings.insecure,
        token_file=Path(settings.token_file or Path(settings.state_dir) / "tokens").absolute(),
        has_users=settings.tracking,
        proxy_secret_file=settings.proxy_secret_file,
        auth_function=settings.auth_function,
        audit_file=settings.audit_file,
        root_path=settings.root_path,
    )
    require_prerequisites(settings)
    url = url_of(sock, tls=settings.tls_cert is not None)
    on_listening(url)
    logger.info("Listening at %s while the model is being loaded.", url)
    _refuse_own_address(settings, sock)
    _refuse_shared_login(settings)
    return authenticator


def _plan_shutdown(settings: Settings, script: Script | None) -> Shutdown:
    """Return the schedule of the shutdown, which also ends the event loop's executor in time."""
    shutdown = Shutdown(settings.grace, on_begin=lambda: watch(shutdown.process, lambda: shutdown.exit_code))
    executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
    asyncio.get_running_loop().set_default_executor(executor)
    shutdown.register(executor)
    if script is not None:
        shutdown.exit_code = script.exit_code
    return shutdown


def _refuse_own_address(settings: Settings, sock: socket.socket) -> None:
    """Refuse a remote that is this container, which would send its runs to itself."""
    for uri in settings.remote_tracking_uris:
        if leads_to(sock, uri):
            raise SettingsError(
                f"--tracking-uri: {without_password(uri)} is this container's own address. The container always has "
                "a store of its own: leave this address out, or name another server."
            )


def _refuse_shared_login(settings: Settings) -> None:
    """Refuse to send a login in the environment to several servers: it does not say which of them it is for."""
    if len(settings.remote_tracking_uris) < 2:
        return
    from mistk_service.tracking.rest import sharing_identity

    sharing = sharing_identity(settings.remote_tracking_uris)
    if sharing:
        raise SettingsError(
            f"--tracking-uri: the login in the environment (MLFLOW_TRACKING_TOKEN, or _TOKEN_FILE, _USERNAME and _PASSWORD) "
            f"would go to {' and '.join(sharing)}, which are different servers. Leave at most one of them to it, and give the "
            "others their own in the address: https://:TOKEN@HOST, https://NAME:PASSWORD@HOST, or https://@HOST for none."
        )


def assemble(
    kind: Kind,
    settings: Settings,
    metrics: ServiceMetrics,
    live: Live,
    umask: int,
    shutdown: Shutdown,
    address: str,
    script: Script | None,
) -> tuple[Controller, EmbeddedTracking | None]:
    """Return the controller, and tracking that follows it unless it is switched off."""
    name, container_id = split_reference(settings.model)[1], str(uuid.uuid4())
    replicas = replica_count(settings, kind)
    tracking: EmbeddedTracking | None = None
    observers: list[Observer] = [metrics.observe, live.observe, *(() if script is None else (script.observe,))]
    spool: str | None = None
    if settings.tracking:
        # The controller that the callbacks use is made below, before any of them is called.
        tracking = EmbeddedTracking(
            kind,
            settings,
            container_id,
            name,
            show=lambda key, value: controller.show(key, value),  # noqa: PLW0108
            hold=lambda held: controller.hold_reports(held),  # noqa: PLW0108
            shutdown=shutdown,
            address=address,
        )
        observers.append(tracking.recorder.observe)
        metrics.registry.register(tracking.collector())
        spool = str(tracking.spool)

    def on_drain() -> None:
        if script is not None:
            script.on_drain(controller)

    controller = Controller(
        kind,
        name,
        worker_factory(kind, settings, replicas, spool, umask, live.add_line, on_drain),
        status_encoder(kind.status_name, container_id),
        shutdown=shutdown,
        max_queue=settings.max_queue,
        stream_timeout=settings.stream_timeout,
        observers=observers,
        state_dir=settings.state_dir if settings.tracking else None,
        tracking=tracking,
        replicas=replicas,
    )
    return controller, tracking


async def _prepare(
    controller: Controller,
    app: LoadingApp,
    grpc_port: GrpcPort,
    tracking: EmbeddedTracking | None,
    script: Script | None,
    shutdown: Shutdown,
) -> None:
    """Wait for the application and for the model, and run the script."""
    with memory.loading():
        await app.made()
    await grpc_port.open()
    await controller.wait_loaded()
    if tracking is None:
        memory.collect_less_often()
    else:
        tracking.start()
    if script is not None:
        code = await script(controller)
        if code is not None:
            shutdown.exit_code = code
            controller.shutdown()


async def _becomes_ready(
    preparing: asyncio.Task[None], serving: asyncio.Task[None], controller: Controller, shutdown: Shutdown
) -> bool:
    """Wait until the model is ready, and return True; return False if the service ends before.

    Raises:
        Exception: raised by :func:`_prepare`. The server has ended then.
    """
    await asyncio.wait({preparing, serving}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done() or controller.terminating:
        return False
    error = preparing.exception()
    if error is None:
        return True
    shutdown.exit_code = exit_code_of(error) if isinstance(error, MistkError) else ExitCode.FAILED
    controller.shutdown()
    await serving
    raise error


def _make_server(app: ASGIApp, settings: Settings, tls: Mapping[str, str]) -> uvicorn.Server:
    return _Server(
        server_config(
            app,
            HttpLimits(keep_alive=settings.keep_alive_timeout, connections=settings.max_connections),
            _refusal,
            lifespan="off",
            **tls,
        )
    )


def _refusal(status: int, message: str) -> bytes:
    """Return a ServiceError, before the web layer is loaded."""
    return msgspec.json.encode({"code": status, "message": message}) + b"\n"


async def _close_when_terminated(
    controller: Controller, server: uvicorn.Server, grpc_port: GrpcPort, shutdown: Shutdown
) -> None:
    await controller.terminated.wait()
    # Uvicorn's annotation is int; asyncio, which gets the value, accepts fractions.
    server.config.timeout_graceful_shutdown = max(_LEAST, shutdown.requests().left() - _PAUSES)  # type: ignore[assignment]
    server.should_exit = True
    await grpc_port.close(max(_LEAST, shutdown.requests().left() - _PAUSES))


def _on_signals(controller: Controller, server: uvicorn.Server, shutdown: Shutdown, script: Script | None) -> None:
    """Let the first signal shut the instance down, and a second one end the service without waiting."""
    received: list[signal.Signals] = []

    def handle(number: signal.Signals) -> None:
        received.append(number)
        if controller.terminating or len(received) > 1:
            logger.warning("%s again: ending immediately.", number.name)
            shutdown.cut_short()
            controller.kill()
            # Uvicorn would log the traceback of its own task that is cancelled, which is not an error here.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            server.should_exit = server.force_exit = True
            return
        logger.info("%s: shutting down.", number.name)
        if script is None:
            controller.shutdown()
        else:
            script.on_signal(controller)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)


def _on_end_of_input(controller: Controller) -> None:
    """Shut the instance down at the end of standard input, which means that the parent process has ended."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            controller.shutdown()

    loop.add_reader(0, read)
