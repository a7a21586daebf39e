"""Pausing: at a pause point or by the model itself, overtaken, unsupported, failing, and calls during a pause."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mistk_service.core.events import ActivityEnded
from mistk_service.errors import OperationRefused
from tests.support.harness import Gate, Instance, of_type, version_of

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]

PAUSABLE = [
    ("train", "training", "resumeTraining", "resumePredict"),
    ("predict", "predicting", "resumePredict", "resumeTraining"),
]


async def at_work(launch: Launch, gate: Gate, kind: str, operation: str = "train") -> Instance:
    """Return an instance whose steered model trains or predicts."""
    instance: Instance = await launch("steered:Steered", kind)
    await instance.run("initialize", {"gate": str(gate.path)})
    gate.tell("d")
    await instance.run("buildModel")
    await instance.call(operation)
    return instance


async def paused(launch: Launch, gate: Gate, kind: str, operation: str = "train") -> Instance:
    """Return an instance whose training or prediction is paused at a pause point."""
    instance = await at_work(launch, gate, kind, operation)
    await instance.call("pause")
    await instance.step_until(gate)
    return instance


async def own_way(launch: Launch, gate: Gate, **properties: Any) -> Instance:
    """Return an instance whose model trains, and pauses in its own way."""
    instance: Instance = await launch("own_pause:OwnPause", "thread")
    await instance.ready({"gate": str(gate.path), **properties})
    await instance.call("train")
    return instance


@pytest.mark.parametrize(("operation", "running", "resume", "other"), PAUSABLE)
async def test_an_activity_pauses_at_its_next_pause_point_and_continues_when_resumed(
    launch: Launch, gate: Gate, kind: str, operation: str, running: str, resume: str, other: str
):
    instance = await at_work(launch, gate, kind, operation)
    assert instance.payload["possible"] == ["pause", "reset", "shutdown"]
    pausing = await instance.call("pause")
    assert pausing["state"] == "pausing"
    assert pausing["payload"]["possible"] == ["reset", "shutdown"]
    assert pausing["payload"]["activity"]["operation"] == operation
    halted = await instance.step_until(gate)
    assert halted["payload"]["possible"] == ["saveModel", resume, "reset", "shutdown"]
    steps = halted["payload"].get("steps", 0)
    with pytest.raises(OperationRefused) as caught:
        await instance.call(other)
    assert (caught.value.state, caught.value.activity) == ("paused", operation)
    resumed = await instance.call(resume)
    assert resumed["state"] == running
    onward = await instance.until(lambda status: status["payload"].get("steps", 0) > steps)
    assert (onward["state"], onward["payload"]["steps"]) == (running, steps + 1)
    gate.tell("d")
    assert (await instance.until("ready"))["payload"]["lastActivity"]["outcome"] == "completed"


async def test_an_activity_can_pause_again_and_again(launch: Launch, gate: Gate, kind: str):
    instance = await at_work(launch, gate, kind)
    for _ in range(3):
        await instance.call("pause")
        steps = (await instance.step_until(gate))["payload"].get("steps", 0)
        await instance.call("resumeTraining")
        await instance.until(partial(lambda steps, status: status["payload"].get("steps", 0) == steps + 1, steps))
    gate.tell("d")
    await instance.until("ready")


async def test_a_pause_right_after_a_resume_pauses_although_the_activity_never_saw_the_gate_open(
    launch: Launch, gate: Gate, kind: str
):
    instance = await paused(launch, gate, kind)
    for _ in range(50):
        await instance.call("resumeTraining")
        await instance.call("pause")
        await instance.step_until(gate, tell=False)
    await instance.call("resumeTraining")
    gate.tell("d")
    await instance.until("ready")


async def test_a_pause_right_after_the_begin_is_not_lost(launch: Launch, gate: Gate, kind: str):
    instance: Instance = await launch("steered:Steered", kind)
    await instance.run("initialize", {"gate": str(gate.path)})
    gate.tell("d")
    await instance.run("buildModel")
    for _ in range(30):
        await instance.call("train")
        await instance.call("pause")
        await instance.step_until(gate)
        await instance.call("resumeTraining")
        gate.tell("d")
        await instance.until("ready")


@pytest.mark.parametrize("operation", ["train", "predict"])
async def test_an_activity_that_ends_first_overtakes_the_pause_and_that_is_not_a_failure(
    launch: Launch, gate: Gate, kind: str, operation: str
):
    instance = await at_work(launch, gate, kind, operation)
    await instance.call("pause")
    gate.tell("d")
    ended = await instance.until("ready")
    assert ended["payload"]["lastActivity"]["outcome"] == "completed"
    assert ended["payload"]["notice"] == f"The pause had no effect: {operation} ended before it reached a pause point."
    # Nothing of that pause is left over for the next activity.
    await instance.call("train")
    gate.tell("sd")
    again = await instance.until("ready", after=instance.version)
    assert again["payload"]["steps"] == 1
    assert "notice" not in again["payload"]


async def test_a_hook_that_fails_while_it_should_pause_has_failed(launch: Launch, gate: Gate, kind: str):
    instance = await at_work(launch, gate, kind)
    await instance.call("pause")
    gate.tell("f")
    failed = await instance.until("failed")
    assert failed["payload"]["operation"] == "train"
    assert failed["payload"]["error"]["message"] == "told to fail"


async def test_only_training_and_batch_prediction_can_be_paused(launch: Launch, gate: Gate):
    instance = await at_work(launch, gate, "thread", "generate")
    with pytest.raises(OperationRefused):
        await instance.call("pause")
    gate.tell("d")
    await instance.until("ready")


# --- saving at a pause point -------------------------------------------------------------------------------------------


async def test_a_model_saved_while_paused_stays_paused(launch: Launch, gate: Gate, kind: str, tmp_path: Path):
    instance = await paused(launch, gate, kind)
    saving = await instance.call("saveModel", str(tmp_path))
    assert saving["state"] == "saving_model"
    assert saving["payload"]["activity"]["operation"] == "saveModel"
    assert saving["payload"]["possible"] == ["reset", "shutdown"]
    gate.tell("d")
    back = await instance.until("paused", after=version_of(saving))
    assert back["payload"]["lastActivity"]["operation"] == "saveModel"
    assert back["payload"]["activity"]["operation"] == "train"
    assert back["payload"]["possible"] == ["saveModel", "resumeTraining", "reset", "shutdown"]
    await instance.call("resumeTraining")
    gate.tell("d")
    assert (await instance.until("ready"))["payload"]["lastActivity"]["operation"] == "train"


async def test_a_saving_that_is_not_supported_while_paused_stays_paused(
    launch: Launch, gate: Gate, kind: str, tmp_path: Path
):
    instance = await paused(launch, gate, kind)
    saving = await instance.call("saveModel", str(tmp_path))
    gate.tell("u")
    back = await instance.until("paused", after=version_of(saving))
    assert back["payload"]["lastActivity"]["outcome"] == "unsupported"


async def test_a_saving_that_fails_while_a_training_is_paused_costs_the_saving_alone(
    launch: Launch, gate: Gate, kind: str, tmp_path: Path
):
    instance = await paused(launch, gate, kind)
    saving = await instance.call("saveModel", str(tmp_path))
    gate.tell("f")
    back = await instance.until("paused", after=version_of(saving))
    assert back["payload"]["lastActivity"]["outcome"] == "failed"
    assert back["payload"]["notice"] == "saveModel failed (ValueError: told to fail); train stays paused."
    assert "error" not in back["payload"]
    assert back["payload"]["activity"]["operation"] == "train"
    ended = of_type(instance.events, ActivityEnded)[-1]
    assert (ended.operation, ended.outcome, ended.failure.message) == ("saveModel", "failed", "told to fail")
    await instance.call("resumeTraining")
    gate.tell("d")
    assert (await instance.until("ready"))["payload"]["lastActivity"]["operation"] == "train"


async def test_a_saving_with_pause_points_of_its_own_runs_through_while_paused(
    launch: Launch, gate: Gate, kind: str, tmp_path: Path
):
    instance: Instance = await launch("steps:Steps", kind)
    await instance.ready({"gate": str(gate.path)}, {"epochs": 4})
    await instance.call("train")
    gate.tell("s")
    await instance.until(lambda status: status["payload"].get("progress", {}).get("done") == 1)
    await instance.call("pause")
    # The pause reaches the model before the next epoch, or, if that was quicker, before the one after it.
    gate.tell("s")
    done = await instance.until(
        lambda status: status["state"] == "paused" or status["payload"]["progress"]["done"] == 2
    )
    if done["state"] != "paused":
        gate.tell("s")
        await instance.until("paused")
    saving = await instance.call("saveModel", str(tmp_path))
    back = await instance.until("paused", after=version_of(saving))
    assert (tmp_path / "model.txt").read_text() in ("0\n1\n", "0\n1\n2\n")
    assert back["payload"]["lastActivity"]["outcome"] == "completed"
    assert back["payload"]["progress"]["unit"] == "epochs"
    await instance.call("resumeTraining")
    gate.tell("ss")
    ended = await instance.until("ready")
    assert ended["payload"]["metrics"]["loss"]["step"] == 3


async def test_the_progress_of_a_training_is_in_the_status_while_it_runs(launch: Launch, gate: Gate, kind: str):
    instance: Instance = await launch("steps:Steps", kind)
    await instance.ready({"gate": str(gate.path)}, {"epochs": 2})
    await instance.call("train")
    begun = await instance.until(lambda status: "progress" in status["payload"])
    assert begun["payload"]["progress"] == {"done": 0, "total": 2, "unit": "epochs", "rate": None, "timeLeft": None}
    gate.tell("s")
    one = await instance.until(lambda status: status["payload"]["progress"]["done"] == 1)
    assert one["payload"]["progress"]["rate"] > 0
    assert one["payload"]["progress"]["timeLeft"] > 0
    gate.tell("s")
    assert "progress" not in (await instance.until("ready"))["payload"]


# --- in the model's own way --------------------------------------------------------------------------------------------


async def test_a_model_pauses_in_its_own_way(launch: Launch, gate: Gate, tmp_path: Path):
    instance = await own_way(launch, gate)
    await instance.call("pause")
    await instance.until("paused")
    gate.tell("s")
    saving = await instance.call("saveModel", str(tmp_path))
    back = await instance.until("paused", after=version_of(saving))
    assert back["payload"]["params"] == {"saved": str(tmp_path)}
    assert "steps" not in back["payload"]
    await instance.call("resumeTraining")
    await instance.until(lambda status: status["payload"].get("steps") == 1)
    gate.tell("d")
    await instance.until("ready")


async def test_a_training_that_ends_although_it_paused_in_its_own_way_overtakes_the_pause(launch: Launch, gate: Gate):
    instance = await own_way(launch, gate)
    await instance.call("pause")
    await instance.until("paused")
    gate.tell("d")
    ended = await instance.until("ready")
    assert "had no effect" in ended["payload"]["notice"]
    assert "activity" not in ended["payload"]


async def test_a_model_that_does_not_pause_continues(launch: Launch, gate: Gate):
    instance = await own_way(launch, gate, pause="NotImplementedError")
    pausing = await instance.call("pause")
    back = await instance.until("training", after=version_of(pausing))
    assert back["payload"]["notice"] == "The model does not support pausing (no pause here); train continues."
    gate.tell("d")
    assert (await instance.until("ready"))["payload"]["lastActivity"]["outcome"] == "completed"


async def test_a_model_that_does_not_resume_stays_paused(launch: Launch, gate: Gate, tmp_path: Path):
    instance = await own_way(launch, gate, resume="NotImplementedError")
    await instance.call("pause")
    await instance.until("paused")
    resuming = await instance.call("resumeTraining")
    back = await instance.until("paused", after=version_of(resuming))
    assert back["payload"]["notice"] == "The model does not support resuming (no resume here); train stays paused."
    # It is still paused in its own way: a saving does not wait for the training to end.
    saving = await instance.call("saveModel", str(tmp_path))
    await instance.until("paused", after=version_of(saving))


@pytest.mark.parametrize("kind", ["process"])
@pytest.mark.parametrize(("hook", "operation"), [("pause", "pause"), ("resume", "resumeTraining")])
@pytest.mark.parametrize(("error", "reason"), [("ValueError", " went wrong"), ("SystemExit", " exits")])
async def test_a_pause_or_resume_that_raises_fails_the_instance(
    launch: Launch, gate: Gate, kind: str, hook: str, operation: str, error: str, reason: str
):
    instance = await own_way(launch, gate, **{hook: error})
    await instance.call("pause")
    if hook == "resume":
        await instance.until("paused")
        await instance.call("resumeTraining")
    failed = await instance.until("failed")
    assert failed["payload"]["operation"] == operation
    assert failed["payload"]["error"]["type"] == error
    assert failed["payload"]["error"]["message"] == f"{hook}{reason}"
    # What the training says from now on concerns nobody.
    version = version_of(failed)
    gate.tell("d")
    reset = await instance.call("reset")
    assert version_of(reset) == version + 1
    await instance.until("started")


@pytest.mark.parametrize("ending", ["reset", "shutdown"])
@pytest.mark.parametrize("error", ["ValueError", "NotImplementedError"])
async def test_a_pause_that_goes_wrong_while_the_instance_ends_does_not_disturb_the_end(
    launch: Launch, gate: Gate, ending: str, error: str
):
    instance = await own_way(launch, gate, pause=error)
    await instance.call("pause")
    begun = await instance.call(ending)
    gate.tell("d")
    await instance.until("started" if ending == "reset" else "terminated", after=version_of(begun))
    assert instance.state == ("started" if ending == "reset" else "terminated")
