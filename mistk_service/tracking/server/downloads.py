"""A stored file as an HTTP response: types, validators, ranges."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from email.utils import formatdate
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from mistk_service.tracking.artifacts import StoredFile

#: Bytes that are read at once.
_PIECE = 1 << 20

#: A file name that needs no quotes.
_TOKEN = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]+")
_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))", re.ASCII)

#: Names and extensions that are served as plain text, which MLflow's pages expect.
_TEXT_NAMES = frozenset({"mlmodel", "mlproject"})
_TEXT_ENDINGS = frozenset(
    "cf cfg cnf conf csv err hocon ini ipynb js json log md prop properties "
    "py py3 rst toml tsv txt xml yaml yml".split()
)


def content_type(name: str) -> str:
    """Return the media type for a file's name."""
    _, dot, ending = name.rpartition(".")
    if name.lower() in _TEXT_NAMES or (dot and ending in _TEXT_ENDINGS):
        return "text/plain"
    guessed, encoding = mimetypes.guess_type(name)
    # A compressed tar archive counts as an archive, as in MLflow; any other compressed file is served as bytes.
    return guessed if guessed and (not encoding or guessed == "application/x-tar") else "application/octet-stream"


def file_response(stored: StoredFile, method: str, headers: Headers, executor: Executor) -> Response:
    """Return the response that sends a file, or the part that the request asks for; the response closes the file.

    Args:
        stored: the file.
        method: ``GET``, or ``HEAD`` for the headers alone.
        headers: of the request; Range (one range), If-Range and If-None-Match are supported.
        executor: reads the file.
    """
    answer = _headers(stored)
    if _matches(headers.get("if-none-match"), answer["etag"]):
        stored.stream.close()
        return Response(status_code=304, headers={"etag": answer["etag"]})
    span = _span(stored.size, answer, headers)
    if span is None:
        stored.stream.close()
        return Response(status_code=416, headers={"content-range": f"bytes */{stored.size}"})
    start, stop = span
    answer["content-length"] = str(stop - start)
    partial = span != (0, stored.size)
    if partial:
        answer["content-range"] = f"bytes {start}-{stop - 1}/{stored.size}"
    status = 206 if partial else 200
    if method == "HEAD":
        stored.stream.close()
        return Response(status_code=status, headers=answer, media_type=answer["content-type"])
    return StreamingResponse(_pieces(stored, start, stop, executor), status, answer)


async def _pieces(stored: StoredFile, start: int, stop: int, executor: Executor) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    with stored:
        await loop.run_in_executor(executor, stored.stream.seek, start)
        rest = stop - start
        while rest > 0:
            piece = await loop.run_in_executor(executor, stored.stream.read, min(rest, _PIECE))
            if not piece:
                # A client might take fewer bytes than announced for the whole file.
                raise OSError(f"{stored.name} ended {rest} bytes early")
            rest -= len(piece)
            yield piece


def _headers(stored: StoredFile) -> dict[str, str]:
    headers = {
        "content-type": content_type(stored.name),
        # A page among the artifacts must not run as a page of this server.
        "content-disposition": f"attachment; {filename(stored.name)}",
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": f'"{stored.etag}"',
    }
    if stored.modified is not None:
        headers["last-modified"] = formatdate(stored.modified, usegmt=True)
    return headers


def filename(name: str) -> str:
    """Return the parameter of the header Content-Disposition for a file's name."""
    if _TOKEN.fullmatch(name):
        return f"filename={name}"
    plain = name.isascii() and not set(name) & set('"\\%')
    return f'filename="{name}"' if plain else f"filename*=UTF-8''{quote(name, safe='')}"


def _matches(condition: str | None, etag: str) -> bool:
    if condition is None:
        return False
    wanted = {part.strip().removeprefix("W/") for part in condition.split(",")}
    return etag in wanted or "*" in wanted


def _span(size: int, answer: dict[str, str], headers: Headers) -> tuple[int, int] | None:
    """Return the first byte to send and the one after the last, or None where the range lies outside the file."""
    match = _RANGE.fullmatch(headers.get("range", "").strip())
    condition = headers.get("if-range")
    # Several ranges, or a range of another version of the file, are answered with the whole file.
    if match is None or (condition is not None and condition not in (answer["etag"], answer.get("last-modified"))):
        return 0, size
    first, last, suffix = match.groups()
    if suffix is not None:
        return (max(size - int(suffix), 0), size) if int(suffix) and size else None
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return 0, size
    return (start, stop) if start < size else None
