"""The interface between the service and a worker: a process or thread on this machine, or a process on another one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from mistk_service.errors import Failure
from mistk_service.workers.messages import FromWorker, ToWorker


class WorkerListener(Protocol):
    """Receives the messages of workers. It is called on the event loop, with the worker that sent the message."""

    def on_message(self, worker: Worker, message: FromWorker) -> None:
        """Handle a message."""

    def on_exit(self, worker: Worker, failure: Failure) -> None:
        """Handle the exit of a worker, expected or not. ``failure`` says how it ended.

        This is the last call for this worker.
        """


class WorkerFactory(Protocol):
    """Makes workers."""

    def __call__(self, listener: WorkerListener, slot: int | None, /) -> Worker:
        """Return a worker that reports to a listener. ``slot`` is the number of a replica; None for the worker itself."""


class Worker(Protocol):
    """A worker and the channel to it. It lives on one event loop and may only be used there.

    Call ``start`` first, then any number of ``send``. At the end, send an Exit message or call ``kill``, then ``wait_exited``.
    Messages that are sent before ``start`` are delivered first.
    """

    #: The file system as the worker sees it.
    files: Files

    @property
    def pid(self) -> int | None:
        """The process id; None for a worker that is not a process on this machine."""

    @property
    def exited(self) -> bool:
        """Whether the worker has ended."""

    async def start(self) -> None:
        """Start the worker. A later message says whether the model could be loaded.

        Raises:
            WorkerDied: the system cannot create a process, a thread or a file. The worker has ended, and the listener has
                been called.
        """

    def send(self, message: ToWorker) -> None:
        """Send a message without blocking. A message to a worker that has ended is lost.

        Raises:
            Unsendable: the message contains a value that cannot be encoded.
        """

    def kill(self) -> None:
        """Kill the worker at once, whatever it is doing."""

    async def wait_exited(self) -> None:
        """Wait for the worker to end. The listener has been called when this returns."""


class Files(Protocol):
    """Checks the paths in a call where the worker will use them. URIs are left to the model."""

    async def require_readable(self, path: str, field: str) -> None:
        """Check that a path exists and is readable.

        Args:
            path: a file or a folder.
            field: the name of the field for error messages.

        Raises:
            InvalidRequest: the path does not exist or is not readable; the message says why.
        """

    async def prepare_folder(
        self, path: str, field: str, reserved: Path | None
    ) -> tuple[Sequence[Path], Mapping[str, FileStamp] | None]:
        """Make sure that a folder exists and is writable.

        Args:
            path: the folder.
            field: the name of the field for error messages.
            reserved: a folder to which nothing may be saved.

        Returns:
            The folders that were created, and the stamps of the folder's files; None instead of the stamps if there are too
            many.

        Raises:
            InvalidRequest: the folder cannot be used; the message says why.
        """

    async def remove_folders(self, folders: Sequence[Path]) -> None:
        """Remove folders that were created for a call that was refused, unless they are no longer empty."""


class FileStamp(NamedTuple):
    """Identifies one version of a file: the system changes the stamp when the file is written or replaced.

    Attributes:
        inode: the number of the file.
        size: the size in bytes.
        changed: when the file or its metadata last changed, in nanoseconds since 1970.
    """

    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Return the stamp of a file."""
        return cls(status.st_ino, status.st_size, status.st_ctime_ns)
