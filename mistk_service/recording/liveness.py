"""Liveness of containers: each holds a lock on its own file as long as its process lives.

The operating system releases the locks of a process however it ends, ``kill -9`` included. So a file that can be locked
belonged to a container that ended without cleaning up, and another container can clean up for it. Nothing is known about
containers whose files are not visible, such as those on another machine.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_SUFFIX = ".lock"


class ContainerLock:
    """The lock of this container, in the folder with those of all containers."""

    def __init__(self, folder: Path, container_id: str) -> None:
        self._path = folder / f"{container_id}{_SUFFIX}"
        self._file: int | None = None

    def hold(self) -> bool:
        """Take the lock; return False if that is not possible, so that the liveness of this container is unknown."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A container that looks for dead ones may see the file before it is locked, and remove it.
            while self._file is None:
                self._file = _locked(self._path, os.O_CREAT, fcntl.LOCK_EX)
        except OSError as error:
            logger.warning("The container's lock %s cannot be taken: %s", self._path, error.strerror)
            return False
        return True

    def release(self) -> None:
        """Release the lock and remove the file: there is nothing left to clean up."""
        if self._file is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self.abandon()

    def abandon(self) -> None:
        """Release the lock and leave the file: another container has to clean up."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def dead_containers(folder: Path) -> Iterator[dict[str, int]]:
    """Yield the ids of containers that have ended without cleaning up, and when each was started, in ms since 1970.

    No other process gets the same ids in the meantime. Unless the block raises, they are not found again.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    held: dict[Path, int] = {}
    try:
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            with suppress(OSError):
                # Where its owner is alive, this raises.
                if (file := _locked(path, 0, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
                    held[path] = file
        yield {path.name.removesuffix(_SUFFIX): os.fstat(file).st_mtime_ns // 1_000_000 for path, file in held.items()}
        for path in held:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    finally:
        for file in held.values():
            os.close(file)


def _locked(path: Path, flags: int, operation: int) -> int | None:
    """Open a file and lock it; return None if it has been removed from its path in the meantime.

    Raises:
        OSError: it cannot be opened or locked.
    """
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o644)
    try:
        fcntl.flock(file, operation)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
    except OSError:
        os.close(file)
        raise
    os.close(file)
    return None
