"""Both kinds of worker over the real socket: what is said arrives, and every end is noticed and told in words."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mistk_service import errors
from mistk_service.kinds.predictions import Answer
from mistk_service.workers import messages as m
from mistk_service.workers.host.process import ProcessWorker
from tests.support.harness import PATIENCE, Gate, Listener, WorkerUnderTest, make_worker, records_of, reference

pytestmark = pytest.mark.anyio

Hire = Callable[..., Any]


# --- begin and end -----------------------------------------------------------------------------------------------------


async def test_a_worker_tells_what_it_has_loaded(hire: Hire, kind: str):
    worker = await hire("batching:Batching", kind, loaded=False)
    loaded = await worker.until(m.Loaded)
    assert loaded.model == "Batching"
    assert loaded.max_batch_size == 8
    assert "do_stream_predict" in loaded.hooks
    assert "do_train" not in loaded.hooks


async def test_a_worker_that_is_told_to_exit_runs_its_last_hook_and_ends(hire: Hire, kind: str, tmp_path: Path):
    source = tmp_path / f"last_hook_{kind}.py"
    source.write_text(
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_terminate(self):\n"
        "        self.report_params({'last': 'words'})\n"
    )
    worker = await hire(f"{source}:Model", kind, linger=PATIENCE)
    worker.send(m.Exit("do_terminate"))
    assert (await worker.until(m.Reported)).params == {"last": "words"}
    failure = await worker.listener.until_exit()
    assert failure.message in ("The worker process ended with exit code 0.", "The worker thread ended.")


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("broken/nowhere:Model", "ModelModuleNotFound"),
        ("broken/raises_on_import:Model", "ModelModuleFailed"),
        ("broken/imports_what_is_missing:Model", "ModelModuleFailed"),
        ("broken/exits_on_import:Model", "ModelModuleFailed"),
        ("broken/classes:Missing", "ModelClassNotFound"),
        ("broken/classes:NoModel", "NotAModelClass"),
        ("broken/classes:Abstract", "NotAModelClass"),
        ("broken/classes:RaisesInConstructor", "ModelConstructionFailed"),
        ("broken/classes:ExitsInConstructor", "ModelConstructionFailed"),
        ("broken/classes:WantsArguments", "ModelConstructionFailed"),
        ("broken/classes:BadBatchSize", "NotAModelClass"),
        ("-x.py:Model", "ModelModuleNotFound"),
    ],
)
async def test_a_worker_without_a_model_says_why_and_ends(hire: Hire, kind: str, model: str, error: str):
    worker = await hire(model, kind, loaded=False)
    failed = await worker.until(m.LoadFailed)
    assert failed.error == failed.failure.type == error
    assert issubclass(getattr(errors, error), errors.ModelLoadError)
    await worker.listener.until_exit()


async def test_a_kill_ends_a_process_at_once(hire: Hire):
    worker = await hire("blocks:Blocks", "process", {"how": "loop"})
    worker.send(m.Run(worker.next_id(), "do_train"))
    await worker.until(m.StatusUpdated)
    pid = worker.worker.pid
    worker.worker.kill()
    failure = await worker.listener.until_exit()
    assert "SIGKILL" in failure.message
    assert not psutil.pid_exists(pid)
    worker.worker.kill()  # once more does no harm
    assert worker.worker.exited


async def test_what_is_sent_to_a_worker_that_has_ended_is_lost_without_a_word(hire: Hire, kind: str):
    worker = await hire("nothing:Nothing", kind)
    worker.send(m.Exit("do_terminate"))
    await worker.listener.until_exit()
    worker.send(m.Run(1, "do_initialize", ([], {}, {})))


async def test_what_cannot_be_sent_is_told_to_the_sender_and_the_channel_is_as_it_was(hire: Hire, kind: str):
    worker = await hire("steered:Steered", kind)
    with pytest.raises(m.Unsendable):
        worker.send(m.Run(1, "do_initialize", ([], {"a": "\ud800"}, {})))
    worker.send(m.Run(2, "do_initialize", ([], {}, {})))
    assert (await worker.until(m.Done)).id == 2


async def test_large_messages_cross_in_both_directions(hire: Hire, kind: str):
    worker = await hire("steered:Steered", kind, {})
    record = "é" * 5_000_000
    worker.send(m.Predict(7, records_of({"a": record})))
    done = await worker.until(m.Predicted)
    assert done.id == 7
    assert Answer(done.answer).size > 10_000_000


async def until_full(worker: WorkerUnderTest) -> None:
    """Let the event loop turn until the channel takes nothing more."""
    for _ in itertools.count():
        if worker.worker.congested:
            return
        await asyncio.sleep(0)


async def test_a_small_request_overtakes_a_large_one_that_is_on_its_way(hire: Hire):
    worker = await hire("batching:Batching", "process", {})
    process = psutil.Process(worker.worker.pid)
    process.suspend()  # so that it reads nothing
    try:
        worker.send(m.Predict(7, records_of({"a": "x" * 16_000_000})))
        await until_full(worker)
        worker.send(m.Predict(8, records_of({"a": "x"})))
    finally:
        process.resume()
    assert [(await worker.until(m.Predicted)).id for _ in range(2)] == [8, 7]


async def test_a_large_request_that_never_went_is_withdrawn_without_the_worker(hire: Hire):
    worker = await hire("batching:Batching", "process", {})
    process = psutil.Process(worker.worker.pid)
    process.suspend()
    try:
        for number in (7, 8):
            worker.send(m.Predict(number, records_of({"a": "x" * 16_000_000})))
        await until_full(worker)
        worker.send(m.Withdraw(8))
        assert (await worker.until(m.PredictionForgotten)).id == 8, "the worker still stands"
        worker.send(m.Withdraw(7))
    finally:
        process.resume()
    answer = await worker.until(m.PredictionForgotten, m.Predicted)
    assert answer.id == 7, "withdrawn as it arrived, or called at once, as the worker had nothing else to do"


async def test_a_worker_is_the_leader_of_its_own_session(hire: Hire):
    """So that Ctrl-C in a terminal reaches the service alone, and all that a model starts can be ended together."""
    worker = await hire("nothing:Nothing")
    assert os.getsid(worker.worker.pid) == worker.worker.pid
    assert os.getpgid(worker.worker.pid) == worker.worker.pid


async def test_an_interrupt_does_not_end_a_worker(hire: Hire):
    worker = await hire("steered:Steered")
    os.kill(worker.worker.pid, signal.SIGINT)
    worker.send(m.Run(1, "do_initialize", ([], {}, {})))
    assert (await worker.until(m.Done)).id == 1


async def test_programs_that_a_model_starts_do_not_get_the_channel(hire: Hire, tmp_path: Path):
    """They could speak in its place, and would keep it open after its end."""
    source = tmp_path / "starts_a_program.py"
    source.write_text(
        "import subprocess, sys\n"
        "from mistk_service import AbstractModel\n"
        "CODE = '''\n"
        "import os, stat\n"
        "for number in range(3, 256):\n"
        "    try:\n"
        "        print(number, 'is a socket' if stat.S_ISSOCK(os.fstat(number).st_mode) else 'is something')\n"
        "    except OSError:\n"
        "        pass\n"
        "print('looked')\n"
        "'''\n"
        "class Model(AbstractModel):\n"
        "    def do_train(self):\n"
        "        ran = subprocess.run([sys.executable, '-c', CODE], close_fds=False, capture_output=True, text=True)\n"
        "        self.update_status(ran.stdout + ran.stderr)\n"
    )
    worker = await hire(f"{source}:Model")
    worker.send(m.Run(1, "do_train"))
    assert (await worker.until(m.StatusUpdated)).payload == "looked\n"


# --- death -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("os._exit", "ended with exit code 3."),
        ("segfault", "signal 11 (SIGSEGV: segmentation fault)"),
        ("sigkill", "lack of memory"),
        ("signal 63", "signal 63"),
    ],
)
async def test_an_exit_is_told_in_words(hire: Hire, how: str, words: str):
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


@pytest.mark.parametrize("how", ["sys.exit", "sys.exit with a thread"])
async def test_a_model_that_exits_a_worker_thread_ends_that_alone(hire: Hire, how: str):
    worker = await hire("dies:Dies", "thread", {"how": "sys.exit"})
    worker.send(m.Run(1, "do_train"))
    failure = await worker.listener.until_exit()
    assert failure.message == "The worker thread ended with SystemExit: 5"
    assert "do_train" in (failure.traceback or "")


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
        (b"\0\0\0\1x", "sent what is not a message"),
        (m.frame(m.Exit("do_reset")), "sent what is not a message"),
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
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


# --- the start ---------------------------------------------------------------------------------------------------------


async def test_a_start_that_is_cancelled_leaves_nothing_behind(kind: str):
    for turns in range(4):
        listener = Listener()
        worker = make_worker(kind, reference("nothing:Nothing"), listener)
        starting = asyncio.ensure_future(worker.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        if worker.pid is None and turns == 0:
            continue  # it had not even begun
        worker.kill()
        await listener.until_exit()


async def test_a_process_that_cannot_be_started_is_a_worker_that_died(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    listener = Listener()
    worker = ProcessWorker(reference("nothing:Nothing"), listener)
    with pytest.raises(errors.WorkerDied, match=r"could not be started: .*No such file"):
        await worker.start()
    assert "could not be started" in (await listener.until_exit()).message


def refuse(*_: object, **__: object) -> None:
    """Be a system that has no more of something."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def no_thread(number: int) -> Callable[..., None]:
    """Return what starts threads up to a number, and then is a system that has no more."""
    count = itertools.count(1)
    start = threading.Thread.start

    def start_or_refuse(thread: threading.Thread) -> None:
        if next(count) >= number:
            raise RuntimeError("can't start new thread")
        start(thread)

    return start_or_refuse


