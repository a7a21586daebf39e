"""A worker's runner without a process: its main thread is a thread of the test, and its control thread is the test itself."""

from __future__ import annotations

import queue
import threading

from mistk_service import AbstractModel
from mistk_service.workers import messages as m
from mistk_service.workers.child.runner import Runner

TIMEOUT = 20.0


class RunnerBench:
    """A runner with a model, to which the test is the service.

    Args:
        model: the model whose hooks run on the thread named ``main``.
    """

    def __init__(self, model: AbstractModel) -> None:
        self._sent: queue.Queue[m.FromWorker] = queue.Queue()
        self.runner = Runner(self._say, lambda: None)
        self._main = threading.Thread(target=self.runner.run, args=(model,), name="main")
        self._main.start()
        assert isinstance(self.next(), m.Loaded)

    def _say(self, *messages: m.FromWorker) -> None:
        for message in messages:
            self._sent.put(message)

    def tell(self, *messages: m.ToWorker) -> None:
        """Send messages as the service."""
        for message in messages:
            self.runner.handle(message)

    def next(self) -> m.FromWorker:
        """Wait for the next message to the service, and return it."""
        return self._sent.get(timeout=TIMEOUT)

    def nothing_was_said(self) -> bool:
        """Return whether no message waits to be read."""
        return self._sent.empty()

    def rest(self) -> list[m.FromWorker]:
        """Wait for the end of the worker, and return the messages that were not read."""
        self._main.join(TIMEOUT)
        assert not self._main.is_alive()
        return list(self._sent.queue)
