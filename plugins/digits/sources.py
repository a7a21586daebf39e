"""Sources of images: a table, lines of JSON, a URL, or the files that appear in a folder."""

from __future__ import annotations

import json
import queue
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np

from .csv_table import parse_csv
from .errors import BadRecord, BadSource, UnreadableData
from .images import PIXELS, Images
from .reader import read_images
from .records import decode_records, encode_record

__all__ = ["FORMATS", "read_source"]

FORMATS = ("csv", "ndjson")

#: Images in one update.
_CHUNK = 64

#: Default seconds between two checks of a folder or a URL.
_EVERY = 0.2

#: Seconds to wait for a server.
_TIMEOUT = 30.0

#: Images, an error by the name of its file, or None if there is nothing new.
Found = Images | dict[str, dict[str, str]] | None


def read_source(source: str, form: str | None, props: dict[str, Any]) -> Iterator[Found]:
    """Yield the images of a source.

    Args:
        source: a file, a folder, or a URL with http or https.
        form: one of :data:`FORMATS`; None for the format of the suffix, or CSV.
        props: ``poll_seconds``, a number above 0, is the time between two checks of a folder.

    Raises:
        BadSource: it cannot be read, or the format or a property is unknown.
        UnreadableData: a table or a line is not made of images; the message says where.
    """
    if form not in (None, *FORMATS):
        raise BadSource(f"format: {form!r} is not known; expected {' or '.join(FORMATS)}.", field="format")
    if unknown := props.keys() - {"poll_seconds"}:
        raise BadSource(f"props: {sorted(unknown)} are not known; expected poll_seconds alone.", field="props")
    every = props.get("poll_seconds", _EVERY)
    if not isinstance(every, int | float) or isinstance(every, bool) or not 0 < every <= 3600:
        raise BadSource(
            f"props.poll_seconds: {every!r} is not a number of seconds above 0.", field="props.poll_seconds"
        )
    if source.startswith(("http://", "https://")):
        return _from_url(source, form)
    path = Path(source.removeprefix("file://"))
    if path.is_dir():
        return _watched(path, form, every)
    return _from_file(path, form)


def _form_of(name: str, form: str | None) -> str:
    return form or ("ndjson" if name.lower().endswith((".ndjson", ".jsonl")) else "csv")


def _from_file(path: Path, form: str | None) -> Iterator[Found]:
    if _form_of(path.name, form) == "csv":
        yield from _chunks(read_images(path))
        return
    try:
        with path.open(encoding="utf-8") as file:
            yield from _lines(file, repr(str(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise BadSource(f"source: {str(path)!r} cannot be read: {error}.", field="source") from error


def _chunks(images: Images) -> Iterator[Images]:
    for start in range(0, len(images), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        yield Images(images.ids[chunk], images.pixels[chunk], None)


def _lines(lines: Iterable[str | None], name: str) -> Iterator[Found]:
    """Yield the images of each line, an object of identifier → record; a record is base64 or a list of 64 numbers."""
    for number, line in enumerate(lines, 1):
        if line is None or not line.strip():
            yield None
            continue
        try:
            records = json.loads(line)
            given = {key: _as_record(value) for key, value in records.items()}
            yield Images(tuple(given), decode_records(given), None)
        except (ValueError, AttributeError, TypeError, BadRecord) as error:
            raise UnreadableData(
                f'{name}, line {number}: expected an object such as {{"id": "base64 of an image"}} or {{"id": [64 numbers]}}: '
                f"{error}"
            ) from error


def _as_record(value: Any) -> str:
    return encode_record(np.array(value, dtype=float)) if isinstance(value, list) and len(value) == PIXELS else value


def _from_url(url: str, form: str | None) -> Iterator[Found]:
    try:
        response = urllib.request.urlopen(url, timeout=_TIMEOUT)  # noqa: S310 - the caller has checked the scheme
    except (URLError, OSError, ValueError) as error:
        raise BadSource(f"source: {url!r} cannot be read: {error}.", field="source") from error
    with response:
        is_lines = "ndjson" in (response.headers.get("Content-Type") or "")
        if _form_of(url.partition("?")[0], form or ("ndjson" if is_lines else None)) == "ndjson":
            yield from _lines(_lines_of_response(response), url)
        else:
            text = "".join(line or "" for line in _lines_of_response(response))
            yield from _chunks(parse_csv(text, url))


def _lines_of_response(response: Iterable[bytes]) -> Iterator[str | None]:
    """Yield the lines of a response, and None while there is no new one. A thread waits for them, so the model can stop."""
    lines: queue.Queue[str | Exception] = queue.Queue(maxsize=1000)

    def read() -> None:
        try:
            for line in response:
                lines.put(line.decode())
            lines.put(EOFError())
        except Exception as error:  # noqa: BLE001 - it belongs to the reader of the lines
            lines.put(error)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_EVERY)
        except queue.Empty:
            yield None
            continue
        if isinstance(line, EOFError):
            return
        if isinstance(line, Exception):
            raise UnreadableData(f"The connection to the source broke: {line}.") from line
        yield line


def _watched(folder: Path, form: str | None, every: float) -> Iterator[Found]:
    """Yield the images of each file of a folder, now and later, once it has stopped growing. Identifiers are FILE/ID."""
    done: set[str] = set()
    sizes: dict[str, tuple[int, int]] = {}
    waiting = threading.Event()
    while True:
        try:
            entries = {each.name: each.stat() for each in sorted(folder.iterdir()) if _is_image_file(each)}
        except OSError as error:
            raise BadSource(f"source: the folder {str(folder)!r} cannot be read: {error}.", field="source") from error
        for name, stat in entries.items():
            size = (stat.st_size, stat.st_mtime_ns)
            if name not in done and sizes.get(name) == size:
                done.add(name)
                yield from _named(folder / name, form)
            sizes[name] = size
        yield None
        waiting.wait(every)


def _is_image_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() in (
        ".csv", ".tsv", ".txt", ".npz", ".gz", ".ndjson", ".jsonl",
    )  # fmt: skip


def _named(file: Path, form: str | None) -> Iterator[Found]:
    try:
        for found in _from_file(file, form):
            if isinstance(found, Images):
                yield Images(tuple(f"{file.name}/{each}" for each in found.ids), found.pixels, None)
    except (BadSource, UnreadableData) as error:
        yield {file.name: {"error": str(error)}}
