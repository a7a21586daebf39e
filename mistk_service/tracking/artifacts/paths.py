"""The paths of artifacts, as clients send them, checked before anything is opened.

A checked path lies below the root, except for symbolic links, which the repository checks.
"""

from __future__ import annotations

import re
from pathlib import PureWindowsPath
from urllib.parse import unquote

from mistk_service.tracking.errors import InvalidParameter

#: The folder below the root for unfinished uploads. Clients can neither read nor write it.
SCRATCH = ".incomplete-uploads"

#: How many times a path may be percent-encoded; more is rejected as an attack.
_MAX_ENCODINGS = 5

#: The maximum depth of a path, and its maximum length in bytes: limits of file systems, with room for the root.
_MAX_LEVELS, _MAX_BYTES = 100, 3000

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked_path(path: str) -> str:
    """Return ``path`` in its normal form: relative, ``/``-separated, without empty parts and ``.``; "" is the root.

    Args:
        path: a path after the single decoding that HTTP requires.

    Raises:
        InvalidParameter: the path, or what a further percent-decoding would make of it, is absolute or contains ``..``, or has
            control characters or backslashes, or is too long, or is reserved for the server.
    """
    if path.count("/") >= 2 * _MAX_LEVELS or len(path.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        raise _too_long(path)
    form = path
    for _ in range(_MAX_ENCODINGS):
        _refuse_unsafe(form, path)
        decoded = unquote(form)
        if decoded == form:
            break
        form = decoded
    else:
        raise _invalid(path, "it is percent-encoded several times")
    parts = _parts(path)
    if len(parts) > _MAX_LEVELS:
        raise _too_long(path)
    # Some file systems ignore the letter case.
    if parts and parts[0].lower() == SCRATCH:
        raise _invalid(path, f"the folder {SCRATCH} belongs to the server")
    return "/".join(parts)


def checked_file(path: str) -> str:
    """Do the same for the path of a file or a folder to write or remove, which is not the root.

    Raises:
        InvalidParameter: as for :func:`checked_path`, or the path is the root.
    """
    checked = checked_path(path)
    if not checked:
        raise _invalid(path, "the root itself is not an artifact")
    return checked


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _refuse_unsafe(form: str, path: str) -> None:
    if _CONTROL.search(form):
        raise _invalid(path, "it has control characters")
    if "\\" in form:
        raise _invalid(path, "it has a backslash; folders are separated by /")
    relative = "/".join(_parts(form))
    if form.startswith("/") or PureWindowsPath(relative).drive or relative.lower().startswith("file:"):
        raise _invalid(path, "it is absolute; expected a path relative to the artifact root")
    if ".." in form.split("/"):
        raise _invalid(path, "it contains '..'")


def _too_long(path: str) -> InvalidParameter:
    return _invalid(f"{path[:80]}...", f"it has more than {_MAX_LEVELS} levels or {_MAX_BYTES} bytes")


def _invalid(path: str, reason: str) -> InvalidParameter:
    return InvalidParameter(f"Invalid path {path!r}: {reason}.", field="path")
