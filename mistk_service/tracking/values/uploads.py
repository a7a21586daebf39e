"""Multipart uploads in progress: what has to be known of one to resume it after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec


class UploadPart(msgspec.Struct, frozen=True):
    """A part of a file.

    Attributes:
        number: from 1.
        url: where it goes. It is made for this part alone and lets anyone who has it write the part, so it is a secret.
        headers: to be sent along.
        etag: what the storage called it once it had arrived, else None.
    """

    number: int
    url: str
    headers: Mapping[str, str]
    etag: str | None = None

    def __repr__(self) -> str:
        return f"UploadPart(number={self.number}, etag={self.etag!r})"


class MultipartUpload(msgspec.Struct, frozen=True):
    """An upload that was begun.

    Attributes:
        root: the URL of the operations by which it was begun, and is completed or given up.
        target: where the file is to be, below the root of the server's artifacts.
        upload_id: what the storage calls the upload.
        etag: of the file that is sent, as it was when the upload was begun.
        size: its bytes.
        part_size: bytes of each part but the last.
        parts: all of them, in their order.
        was_free: None until its completion was requested. Then: whether there was no file of this size at the target
            before, so that one which is there now is this file.
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
    """The place where the upload of one file is noted; each method returns when what it says is kept."""

    def find(self) -> MultipartUpload | None:
        """Return the upload that is under way, or None."""

    def begin(self, upload: MultipartUpload) -> None:
        """Note that an upload was begun, instead of one that is noted."""

    def arrived(self, number: int, etag: str) -> None:
        """Note that a part has arrived."""

    def completing(self, *, was_free: bool) -> None:
        """Note that it is about to be completed; see :class:`MultipartUpload`."""

    def forget(self) -> None:
        """Note that nothing is under way any more. What was noted, with the secrets in it, is removed."""


class PassingNotes(UploadNotes):
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
