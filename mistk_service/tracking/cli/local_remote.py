"""A local store as a remote: runs can be copied to a file as well as to a server."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Self

from mistk_service.tracking.artifacts import ArtifactRepository, StoredFile, Upload, open_artifacts
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.remotes import Capabilities, Remote
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import FileInfo, LoggedModel, Run


class LocalRemote(SqlStore, Remote):
    """A store of this machine, with the folder of its artifacts, as a remote that can do everything."""

    capabilities = Capabilities()
    _artifacts: ArtifactRepository

    @classmethod
    def opened(cls, uri: str, artifacts: str | None) -> Self:
        """Open a store, which is created if it is missing, and its artifacts.

        Args:
            uri: the database.
            artifacts: their root; None for the folder ``artifacts`` next to the store's file.

        Raises:
            InvalidParameter: the store is not in a file, and there is no root.
            StoreError: either cannot be opened.
        """
        store = cls.open(uri)
        try:
            if artifacts is None and store.file is None:
                raise InvalidParameter("The store is not in a file. Pass the root of its artifacts.", field="artifacts")
            default = store.file.parent / "artifacts" if store.file is not None else Path()
            store._artifacts = open_artifacts(artifacts or default)
        except BaseException:  # also for Ctrl-C
            store.close()
            raise
        return store

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Open the store ``tracking.db`` in a folder, and the artifacts next to it; both are created if they are missing."""
        return cls.opened(f"sqlite:///{folder / 'tracking.db'}", None)

    def run_artifacts(self, run: Run) -> ArtifactRepository:  # noqa: D102 - see Remote
        return self._below(run.info.artifact_uri)

    def model_artifacts(self, model: LoggedModel) -> ArtifactRepository:  # noqa: D102
        return self._below(model.artifact_uri)

    def _below(self, uri: str) -> ArtifactRepository:
        return _Below(self._artifacts, Locations(self, self._artifacts).place(uri, ""))


class _Below(ArtifactRepository):
    """A folder of other artifacts."""

    def __init__(self, whole: ArtifactRepository, folder: str) -> None:
        self._whole = whole
        self._folder = folder

    @property
    def uri(self) -> str:
        return f"{self._whole.uri.rstrip('/')}/{self._folder}"

    def list_folder(self, path: str = "") -> list[FileInfo]:
        return self._whole.list_folder(self._place(path))

    def open(self, path: str) -> StoredFile:
        return self._whole.open(self._place(path))

    def create(self, path: str) -> Upload:
        return self._whole.create(self._place(path))

    def put(self, path: str, stream: BinaryIO) -> None:
        self._whole.put(self._place(path), stream)

    def delete(self, path: str) -> None:
        self._whole.delete(self._place(path))

    def _place(self, path: str) -> str:
        return f"{self._folder}/{path}" if path else self._folder
