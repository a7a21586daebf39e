"""Writes results atomically."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from .errors import CannotWrite

__all__ = ["write_atomically"]


def write_atomically(folder: str | Path, name: str, content: bytes) -> Path:
    """Write ``content`` to the file ``name`` in ``folder``; readers see either the complete old file or the complete new one.

    Args:
        folder: created with its parents if it does not exist.
        name: the name of the file.
        content: all of it.

    Returns:
        The path of the file.

    Raises:
        CannotWrite: the folder cannot be created or the file cannot be written; an old file is unchanged.
    """
    folder = Path(folder)
    target = folder / name
    # Not a tempfile, which only its owner can read: the result is often read by another user.
    draft = folder / f".{name}.{uuid.uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise CannotWrite(_explain(folder, name, error)) from error
    return target


def _explain(folder: Path, name: str, error: OSError) -> str:
    reason = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = f"{error.filename or folder} is a file and not a folder"
    return f"Cannot write {name} to {str(folder)!r}: {reason}. Expected a folder that can be written to or created."
