"""Opens artifact repositories."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mistk_service.tracking.artifacts.local import LocalArtifacts
from mistk_service.tracking.artifacts.repository import ArtifactRepository
from mistk_service.tracking.errors import UnsupportedStore


def open_artifacts(uri: str | Path) -> ArtifactRepository:
    """Open the repository whose root is ``uri``, creating a local folder where it is missing.

    Args:
        uri: a path, ``file:///path``, or any URL that fsspec knows, such as ``s3://bucket/prefix`` or ``memory://name``.

    Raises:
        UnsupportedStore: fsspec, or the library that it needs for this kind of URL, is missing, or does not support the URL.
        StoreUnavailable: the folder cannot be created.
    """
    if isinstance(uri, Path):
        return LocalArtifacts(uri)
    parts = urlsplit(uri)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise UnsupportedStore(f"{uri!r} is a file on another machine; expected file:///path.")
        return LocalArtifacts(Path(unquote(parts.path)))
    if "://" not in uri:
        return LocalArtifacts(Path(uri))
    # fsspec is an extra: it is only needed for artifacts that are stored elsewhere.
    from mistk_service.tracking.artifacts.fsspec_storage import RemoteArtifacts

    return RemoteArtifacts.at(uri)
