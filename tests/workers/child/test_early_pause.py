"""A pause that arrives before its activity has begun in the worker."""

from __future__ import annotations

import queue
import threading

import pytest

from mistk_service import AbstractModel
from mistk_service.workers.child.runner import Runner
from mistk_service.workers.messages import Done, Exit, FromWorker, Loaded, Pause, Paused, PauseOvertaken, Resume, Run


class Stepping(AbstractModel):
    """Trains in three steps."""

    def do_train(self) -> None:
        for _ in self.steps(range(3)):
            pass


class OwnPause(AbstractModel):
    """Pauses in its own way."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def do_train(self) -> None:
        self.may_go_on.wait()

    def do_pause(self) -> None:
        self.may_go_on.clear()

    def do_resume_training(self) -> None:
        self.may_go_on.set()


@pytest.mark.parametrize("model", [Stepping(), OwnPause()], ids=["at a pause point", "in its own way"])
def test_a_pause_that_comes_before_the_main_thread_takes_the_activity_up_is_not_lost(model: AbstractModel) -> None:
    sent: queue.Queue[FromWorker] = queue.Queue()

    def send(*messages: FromWorker) -> None:
        for message in messages:
            sent.put(message)
            if isinstance(message, Loaded):
                # On the main thread itself, which therefore has not taken the training up when the pause is told.
                runner.handle(Run(1, "do_train"))
                runner.handle(Pause(1, "do_pause"))

    runner = Runner(send, lambda: None)
    main = threading.Thread(target=runner.run, args=(model,), daemon=True)
    main.start()
    assert first(sent, Paused, PauseOvertaken) == Paused(1)
    runner.handle(Resume(1, "do_resume_training"))
    assert first(sent, Done) == Done(1)
    runner.handle(Exit("do_terminate"))
    main.join()


def first(sent: queue.Queue[FromWorker], *kinds: type[FromWorker]) -> FromWorker:
    """Return the next message of one of the kinds."""
    while not isinstance(message := sent.get(), kinds):
        pass
    return message
