"""Both kinds of worker over a real socket."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mistk_service import errors
from mistk_service.kinds.predictions import Answer
from mistk_service.workers import framing
from mistk_service.workers import messages as m
from mistk_service.workers.host.socket_worker import SocketWorker
from tests.support.harness import TIMEOUT, WorkerUnderTest, records_of

pytestmark = pytest.mark.anyio

Hire = Callable[..., Any]


async def test_a_worker_tells_what_it_has_loaded(hire: Hire, kind: str):
    worker = await hire("batching:Batching", kind, loaded=False)
    loaded = await worker.until(m.Loaded)
    assert loaded.model == "Batching"
    assert "do_stream_predict" in loaded.hooks
    assert "do_train" not in loaded.hooks


async def test_a_worker_that_is_asked_to_exit_runs_its_last_hook_and_ends(hire: Hire, kind: str, tmp_path: Path):
    source = tmp_path / f"last_hook_{kind}.py"
    source.write_text(
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_terminate(self):\n"
        "        self.report_params({'last': 'words'})\n"
    )
    worker = await hire(f"{source}:Model", kind, linger=TIMEOUT)
    worker.send(m.Exit("do_terminate"))
    assert (await worker.until(m.Reported)).params == {"last": "words"}
    failure = await worker.listener.until_exit()
    assert failure.message in ("The worker process ended with exit code 0.", "The worker thread ended.")


#: References to models that cannot be loaded, and the errors.
NO_MODELS = [
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
]


@pytest.mark.parametrize(
    ("kind", "model", "error"),
    [
        *(("thread", model, error) for model, error in NO_MODELS),
        # What a process may take in another way: a module and a class that exit, and what could be an option.
        ("process", "broken/exits_on_import:Model", "ModelModuleFailed"),
        ("process", "broken/classes:ExitsInConstructor", "ModelConstructionFailed"),
        ("process", "-x.py:Model", "ModelModuleNotFound"),
    ],
    indirect=["kind"],
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


async def test_what_cannot_be_sent_is_reported_to_the_sender_and_the_channel_is_as_it_was(hire: Hire, kind: str):
    worker = await hire("steered:Steered", kind)
    with pytest.raises(framing.Unsendable):
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
        assert isinstance(worker.worker, SocketWorker)
        if worker.worker.congested:
            return
        await asyncio.sleep(0)


@pytest.mark.local
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


@pytest.mark.local
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
    printed = await printed_with(capfd, "cannot report anything", 2)
    assert printed.count("cannot report anything") == 2


async def printed_with(capfd: pytest.CaptureFixture[str], text: str, times: int = 1) -> str:
    """Return the error output once it has a text so many times; Ray prints later than a worker ends."""
    printed = ""
    async with asyncio.timeout(TIMEOUT):
        while printed.count(text) < times:
            await asyncio.sleep(0)
            printed += capfd.readouterr().err
    return printed


RETURNS = """
import os
from mistk_service import AbstractModel
class Model(AbstractModel):
    def do_train(self):
        child = os.fork()
        if child == 0:
            raise ValueError("in the child")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        self.update_status("worker")
"""


async def test_a_process_that_a_model_forks_does_not_answer_for_the_worker(
    hire: Hire, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    source = tmp_path / "returns.py"
    source.write_text(RETURNS)
    worker = await hire(f"{source}:Model")
    worker.send(m.Run(1, "do_train"))
    assert (await worker.until(m.StatusUpdated)).payload == "worker"
    assert (await worker.until(m.Done)).id == 1
    worker.send(m.Exit("do_terminate"))
    await worker.listener.until_exit()
    await printed_with(capfd, "ValueError: in the child")
