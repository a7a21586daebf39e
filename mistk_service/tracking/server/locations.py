"""Which artifacts of this server an artifact URI means."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote, urlsplit

from mistk_service.tracking.artifacts import ArtifactRepository, checked_path
from mistk_service.tracking.entities import FileInfo
from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.store import Store

__all__ = ["Locations"]


class Locations:
    """Finds the files of runs and models below the artifact root.

    A URI that a client chose may point anywhere, the disk of this machine included; only what lies below the root is
    ever opened.

    Args:
        store: knows where the artifacts of runs and logged models are.
        artifacts: the root.
    """

    def __init__(self, store: Store, artifacts: ArtifactRepository) -> None:
        self._store = store
        self.artifacts = artifacts

    def list_folder(self, root: str, path: str) -> list[FileInfo]:
        """Return what is in a folder, with paths relative to ``root``.

        Raises:
            InvalidParameter: the path is not acceptable, or ``root`` is not kept by this server.
        """
        below = checked_path(path)
        found = self.artifacts.list_folder(self.place(root, below))
        return [replace(info, path=f"{below}/{info.path}") for info in found] if below else found

    def place(self, root: str, path: str) -> str:
        """Return the path below the artifact root of what is at ``path`` below the URI ``root``.

        Raises:
            InvalidParameter: the path is not acceptable, or ``root`` is not kept by this server.
            ResourceNotFound: ``root`` names a run or a model that does not exist.
        """
        below = checked_path(path)
        base = self._base(root)
        return f"{base}/{below}" if base else below

    def _base(self, uri: str) -> str:
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts" and not parts.netloc:
            return unquote(parts.path).strip("/")
        if parts.scheme == "runs":
            run_id, _, rest = parts.path.strip("/").partition("/")
            return self.place(self._store.get_run(run_id).info.artifact_uri, rest)
        if parts.scheme == "models":
            return self._model_base(parts.path.strip("/"))
        own = self.artifacts.uri.rstrip("/")
        if uri == own or uri.startswith(own + "/"):
            return uri[len(own) :].strip("/")
        raise InvalidParameter(
            f"The artifacts are at {uri!r}, which is not kept by this server; ask for them there.", field="path"
        )

    def _model_base(self, reference: str) -> str:
        """Return the place of ``m-ID`` or ``NAME/VERSION``."""
        first, _, rest = reference.partition("/")
        if first.startswith("m-"):
            return self.place(self._store.get_logged_model(first).artifact_uri, rest)
        return self._base(self._store.get_download_uri(first, rest))
