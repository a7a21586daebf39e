"""A model container as a deployment of Ray Serve, with the same APIs. It needs ``ray[serve]``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ray import serve
from starlette.types import ASGIApp

from mistk_service.app.asgi import create_app
from mistk_service.app.autostart import Autostart
from mistk_service.app.container import assemble
from mistk_service.app.kind_detection import detected_kind
from mistk_service.app.settings import Settings
from mistk_service.core.shutdown import Shutdown
from mistk_service.doors.ops.live import Live
from mistk_service.doors.ops.metrics import ServiceMetrics
from mistk_service.kinds.kind import FAILED, TERMINATED
from mistk_service.workers.host.environment import worker_environment

#: The application of this process, which is a replica of one deployment.
_apps: list[ASGIApp] = []


def deployment(model: str, **settings: Any) -> serve.Deployment:
    """Return a deployment. Each of its replicas is a container that has built the model.

    Use it as any other: ``serve.run(deployment("shop.py:Shop", build_from="models/shop").options(num_replicas=2).bind())``.
    The APIs are those of ``mistk-service serve``. Each replica has its own lifecycle, so use the prediction APIs. Nothing
    is tracked unless ``tracking=True``. No log-in is required: everyone who can reach Ray Serve can use the model. Requests
    with paths are refused, except below ``data_root``, ``model_root`` and ``output_root``.

    Args:
        model: the reference of the class, as for ``mistk-service serve``.
        settings: the options of ``mistk-service serve``, by name (``build_from``, ``max_queue`` ...).

    Raises:
        SettingsError: an option is not valid.
    """
    # Everyone who can reach Ray Serve can use it, so requests may not name paths unless there are roots for them.
    open_to_all = {"tracking": False, "host": "0.0.0.0", "allowed_hosts": ("*",)}  # noqa: S104  # it does not listen itself
    given = Settings(model, **{**open_to_all, **settings})

    class ModelContainer(_Container):
        async def __init__(self) -> None:  # type: ignore[misc]  # Ray Serve awaits it
            await self.start(given)

    return serve.deployment(serve.ingress(_app)(ModelContainer))


def _app() -> ASGIApp:
    """Return the application of this process. Ray Serve calls it when the replica has been created."""
    return _apps[-1]


class _Container:
    """A container in a replica of a deployment."""

    async def start(self, settings: Settings) -> None:
        """Load the model and build it.

        Raises:
            MistkError: the model could not be built.
        """
        kind = detected_kind(settings.model, worker_environment(os.environ, settings.worker_env))
        metrics, live, shutdown = ServiceMetrics(), Live(), Shutdown(settings.grace)
        # Further workers build the model from it too.
        self._scratch = tempfile.TemporaryDirectory(prefix="mistk-")
        script = Autostart(settings, Path(self._scratch.name))
        self._controller, self._tracking = assemble(kind, settings, metrics, live, -1, shutdown, "", script)
        await self._controller.start()
        await self._controller.wait_loaded()
        if self._tracking is not None:
            self._tracking.start()
        await script(self._controller)
        self._controller.started.set()
        _apps.append(create_app(self._controller, settings, metrics, self._tracking, live=live))

    def check_health(self) -> None:
        """Raise an error if the model has failed or was shut down, so that Ray Serve replaces the replica."""
        if self._controller.state in (FAILED, TERMINATED):
            raise RuntimeError(f"The model is {self._controller.state}; see the log of the replica.")

    async def __del__(self) -> None:
        """Stop the worker, and write the runs."""
        self._controller.shutdown()
        await self._controller.terminated.wait()
        if self._tracking is not None:
            await self._tracking.close()
        self._scratch.cleanup()
