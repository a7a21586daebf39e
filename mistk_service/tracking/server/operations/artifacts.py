"""Listings of artifacts, and the transfers that are not supported."""

from __future__ import annotations

from typing import NoReturn

from mistk_service.tracking.errors import NotSupported
from mistk_service.tracking.server.operations._base import Json, OperationsBase, run_id_of
from mistk_service.tracking.values import FileInfo
from mistk_service.tracking.wire import Fields


class ArtifactOperations(OperationsBase):
    """The operations about artifacts whose bodies are JSON."""

    def list_artifacts(self, fields: Fields) -> Json:
        root = self._store.get_run(run_id_of(fields)).info.artifact_uri
        return self._listing(root, fields.text("path") or "")

    def list_logged_model_artifacts(self, fields: Fields, model_id: str) -> Json:
        root = self._store.get_logged_model(model_id).artifact_uri
        return self._listing(root, fields.text("artifact_directory_path") or "")

    def list_proxied_artifacts(self, fields: Fields) -> Json:
        return files(self._locations.artifacts.list_folder(fields.text("path") or ""))

    def _listing(self, root: str, path: str) -> Json:
        return {"root_uri": root, **files(self._locations.list_folder(root, path))}

    def create_presigned_upload_url(self, fields: Fields, artifact_path: str = "") -> NoReturn:  # noqa: ARG002
        _refuse("Presigned URLs are")

    create_presigned_download_url = get_presigned_download_url = create_presigned_upload_url

    def create_multipart_upload(self, fields: Fields, artifact_path: str) -> NoReturn:  # noqa: ARG002
        _refuse("Multipart uploads are")

    complete_multipart_upload = abort_multipart_upload = create_multipart_upload

    async def get_server_info(self, fields: Fields) -> Json:  # noqa: ARG002 - all operations have the fields
        """Return the capabilities of this server, in the form that MLflow's client reads."""
        return {
            "store_type": "SqlStore",
            "workspaces_enabled": False,
            "trace_archival_enabled": False,
            "multipart_uploads_enabled": False,
            "multipart_downloads_enabled": False,
            "presigned_upload_run_id_supported": False,
            "presigned_upload_model_id_supported": False,
            "features_enabled": {},
        }


def files(found: list[FileInfo]) -> Json:
    """Return a listing."""
    return {"files": found} if found else {}


def _refuse(what: str) -> NoReturn:
    raise NotSupported(f"{what} not supported; use /api/2.0/mlflow-artifacts/artifacts/PATH, with the whole file.")
