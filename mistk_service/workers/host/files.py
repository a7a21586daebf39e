"""Whether a path that an operation names can be used, tried before the operation is accepted and any state changes.

Paths are looked at as the worker will see them, since both processes share folder and file system. URLs are the model's
business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mistk_service.errors import InvalidRequest
from mistk_service.workers.protocol import FileStamp

__all__ = ["LocalFiles", "contents_of", "on_thread", "remove_folders", "require_readable", "require_writable_folder"]

T = TypeVar("T")


#: How much of a path is repeated in a message.
_SHOWN = 200


#: Files of a folder that are looked at, and seconds for that. A folder that takes more is not one that something is saved to.
_MAX_FILES, _MAX_SECONDS = 100_000, 5.0


class LocalFiles:
    """The file system of this machine, used on threads: it may be slow, or never answer."""

    async def require_readable(self, path: str, field: str) -> None:
        """Check that there is something readable at a path."""
        await on_thread(require_readable, path, field)

    async def prepare_folder(
        self, path: str, field: str, reserved: Path | None
    ) -> tuple[Sequence[Path], Mapping[str, FileStamp] | None]:
        """Make sure that a folder exists and can be written, and return what was made and what lies there."""
        made = await on_thread(require_writable_folder, path, field, reserved)
        return made, await on_thread(contents_of, path, reserved)

    async def remove_folders(self, folders: Sequence[Path]) -> None:
        """Remove folders that were made in vain."""
        await on_thread(remove_folders, folders)


def contents_of(folder: str, without: Path | None = None) -> dict[str, FileStamp] | None:
    """Return the stamps of what lies in a folder, by paths below it; links are not followed, and have stamps themselves.

    Args:
        folder: where to look.
        without: a folder below it, without links, that is passed over.

    Returns:
        None where there is too much to look at.
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
    """Check that there is something readable at a path.

    Raises:
        InvalidRequest: there is not; the message says what stands in the way.
    """
    if "://" in text:
        return
    path = _path(text, field)
    try:
        if path.is_dir():
            os.scandir(path).close()
        else:
            # Without waiting: to open a named pipe takes as long as nobody writes to it.
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        raise InvalidRequest(
            f"{field}: {_short(text)} cannot be read ({error.strerror}); expected an existing file or folder that the service "
            f"may read. Relative paths start at {Path.cwd()}.",
            field=field,
        ) from error


def require_writable_folder(text: str, field: str, reserved: Path | None = None) -> list[Path]:
    """Make sure that a folder exists, creating it where it does not, and that files can be made in it.

    Args:
        text: the folder.
        field: what it is called in the request.
        reserved: a folder, without links, in which nobody may save anything.

    Returns:
        The folders that were made, the innermost first, for :func:`remove_folders`.

    Raises:
        InvalidRequest: it does not work; the message says what stands in the way.
    """
    if "://" in text:
        return []
    path = _path(text, field)
    if reserved is not None and Path(os.path.realpath(path)).is_relative_to(reserved):
        raise InvalidRequest(
            f"{field}: {_short(text)} is in the folder in which the service keeps its store and the artifacts ({reserved}); "
            "expected a folder elsewhere. What is saved is kept there among the artifacts of the run by itself.",
            field=field,
        )
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in reversed(missing):
            # What a model saves is for others too, other than what the service keeps for itself: as the folder around it is.
            folder.chmod(folder.parent.stat().st_mode & 0o755 | 0o700)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InvalidRequest(
            f"{field}: the folder {_short(text)} cannot be written ({error.strerror}); expected a folder that exists or "
            f"can be made. Relative paths start at {Path.cwd()}.",
            field=field,
        ) from error
    return missing


def remove_folders(folders: Sequence[Path]) -> None:
    """Remove folders that were made for nothing, unless something has been put there since."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


async def on_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Do something with the file system on a thread of its own.

    A file system may be slow, or never answer: that must hold neither the event loop nor, as asyncio's own threads would, the
    end of the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        result, failed = None, None
        try:
            result = work(*arguments)
        except Exception as error:  # noqa: BLE001 - it is raised where the future is awaited
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name="mistk-paths", daemon=True).start()
    return await future


def _path(text: str, field: str) -> Path:
    try:
        usable = bool(text) and "\0" not in os.fsdecode(os.fsencode(text))
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InvalidRequest(f"{field}: {_short(text)} is no path; expected the path of a file or folder.", field=field)
    return Path(text)


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
