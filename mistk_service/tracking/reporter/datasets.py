"""Datasets as inputs of a run: what they are called, where they are, and a fingerprint."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mistk_service.tracking.entities import Dataset, DatasetInput, Tag
from mistk_service.tracking.limits import MAX_DATASET_NAME, MAX_DATASET_SCHEMA
from mistk_service.tracking.reporter.names import text_of

__all__ = ["dataset_inputs"]

logger = logging.getLogger(__name__)

#: Bytes of data that are read for the fingerprint; of more, sizes and times of the files have to do.
_SMALL = 32 << 20

#: Files of a folder that are looked at.
_MAX_FILES = 100_000

#: Rows and columns of a table that are looked at for its schema.
_ROWS, _MAX_COLUMNS = 100, 2000

#: Characters of a table that are read for that, however long its rows are.
_HEAD = 4 << 20

_PIECE = 1 << 20

#: What is no path of this machine, and what of it stands before the host.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
_USERINFO = re.compile(r"//[^/?#]*@")

#: The roles of loadData in MLflow's words.
_CONTEXTS = {"train": "training", "test": "testing", "generate": "generation"}


def dataset_inputs(datasets: Mapping[str, Mapping[str, Any]]) -> list[DatasetInput]:
    """Return the inputs that datasets, as ``loadData`` brings them, are for a run.

    Args:
        datasets: role → dataset as the wire has it.
    """
    return [_input(role, dataset) for role, dataset in datasets.items()]


def _input(role: str, dataset: Mapping[str, Any]) -> DatasetInput:
    path = dataset.get("dataPath", dataset.get("data_path"))
    info = dataset.get("objectInfo") or dataset.get("object_info") or {}
    name = text_of(info.get("name") or (_last_part(path) if path else "") or role)[:MAX_DATASET_NAME]
    tags = [Tag("mlflow.data.context", _CONTEXTS.get(role, role))]
    tags += [Tag(f"mistk.{key}", text_of(dataset[key])[:500]) for key in ("format", "modality") if dataset.get(key)]
    if path is None:
        source = json.dumps(dict(dataset), ensure_ascii=False, default=str)[:60_000]
        return DatasetInput(Dataset(name, _short_hash(source.encode()), "mistk", source), tuple(tags))
    profile: dict[str, Any] = dict(dataset.get("statistics") or {})
    if (url := _URL.match(path)) is not None:
        return DatasetInput(_elsewhere(name, path, url["scheme"].lower(), profile), tuple(sorted(tags, key=_key)))
    place = Path(path).absolute()
    digest = _fingerprint(place, profile)
    source = json.dumps({"uri": text_of(str(place))}, ensure_ascii=False)
    schema = _schema(place, dataset.get("format"))
    return DatasetInput(
        Dataset(name, digest, "local", source, schema, json.dumps(profile, default=str)), tuple(sorted(tags, key=_key))
    )


def _last_part(path: str) -> str:
    return Path(urlsplit(path).path if _URL.match(path) else path).name


def _elsewhere(name: str, address: str, scheme: str, profile: dict[str, Any]) -> Dataset:
    """Return data that the model fetches itself, known by its address alone, in which there may be a password."""
    shown = text_of(_USERINFO.sub("//", address))
    # MLflow's names for kinds of sources, and the keys that it reads of each.
    kind, key = {"http": ("http", "url"), "https": ("http", "url"), "file": ("local", "uri")}.get(
        scheme, (scheme, "uri")
    )
    source = json.dumps({key: shown}, ensure_ascii=False)
    return Dataset(name, _short_hash(shown.encode()), kind, source, None, json.dumps(profile, default=str))


def _key(tag: Tag) -> str:
    return tag.key


def _short_hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


# --- the fingerprint ----------------------------------------------------------------------------------------------


def _fingerprint(place: Path, profile: dict[str, Any]) -> str:
    """Return a fingerprint of a file or a folder, and put the number of files and bytes into ``profile``.

    Small data is identified by its content; of much, only names, sizes and times of change are looked at.
    """
    files = list(islice(_files(place), _MAX_FILES))
    size = sum(status.st_size for _, status in files)
    profile |= {"files": len(files), "bytes": size}
    digest = hashlib.blake2b(digest_size=16)
    if not files:
        # Nothing is known of a pipe, a device or an empty folder but where it is; they are not all the same data.
        digest.update(str(place).encode("utf-8", "surrogateescape"))
    for file, status in files:
        name = "" if file == place else str(file.relative_to(place))
        digest.update(f"{name}\0{status.st_size}\0".encode("utf-8", "surrogateescape"))
        if size > _SMALL or not _add_content(digest, file):
            digest.update(f"{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _files(place: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the regular files at a place, in an order that is always the same."""
    with suppress(OSError):
        status = place.stat()
        if stat.S_ISREG(status.st_mode):
            yield place, status
        elif stat.S_ISDIR(status.st_mode):
            for folder, subfolders, names in os.walk(place):
                subfolders.sort()
                for name in sorted(names):
                    with suppress(OSError):
                        file = Path(folder, name)
                        status = file.stat()
                        if stat.S_ISREG(status.st_mode):
                            yield file, status


def _add_content(digest: hashlib.blake2b, file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        logger.warning("The dataset's file %s cannot be read: %s", file, error)
        return False
    return True


# --- the schema ---------------------------------------------------------------------------------------------------


def _schema(place: Path, file_format: Any) -> str | None:
    """Return the columns of a table in MLflow's form, or None for what is no table with a head."""
    if "csv" not in (str(file_format or "").lower(), place.suffix.lower().lstrip(".")):
        return None
    try:
        if not place.is_file():  # who opens a pipe waits for its other end
            return None
        with place.open(newline="", encoding="utf-8-sig") as stream:
            beginning = io.StringIO(stream.read(_HEAD), newline="")
            is_all = not stream.read(1)
        head, *rows = islice(csv.reader(beginning), _ROWS + 1)
        if not is_all and not beginning.read(1):
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
