"""Artifacts over HTTP: in the tracking server's own storage, or in a package registry such as GitLab's.

Files are streamed in both directions. A download is stored in a temporary file, so that it is seekable. So is an upload that
is written piece by piece, since a server requires the length of a file in advance.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import tempfile
from collections.abc import Callable
from typing import IO, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from mistk_service.tracking import wire
from mistk_service.tracking.artifacts import ArtifactRepository, StoredFile, Upload, checked_path
from mistk_service.tracking.artifacts.paths import checked_file
from mistk_service.tracking.artifacts.repository import translated
from mistk_service.tracking.errors import (
    NotSupported,
    ResourceNotFound,
    StoreError,
    StoreUnavailable,
    Unauthenticated,
)
from mistk_service.tracking.rest.multipart import MultipartUploads, Source, pieces
from mistk_service.tracking.rest.responses import About, read_object
from mistk_service.tracking.rest.transport import Transport
from mistk_service.tracking.rest.urls import quoted, without_userinfo
from mistk_service.tracking.values import FileInfo
from mistk_service.tracking.values.uploads import MemoryNotes, UploadNotes

#: Bytes that are sent or read at once.
_PIECE = 1 << 18

_UNSAFE = re.compile(r"[^A-Za-z0-9._\-]")


class _HttpArtifacts(ArtifactRepository):
    """Files below a URL, each with its own URL.

    Args:
        transport: sends the requests.
        root: the URL of the root, without a slash at the end.
        uri: the root's URI for clients.
    """

    def __init__(self, transport: Transport, root: str, uri: str) -> None:
        self._http = transport
        self._root = root.rstrip("/")
        self._uri = without_userinfo(uri)

    @property
    def uri(self) -> str:
        """The root, without credentials."""
        return self._uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._uri!r})"

    def open(self, path: str) -> StoredFile:
        """Download the whole file first, then return it."""
        about = About("artifact", path)
        stream = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
        try:
            digest, size = hashlib.blake2b(digest_size=16), 0
            # A compressed file must not be decompressed on the way.
            headers = {"Accept-Encoding": "identity"}
            with self._http.exchange("GET", self._url(path), about, headers=headers) as response, translated(path):
                for piece in response.iter_bytes(_PIECE):
                    stream.write(piece)
                    digest.update(piece)
                    size += len(piece)
            stream.seek(0)
        except NotSupported as error:
            stream.close()
            raise ResourceNotFound(f"No such artifact: {path!r}.") from error
        except BaseException:  # also for Ctrl-C
            stream.close()
            raise
        return StoredFile(posixpath.basename(checked_path(path)), size, digest.hexdigest(), None, stream)

    def create(self, path: str) -> Upload:
        """Return an upload that is sent when it is complete."""
        return _HttpUpload(self, checked_file(path))

    def put(self, path: str, stream: BinaryIO) -> None:
        """Send the file as a stream."""
        name = checked_file(path)
        size = stream.seek(0, os.SEEK_END)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        about = About("artifact", path)
        with self._http.exchange("PUT", self._url(name), about, content=pieces(stream, 0, size), headers=headers):
            pass

    def delete(self, path: str) -> None:
        try:
            with self._http.exchange("DELETE", self._url(checked_file(path)), About("artifact", path)):
                pass
        except ResourceNotFound:
            pass  # it is deleted already

    def _url(self, path: str) -> str:
        return f"{self._root}/{quoted(self._name(checked_path(path)))}"

    def _name(self, path: str) -> str:
        return path


class ProxiedArtifacts(_HttpArtifacts):
    """Files in the tracking server's own storage, by MLflow's proxy protocol.

    Args:
        transport: sends the requests.
        listing: the URL of the server's listing.
        folder: the root's path below the server's own.
        uri: the root's URI for clients.
        part_size: maximum bytes of a file that is sent as a whole, and the bytes of the parts of a larger one.
    """

    def __init__(self, transport: Transport, listing: str, folder: str, uri: str, part_size: int) -> None:
        super().__init__(transport, f"{listing}/{quoted(folder)}", uri)
        self._listing = listing
        self._folder = folder
        self._multipart = MultipartUploads(transport, listing.removesuffix("/artifacts"))
        self._takes_parts = True
        self._part = part_size

    def put(self, path: str, stream: BinaryIO) -> None:
        """Send the file, a large one in parts where the server supports that."""
        notes = MemoryNotes()
        size = stream.seek(0, os.SEEK_END)
        try:
            self._put(path, Source(stream, size, "", lambda: True, lambda: None), notes)
        except BaseException:  # also for Ctrl-C: the storage keeps parts until the upload is aborted
            self._multipart.give_up(notes)
            raise

    def resume(self, path: str, stored: StoredFile, notes: UploadNotes, is_unchanged: Callable[[], bool]) -> None:
        """Resume an upload in parts; a file without parts is sent again as a whole."""
        size = stored.size
        self._put(path, Source(stored.stream, size, stored.etag, is_unchanged, lambda: self._has(path, size)), notes)

    def give_up(self, notes: UploadNotes) -> None:
        self._multipart.give_up(notes)

    def _put(self, path: str, source: Source, notes: UploadNotes) -> None:
        if source.size <= self._part:
            self.give_up(notes)
        elif self._takes_parts:
            try:
                if self._multipart.send(f"{self._folder}/{checked_file(path)}", source, self._part, notes):
                    return
            except NotSupported:
                self._takes_parts = False
        super().put(path, source.stream)

    def _has(self, path: str, size: int) -> bool | None:
        """Return whether there is a file of this size, or None if the server does not show that."""
        folder, name = posixpath.split(checked_path(path))
        try:
            return any((info.path, info.file_size) == (name, size) for info in self.list_folder(folder))
        except (StoreUnavailable, Unauthenticated):
            raise
        except StoreError:
            return None

    def list_folder(self, path: str = "") -> list[FileInfo]:
        checked = checked_path(path)
        about = About("artifact folder", path)
        full = f"{self._folder}/{checked}" if checked else self._folder
        with self._http.exchange("GET", self._listing, about, query={"path": full}) as response:
            response.read()
        answer = read_object(response, self._http.server)
        found = wire.page_from_answer(wire.read_file_info, answer, "files").items
        names = [FileInfo(posixpath.basename(info.path), info.is_dir, info.file_size) for info in found]
        return sorted(names, key=lambda info: info.path)


class PackageArtifacts(_HttpArtifacts):
    """Files of a package in a registry that has no folders and no listing: ``/`` in a path becomes ``__`` in a name.

    A file that exists with the same size is not sent again, since a registry would keep both.
    """

    def list_folder(self, path: str = "") -> list[FileInfo]:
        """Raise ``NotSupported``: a package registry cannot list files."""
        raise NotSupported(
            f"The artifacts at {self._uri} cannot be listed (folder {path!r}); a package registry has no listing."
        )

    def put(self, path: str, stream: BinaryIO) -> None:
        size = stream.seek(0, os.SEEK_END)
        if self._stored_size(path) != size:
            super().put(path, stream)

    def _stored_size(self, path: str) -> int | None:
        try:
            with self._http.exchange("HEAD", self._url(path), About("artifact", path)) as response:
                length = response.headers.get("content-length", "")
        except (ResourceNotFound, NotSupported):
            return None
        return int(length) if length.isdecimal() else None

    def _name(self, path: str) -> str:
        """Return a path as one name: a character that a registry does not allow is written as ``_`` and its number.

        ``/`` becomes ``__``, ``_`` stays; two paths only get the same name if they differ in these two alone.
        """
        return _UNSAFE.sub(lambda found: f"_{ord(found[0]):x}_", path.replace("/", "__"))


class _HttpUpload(Upload):
    """A file that is written to a temporary one and sent when it is complete."""

    def __init__(self, target: _HttpArtifacts, path: str) -> None:
        self._target = target
        self._path = path
        self._file: IO[bytes] | None = tempfile.TemporaryFile()  # noqa: SIM115 - closed by commit or abort

    def write(self, data: bytes) -> None:
        assert self._file is not None, "the upload has ended"
        with translated(self._path):
            self._file.write(data)

    def commit(self) -> None:
        assert self._file is not None, "the upload has ended"
        self._target.put(self._path, cast(BinaryIO, self._file))
        self.abort()

    def abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def proxied_folder(uri: str) -> tuple[str | None, str]:
    """Return the server that an ``mlflow-artifacts:`` URI names, or None, and the path below its root."""
    parts = urlsplit(uri)
    return parts.netloc.rpartition("@")[2] or None, checked_path(unquote(parts.path).strip("/"))
