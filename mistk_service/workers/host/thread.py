"""A worker in a thread of the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

from mistk_service.errors import Failure
from mistk_service.workers.host.socket_worker import DRAIN, LocalWorker, resolve, set_within, start_thread

logger = logging.getLogger(__name__)

_ABANDONED = "The worker thread did not end in time and was abandoned."


class ThreadWorker(LocalWorker):
    """A worker in a thread of the service, for debugging: breakpoints work, but the service is not protected from the model.

    A thread cannot be killed. :meth:`kill` abandons it, and it runs until its next pause point.
    """

    def kill(self) -> None:
        """Abandon the thread."""
        if not self.exited:
            logger.warning("A worker thread cannot be killed; it was abandoned.")
            self._has_exited(Failure("WorkerDied", self._ended_by_service or _ABANDONED))

    def _launch(self, theirs: socket.socket, ended: asyncio.Future[Failure]) -> None:
        start_thread("mistk-worker", self._serve, theirs, ended)

    def _serve(self, sock: socket.socket, ended: asyncio.Future[Failure]) -> None:
        # Imported here, since only this kind of worker needs the loader and the base class of models in the service.
        from mistk_service.workers.child.failures import failure_from
        from mistk_service.workers.child.main import serve_model

        failure = Failure("WorkerDied", "The worker thread ended.")
        try:
            serve_model(sock, self._reference, lambda: None, self._spool, mistk_names=self._mistk_names)
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt too, which a class may raise on import
            raised = failure_from(error)
            failure = Failure(
                "WorkerDied", f"The worker thread ended with {raised.type}: {raised.message}", raised.traceback
            )
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        resolve(ended, failure)

    async def _after_end(self, ended: asyncio.Future[Failure]) -> None:
        failure = await ended
        await set_within(DRAIN, self._eof)
        self._has_exited(failure)
