"""The store and the artifacts that a container keeps itself, opened when somebody needs them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.opening import open_store
from mistk_service.tracking.store import Store

if TYPE_CHECKING:
    from mistk_service.tracking.artifacts import ArtifactRepository

__all__ = ["LocalTracking", "OpenedTracking"]


@dataclass(frozen=True)
class OpenedTracking:
    """A store and the artifacts of its runs.

    Attributes:
        store: the store.
        artifacts: where files go whose location is the server's.
    """

    store: Store
    artifacts: ArtifactRepository


class LocalTracking:
    """See the module. May be used from any thread.

    Args:
        uri: the store.
        folder: the state directory, made if it is not there; the artifacts go below it.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        self._uri = uri
        self._folder = folder
        self._lock = threading.Lock()
        self._opened: OpenedTracking | None = None
        self._closed = False

    def open(self) -> OpenedTracking:
        """Return the store and the artifacts, opening them if that was not done or has failed so far.

        Raises:
            StoreError: they cannot be opened; it makes sense to try again later.
        """
        # Loaded here, since it takes long, and a container without tracking does not need it.
        from mistk_service.tracking.artifacts import open_artifacts

        with self._lock:
            if self._closed:
                raise StoreUnavailable("The store is closed.")
            if self._opened is None:
                _make_folder(self._folder)
                artifacts = open_artifacts(self._folder / "artifacts")
                self._opened = OpenedTracking(open_store(self._uri), artifacts)
            return self._opened

    def close(self) -> None:
        """Finish what was written, and close the store."""
        with self._lock:
            self._closed = True
            if self._opened is not None:
                self._opened.store.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"The state directory {folder} cannot be made ({error.strerror}); expected a folder that the service may write "
            "(--state-dir)."
        ) from error