SHORTAGES: dict[str, tuple[str, Any, str, Any]] = {
    "no sockets": ("thread process", socket, "socketpair", refuse),
    "no pipe": ("process", os, "pipe", refuse),
    "no process": ("process", subprocess, "Popen", refuse),
    "no thread": ("thread process", threading.Thread, "start", no_thread(1)),
    "no second thread": ("process", threading.Thread, "start", no_thread(2)),
    "no channel": ("thread process", asyncio.SelectorEventLoop, "create_connection", refuse),
}


@pytest.mark.parametrize("shortage", SHORTAGES)
async def test_a_worker_that_cannot_be_started_has_ended_and_leaves_nothing_behind(
    kind: str, shortage: str, monkeypatch: pytest.MonkeyPatch
):
    kinds, *patch = SHORTAGES[shortage]
    if kind not in kinds:
        pytest.skip("this kind of worker needs no such thing")
    listener = Listener()
    worker = make_worker(kind, reference("nothing:Nothing"), listener)
    before = held()
    with monkeypatch.context() as short:
        short.setattr(*patch)
        with pytest.raises(errors.WorkerDied, match="could not be started") as caught:
            await worker.start()
    assert worker.exited
    assert listener.failure == caught.value.failure
    worker.kill()  # it does no harm
    await worker.wait_exited()
    for thread in threads_of_workers() - before:
        await asyncio.to_thread(thread.join, PATIENCE)
    assert held() <= before


