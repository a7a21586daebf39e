"""Checks of the paths that an operation names, made before the operation is accepted and the state changes.

Paths are checked as the worker will see them, since both processes share the working directory and the file system. URLs are
left to the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from mistk_service.errors import InvalidRequest
from mistk_service.kinds.call import STORE_URIS
from mistk_service.logs import encodable
from mistk_service.workers.protocol import FileStamp

T = TypeVar("T")

#: The maximum number of files to list in a folder, and the maximum seconds for it. Larger folders are not listed.
_MAX_FILES, _MAX_SECONDS = 100_000, 5.0


class LocalFiles:
    """The file system of this machine, used on threads: it may be slow, or may never respond."""

    async def require_readable(self, path: str, field: str) -> None:
        """Check on a thread that a path exists and is readable."""
        await on_thread(require_readable, path, field)

    async def prepare_folder(
        self, path: str, field: str, reserved: Path | None
    ) -> tuple[Sequence[Path], Mapping[str, FileStamp] | None]:
        """Make sure on a thread that a folder exists and is writable; return what was created and what the folder contains."""
        made = await on_thread(require_writable_folder, path, field, reserved)
        return made, await on_thread(contents_of, path, reserved)

    async def remove_folders(self, folders: Sequence[Path]) -> None:
        """Remove on a thread the folders that were created for a call that was refused."""
        await on_thread(remove_folders, folders)


def contents_of(folder: str, without: Path | None = None) -> dict[str, FileStamp] | None:
    """Return the stamps of the files in a folder, by relative path. Links are not followed and have their own stamps.

    Args:
        folder: the folder.
        without: a folder below it to skip, as a path without links.

    Returns:
        None if there are too many files.
    """
    found: dict[str, FileStamp] = {}
    deadline = time.monotonic() + _MAX_SECONDS
    for current, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(current, name))]
        if without is not None:
            folders[:] = [name for name in folders if os.path.realpath(os.path.join(current, name)) != str(without)]
        for name in (*names, *links):
            path = os.path.join(current, name)
            with contextlib.suppress(OSError):
                found[os.path.relpath(path, folder)] = FileStamp.of(os.lstat(path))
        if len(found) > _MAX_FILES or time.monotonic() > deadline:
            return None
    return found


def require_readable(text: str, field: str) -> None:
    """Check that a path exists and is readable.

    Raises:
        InvalidRequest: it does not exist or is not readable; the message says why.
    """
    if "://" in text:
        return
    path = _path(text, field)
    try:
        if path.is_dir():
            os.scandir(path).close()
        else:
            # Non-blocking, since opening a named pipe blocks until there is a writer.
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        raise InvalidRequest(
            f"{field}: {text[:200]!r} cannot be read ({error.strerror}); expected an existing file or folder that the service "
            f"may read. Relative paths start at {_current_folder()}.",
            field=field,
        ) from error


def require_writable_folder(text: str, field: str, reserved: Path | None = None) -> list[Path]:
    """Make sure that a folder exists, creating it if necessary, and that files can be created in it.

    Args:
        text: the folder.
        field: its name in the request.
        reserved: a folder to which nothing may be saved, as a path without links.

    Returns:
        The folders that were created, innermost first, for :func:`remove_folders`.

    Raises:
        InvalidRequest: the folder cannot be used; the message says why.
    """
    if text.startswith(STORE_URIS):
        raise InvalidRequest(
            f"{field}: {text[:200]!r} is in the tracking store, where nothing can be saved by its name; expected the path of "
            "a folder.",
            field=field,
        )
    if "://" in text:
        return []
    path = _path(text, field)
    try:
        if reserved is not None and Path(os.path.realpath(path)).is_relative_to(reserved):
            raise InvalidRequest(
                f"{field}: {text[:200]!r} is in the folder where the service keeps its store and artifacts ({reserved}); "
                "expected another folder. The service stores a copy with the artifacts of the run.",
                field=field,
            )
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in reversed(missing):
            # Others may read what a model saves, unlike the service's own files. So the folder inherits permissions.
            folder.chmod(folder.parent.stat().st_mode & 0o755 | 0o700)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InvalidRequest(
            f"{field}: the folder {text[:200]!r} cannot be written ({error.strerror}); expected a folder that exists or "
            f"can be created. Relative paths start at {_current_folder()}.",
            field=field,
        ) from error
    return missing


def remove_folders(folders: Sequence[Path]) -> None:
    """Remove folders that were created for a call that was refused, unless they are no longer empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


async def on_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Call a function of the file system on a separate thread.

    A file system may be slow or may never respond. That must block neither the event loop nor, as asyncio's own threads would,
    the end of the process.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001 - it is raised where the future is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="mistk-paths", daemon=True).start()
    return await asyncio.wrap_future(future)


def _current_folder() -> str:
    try:
        return encodable(str(Path.cwd()))
    except FileNotFoundError:
        return "the current folder of the service, which was deleted"


def _path(text: str, field: str) -> Path:
    try:
        usable = bool(text) and "\0" not in os.fsdecode(os.fsencode(text))
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InvalidRequest(
            f"{field}: {text[:200]!r} is not a path; expected the path of a file or folder.", field=field
        )
    return Path(text)
