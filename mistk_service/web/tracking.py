"""The tracking server inside the container: on the same port, made when the container has time for it."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.garbage import collect_less_often
from mistk_service.settings import Settings
from mistk_service.tracking import Store, open_store
from mistk_service.tracking.embedding import DeferredApp, is_tracking_path
from mistk_service.tracking.errors import StoreError, StoreUnavailable

__all__ = ["EmbeddedTracking"]

logger = logging.getLogger(__name__)


class EmbeddedTracking:
    """Serves the paths of the tracking server, out of a store that is opened in the background.

    A store that cannot be opened costs the model nothing: requests are answered with 503 and the reason, and each tries again.

    Args:
        settings: where the store and the artifacts are.
    """

    def __init__(self, settings: Settings) -> None:
        self._uri = _local_uri(settings)
        self._folder = Path(settings.state_dir).absolute()
        self._app: DeferredApp | None = None
        self._store: Store | None = None

    def serves(self, path: str) -> bool:
        """Return whether a path is the tracking server's."""
        return is_tracking_path(path)

    def start(self) -> None:
        """Begin to open the store, ahead of the first request."""
        if self._app is None:
            self._app = DeferredApp(self._make, retry=0)

    async def close(self) -> None:
        """Finish what was written, and close the store."""
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        self.start()
        assert self._app is not None
        await self._app(scope, receive, send)

    def _make(self) -> ASGIApp:
        """Open the store and return what serves it; on a thread."""
        # What takes longest to load, and what a container without tracking does not need.
        from mistk_service.tracking.artifacts import open_artifacts
        from mistk_service.tracking.server import create_tracking_app

        try:
            _make_folder(self._folder)
            artifacts = open_artifacts(self._folder / "artifacts")
            self._store = open_store(self._uri)
        except StoreError as error:
            logger.error("Tracking is not available: %s", error)
            raise
        app = create_tracking_app(self._store, artifacts)
        collect_less_often()
        return app


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"The state directory {folder} cannot be made ({error.strerror}); expected a folder that the service may write "
            "(--state-dir)."
        ) from error


def _local_uri(settings: Settings) -> str:
    """Return the URI of the store that this container keeps itself."""
    own = f"sqlite:///{Path(settings.state_dir).absolute() / 'tracking.db'}"
    uri = settings.tracking_uri
    if uri and re.match(r"https?:", uri):
        logger.warning(
            "The tracking URI %s is a server's. Nothing is sent there; the container keeps its own store.", uri
        )
        return own
    return uri or own
