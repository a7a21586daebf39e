"""Multipart uploads in progress: their state, to resume them after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec


class UploadPart(msgspec.Struct, frozen=True):
    """A part of a file.

    Attributes:
        number: from 1.
        url: the URL to upload it to. Anyone who has it can write the part, so it is a secret.
        headers: to be sent along.
        etag: the storage's etag of the uploaded part, else None.
    """

    number: int
    url: str
    headers: Mapping[str, str]
    etag: str | None = None

    def __repr__(self) -> str:
        return f"UploadPart(number={self.number}, etag={self.etag!r})"


class MultipartUpload(msgspec.Struct, frozen=True):
    """An upload in progress.

    Attributes:
        root: the URL of the operations that start, complete and abort it.
        target: where the file is to be, below the root of the server's artifacts.
        upload_id: the storage's id of the upload.
        etag: that of the file when the upload was started.
        size: its bytes.
        part_size: bytes of each part but the last.
        parts: all of them, in their order.
        was_free: None until its completion was requested. Then: whether there was no file of this size at the target
            before; if so, a file of this size that exists now is this one.
    """

    root: str
    target: str
    upload_id: str
    etag: str
    size: int
    part_size: int
    parts: tuple[UploadPart, ...]
    was_free: bool | None = None

    def __repr__(self) -> str:
        return (
            f"MultipartUpload(target={self.target!r}, size={self.size}, parts={self.parts!r}, was_free={self.was_free})"
        )


class UploadNotes(Protocol):
    """Stores the state of the upload of one file. Each method returns when the change is durable."""

    def find(self) -> MultipartUpload | None:
        """Return the upload in progress, or None."""

    def begin(self, upload: MultipartUpload) -> None:
        """Record a new upload, replacing an earlier one."""

    def arrived(self, number: int, etag: str) -> None:
        """Record that a part was uploaded."""

    def completing(self, *, was_free: bool) -> None:
        """Record that it is about to be completed; see :class:`MultipartUpload`."""

    def forget(self) -> None:
        """Remove the record, with the secrets in it: no upload is in progress any more."""


class MemoryNotes(UploadNotes):
    """Notes in memory, for an upload that is not resumed after this process."""

    def __init__(self) -> None:
        self._upload: MultipartUpload | None = None

    def find(self) -> MultipartUpload | None:
        return self._upload

    def begin(self, upload: MultipartUpload) -> None:
        self._upload = upload

    def arrived(self, number: int, etag: str) -> None:
        """Do nothing: within this process the caller has the etags."""

    def completing(self, *, was_free: bool) -> None:
        if self._upload is not None:
            self._upload = msgspec.structs.replace(self._upload, was_free=was_free)

    def forget(self) -> None:
        self._upload = None
