"""Tracking inside the container: a server on the same port, and the recorder that writes the container's runs.

Both use the same store, which is opened in the background after the container has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.app.settings import Settings
from mistk_service.core.shutdown import Shutdown
from mistk_service.doors.ops.outbox_metrics import OutboxCollector, OutboxView
from mistk_service.errors import InvalidRequest, MistkError, ServiceBusy
from mistk_service.kinds.kind import Kind
from mistk_service.recording import Recorder, RecorderOptions, RunOptions
from mistk_service.resources import load_contract
from mistk_service.tracking.artifacts import AllowedLocations
from mistk_service.tracking.embedded.app import DeferredApp
from mistk_service.tracking.embedded.local_tracking import LocalTracking, OpenedTracking
from mistk_service.tracking.errors import StoreError, StoreUnavailable
from mistk_service.tracking.values import Permission
from mistk_service.web.memory import collect_less_often
from mistk_service.workers.host.files import on_thread

if TYPE_CHECKING:
    from mistk_service.tracking.server.users import Users

logger = logging.getLogger(__name__)

#: Seconds between two checks of the state of the remotes.
_REMOTES_INTERVAL = 1.0

#: Seconds that a request for a model waits for files that are still being stored.
_FILES_WAIT = 5.0

#: Seconds that a request waits for the run that the status names to be stored.
_RUN_WAIT = 2.0


class EmbeddedTracking:
    """Serves the paths of the tracking server and writes the runs of this container.

    The model works even if the store cannot be opened. Requests are then answered with 503 and the reason, and each request
    tries to open the store again. The recorder retries on its own.

    Args:
        settings: the locations of the store and the artifacts, and where to forward runs.
        show: shows a value under a key of the status; None removes it.
        hold: asks the worker to hold metrics back, or to resume sending them.
        shutdown: the schedule that sets the deadline for closing.
        address: the URL at which the worker reaches the tracking server.

    Attributes:
        recorder: the observer to register with the controller.
    """

    def __init__(
        self,
        kind: Kind,
        settings: Settings,
        container_id: str,
        model: str,
        *,
        show: Callable[[str, Any], None],
        hold: Callable[[bool], None],
        shutdown: Shutdown,
        address: str,
    ) -> None:
        folder = Path(settings.state_dir).absolute()
        self._settings = settings
        uri = settings.local_tracking_uri or f"sqlite:///{folder / 'tracking.db'}"
        self._local = LocalTracking(uri, folder, settings.remote_tracking_uris)
        self._shutdown = shutdown
        self._ending = threading.Event()
        self._app: DeferredApp | None = None
        self._started = self._loaded = False
        self._users: Users | None = None
        self._users_lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch_remotes, name="tracking-remotes", daemon=True)
        self._address = address
        options = RecorderOptions(
            kind=kind,
            container_id=container_id,
            model=model,
            reference=settings.model,
            state_dir=folder,
            api_version=lambda: str(load_contract(kind.contract)["info"]["version"]),
            run_options=RunOptions(
                experiment_name=settings.experiment_name,
                experiment_id=settings.experiment_id,
                run_name=settings.run_name,
                run_id=settings.run_id,
            ),
            root_path=settings.root_path,
            artifact_locations=settings.artifact_locations,
            run_lease=settings.run_lease,
            system_interval=settings.system_metrics_interval if _wants_system_metrics(settings) else None,
        )
        self.spool = options.spool
        self.recorder = Recorder(self._open, options, show=show, hold=hold)

    def run_of(self, operation: str, arguments: tuple[Any, ...]) -> tuple[str, str] | None:
        """Return the id of the current run, or of the run that an operation opens, and the URL of the store, if any."""
        run_id = self.recorder.run_id(operation, arguments)
        return None if run_id is None else (run_id, self._address)

    async def stored_path(self, uri: str, field: str) -> tuple[str, str]:
        """Return the path of the files of ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or ``runs:/ID/PATH``.

        Also returns the URI, with the version in place of an alias.

        Raises:
            InvalidRequest: this store does not have them.
            ServiceBusy: the store cannot be read now.
        """
        return await on_thread(self._stored_path, uri, field)

    def _stored_path(self, uri: str, field: str) -> tuple[str, str]:
        # Files that were saved a moment ago may still be on their way to the store.
        deadline = time.monotonic() + _FILES_WAIT
        while self.recorder.waiting and time.monotonic() < deadline:
            self._ending.wait(0.02)
        try:
            path, resolved = self._local.model_path(uri)
        except StoreUnavailable as error:
            raise ServiceBusy(f"{field}: {error}") from error
        except StoreError as error:
            raise InvalidRequest(
                f"{field}: {uri[:200]!r} cannot be used: {str(error).removesuffix('.')}. Expected models:/NAME/VERSION, "
                "models:/NAME@ALIAS or runs:/RUN_ID/PATH of this service's own store, or the path of a file or folder.",
                field=field,
            ) from error
        return str(path), resolved

    def start(self) -> None:
        """Begin to open the store and to write, unless that has begun. Called on the event loop."""
        if not self._started:
            self._started = True
            self.recorder.start()
            if any(name.startswith("MLFLOW_AUTH_ADMIN_") for name in os.environ):
                self._server()  # the first admin is created, or the reason why not is logged
            if self._settings.remote_tracking_uris:
                self._watcher.start()

    def _open(self) -> OpenedTracking:
        opened = self._local.open()
        if not self._loaded:
            self._loaded = True
            collect_less_often()
        return opened

    def collector(self) -> OutboxCollector:
        """Return the collector of metrics for Prometheus."""
        return OutboxCollector(self._local.states, lambda: self.recorder.waiting)

    def _watch_remotes(self) -> None:
        """Show the state of the remotes in the status whenever it changes. Runs on a thread until the shutdown."""
        view = OutboxView()
        ended = False
        while not ended:
            self._local.refresh()
            self.recorder.show_remotes(view.show(self._local.states(), int(time.time() * 1000)))
            ended = self._ending.wait(_REMOTES_INTERVAL)

    async def close(self) -> None:
        """Write and deliver what is waiting and close the store, within the time that the shutdown leaves."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        delivery, deadline = self._shutdown.delivery(), self._shutdown.threads
        self._ending.set()

        def close() -> None:
            try:
                self.recorder.close(delivery)
                self._local.close(delivery)
                if self._app is not None:
                    self._app.close(deadline)
                if self._watcher.ident is not None:
                    deadline.join(self._watcher)
            finally:
                with contextlib.suppress(RuntimeError):  # the deadline has passed, and the loop is closed
                    loop.call_soon_threadsafe(ended.set)

        thread = threading.Thread(target=close, name="tracking-end", daemon=True)
        thread.start()
        if not await deadline.wait(ended):
            logger.warning("The tracking store could not be closed in time.")
        deadline.join(thread)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. The first one creates the server, since most containers receive none."""
        self.start()
        server = self._server()
        # The status names a run a moment before the run is stored.
        await self.recorder.run_written(_RUN_WAIT)
        await server(scope, receive, send)

    def _server(self) -> DeferredApp:
        if self._app is None:
            self._app = DeferredApp(self._make, retry=0)
        return self._app

    def users(self) -> Users:
        """Return the users of the store, the first admin among them if the environment names one.

        Raises:
            StoreError: the store cannot be opened now.
            SettingsError: the admin cannot be made.
        """
        from mistk_service.tracking.server.users import users_of

        with self._users_lock:
            if self._users is None:
                users = users_of(lambda: self._local.open().store)
                users.ensure_admin(os.environ)
                self._users = users
            return self._users

    def _make(self) -> ASGIApp:
        """Open the store and return the application that serves it. Runs on a thread."""
        # Imported here, since these take longest to load and a container without tracking does not need them.
        from mistk_service.tracking.server.app import THREADS, create_tracking_app

        try:
            opened, users = self._open(), self.users()
        except MistkError as error:
            if not self._ending.is_set():
                logger.error("Tracking is not available: %s", error)
            raise
        executor = ThreadPoolExecutor(THREADS, thread_name_prefix="tracking")
        self._shutdown.register(executor)
        app = create_tracking_app(
            opened.store,
            opened.artifacts,
            max_body=self._settings.max_body,
            allowed=AllowedLocations(self._settings.artifact_locations),
            executor=executor,
            mlflow_ui=self._settings.mlflow_ui,
            users=users,
            default_permission=Permission(self._settings.default_permission),
            max_uploads=self._settings.max_uploads,
        )
        collect_less_often()
        return app


def _wants_system_metrics(settings: Settings) -> bool:
    if settings.system_metrics is None:
        return importlib.util.find_spec("psutil") is not None
    return settings.system_metrics
