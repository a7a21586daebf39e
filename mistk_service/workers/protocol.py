"""What the service needs of a worker, wherever it runs: on this machine as a process or a thread, or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from mistk_service.errors import Failure
from mistk_service.workers.messages import FromWorker, ToWorker

__all__ = ["FileStamp", "Files", "Worker", "WorkerListener"]


class WorkerListener(Protocol):
    """Takes what workers say. Called on the event loop, with the worker that says it."""

    def on_message(self, worker: Worker, message: FromWorker) -> None:
        """Take a message."""

    def on_exit(self, worker: Worker, failure: Failure) -> None:
        """Take the end of a worker, expected or not; ``failure`` says how it ended. The last call for this worker."""


class Worker(Protocol):
    """A worker and the channel to it. Lives on one event loop and is used from there only.

    The order of calls is ``start``, any ``send``, and at the end an Exit message or ``kill``, then ``wait_exited``. What is
    sent before ``start`` reaches the worker first.
    """

    @property
    def reference(self) -> str:
        """The model; see :mod:`mistk_service.workers.child.loader`."""

    @property
    def pid(self) -> int | None:
        """The process id; None for a worker that is not a process of this machine."""

    @property
    def exited(self) -> bool:
        """Whether the worker has ended."""

    @property
    def files(self) -> Files:
        """The file system as the worker sees it."""

    async def start(self) -> None:
        """Start the worker. A message says later whether the model can be loaded.

        Raises:
            WorkerDied: it could not be started. It has ended then, and the listener has been called.
        """

    def send(self, message: ToWorker) -> None:
        """Send a message; never blocks. What is sent to a worker that has ended is lost.

        Raises:
            Unsendable: the message holds something that cannot cross.
        """

    def kill(self) -> None:
        """End the worker at once, whatever it is doing."""

    async def wait_exited(self) -> None:
        """Wait for the end. The listener has been called when this returns."""


class Files(Protocol):
    """Checks of paths that a call names, made where the worker will use them. URIs are the model's business."""

    async def require_readable(self, path: str, field: str) -> None:
        """Check that there is something readable at a path.

        Args:
            path: a file or a folder.
            field: what errors call it.

        Raises:
            InvalidRequest: there is not; the message says why.
        """

    async def prepare_folder(
        self, path: str, field: str, reserved: Path | None
    ) -> tuple[Sequence[Path], Mapping[str, FileStamp] | None]:
        """Make sure that a folder exists and can be written.

        Args:
            path: the folder.
            field: what errors call it.
            reserved: a folder in which nothing may be saved.

        Returns:
            The folders that were made, and the stamps of what lies in the folder; None where that is too much to list.

        Raises:
            InvalidRequest: it cannot be used; the message says why.
        """

    async def remove_folders(self, folders: Sequence[Path]) -> None:
        """Remove folders that were made in vain, unless something has been put into them since."""


class FileStamp(NamedTuple):
    """What tells a file that was written, or put in its place, since from one that lay there: the system sets all of it.

    Attributes:
        inode: which file it is.
        size: bytes.
        changed: when it, or what is known about it, was last changed, in nanoseconds since 1970.
    """

    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Return the stamp of a file."""
        return cls(status.st_ino, status.st_size, status.st_ctime_ns)
