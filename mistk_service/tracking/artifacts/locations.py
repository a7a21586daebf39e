"""Resolves artifact URIs to artifacts of this server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from mistk_service.tracking.artifacts import AllowedLocations, ArtifactRepository, checked_path
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import FileInfo

#: The maximum number of references from model to model that are followed.
_MAX_LINKS = 8


class Locations:
    """Finds the files of runs and models below the artifact root.

    A URI that a client chose may point anywhere, the disk of this machine included; only what lies below the root is
    ever opened.

    Args:
        store: knows where the artifacts of runs and logged models are.
        artifacts: the root.
        allowed: the locations that clients may choose for artifacts.
    """

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactRepository,
        allowed: AllowedLocations = AllowedLocations(),  # noqa: B008
    ) -> None:
        self._store = store
        self.allowed = allowed
        self.artifacts = artifacts

    def list_folder(self, root: str, path: str) -> list[FileInfo]:
        """Return what is in a folder, with paths relative to ``root``; see :meth:`place` for what it raises."""
        below = checked_path(path)
        found = self.artifacts.list_folder(self.place(root, below))
        return [replace(info, path=f"{below}/{info.path}") for info in found] if below else found

    def files(self, root: str, folder: str = "") -> Iterator[FileInfo]:
        """Yield all files in a folder below a root, with paths relative to the root.

        Yields nothing if they are stored elsewhere or were deleted.
        """
        folders = [folder]
        with suppress(InvalidParameter, ResourceNotFound):
            while folders:
                for info in self.list_folder(root, folders.pop()):
                    if info.is_dir:
                        folders.append(info.path)
                    else:
                        yield info

    def place(self, root: str, path: str) -> str:
        """Return the path below the artifact root of what is at ``path`` below the URI ``root``.

        Raises:
            InvalidParameter: the path is not acceptable, or this server does not store ``root``.
            ResourceNotFound: ``root`` names a run or a model that does not exist.
        """
        below = checked_path(path)
        base = self._base(root)
        return f"{base}/{below}" if base and below else base or below

    def owner(self, place: str) -> tuple[str, str] | None:
        """Return the run whose artifact is at ``place`` below the artifact root, and the artifact's path; None for others.

        Args:
            place: a path as :meth:`place` returns it.
        """
        folder, mark, path = checked_path(place).partition("/artifacts/")
        run_id = folder.rpartition("/")[2]
        if not mark or not run_id:
            return None
        try:
            root = self.place(self._store.get_run(run_id).info.artifact_uri, "")
        except (ResourceNotFound, InvalidParameter):
            return None
        return (run_id, path) if root == f"{folder}/artifacts" else None

    def _base(self, uri: str, links: int = 0) -> str:
        """Return the path below the artifact root that ``uri`` means; ``links`` references have led to it."""
        if links > _MAX_LINKS:
            raise InvalidParameter(f"{uri!r} refers to a model that refers to a model, and so on.", field="path")
        scheme, path, is_ours = _split(uri)
        if is_ours:
            return path
        if scheme in ("runs", "models"):
            target, rest = self._target(scheme, path)
            return "/".join(filter(None, (self._base(target, links + 1), checked_path(rest))))
        own = self.artifacts.uri.rstrip("/")
        if uri == own or uri.startswith(own + "/"):
            return uri[len(own) :].strip("/")
        raise InvalidParameter(
            f"The artifacts are at {uri!r}, which this server does not store; request them there.", field="path"
        )

    def _target(self, scheme: str, reference: str) -> tuple[str, str]:
        """Return the URI that ``runs:/ID/REST``, ``models:/m-ID/REST`` or ``models:/NAME/VERSION`` leads to, and the rest."""
        first, _, rest = reference.partition("/")
        if scheme == "runs":
            return self._store.get_run(first).info.artifact_uri, rest
        if first.startswith("m-"):
            return self._store.get_logged_model(first).artifact_uri, rest
        return self._store.get_download_uri(first, rest), ""


def _split(uri: str) -> tuple[str, str, bool]:
    """Return the scheme and the path of a URI, and whether it means an artifact of the server that is asked."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "", "", False
    path = unquote(parts.path).strip("/")
    return parts.scheme, path, parts.scheme == "mlflow-artifacts" and not parts.netloc
