"""Multipart uploads of large files, directly to the storage behind a tracking server that supports them.

The server returns a URL for each part, so that parts do not pass through the server. A lost part is sent again, not the whole
file. The state is recorded, so that a later attempt, also of another process, only sends the missing parts.

The server returns the URLs of the parts once, when an upload is created. They expire, and others cannot be requested.
So an upload whose URLs are refused is aborted, and a new one is created.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from msgspec.structs import replace

from mistk_service.tracking import wire
from mistk_service.tracking.errors import (
    AnswerLost,
    InvalidParameter,
    NotSupported,
    PermissionDenied,
    StoreError,
    StoreUnavailable,
    Unauthenticated,
)
from mistk_service.tracking.rest.responses import About, Json
from mistk_service.tracking.rest.transport import Transport
from mistk_service.tracking.rest.urls import quoted
from mistk_service.tracking.values.uploads import MultipartUpload, UploadNotes, UploadPart

logger = logging.getLogger(__name__)

_MAX_PARTS = 10_000
#: How often a part is sent.
_ATTEMPTS = 3
#: Seconds until the next attempt if a part of the file was uploaded.
_SOON = 1.0
#: Bytes that are read and sent at once.
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Source:
    """A file to send.

    Attributes:
        stream: its content, seekable.
        size: its bytes.
        etag: changes whenever the content does.
        is_unchanged: returns whether the file still has that etag.
        is_there: returns whether a file of this size is at the target, or None if that is unknown.
    """

    stream: BinaryIO
    size: int
    etag: str
    is_unchanged: Callable[[], bool]
    is_there: Callable[[], bool | None]


class _UploadExpired(Exception):
    """The storage does not accept further parts of an upload."""


class MultipartUploads:
    """The multipart uploads of a tracking server, which may not support them."""

    def __init__(self, transport: Transport, root: str) -> None:
        self._http = transport
        self._root = root

    def send(self, path: str, source: Source, part_size: int, notes: UploadNotes) -> bool:
        """Send a file, or its missing parts.

        Args:
            path: its path below the server's root.
            source: the file.
            part_size: bytes of a part of a new upload.
            notes: the state of an unfinished upload, if any.

        Returns:
            Whether it was uploaded. If not, the storage did not accept the parts of a new upload, and the file has to be
            sent as a whole.

        Raises:
            NotSupported: the server does not support it; nothing was sent.
            StoreUnavailable: it was interrupted; the state is recorded, and the next call resumes.
            StoreError: as for any request.
        """
        known = notes.find()
        if known is not None:
            if self._is_resumable(known, path, source) and self._finish(known, source, notes):
                return True
            self.give_up(notes)
        upload = self._create(path, source, max(part_size, -(-source.size // _MAX_PARTS)))
        try:
            notes.begin(upload)
        except BaseException:  # an upload that is not recorded could never be resumed
            self._abort(upload)
            raise
        if self._finish(upload, source, notes):
            return True
        self.give_up(notes)
        return False

    def give_up(self, notes: UploadNotes) -> None:
        """Abort an unfinished upload if the storage can be reached, and remove the record of it."""
        upload = notes.find()
        if upload is not None:
            self._abort(upload)
            notes.forget()

    def _abort(self, upload: MultipartUpload) -> None:
        with suppress(StoreError):
            self._call("abort", upload, {})

    def _is_resumable(self, upload: MultipartUpload, path: str, source: Source) -> bool:
        """Return whether an upload is for this version of the file and this path."""
        there = (upload.root, upload.target, upload.etag, upload.size)
        return there == (self._root, path, source.etag, source.size)

    def _create(self, path: str, source: Source, part_size: int) -> MultipartUpload:
        number = -(-source.size // part_size)
        new = MultipartUpload(self._root, path, "", source.etag, source.size, part_size, ())
        try:
            answer = self._call("create", new, {"num_parts": number})
        except InvalidParameter as error:
            # Servers older than the protocol mistake the path for that of a file.
            raise NotSupported(f"{self._http.server} does not support multipart uploads.") from error
        created = wire.from_answer(lambda fields: _with_parts(new, fields), answer)
        parts = created.parts
        if [part.number for part in parts] != list(range(1, number + 1)):
            self._abort(created)
            raise NotSupported(f"{self._http.server} offers {len(parts)} parts; {number} were requested.")
        return created

    def _finish(self, upload: MultipartUpload, source: Source, notes: UploadNotes) -> bool:
        """Send the missing parts and complete the upload; return False if that is not possible any more."""
        try:
            whole = self._send_missing(upload, source, notes)
            if not source.is_unchanged():
                self.give_up(notes)
                raise StoreUnavailable(
                    f"The file {upload.target!r} was changed while it was sent; it is sent again, from its beginning."
                )
            self._complete(whole, source, notes)
        except _UploadExpired as error:
            logger.info("The upload of %s cannot be resumed: %s", upload.target, error)
            return False
        return True

    def _send_missing(self, upload: MultipartUpload, source: Source, notes: UploadNotes) -> MultipartUpload:
        parts = list(upload.parts)
        try:
            for index, part in enumerate(parts):
                if part.etag is None:
                    parts[index] = self._send(upload, part, source, notes)
        except StoreUnavailable as error:
            # An upload that makes progress with every attempt does not count as failing, however many attempts it takes.
            if error.retry_after is None and parts != list(upload.parts):
                error.retry_after = _SOON
            raise
        return replace(upload, parts=tuple(parts))

    def _complete(self, upload: MultipartUpload, source: Source, notes: UploadNotes) -> None:
        again, was_free = upload.was_free is not None, upload.was_free
        if was_free and source.is_there():
            # An earlier attempt completed it and could not record that.
            return
        if was_free is None:
            was_free = source.is_there() is False
            notes.completing(was_free=was_free)
        parts = [{"part_number": part.number, "etag": part.etag, "url": part.url} for part in upload.parts]
        try:
            self._call("complete", upload, {"parts": parts})
        except AnswerLost:
            if was_free and source.is_there():
                return
            # For an upload that no longer exists, MLflow's server only reports a failure; the storage is more specific.
            if again:
                self._send(upload, upload.parts[-1], source, notes)
            raise
        except (StoreUnavailable, PermissionDenied, Unauthenticated):
            raise
        except StoreError as error:
            raise _UploadExpired(str(error)) from error

    def _send(self, upload: MultipartUpload, part: UploadPart, source: Source, notes: UploadNotes) -> UploadPart:
        """Send a part, and return it with its etag.

        Raises:
            _UploadExpired: the URL is not accepted, or has expired.
        """
        about = About("artifact", upload.target)
        start = (part.number - 1) * upload.part_size
        length = min(upload.part_size, upload.size - start)
        headers = {**part.headers, "Content-Length": str(length)}
        for attempt in range(1, _ATTEMPTS + 1):
            content = pieces(source.stream, start, length)
            try:
                with self._http.exchange(
                    "PUT", part.url, about, content=content, headers=headers, secret=True
                ) as response:
                    etag = response.headers.get("etag", "")
                break
            except StoreUnavailable:
                if attempt == _ATTEMPTS:
                    raise
            except StoreError as error:
                raise _UploadExpired(str(error)) from error
        notes.arrived(part.number, etag)
        return replace(part, etag=etag)

    def _call(self, operation: str, upload: MultipartUpload, fields: dict[str, Any]) -> Json:
        folder, name = posixpath.split(upload.target)
        url = f"{upload.root}/mpu/{operation}/{quoted(folder)}"
        known = {"upload_id": upload.upload_id} if upload.upload_id else {}
        about = About("artifact", upload.target)
        # A server may quote the request in an error, and this one has the URLs of parts.
        return self._http.post_to(url, {"path": name, **known, **fields}, about, secret=operation == "complete")


def pieces(stream: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """Read a part of a stream in pieces."""
    stream.seek(start)
    while length > 0 and (piece := stream.read(min(_PIECE, length))):
        length -= len(piece)
        yield piece


def _with_parts(new: MultipartUpload, fields: wire.Fields) -> MultipartUpload:
    """Return an upload with the id and the parts from the server's answer."""
    parts = [
        UploadPart(part.required_int64("part_number"), part.required_text("url"), part.texts_by_name("headers"))
        for part in fields.objects("credentials")
    ]
    parts.sort(key=lambda part: part.number)
    return replace(new, upload_id=fields.required_text("upload_id"), parts=tuple(parts))
