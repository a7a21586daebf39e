"""The place of a checkpoint. The last checkpoint stays intact until the next one is complete.

A job may be killed while the model saves. If the model overwrote the last checkpoint, neither would be usable then. Each
checkpoint is a folder of its own, so that it has the files of one save alone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

#: The folder of the last checkpoint. It is removed for the next one, so no other program may use the name.
_LAST = "mistk-checkpoint"

#: The folder that the model writes to.
_NEXT = ".mistk-next"

#: Links to the files of a complete checkpoint that is not in its place yet, and these links while they are made.
_COMPLETE, _LINKED = ".mistk-complete", ".mistk-linked"


def archive_at(url: str) -> str:
    """Return the URL of the archive that is the checkpoint, if its place is not on this machine."""
    return f"{url.rstrip('/')}/checkpoint.tar"


def last_checkpoint(place: Path) -> Path:
    """Return the folder of the last checkpoint, which exists if there is one."""
    return place / _LAST


def next_checkpoint(place: Path) -> Path:
    """Return the folder for the model to write to."""
    return place / _NEXT


def complete(place: Path) -> None:
    """Put what the model has written in the place of the last checkpoint.

    Raises:
        OSError: it cannot be put there.
    """
    # Links, since the files may still have to be stored with the run.
    shutil.copytree(place / _NEXT, place / _LINKED, symlinks=True, copy_function=_link)
    (place / _LINKED).rename(place / _COMPLETE)
    _put_in_place(place)


def recover(place: Path) -> None:
    """Finish or discard what an earlier job has left unfinished.

    Raises:
        OSError: a complete checkpoint cannot be put in its place.
    """
    _put_in_place(place)
    for name in (_NEXT, _LINKED):
        shutil.rmtree(place / name, ignore_errors=True)


def _put_in_place(place: Path) -> None:
    if (place / _COMPLETE).exists():
        shutil.rmtree(place / _LAST, ignore_errors=True)
        (place / _COMPLETE).rename(place / _LAST)


def _link(source: str, target: str) -> None:
    """Link a file, or copy it in a file system that has no links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
