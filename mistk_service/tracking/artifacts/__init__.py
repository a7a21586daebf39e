"""Stores artifacts in a local folder, or in any storage that fsspec supports."""

from mistk_service.tracking.artifacts.allowed import AllowedLocations
from mistk_service.tracking.artifacts.opening import open_artifacts
from mistk_service.tracking.artifacts.paths import checked_path
from mistk_service.tracking.artifacts.repository import ArtifactRepository, StoredFile, Upload

__all__ = ["AllowedLocations", "ArtifactRepository", "StoredFile", "Upload", "checked_path", "open_artifacts"]
