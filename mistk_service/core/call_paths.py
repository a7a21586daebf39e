"""Checks the paths in a call: files to read have to be readable, and folders to write to are created."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mistk_service.errors import InvalidRequest
from mistk_service.kinds.call import STORE_URIS, Call
from mistk_service.workers.protocol import Files, FileStamp

#: Returns the path and the URI of stored files, given their URI and the name of the field.
StoredPath = Callable[[str, str], Awaitable[tuple[str, str]]]


class CallPaths:
    """Checks the paths in calls.

    Args:
        stored_path: finds the files of ``models:/...`` and ``runs:/...``; None without a tracking store.
        reserved: a folder to which nothing may be saved.
    """

    def __init__(self, stored_path: StoredPath | None, reserved: str | None) -> None:
        self._find = stored_path
        self._reserved = None if reserved is None else Path(os.path.realpath(reserved))

    async def readable(self, call: Call, files: Files) -> tuple[tuple[Any, ...], tuple[str, str] | None]:
        """Return the arguments with readable paths: URIs of files in the store are replaced by their paths.

        Also returns the name and the version of the registered model that is read, if there is one.

        Raises:
            InvalidRequest: a path is not readable, or a URI is not known.
        """
        found: dict[str, str] = {}
        registered: tuple[str, str] | None = None
        for field, path in call.reads.items():
            if path.startswith(STORE_URIS):
                found[path], uri = await self._stored(path, field)
                name, _, version = uri.removeprefix("models:/").partition("/")
                registered = (name, version) if uri.startswith("models:/") and version else registered
            await files.require_readable(found.get(path, path), field)
        return tuple(_replaced(each, found) for each in call.arguments), registered

    async def writable(self, call: Call, files: Files) -> tuple[list[Path], Mapping[str, FileStamp] | None]:
        """Make sure that the folders to write to exist.

        Returns:
            The folders that were created, and the stamps of the files that are in the last one, see
            :meth:`~mistk_service.workers.protocol.Files.prepare_folder`.

        Raises:
            InvalidRequest: a folder cannot be used.
        """
        created: list[Path] = []
        stamps: Mapping[str, FileStamp] | None = {}
        for field, path in call.writes.items():
            folders, stamps = await files.prepare_folder(path, field, self._reserved)
            created += folders
        return created, stamps

    async def _stored(self, uri: str, field: str) -> tuple[str, str]:
        if self._find is None:
            raise InvalidRequest(
                f"{field}: {uri[:200]!r} is a model of a tracking store, but this service runs without one (--no-tracking); "
                "expected the path of a file or folder.",
                field=field,
            )
        return await self._find(uri, field)


def _replaced(value: Any, paths: Mapping[str, str]) -> Any:
    """Return an argument, a path or an object of them, with other paths."""
    if isinstance(value, dict):
        return {key: _replaced(each, paths) for key, each in value.items()}
    return paths.get(value, value) if isinstance(value, str) else value