def held() -> set[object]:
    """Return what this process holds for its workers, those of earlier tests included: threads, open files and children."""
    return {*threads_of_workers(), *open_files(), *psutil.Process().children()}


def threads_of_workers() -> set[threading.Thread]:
    """Return the threads that serve a worker."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("mistk-")}


def open_files() -> set[object]:
    """Return the files that this process has open, by what they are and not by their number, which the next one gets."""
    files: set[object] = set()
    for descriptor in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the one that the list was read from is closed by now
            found = os.fstat(int(descriptor))
            files.add((found.st_dev, found.st_ino))
    return files


# --- what is left behind -----------------------------------------------------------------------------------------------


async def test_a_program_that_has_left_the_workers_group_holds_no_thread_and_no_file(hire: Hire, tmp_path: Path):
    source = tmp_path / "starts_a_daemon.py"
    source.write_text(
        "import subprocess, sys\n"
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_train(self):\n"
        "        code = 'import signal; signal.pause()'\n"
        "        self.update_status(subprocess.Popen([sys.executable, '-c', code], start_new_session=True).pid)\n"
    )
    files = open_files()
    worker = await hire(f"{source}:Model")
    output = next(thread for thread in threading.enumerate() if thread.name == f"mistk-output-{worker.worker.pid}")
    worker.send(m.Run(1, "do_train"))
    daemon = (await worker.until(m.StatusUpdated)).payload
    try:
        worker.send(m.Exit("do_terminate"))
        await worker.listener.until_exit()
        output.join(PATIENCE)
        assert not output.is_alive()
        assert open_files() <= files
    finally:
        os.kill(daemon, signal.SIGKILL)


# --- whose fault it was ------------------------------------------------------------------------------------------------


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


# --- forks -------------------------------------------------------------------------------------------------------------

FORKS = """
import os, sys
from mistk_service import AbstractModel
class Model(AbstractModel):
    def do_train(self):
        for how in ("exits", "is ended"):
            self.report_metrics({"worker": 1.0}, 1)
            child = os.fork()
            if child == 0:
                for step in self.steps(range(20_000)):
                    self.report_metrics({"child": step}, step)
                self.report_params({"child": 1})
                self.set_tags({"child": 1})
                self.update_status("child")
                self.log_text("child", "child.txt")
                sys.exit(0) if how == "exits" else os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        self.update_status("worker")
"""


async def test_a_process_that_a_model_forks_garbles_nothing_and_ends_nothing(
    hire: Hire, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    source = tmp_path / "forks.py"
    source.write_text(FORKS)
    worker = await hire(f"{source}:Model")
    worker.send(m.Run(1, "do_train"))
    assert (await worker.until(m.StatusUpdated)).payload == "worker"
    worker.send(m.Run(2, "do_build_model"))
    assert (await worker.until(m.Done)).id == 1
    assert (await worker.until(m.Done)).id == 2
    worker.send(m.Exit("do_terminate"))
    await worker.listener.until_exit()
    assert capfd.readouterr().err.count("cannot report anything") == 2
