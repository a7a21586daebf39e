"""Workers that die, models that hang, and reset and shutdown in every state."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mistk_service.core.events import ActivityEnded, InstanceReset, WorkerStarted
from mistk_service.core.shutdown import Shutdown
from mistk_service.deadline import Deadline
from mistk_service.errors import OperationRefused, ServiceBusy, WorkerDied
from tests.support.harness import TIMEOUT, Gate, Instance, of_type, version_of

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]

#: Ways into states that last: what to call, and what to tell the model then.
WAYS: dict[str, list[tuple[str, str]]] = {
    "started": [],
    "initialized": [("initialize", "")],
    "ready": [("initialize", ""), ("buildModel", "d")],
    "building_model": [("initialize", ""), ("buildModel", "")],
    "training": [("initialize", ""), ("buildModel", "d"), ("train", "")],
    "pausing": [("initialize", ""), ("buildModel", "d"), ("train", ""), ("pause", "")],
    "paused": [("initialize", ""), ("buildModel", "d"), ("train", ""), ("pause", "s")],
    "saving_model": [("initialize", ""), ("buildModel", "d"), ("train", ""), ("pause", "s"), ("saveModel", "")],
    "failed": [("initialize", ""), ("buildModel", "f")],
    "predicting": [("initialize", ""), ("buildModel", "d"), ("streamPredict", "")],
}

LASTING = {"initialize": "initialized", "buildModel": "ready"}


async def bring(launch: Launch, gate: Gate, state: str, tmp_path: Path, kind: str, **options: Any) -> Instance:
    """Return an instance that is, and stays, in a state."""
    instance: Instance = await launch("steered:Steered", kind, **options)
    for operation, told in WAYS[state]:
        if operation == "streamPredict":
            # Nobody waits for the answer, and so nobody is disappointed either.
            asyncio.ensure_future(instance.stream({"a": ""})).add_done_callback(lambda done: done.exception())
            await instance.until("predicting")
            continue
        argument = {"initialize": ({"gate": str(gate.path)},), "saveModel": (str(tmp_path),)}.get(operation, ())
        begun = await instance.call(operation, *argument)
        if told == "s":
            await instance.step_until(gate)
            continue
        gate.tell(told)
        if told or operation == "initialize":
            wanted = "failed" if told == "f" else LASTING[operation]
            await instance.until(wanted, after=version_of(begun))
    assert instance.state == state
    return instance


async def let_end(instance: Instance, gate: Gate, state: str, end: str) -> dict[str, Any]:
    """Let what runs come to a pause point, or to its end, and wait for the end of a reset or shutdown."""
    if state in ("building_model", "training", "pausing", "saving_model"):
        return await instance.step_until(gate, end)
    if state == "predicting":
        gate.tell("d")
    return await instance.until(end)


# --- reset and shutdown ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", WAYS)
async def test_a_reset_leads_from_everywhere_to_a_fresh_worker(launch: Launch, gate: Gate, tmp_path: Path, state: str):
    instance = await bring(launch, gate, state, tmp_path, "process")
    old = instance.pid
    begun = await instance.call("reset")
    assert begun["state"] == "resetting"
    started = await let_end(instance, gate, state, "started")
    assert started["payload"]["possible"] == ["initialize", "reset", "shutdown"]
    assert not {"activity", "error", "operation", "metrics", "notice", "steps"} & started["payload"].keys()
    assert instance.pid != old
    assert not psutil.pid_exists(old)
    assert [event.restarts for event in of_type(instance.events, WorkerStarted)] == [0, 1]
    assert len(of_type(instance.events, InstanceReset)) == 1
    await instance.ready()
    assert (await instance.run("train"))["payload"]["lastActivity"]["outcome"] == "completed"


@pytest.mark.parametrize("state", WAYS)
async def test_a_shutdown_leads_from_everywhere_to_the_end(launch: Launch, gate: Gate, tmp_path: Path, state: str):
    instance = await bring(launch, gate, state, tmp_path, "thread")
    begun = await instance.call("shutdown")
    assert begun["state"] == "terminating"
    assert begun["payload"]["possible"] == ["shutdown"]
    assert (await instance.call("shutdown"))["state"] == "terminating"
    with pytest.raises(OperationRefused):
        await instance.call("reset")
    await let_end(instance, gate, state, "terminated")
    assert instance.controller.terminated.is_set()
    assert instance.payload["possible"] == []
    for operation in ("initialize", "train", "reset"):
        with pytest.raises(OperationRefused, match="Possible now: nothing"):
            await instance.call(operation)
    assert (await instance.call("shutdown"))["state"] == "terminated"


async def test_an_activity_that_was_stopped_is_reported_as_stopped(launch: Launch, gate: Gate, tmp_path: Path):
    instance = await bring(launch, gate, "training", tmp_path, "thread")
    await instance.call("reset")
    await let_end(instance, gate, "training", "started")
    ended = of_type(instance.events, ActivityEnded)[-1]
    assert (ended.operation, ended.outcome, ended.failure) == ("train", "stopped", None)


async def test_an_activity_that_ends_well_within_the_grace_is_reported_as_completed(
    launch: Launch, gate: Gate, tmp_path: Path
):
    instance = await bring(launch, gate, "training", tmp_path, "thread")
    await instance.call("shutdown")
    gate.tell("d")
    ended = await instance.until("terminated")
    assert ended["payload"]["lastActivity"]["outcome"] == "completed"


async def test_a_second_reset_changes_nothing_while_one_is_under_way(launch: Launch, gate: Gate, tmp_path: Path):
    instance = await bring(launch, gate, "training", tmp_path, "process")
    first = await instance.call("reset")
    assert await instance.call("reset") == first
    await let_end(instance, gate, "training", "started")
    assert len(instance.workers) == 2


async def test_a_shutdown_ends_a_reset_that_is_under_way(launch: Launch, gate: Gate, tmp_path: Path):
    instance = await bring(launch, gate, "training", tmp_path, "process")
    await instance.call("reset")
    await instance.call("shutdown")
    await let_end(instance, gate, "training", "terminated")
    assert all(worker.exited for worker in instance.workers)


async def test_a_shutdown_at_any_moment_of_a_reset_leads_to_the_end(launch: Launch, kind: str):
    """The moments are turns of the event loop after the reset was begun."""
    for turns in (0, 1, 2, 3, 5, 8) if kind == "thread" else (0, 2, 5):
        instance = await launch("nothing:Nothing", kind)
        await instance.call("reset")
        await instance.workers[0].wait_exited()
        for _ in range(turns):
            await asyncio.sleep(0)
        await instance.call("shutdown")
        await instance.until("terminated")
        assert all(worker.exited for worker in instance.workers)


@pytest.mark.parametrize(
    ("how", "ending"),
    [("wait", "reset"), ("loop", "reset"), ("gil", "reset"), ("ignores everything", "reset"), ("gil", "shutdown")],
)
async def test_a_model_that_hangs_is_killed_after_the_grace(launch: Launch, how: str, ending: str):
    instance = await launch("blocks:Blocks", "process", grace=0.5)
    await instance.ready({"how": how})
    await instance.call("train")
    await instance.until(lambda status: status["payload"].get("blocking"))
    old = instance.pid
    await instance.call(ending)
    ended = await instance.until("started" if ending == "reset" else "terminated")
    assert not psutil.pid_exists(old)
    assert ended["payload"]["notice"] == "The worker did not end within 0.4 s and was killed."
    assert of_type(instance.events, ActivityEnded)[-1].outcome == "stopped"


async def test_a_worker_thread_that_hangs_is_abandoned_after_the_grace(launch: Launch, gate: Gate, tmp_path: Path):
    instance = await bring(launch, gate, "training", tmp_path, "thread", grace=0.5)
    await instance.call("reset")
    started = await instance.until("started")
    assert "did not end" in started["payload"]["notice"]
    # What it does from now on concerns nobody.
    before = instance.version
    gate.tell("s")
    await instance.ready()
    assert instance.payload.get("steps") is None
    assert instance.version > before


async def test_a_last_hook_that_hangs_is_cut_off(launch: Launch):
    instance = await launch("blocks:Blocks", "process", grace=0.5)
    await instance.ready({"how": "last hook"})
    await instance.call("shutdown")
    assert "killed" in (await instance.until("terminated"))["payload"]["notice"]


@pytest.mark.parametrize(
    ("error", "ending", "hook", "end"),
    [
        ("NotImplementedError", "reset", "do_reset", "started"),
        ("SystemExit", "reset", "do_reset", "started"),
        ("ValueError", "shutdown", "do_terminate", "terminated"),
        ("Base", "shutdown", "do_terminate", "terminated"),
    ],
)
async def test_a_last_hook_that_raises_does_not_prevent_the_end(
    launch: Launch, error: str, ending: str, hook: str, end: str
):
    instance = await (await launch("raises:Raises", "process")).ready({"hook": hook, "error": error})
    await instance.call(ending)
    ended = await instance.until(end)
    assert "notice" not in ended["payload"]


async def test_threads_that_a_model_left_behind_do_not_delay_a_reset_to_the_end_of_the_grace(launch: Launch):
    instance = await (await launch("starts_others:StartsOthers", "process")).ready()
    await instance.run("predict")
    await instance.call("reset")
    assert "notice" not in (await instance.until("started"))["payload"]


class LastHookSoon(Shutdown):
    """A shutdown at which the last hook is called soon, and the worker gets long to end then."""

    def stop_deadlines(self) -> tuple[Deadline, Deadline]:
        return self.end.within(0.5), self.end


async def test_a_model_whose_training_ends_by_its_last_hook_alone_is_not_killed(launch: Launch, tmp_path: Path):
    source = tmp_path / "looks_at_a_flag.py"
    source.write_text(
        "import threading\n"
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_initialize(self, *arguments):\n"
        "        self.end = threading.Event()\n"
        "    def do_train(self):\n"
        "        self.end.wait()\n"
        "    def do_terminate(self):\n"
        "        self.end.set()\n"
    )
    instance = await (await launch(f"{source}:Model", "process", shutdown=LastHookSoon(TIMEOUT))).ready()
    await instance.call("train")
    await instance.call("shutdown")
    ended = await instance.until("terminated")
    assert "notice" not in ended["payload"]
    assert ended["payload"]["lastActivity"]["outcome"] == "completed"


@pytest.mark.local
async def test_a_reset_whose_fresh_worker_cannot_be_started_has_failed_and_can_be_tried_again(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
):
    instance = await launch("nothing:Nothing", "new interpreter")

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as short:
        short.setattr(subprocess, "Popen", refuse)
        await instance.call("reset")
        failed = await instance.until("failed")
    assert failed["payload"]["error"]["type"] == "WorkerDied"
    assert "could not be started" in failed["payload"]["error"]["message"]
    assert failed["payload"]["possible"] == ["reset", "shutdown"]
    await instance.call("reset")
    await instance.until("started")


@pytest.mark.local
async def test_a_shutdown_after_a_reset_that_could_start_no_worker_leads_to_the_end(
    launch: Launch, kind: str, monkeypatch: pytest.MonkeyPatch
):
    instance = await launch("nothing:Nothing", kind)

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    await instance.call("reset")
    await instance.until("failed")
    await instance.call("shutdown")
    await instance.until("terminated")


# --- death of the worker -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in WAYS if state != "failed"])
async def test_the_death_of_the_worker_is_a_failure_in_every_state(
    launch: Launch, gate: Gate, tmp_path: Path, state: str
):
    instance = await bring(launch, gate, state, tmp_path, "process")
    before = instance.version
    os.kill(instance.pid, signal.SIGKILL)
    failed = await instance.until("failed", after=before)
    operations = {"building_model": "buildModel", "predicting": "streamPredict"}
    lasting = {"started", "initialized", "ready"}
    assert failed["payload"]["operation"] == (None if state in lasting else operations.get(state, "train"))
    assert "signal 9 (SIGKILL" in failed["payload"]["error"]["message"]
    assert failed["payload"]["possible"] == ["reset", "shutdown"]


async def test_a_reset_starts_a_fresh_worker_after_the_death_of_one(launch: Launch, gate: Gate, tmp_path: Path):
    instance = await bring(launch, gate, "training", tmp_path, "process")
    os.kill(instance.pid, signal.SIGKILL)
    await instance.until("failed")
    await instance.call("reset")
    await instance.until("started")
    await instance.ready()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("os._exit", r"exit code 3"),
        ("segfault", r"signal 11 \(SIGSEGV"),
        ("abort", r"signal 6 \(SIGABRT"),
        ("sigkill", r"signal 9 \(SIGKILL.*lack of memory"),
        ("closes its files", r"did not end itself, and was killed"),
    ],
)
async def test_a_death_is_reported_in_words_with_the_last_lines_of_output(launch: Launch, how: str, words: str):
    # Where it ends by itself, it is killed before that on no machine.
    options = {} if "did not end" in words else {"linger": TIMEOUT}
    instance = await (await launch("dies:Dies", "process", **options)).ready({"how": how})
    failed = await instance.run("train")
    error = failed["payload"]["error"]
    assert failed["state"] == "failed"
    assert error["type"] == "WorkerDied"
    assert re.search(words, error["message"]), error
    assert "the first line" in error["output"]
    assert "the last words" in error["output"]
    if how == "segfault":
        assert any("do_train" in line for line in error["output"]), "faulthandler shows where"


@pytest.mark.parametrize("how", ["os._exit", "segfault"])
async def test_a_death_in_a_stream_prediction_answers_it_and_fails_the_instance(launch: Launch, how: str):
    instance = await (await launch("dies:Dies", "process")).ready({"how": how})
    with pytest.raises(WorkerDied, match="The worker process"):
        await instance.stream({"a": ""})
    assert instance.state == "failed"
    assert instance.payload["operation"] == "streamPredict"


async def test_of_megabytes_of_output_the_last_lines_are_kept(launch: Launch):
    instance = await (await launch("floods:PrintsMegabytes", "process")).ready()
    assert (await instance.run("train"))["payload"]["lastActivity"]["outcome"] == "completed"
    output = (await instance.run("predict"))["payload"]["error"]["output"]
    assert len(output) <= 50
    assert all(len(line) <= 500 for line in output)
    assert any(line.startswith("z") for line in output)


async def test_processes_that_the_model_started_go_with_it(launch: Launch):
    instance = await (await launch("starts_others:StartsOthers", "process")).ready()
    others = (await instance.run("train"))["payload"]["started"]
    processes = [psutil.Process(pid) for pid in others]
    await instance.call("reset")
    await instance.until("started")
    _, alive = psutil.wait_procs(processes, timeout=TIMEOUT)
    assert not alive


async def test_the_death_of_the_worker_is_noticed_while_its_children_hold_what_it_held(launch: Launch):
    instance = await (await launch("starts_others:StartsOthers", "process")).ready({"then": "die"})
    failed = await instance.run("train")
    assert "exit code 3" in failed["payload"]["error"]["message"]
    processes = [psutil.Process(pid) for pid in failed["payload"]["started"] if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=TIMEOUT)
    assert not alive


# --- streams that are cut off ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["reset", "shutdown"])
async def test_a_stream_prediction_that_is_cut_off_is_told_so(launch: Launch, gate: Gate, tmp_path: Path, ending: str):
    instance = await bring(launch, gate, "ready", tmp_path, "process", grace=0.5)
    answers = [asyncio.ensure_future(instance.stream({"a": str(n)})) for n in range(3)]
    await instance.until("predicting")
    await instance.call(ending)
    for answer in answers:
        with pytest.raises(ServiceBusy, match="The model was reset or shut down") as caught:
            await answer
        assert caught.value.retry_after


async def test_a_stream_prediction_that_stops_at_a_pause_point_is_told_so_too(
    launch: Launch, gate: Gate, tmp_path: Path
):
    instance = await bring(launch, gate, "ready", tmp_path, "process")
    answer = asyncio.ensure_future(instance.stream({"a": ""}))
    await instance.until("predicting")
    await instance.call("reset")
    await instance.step_until(gate, "started")
    with pytest.raises(ServiceBusy, match="The model was reset or shut down"):
        await answer


async def test_stream_predictions_that_have_queued_are_answered_within_the_grace(
    launch: Launch, gate: Gate, tmp_path: Path
):
    instance = await bring(launch, gate, "ready", tmp_path, "process")
    answers = [asyncio.ensure_future(instance.stream({"a": str(n)})) for n in range(3)]
    await instance.until("predicting")
    await instance.call("shutdown")
    gate.tell("ddd")
    assert await asyncio.gather(*answers) == [{"a": "0"}, {"a": "1"}, {"a": "2"}]
    await instance.until("terminated")
