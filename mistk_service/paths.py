"""Whether a path that an operation names can be used, tried before the operation is accepted and any state changes.

Paths are looked at as the worker will see them, since both processes share folder and file system. URLs are the model's
business.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mistk_service.errors import InvalidRequest

__all__ = ["require_readable", "require_writable_folder"]


#: How much of a path is repeated in a message.
_SHOWN = 200


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


def require_writable_folder(text: str, field: str) -> None:
    """Make sure that a folder exists, creating it where it does not, and that files can be made in it.

    Raises:
        InvalidRequest: it does not work; the message says what stands in the way.
    """
    if "://" in text:
        return
    path = _path(text, field)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InvalidRequest(
            f"{field}: the folder {_short(text)} cannot be written ({error.strerror}); expected a folder that exists or "
            f"can be made. Relative paths start at {Path.cwd()}.",
            field=field,
        ) from error


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
