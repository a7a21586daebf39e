"""The local store and artifacts of an application, opened on first use and replicated to remotes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mistk_service.deadline import Deadline
from mistk_service.errors import MistkError
from mistk_service.tracking.errors import ResourceNotFound, StoreUnavailable
from mistk_service.tracking.opening import open_store
from mistk_service.tracking.store._store import Store

if TYPE_CHECKING:
    from mistk_service.tracking.artifacts import ArtifactRepository
    from mistk_service.tracking.replication import RemoteState, ReplicationService
    from mistk_service.tracking.sql.writer_leases import WriterLeases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedTracking:
    """A store and the artifacts of its runs.

    Attributes:
        store: the store.
        artifacts: the repository of files whose location is the server's.
        leases: the leases on runs, if the store may be used from several machines.
    """

    store: Store
    artifacts: ArtifactRepository
    leases: WriterLeases | None = None


class LocalTracking:
    """Opens a store and its artifacts on first use, and replicates them. May be used from any thread.

    Args:
        uri: the store.
        folder: the state directory, created if it does not exist; the artifacts are stored below it.
        remotes: URIs of tracking servers that receive a copy of everything.
    """

    def __init__(self, uri: str, folder: Path, remotes: Sequence[str] = ()) -> None:
        self._uri = uri
        self._folder = folder
        self._remotes = tuple(remotes)
        self._lock = threading.Lock()
        self._opened: OpenedTracking | None = None
        self._replication: ReplicationService | None = None
        self._configured: list[RemoteState] = []
        self._closed = False

    def open(self) -> OpenedTracking:
        """Return the store and the artifacts, which are opened on the first call.

        Raises:
            StoreError: they cannot be opened now; try again later.
        """
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The store is closed.")
            if self._opened is None:
                try:
                    self._open()
                except (MistkError, MemoryError):
                    raise
                except Exception as error:  # such as too many open files: it may be temporary
                    logger.exception("The tracking store cannot be opened now.")
                    raise StoreUnavailable(
                        f"The tracking store cannot be opened now: {type(error).__name__}: {error}"
                    ) from error
            assert self._opened is not None
            return self._opened

    def model_path(self, uri: str) -> tuple[Path, str]:
        """Return the path of the files of a model, and its URI with the version in place of an alias.

        Args:
            uri: ``models:/NAME/VERSION``, ``models:/NAME@ALIAS``, ``models:/m-ID``, or ``runs:/ID/PATH``.

        Raises:
            ResourceNotFound: there is no such run, model or version, or nothing at the path.
            InvalidParameter: its files are kept elsewhere, or the URI cannot be understood.
            StoreUnavailable: the store cannot be read now.
        """
        from mistk_service.tracking.artifacts.locations import Locations

        opened = self.open()
        if uri.startswith("models:/") and uri.endswith("/latest"):
            uri = f"{uri.removesuffix('/latest')}@latest"
        name, mark, alias = uri.removeprefix("models:/").partition("@")
        if uri.startswith("models:/") and mark and "/" not in name:
            uri = f"models:/{name}/{opened.store.get_model_version_by_alias(name, alias).version}"
        place = Locations(opened.store, opened.artifacts).place(uri, "")
        path = self._folder / "artifacts" / place
        if not place or not path.exists():
            raise ResourceNotFound(f"No file or folder exists at {uri!r}.")
        return path, uri

    def states(self) -> list[RemoteState]:
        """Return the states of the remotes as of the last :meth:`refresh`; none before the first one. Never waits."""
        return self._configured if self._replication is None else self._replication.states()

    def refresh(self) -> None:
        """Update what :meth:`states` returns. Reads the store, if it is open."""
        if self._replication is not None:
            self._replication.refresh()
        elif not self._configured:
            # Loaded here for the same reason as the store.
            from mistk_service.tracking.replication import RemoteState, remote_name

            self._configured = [RemoteState(name) for name in dict.fromkeys(map(remote_name, self._remotes))]

    def close(self, deadline: Deadline) -> None:
        """Deliver to the remotes until the deadline, and close the store. What remains is delivered after the next start.

        A store that is still being opened at the deadline is abandoned.
        """
        self._closed = True
        if not self._lock.acquire(timeout=min(deadline.left(), threading.TIMEOUT_MAX)):
            return
        try:
            if self._replication is not None:
                self._replication.close(deadline)
            if self._opened is not None:
                self._opened.store.close()
        finally:
            self._lock.release()

    def _open(self) -> None:
        # Loaded late: it takes long, and an application without tracking does not need it.
        from mistk_service.tracking.artifacts import open_artifacts
        from mistk_service.tracking.replication import ReplicationService
        from mistk_service.tracking.sql import SqlStore

        _make_folder(self._folder)
        artifacts = open_artifacts(self._folder / "artifacts")
        store = open_store(self._uri)
        assert isinstance(store, SqlStore), "the settings let no other store through"
        try:
            # Before anything is written, or the remotes would not receive it.
            replication = ReplicationService(store, artifacts, self._remotes)
            replication.start()
        except BaseException:  # the caller may try again after any error
            store.close()
            raise
        leases = None if store.database.is_sqlite else store.writer_leases
        self._opened, self._replication = OpenedTracking(store, artifacts, leases), replication


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"The state directory {folder} cannot be created ({error.strerror}); expected a folder that the service may write "
            "to (--state-dir)."
        ) from error
