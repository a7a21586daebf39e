"""Large files in parts, straight to the storage behind a tracking server that offers it.

The server says where each part is to go; it does not pass through the server itself. A part that gets lost is sent again, not
the file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from mistk_service.tracking.errors import InvalidParameter, NotSupported, StoreError, StoreUnavailable
from mistk_service.tracking.rest.readers import read
from mistk_service.tracking.rest.transport import About, Json, Transport
from mistk_service.tracking.rest.urls import quoted

__all__ = ["PART", "MultipartUploads", "pieces"]

#: Bytes of a part. Storages want at least 5 MiB of each but the last, and at most 10,000 of them.
PART = 64 << 20
_MAX_PARTS = 10_000
#: How often a part is sent.
_ATTEMPTS = 3
#: Bytes that are read and sent at once.
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class _Part:
    """Where a part goes.

    Attributes:
        number: from 1.
        url: made for this one upload; who has it may write.
        headers: to be sent along.
    """

    number: int
    url: str
    headers: dict[str, str]


class MultipartUploads:
    """The way to upload in parts that a tracking server offers, or does not.

    Args:
        transport: sends the requests.
        root: the URL of ``mlflow-artifacts``.
    """

    def __init__(self, transport: Transport, root: str) -> None:
        self._http = transport
        self._root = root

    def send(self, path: str, stream: BinaryIO, size: int, part_size: int = PART) -> None:
        """Send a file.

        Args:
            path: where it is to be, below the server's root.
            stream: the content.
            size: its bytes.
            part_size: bytes of a part.

        Raises:
            NotSupported: the server does not offer it; nothing was sent.
            StoreError: as for any request; nothing of the file is kept.
        """
        part_size = max(part_size, -(-size // _MAX_PARTS))
        upload_id, parts = self._create(path, -(-size // part_size))
        try:
            done = [
                self._send_part(path, part, stream, index * part_size, min(part_size, size - index * part_size))
                for index, part in enumerate(parts)
            ]
            self._call("complete", path, {"upload_id": upload_id, "parts": done})
        except BaseException:
            with suppress(StoreError):
                self._call("abort", path, {"upload_id": upload_id})
            raise

    def _create(self, path: str, number: int) -> tuple[str, list[_Part]]:
        try:
            answer = self._call("create", path, {"num_parts": number})
        except InvalidParameter as error:
            # Servers older than the protocol take the path for that of a file.
            raise NotSupported(f"{self._http.server} takes files in one piece only.") from error
        upload_id = read(lambda found: str(found["upload_id"]), answer)
        parts = read(lambda found: sorted(map(_part, found["credentials"]), key=lambda part: part.number), answer)
        if [part.number for part in parts] != list(range(1, number + 1)):
            raise NotSupported(f"{self._http.server} offers {len(parts)} parts where {number} were asked for.")
        return upload_id, parts

    def _send_part(self, path: str, part: _Part, stream: BinaryIO, start: int, length: int) -> Json:
        about = About("artifact", path)
        headers = {**part.headers, "Content-Length": str(length)}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                content = pieces(stream, start, length)
                with self._http.exchange("PUT", part.url, about, content=content, headers=headers) as response:
                    return {"part_number": part.number, "etag": response.headers.get("etag", ""), "url": part.url}
            except StoreUnavailable:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("a part is sent or an error is raised")

    def _call(self, operation: str, path: str, fields: dict[str, Any]) -> Json:
        folder, name = posixpath.split(path)
        url = f"{self._root}/mpu/{operation}/{quoted(folder)}"
        return self._http.post_to(url, {"path": name, **fields}, About("artifact", path))


def pieces(stream: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """Read a part of a stream in pieces."""
    stream.seek(start)
    while length > 0 and (piece := stream.read(min(_PIECE, length))):
        length -= len(piece)
        yield piece


def _part(item: Json) -> _Part:
    headers = {str(name): str(value) for name, value in (item.get("headers") or {}).items()}
    return _Part(int(item["part_number"]), str(item["url"]), headers)
