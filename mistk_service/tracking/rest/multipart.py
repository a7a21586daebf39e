"""Large files in parts, straight to the storage behind a tracking server that offers it.

The server says where each part is to go; it does not pass through the server itself. A part that gets lost is sent again, not
the file. What has arrived is noted, so that a later try, also of another process, sends only the rest.

The server gives the addresses of the parts once, when an upload is begun, and they expire; others cannot be requested.
So an upload whose addresses are refused is given up, and another one begun.
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
#: Seconds until the next try where a part of the file has arrived.
_SOON = 1.0
#: Bytes that are read and sent at once.
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is sent.

    Attributes:
        stream: its content, seekable.
        size: its bytes.
        etag: changes whenever the content does.
        is_unchanged: tells whether the file still has that etag.
        is_there: tells whether a file of this size is at the target, or None where that cannot be seen.
    """

    stream: BinaryIO
    size: int
    etag: str
    is_unchanged: Callable[[], bool]
    is_there: Callable[[], bool | None]


class _Gone(Exception):
    """The storage takes nothing more of an upload."""


class MultipartUploads:
    """The way to upload in parts that a tracking server offers, or does not."""

    def __init__(self, transport: Transport, root: str) -> None:
        self._http = transport
        self._root = root

    def send(self, path: str, source: Source, part_size: int, notes: UploadNotes) -> bool:
        """Send a file, or what is missing of it.

        Args:
            path: where it is to be, below the server's root.
            source: the file.
            part_size: bytes of a part, where nothing was begun.
            notes: what was begun, if anything.

        Returns:
            Whether it is there. If not, the storage did not take the parts of an upload that was begun just now, and the file
            has to go another way.

        Raises:
            NotSupported: the server does not offer it; nothing was sent.
            StoreUnavailable: it was interrupted; what has arrived is noted, and the next call resumes with the rest.
            StoreError: as for any request.
        """
        known = notes.find()
        if known is not None:
            if self._goes_on(known, path, source) and self._finish(known, source, notes):
                return True
            self.give_up(notes)
        upload = self._create(path, source, max(part_size, -(-source.size // _MAX_PARTS)))
        try:
            notes.begin(upload)
        except BaseException:  # an upload that is not noted could never be resumed
            self._abort(upload)
            raise
        if self._finish(upload, source, notes):
            return True
        self.give_up(notes)
        return False

    def give_up(self, notes: UploadNotes) -> None:
        """Let the storage forget what it has of an upload, if it hears of it, and forget the upload itself."""
        upload = notes.find()
        if upload is not None:
            self._abort(upload)
            notes.forget()

    def _abort(self, upload: MultipartUpload) -> None:
        with suppress(StoreError):
            self._call("abort", upload, {})

    def _goes_on(self, upload: MultipartUpload, path: str, source: Source) -> bool:
        """Return whether an upload is one of this very file to this very place."""
        there = (upload.root, upload.target, upload.etag, upload.size)
        return there == (self._root, path, source.etag, source.size)

    def _create(self, path: str, source: Source, part_size: int) -> MultipartUpload:
        number = -(-source.size // part_size)
        new = MultipartUpload(self._root, path, "", source.etag, source.size, part_size, ())
        try:
            answer = self._call("create", new, {"num_parts": number})
        except InvalidParameter as error:
            # Servers older than the protocol take the path for that of a file.
            raise NotSupported(f"{self._http.server} takes files in one piece only.") from error
        begun = wire.from_answer(lambda fields: _begun(new, fields), answer)
        parts = begun.parts
        if [part.number for part in parts] != list(range(1, number + 1)):
            self._abort(begun)
            raise NotSupported(f"{self._http.server} offers {len(parts)} parts; {number} were requested.")
        return begun

    def _finish(self, upload: MultipartUpload, source: Source, notes: UploadNotes) -> bool:
        """Send the parts that are missing and complete the upload; return False where that is not possible any more."""
        try:
            whole = self._send_missing(upload, source, notes)
            if not source.is_unchanged():
                self.give_up(notes)
                raise StoreUnavailable(
                    f"The file {upload.target!r} was changed while it was sent; it is sent again, from its beginning."
                )
            self._complete(whole, source, notes)
        except _Gone as gone:
            logger.info("The upload of %s cannot be resumed: %s", upload.target, gone)
            return False
        return True

    def _send_missing(self, upload: MultipartUpload, source: Source, notes: UploadNotes) -> MultipartUpload:
        parts = list(upload.parts)
        try:
            for index, part in enumerate(parts):
                if part.etag is None:
                    parts[index] = self._send(upload, part, source, notes)
        except StoreUnavailable as error:
            # A file that comes nearer with every try is not what the remote fails at, however many tries it takes.
            if error.retry_after is None and parts != list(upload.parts):
                error.retry_after = _SOON
            raise
        return replace(upload, parts=tuple(parts))

    def _complete(self, upload: MultipartUpload, source: Source, notes: UploadNotes) -> None:
        again, was_free = upload.was_free is not None, upload.was_free
        if was_free and source.is_there():
            # It was completed by a try before this one, which could not note that any more.
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
            # Of an upload that is gone, MLflow's server says no more than that it failed; the storage itself is clearer.
            if again:
                self._send(upload, upload.parts[-1], source, notes)
            raise
        except (StoreUnavailable, PermissionDenied, Unauthenticated):
            raise
        except StoreError as error:
            raise _Gone(str(error)) from error

    def _send(self, upload: MultipartUpload, part: UploadPart, source: Source, notes: UploadNotes) -> UploadPart:
        """Send a part, and return it with its etag.

        Raises:
            _Gone: the address is not accepted, or not any more.
        """
        about = About("artifact", upload.target)
        start = (part.number - 1) * upload.part_size
        length = min(upload.part_size, upload.size - start)
        headers = {**part.headers, "Content-Length": str(length)}
        for attempt in range(1, _ATTEMPTS + 1):
            content = pieces(source.stream, start, length)
            try:
                with self._http.exchange(
                    "PUT", part.url, about, content=content, headers=headers, discreet=True
                ) as response:
                    etag = response.headers.get("etag", "")
                break
            except StoreUnavailable:
                if attempt == _ATTEMPTS:
                    raise
            except StoreError as error:
                raise _Gone(str(error)) from error
        notes.arrived(part.number, etag)
        return replace(part, etag=etag)

    def _call(self, operation: str, upload: MultipartUpload, fields: dict[str, Any]) -> Json:
        folder, name = posixpath.split(upload.target)
        url = f"{upload.root}/mpu/{operation}/{quoted(folder)}"
        known = {"upload_id": upload.upload_id} if upload.upload_id else {}
        about = About("artifact", upload.target)
        # A server says what it does not like in a request, and there are the addresses of parts in this one.
        return self._http.post_to(url, {"path": name, **known, **fields}, about, discreet=operation == "complete")


def pieces(stream: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """Read a part of a stream in pieces."""
    stream.seek(start)
    while length > 0 and (piece := stream.read(min(_PIECE, length))):
        length -= len(piece)
        yield piece


def _begun(new: MultipartUpload, fields: wire.Fields) -> MultipartUpload:
    """Return an upload with the id and the parts that the server answered."""
    parts = [
        UploadPart(part.required_int64("part_number"), part.required_text("url"), part.texts_by_name("headers"))
        for part in fields.objects("credentials")
    ]
    parts.sort(key=lambda part: part.number)
    return replace(new, upload_id=fields.required_text("upload_id"), parts=tuple(parts))
