"""Artifacts in a storage that fsspec supports: S3, Google Cloud Storage, Azure, SFTP, memory ..."""

from __future__ import annotations

import hashlib
import posixpath
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, BinaryIO, Self, cast
from urllib.parse import urlsplit, urlunsplit

import fsspec

from mistk_service.tracking.artifacts.paths import SCRATCH, checked_file, checked_path
from mistk_service.tracking.artifacts.repository import ArtifactRepository, StoredFile, Upload, translated
from mistk_service.tracking.errors import StoreError, UnsupportedStore
from mistk_service.tracking.values import FileInfo


class RemoteArtifacts(ArtifactRepository):
    """Artifacts below a root in a storage that fsspec supports."""

    def __init__(self, filesystem: fsspec.AbstractFileSystem, root: str, uri: str) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")
        self._uri = uri

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the repository at ``url``.

        Raises:
            UnsupportedStore: fsspec does not support the URL, or the library for it is not installed.
        """
        try:
            # Cached listings would never show the uploads of other processes.
            filesystem, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UnsupportedStore(f"Artifacts cannot be kept at {_without_password(url)!r}: {error}") from error
        return cls(filesystem, root, _without_password(url))

    @property
    def uri(self) -> str:
        """The root's URL, without a password."""
        return self._uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._uri!r})"

    def list_folder(self, path: str = "") -> list[FileInfo]:
        folder = self._full(checked_path(path))
        with _translated(path):
            try:
                entries = self._fs.ls(folder, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        # A file is listed as itself by some storages; an object store may list the folder's own marker.
        inside = [entry for entry in entries if entry["name"].strip("/") != folder.strip("/")]
        found = (_file_info(entry) for entry in inside)
        return sorted((info for info in found if path or info.path != SCRATCH), key=lambda info: info.path)

    def open(self, path: str) -> StoredFile:
        full = self._full(checked_path(path))
        with _translated(path):
            info = self._fs.info(full)
            if info["type"] != "file":
                raise FileNotFoundError(path)
            etag = hashlib.blake2b(str(self._fs.ukey(full)).encode(), digest_size=16).hexdigest()
            stream = cast(BinaryIO, self._fs.open(full, "rb"))
        return StoredFile(posixpath.basename(full), info["size"], etag, _modified(info), stream)

    def create(self, path: str) -> Upload:
        full = self._full(checked_file(path))
        with _translated(path):
            if self._fs.isdir(full):
                raise IsADirectoryError(path)
            return _RemoteUpload(path, self._fs, self._full(f"{SCRATCH}/{uuid.uuid4().hex}"), full)

    def delete(self, path: str) -> None:
        full = self._full(checked_file(path))
        with _translated(path), suppress(FileNotFoundError):
            self._fs.rm(full, recursive=True)

    def _full(self, relative: str) -> str:
        return f"{self._root}/{relative}" if relative else self._root


class _RemoteUpload(Upload):
    """A file that is written among the unfinished uploads and then moved to its final path.

    Args:
        path: the artifact's path, for messages.
        filesystem: the storage.
        partial: the unfinished file.
        place: its final path.
    """

    def __init__(self, path: str, filesystem: fsspec.AbstractFileSystem, partial: str, place: str) -> None:
        self._path = path
        self._fs = filesystem
        self._partial = partial
        self._place = place
        self._fs.makedirs(posixpath.dirname(partial), exist_ok=True)
        self._file = self._fs.open(partial, "wb")

    def write(self, data: bytes) -> None:
        with _translated(self._path):
            self._file.write(data)

    def commit(self) -> None:
        with _translated(self._path):
            self._file.close()
            self._fs.makedirs(posixpath.dirname(self._place), exist_ok=True)
            self._fs.mv(self._partial, self._place)

    def abort(self) -> None:
        with _translated(self._path), suppress(FileNotFoundError):
            self._file.close()
            self._fs.rm(self._partial)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Translate the errors of the operating system and of the storage's library; see :func:`translated`."""
    with translated(path):
        try:
            yield
        except (OSError, StoreError):
            raise
        except Exception as error:  # each library has its own, without a common base class
            raise OSError(str(error) or type(error).__name__) from error


def _file_info(entry: Mapping[str, Any]) -> FileInfo:
    name = posixpath.basename(entry["name"].rstrip("/"))
    if entry["type"] == "directory":
        return FileInfo(name, is_dir=True)
    return FileInfo(name, is_dir=False, file_size=entry.get("size"))


def _modified(info: Mapping[str, Any]) -> float | None:
    """Return the time of the last change in seconds since 1970; every storage has its own name and form for it."""
    for name in ("LastModified", "last_modified", "mtime", "created"):
        match info.get(name):
            case datetime() as moment:
                return moment.timestamp()
            case int() | float() as seconds:
                return float(seconds)
    return None


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    credentials, at, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}" if user else host))
