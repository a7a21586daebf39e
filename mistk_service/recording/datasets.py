"""Datasets as inputs of a run: name, location, and fingerprint."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from mistk_service.kinds.values import MistkDataset
from mistk_service.recording.spelling import text_of
from mistk_service.tracking.values import Dataset, DatasetInput, Tag
from mistk_service.tracking.values.limits import MAX_DATASET_NAME, MAX_DATASET_SCHEMA

logger = logging.getLogger(__name__)

#: Bytes of data that are read for the fingerprint; larger data is identified by the sizes and times of its files.
_SMALL = 32 << 20

#: Files of a folder that are examined.
_MAX_FILES = 100_000

#: Rows and columns of a table that are examined for its schema.
_ROWS, _MAX_COLUMNS = 100, 2000

#: Bytes of a table that are read for its schema.
_HEAD = 4 << 20

#: Seconds for examining the datasets of one call, however slow the file system is.
_TIME = 10.0

#: Folders in which the operating system describes itself: environments with secrets, memory, devices. They contain no data.
_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev")))

_PIECE = 1 << 20

#: A URL instead of a path, and the credentials in one.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
_USERINFO = re.compile(r"//[^/?#]*@")

#: MLflow's names for the roles of loadData.
_CONTEXTS = {"train": "training", "test": "testing", "generate": "generation"}


class _Examined(NamedTuple):
    """The result of an examination: fingerprint, columns, and numbers of files and bytes."""

    digest: str
    schema: str | None = None
    counts: Mapping[str, int] = {}


def dataset_inputs(
    datasets: Mapping[str, MistkDataset], note: Callable[[str], None] = logger.warning, *, seconds: float = _TIME
) -> list[DatasetInput]:
    """Return the datasets of ``loadData`` as inputs of a run.

    Args:
        datasets: role → dataset.
        note: called with a note about each dataset that could not be examined in time, of which the run has the path only.
        seconds: the time limit for all of them together.
    """
    deadline = time.monotonic() + seconds
    return [_input(role, dataset, note, deadline) for role, dataset in datasets.items()]


def _input(role: str, dataset: MistkDataset, note: Callable[[str], None], deadline: float) -> DatasetInput:
    path = dataset.data_path
    name = text_of(dataset.object_info.name or (_last_part(path) if path else "") or role)[:MAX_DATASET_NAME]
    described = {"format": dataset.format, "modality": dataset.modality}
    tags = [Tag(f"mistk.{key}", text_of(value)[:500]) for key, value in described.items() if value]
    context = Tag("mlflow.data.context", _CONTEXTS.get(role, role))
    return DatasetInput(_described(name, dataset, note, deadline), (*tags, context))


def _described(name: str, dataset: MistkDataset, note: Callable[[str], None], deadline: float) -> Dataset:
    path = dataset.data_path
    if path is None:
        source = json.dumps(dataset.to_wire(), ensure_ascii=False, default=str)[:60_000]
        return Dataset(name, _short_hash(source.encode()), "mistk", source)
    profile: dict[str, Any] = {} if dataset.statistics is None else dataset.statistics.to_wire()
    if (url := _URL.match(path)) is not None:
        return _elsewhere(name, path, url["scheme"].lower(), profile)
    place = Path(path).absolute()
    seen = _examine(place, dataset.format, deadline)
    if seen is None:
        note(f"The dataset {place} could not be examined in time; the run has its path only.")
        seen = _Examined(_short_hash(os.fsencode(place)))
    source = json.dumps({"uri": text_of(str(place))}, ensure_ascii=False)
    profile |= seen.counts
    return Dataset(name, seen.digest, "local", source, seen.schema, json.dumps(profile, default=str))


def _examine(place: Path, file_format: Any, deadline: float) -> _Examined | None:
    """Examine a file or a folder; return None if that takes too long.

    A file system that does not respond blocks a separate thread, and not the caller.
    """
    found: Future[_Examined] = Future()

    def look() -> None:
        try:
            digest, counts = _fingerprint(place, deadline)
            found.set_result(_Examined(digest, _schema(place, file_format), counts))
        except Exception as error:  # noqa: BLE001 - raised in the waiting thread
            found.set_exception(error)

    if time.monotonic() >= deadline:
        return None
    threading.Thread(target=look, name="tracking-dataset", daemon=True).start()
    try:
        return found.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return None


def _last_part(path: str) -> str:
    return Path(urlsplit(path).path if _URL.match(path) else path).name


def _elsewhere(name: str, address: str, scheme: str, profile: dict[str, Any]) -> Dataset:
    """Return data that the model fetches itself. It is identified by its URL, without credentials."""
    shown = text_of(_USERINFO.sub("//", address))
    # MLflow's names for kinds of sources, and the keys that it reads of each.
    kind, key = {"http": ("http", "url"), "https": ("http", "url"), "file": ("local", "uri")}.get(
        scheme, (scheme, "uri")
    )
    source = json.dumps({key: shown}, ensure_ascii=False)
    return Dataset(name, _short_hash(shown.encode()), kind, source, None, json.dumps(profile, default=str))


def _short_hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


# --- the fingerprint ----------------------------------------------------------------------------------------------


def _fingerprint(place: Path, deadline: float) -> tuple[str, dict[str, int]]:
    """Return a fingerprint of a file or a folder, and the number of its files and bytes.

    Small data is identified by its content, large data by the names, sizes and modification times of its files.

    Raises:
        TimeoutError: it took too long.
    """
    files = list(islice(_files(place, deadline), _MAX_FILES))
    size = sum(status.st_size for _, status in files)
    digest = hashlib.blake2b(digest_size=16)
    if not files:
        # A pipe, a device or an empty folder is identified by its path; they are not all the same data.
        digest.update(os.fsencode(place))
    for file, status in files:
        name = "" if file == place else str(file.relative_to(place))
        digest.update(f"{name}\0{status.st_size}\0".encode("utf-8", "surrogateescape"))
        if size > _SMALL or not _add_content(digest, file, deadline):
            digest.update(f"{status.st_mtime_ns}\0".encode())
    return digest.hexdigest(), {"files": len(files), "bytes": size}


def _files(place: Path, deadline: float) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the regular files with data at a path, in a stable order."""
    with suppress(OSError):
        if _is_system_folder(place):
            return
        status = place.stat()
        if stat.S_ISREG(status.st_mode):
            yield place, status
        elif stat.S_ISDIR(status.st_mode):
            for folder, subfolders, names in os.walk(place):
                subfolders[:] = sorted(name for name in subfolders if Path(folder, name) not in _SYSTEM)
                for name in sorted(names):
                    _in_time(deadline)
                    with suppress(OSError):
                        file = Path(folder, name)
                        status = file.stat()
                        if stat.S_ISREG(status.st_mode) and not (file.is_symlink() and _is_system_folder(file)):
                            yield file, status


