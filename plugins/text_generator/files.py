"""Writing results so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from .errors import CannotWrite

__all__ = ["write_atomically"]


def write_atomically(folder: str | Path, name: str, content: bytes) -> Path:
    """Write ``content`` to the file ``name`` in ``folder``; whoever looks finds the old file or the new one, whole.

    Args:
        folder: made, with its parents, if it is not there.
        name: the name of the file.
        content: all of it.

    Returns:
        The path of the file.

    Raises:
        CannotWrite: the folder cannot be made, or the file not written; an old file is as it was.
    """
    folder = Path(folder)
    target = folder / name
    # Not a tempfile: those can be read by their owner only, and whoever collects the result is often another user.
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
    return (
        f"Cannot write {name} to {str(folder)!r}: {reason}. Expected a folder that can be written to, or can be made."
    )
