"""Every exit of a worker is detected and described, and its child processes end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mistk_service.workers import framing
from mistk_service.workers import messages as m
from tests.support.harness import TIMEOUT, Gate

pytestmark = pytest.mark.anyio

Hire = Callable[..., Any]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("os._exit", "ended with exit code 3."),
        ("segfault", "signal 11 (SIGSEGV: segmentation fault)"),
        ("sigkill", "lack of memory"),
        ("signal 63", "signal 63"),
    ],
)
async def test_an_exit_is_reported_in_words(hire: Hire, how: str, words: str):
    worker = await hire("dies:Dies", "process", {"how": how})
    worker.send(m.Run(1, "do_train"))
    assert words in (await worker.listener.until_exit()).message


async def test_the_last_lines_that_a_worker_printed_are_in_its_failure(hire: Hire):
    worker = await hire("dies:Dies", "process", {"how": "os._exit"})
    worker.send(m.Run(1, "do_train"))
    failure = await worker.listener.until_exit()
    assert failure.type == "WorkerDied"
    assert failure.message == "The worker process ended with exit code 3."
    assert list(failure.output)[-2:] == ["the first line", "the last words"]


async def test_a_class_that_interrupts_a_worker_thread_ends_that_alone(hire: Hire, tmp_path: Path):
    (tmp_path / "interrupts.py").write_text("raise KeyboardInterrupt")
    worker = await hire(f"{tmp_path / 'interrupts.py'}:Model", "thread", loaded=False)
    failure = await worker.listener.until_exit()
    assert failure.message == "The worker thread ended with KeyboardInterrupt: "
    assert "interrupts.py" in (failure.traceback or "")


async def test_a_worker_thread_cannot_be_killed_and_is_left_to_itself(hire: Hire, gate: Gate):
    worker = await hire("steered:Steered", "thread", {"gate": str(gate.path)})
    worker.send(m.Run(1, "do_train"))
    worker.worker.kill()
    assert "abandoned" in (await worker.listener.until_exit()).message
    before = list(worker.listener.messages)
    gate.tell("d")
    await asyncio.sleep(0)
    assert worker.listener.messages == before


async def test_a_death_is_noticed_while_the_channel_and_the_output_are_held_open_by_others(hire: Hire):
    worker = await hire("starts_others:StartsOthers", "process", {"then": "die"})
    worker.send(m.Run(1, "do_train"))
    others = (await worker.until(m.StatusUpdated)).payload["started"]
    assert "exit code 3" in (await worker.listener.until_exit()).message
    assert_all_gone(others)


async def test_a_kill_reaches_what_the_model_started(hire: Hire):
    worker = await hire("starts_others:StartsOthers", "process", {"then": "wait"})
    worker.send(m.Run(1, "do_train"))
    others = (await worker.until(m.StatusUpdated)).payload["started"]
    worker.worker.kill()
    await worker.listener.until_exit()
    assert_all_gone(others)


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (b"\0\0\0\1x", "sent an invalid message"),
        (framing.frame(m.Exit("do_reset")), "sent an invalid message"),
        (b"\x7f\xff\xff\xff", "2147483647 bytes were announced"),
        (b"\x10\0\0\1", "268435457 bytes were announced"),
        (b"\x80\0\0\4abcd\xff\xff\xff\xfd", "2147483649 bytes were announced"),
    ],
    ids=["no message", "one for the worker", "far too large", "too large", "too large in pieces"],
)
async def test_a_worker_that_sends_what_is_not_a_message_is_killed_with_the_reason(
    hire: Hire, tmp_path: Path, noise: bytes, words: str
):
    """A model can write wherever it likes, and somebody may wait for the answer that this was to be."""
    source = tmp_path / "makes_noise.py"
    source.write_text(
        "import gc, socket\n"
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_train(self):\n"
        "        for sock in gc.get_objects():\n"
        "            if type(sock) is socket.socket and sock.fileno() > 0:\n"
        f"                sock.send({bytes(noise)!r})\n"
        "        pair = socket.socketpair()\n"
        "        pair[0].recv(1)\n"
    )
    worker = await hire(f"{source}:Model")
    worker.send(m.Run(1, "do_train"))
    failure = await worker.listener.until_exit()
    assert words in failure.message
    assert worker.listener.messages == []


def assert_all_gone(pids: list[int]) -> None:
    """Wait until there are no such processes any more."""
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=TIMEOUT)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_a_death_over_a_fault_of_the_service_says_so(hire: Hire):
    worker = await hire("nothing:Nothing")

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    worker.listener.on_message = fail
    worker.send(m.Run(1, "do_initialize", ([], {}, {})))
    failure = await worker.listener.until_exit()
    assert "ZeroDivisionError('a fault of ours')" in failure.message
    assert "memory" not in failure.message
