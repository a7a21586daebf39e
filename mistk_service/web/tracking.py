"""The tracking server inside the container: on the same port, opened when the container has time for it."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.errors import MistkError
from mistk_service.resources import contract_path
from mistk_service.settings import Settings
from mistk_service.tracking.errors import StoreError, StoreUnavailable
from mistk_service.tracking.server.paths import is_tracking_path
from mistk_service.tracking.server.replies import send_error
from mistk_service.tracking.store import Store

__all__ = ["EmbeddedTracking"]

logger = logging.getLogger(__name__)

_CONTRACT = "mlflow-api.yaml"

#: Seconds after which a client may ask again when the store could not be opened.
_RETRY_AFTER = 5.0


class EmbeddedTracking:
    """Serves the paths of the tracking server, out of a store that is opened at the first need.

    Opening loads SQLAlchemy and may create the database, which the start of a container does not wait for. A store that cannot
    be opened costs the model nothing: requests are answered with 503 and the reason, and each tries again.

    Args:
        settings: where the store and the artifacts are.
    """

    def __init__(self, settings: Settings) -> None:
        self._uri = _local_uri(settings)
        self._folder = Path(settings.state_dir)
        self._opening: asyncio.Task[tuple[Store, ASGIApp]] | None = None

    def serves(self, path: str) -> bool:
        """Return whether a path is the tracking server's."""
        return is_tracking_path(path)

    async def open(self) -> ASGIApp:
        """Open the store, or wait for it, and return what serves it.

        Raises:
            StoreError: it cannot be opened; the next call tries again.
        """
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.create_task(asyncio.to_thread(self._open))
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        _, app = await asyncio.shield(self._opening)
        return app

    async def open_early(self) -> None:
        """Open the store ahead of the first request; what stands in the way is logged, and no more."""
        try:
            await self.open()
        except StoreError as error:
            logger.error("Tracking is not available: %s", error)

    async def close(self) -> None:
        """Finish what was written and close the store."""
        if self._opening is None:
            return
        try:
            store, _ = await self._opening
        except MistkError:
            return
        await asyncio.to_thread(store.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        try:
            app = await self.open()
        except StoreError as error:
            await send_error(send, error)
        else:
            await app(scope, receive, send)

    def _open(self) -> tuple[Store, ASGIApp]:
        from mistk_service.tracking.artifacts import open_artifacts
        from mistk_service.tracking.opening import open_store
        from mistk_service.tracking.server import create_tracking_app

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"The state directory {self._folder} cannot be made ({error.strerror}); expected a folder that the service "
                "may write (--state-dir).",
                retry_after=_RETRY_AFTER,
            ) from error
        store = open_store(self._uri)
        try:
            artifacts = open_artifacts(self._folder / "artifacts")
            return store, create_tracking_app(store, artifacts, contract_path(_CONTRACT))
        except BaseException:
            store.close()
            raise


def _local_uri(settings: Settings) -> str:
    """Return the URI of the store that this container keeps itself."""
    own = f"sqlite:///{Path(settings.state_dir).absolute() / 'tracking.db'}"
    uri = settings.tracking_uri
    if uri and re.match(r"https?:", uri):
        logger.warning(
            "The tracking URI %s is a server's, which nothing is sent to; the container keeps its own store.", uri
        )
        return own
    return uri or own