def _is_system_folder(place: Path) -> bool:
    """Return whether a path leads, possibly over links, to a folder in which the operating system describes itself."""
    real = Path(os.path.realpath(place))
    return any(real.is_relative_to(folder) for folder in _SYSTEM)


def _in_time(deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise TimeoutError


def _opened(file: Path) -> tuple[BinaryIO, int]:
    """Open a regular file, and return it and its size; opening a pipe would block.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    stream = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode):
        stream.close()
        raise OSError("not a regular file")
    return stream, status.st_size


def _add_content(digest: hashlib.blake2b, file: Path, deadline: float) -> bool:
    """Add the contents of a file, up to its size: some virtual files never end."""
    try:
        stream, left = _opened(file)
        with stream:
            while left > 0 and (piece := stream.read(min(_PIECE, left))):
                digest.update(piece)
                left -= len(piece)
                _in_time(deadline)
    except TimeoutError:
        raise
    except OSError as error:
        logger.warning("The dataset's file %s cannot be read: %s", file, error)
        return False
    return True


# --- the schema ---------------------------------------------------------------------------------------------------


def _schema(place: Path, file_format: Any) -> str | None:
    """Return the columns of a table in MLflow's form, or None if the file is not a table with a header."""
    if "csv" not in (str(file_format or "").lower(), place.suffix.lower().lstrip(".")) or _is_system_folder(place):
        return None
    try:
        stream, size = _opened(place)
        with stream:
            data = stream.read(min(size, _HEAD))
        if b"\0" in data:  # no text, whatever it is called
            return None
        # A truncated character at the end is not an error of the table.
        beginning = io.StringIO(codecs.getincrementaldecoder("utf-8-sig")().decode(data, size <= _HEAD), newline="")
        head, *rows = islice(csv.reader(beginning), _ROWS + 1)
        if size > _HEAD and not beginning.read(1):
            rows.pop()  # it may have been cut off
    except (OSError, IndexError, ValueError, csv.Error):  # no text, no rows
        return None
    if not head or len(head) > _MAX_COLUMNS or len(set(head)) < len(head):
        return None
    columns = [
        {"type": _type([row[index] for row in rows if index < len(row)]), "name": name, "required": True}
        for index, name in enumerate(head)
    ]
    schema = json.dumps({"mlflow_colspec": columns}, ensure_ascii=False)
    return schema if len(schema) <= MAX_DATASET_SCHEMA else None


def _type(values: list[str]) -> str:
    for name, convert in (("long", int), ("double", float)):
        with suppress(ValueError):
            for value in values:
                convert(value)
            if values:
                return name
    return "string"
