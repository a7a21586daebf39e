"""Which containers live: each holds a lock on a file of its own for as long as its process does.

However a process ends, by ``kill -9`` too, the system lets go of its locks. So a file that can be locked belonged to a
container that has ended without putting things in order, and whoever finds it can do that in its place. Where the files are
out of sight, as those of a container on another machine are, nothing is concluded.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["ContainerLock", "dead_containers"]

logger = logging.getLogger(__name__)

_SUFFIX = ".lock"


class ContainerLock:
    """The lock of this container.

    Args:
        folder: where the locks of all containers are.
        container_id: this one.
    """

    def __init__(self, folder: Path, container_id: str) -> None:
        self._path = folder / f"{container_id}{_SUFFIX}"
        self._file: int | None = None

    def hold(self) -> bool:
        """Take the lock; return False where that is not possible, and nobody will know whether this container lives."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Whoever looks for dead containers may see the file before it is locked, and remove it.
            while self._file is None:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                fcntl.flock(file, fcntl.LOCK_EX)
                if _is_at(file, self._path):
                    self._file = file
                else:
                    os.close(file)
        except OSError as error:
            logger.warning("The container's lock %s cannot be had: %s", self._path, error.strerror)
            return False
        return True

    def release(self) -> None:
        """Give the lock back: everything is in order."""
        if self._file is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def abandon(self) -> None:
        """Let go of the lock and leave the file: others have to put things in order."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def dead_containers(folder: Path) -> Iterator[dict[str, int]]:
    """Give the ids of containers that have ended without putting things in order, and when their lock was last written.

    That is when they began, in ms since 1970. Nobody else is given the same ones meanwhile. Unless the block raises, they
    are not found again.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    held: dict[Path, int] = {}
    try:
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            with suppress(OSError):
                if (file := _lock_of_the_dead(path)) is not None:
                    held[path] = file
        yield {path.name.removesuffix(_SUFFIX): os.fstat(file).st_mtime_ns // 1_000_000 for path, file in held.items()}
        for path in held:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    finally:
        for file in held.values():
            os.close(file)


def _lock_of_the_dead(path: Path) -> int | None:
    """Return the file, locked, or None where its owner lives."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    if not _is_at(file, path):
        os.close(file)
        return None
    return file


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
