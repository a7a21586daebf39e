"""Tracking inside the container: a server on the same port, and the recorder that writes the runs of the container.

Both work on one store, which is opened in the background, when the container has time for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.app.settings import Settings
from mistk_service.core.shutdown import Shutdown
from mistk_service.doors.ops.remotes import OutboxCollector, OutboxView
from mistk_service.errors import InvalidRequest, ServiceBusy
from mistk_service.kinds.kind import Kind
from mistk_service.recording import Recorder, RecorderOptions, RunOptions
from mistk_service.resources import load_contract
from mistk_service.tracking.artifacts import AllowedLocations
from mistk_service.tracking.embedded.app import DeferredApp, is_tracking_path
from mistk_service.tracking.embedded.local import LocalTracking
from mistk_service.tracking.errors import StoreError, StoreUnavailable
from mistk_service.web.memory import collect_less_often
from mistk_service.workers.host.files import on_thread

__all__ = ["EmbeddedTracking"]

logger = logging.getLogger(__name__)

#: Seconds between two looks at how the remotes stand.
_REMOTES_INTERVAL = 1.0

#: Seconds that a model that is asked for waits for files that are still on their way.
_FILES_WAIT = 5.0

#: Seconds that a request waits for the run that the status names to be there.
_RUN_WAIT = 2.0


class EmbeddedTracking:
    """Serves the paths of the tracking server, and writes the runs of this container.

    A store that cannot be opened costs the model nothing: requests are answered with 503 and the reason, and each tries again;
    the recorder retries by itself.

    Args:
        kind: the kind of container.
        settings: where the store and the artifacts are, and where runs go.
        container_id: the id of this container.
        model: the name of the model class.
        show: shows a value under a key of the status, None removes it.
        hold: asks the worker to hold metrics back, or to resume sending them.
        shutdown: when this has to have ended.

    Attributes:
        recorder: has to observe the controller.
        address: the URL at which the worker reaches the tracking server; set when it is known.
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
    ) -> None:
        folder = Path(settings.state_dir).absolute()
        self._remotes = settings.remote_tracking_uris
        uri = settings.local_tracking_uri or f"sqlite:///{folder / 'tracking.db'}"
        self._local = LocalTracking(uri, folder, self._remotes)
        self._allowed = AllowedLocations(settings.artifact_locations)
        self._max_body = settings.max_body
        self._shutdown = shutdown
        self._ending = threading.Event()
        self._app: DeferredApp | None = None
        self._watcher = threading.Thread(target=self._watch_remotes, name="tracking-remotes", daemon=True)
        self.address = ""
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
            system_interval=settings.system_metrics_interval if _wants_system_metrics(settings) else None,
        )
        self.spool = options.spool
        self.recorder = Recorder(self._local, options, show=show, hold=hold)

    def run_of(self, operation: str) -> tuple[str, str] | None:
        """Return the id of the run that there is, or that an operation opens, and the address of the store, if any."""
        run_id = self.recorder.run_id(operation)
        return None if run_id is None else (run_id, self.address)

    async def model_path(self, uri: str) -> str:
        """Return where the files of ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or ``runs:/ID/PATH`` are.

        Raises:
            InvalidRequest: there are none in this store.
            ServiceBusy: the store cannot be read now.
        """
        return await on_thread(self._model_path, uri)

    def _model_path(self, uri: str) -> str:
        # What was saved a moment ago may still be on its way.
        deadline = time.monotonic() + _FILES_WAIT
        while self.recorder.waiting and time.monotonic() < deadline:
            self._ending.wait(0.02)
        try:
            return str(self._local.model_path(uri))
        except StoreUnavailable as error:
            raise ServiceBusy(f"modelPath: {error}") from error
        except StoreError as error:
            raise InvalidRequest(
                f"modelPath: {uri[:200]!r} cannot be used: {error} Expected models:/NAME/VERSION, models:/NAME@ALIAS or "
                "runs:/RUN_ID/PATH of this service's own store, or the path of a file or folder.",
                field="modelPath",
            ) from error

    def serves(self, path: str) -> bool:
        """Return whether a path is the tracking server's."""
        return is_tracking_path(path)

    def start(self) -> None:
        """Begin to open the store and to write; called on the event loop, ahead of the first request."""
        if self._app is None:
            self._app = DeferredApp(self._make, retry=0)
            self.recorder.start()
            if self._remotes:
                self._watcher.start()

    def collector(self) -> OutboxCollector:
        """Return the figures for Prometheus."""
        return OutboxCollector(self._local.states, lambda: self.recorder.waiting)

    def _watch_remotes(self) -> None:
        """Show in the status how the remotes stand, whenever that changes; on a thread, until the end."""
        view = OutboxView()
        ended = False
        while not ended:
            self._local.refresh()
            self.recorder.show_remotes(view.show(self._local.states(), int(time.time() * 1000)))
            ended = self._ending.wait(_REMOTES_INTERVAL)

    async def close(self) -> None:
        """Write and deliver what waits, and close the store, as far as the shutdown leaves time for it."""
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
        """Serve a request."""
        self.start()
        assert self._app is not None
        # The status names a run a moment before the store has it.
        await self.recorder.run_written(_RUN_WAIT)
        await self._app(scope, receive, send)

    def _make(self) -> ASGIApp:
        """Open the store and return what serves it; on a thread."""
        # What takes longest to load, and what a container without tracking does not need.
        from mistk_service.tracking.server.app import THREADS, create_tracking_app

        try:
            opened = self._local.open()
        except StoreError as error:
            if not self._ending.is_set():
                logger.error("Tracking is not available: %s", error)
            raise
        executor = ThreadPoolExecutor(THREADS, thread_name_prefix="tracking")
        self._shutdown.register(executor)
        app = create_tracking_app(
            opened.store, opened.artifacts, max_body=self._max_body, allowed=self._allowed, executor=executor
        )
        collect_less_often()
        return app


def _wants_system_metrics(settings: Settings) -> bool:
    if settings.system_metrics is None:
        return importlib.util.find_spec("psutil") is not None
    return settings.system_metrics
