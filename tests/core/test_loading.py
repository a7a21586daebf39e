"""Calls wait while a worker loads its model, and failures to load are reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mistk_service.core.events import WorkerStarted
from mistk_service.errors import InvalidRequest, ModelLoadError, OperationRefused, WorkerDied
from tests.support.harness import TIMEOUT, Gate, of_type, version_of

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]


@pytest.fixture
def import_gate(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate at which the import of a model waits."""
    monkeypatch.setenv("TEST_IMPORT_GATE", str(gate.path))
    return gate


async def test_a_model_that_cannot_be_loaded_fails_the_instance(launch: Launch, kind: str):
    instance = await launch("broken/raises_on_import:Model", kind, loaded=False)
    with pytest.raises(ModelLoadError, match="this module cannot be imported"):
        await instance.controller.wait_loaded()
    failed = await instance.until("failed")
    assert failed["payload"]["error"]["type"] == "ModelModuleFailed"
    assert "raises_on_import.py" in failed["payload"]["error"]["traceback"]
    assert failed["payload"]["operation"] is None


@pytest.mark.parametrize("worker", ["process", "thread"])
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raises_odd_text_on_import", "ValueError: a lone \\udcff surrogate"),
        ("raises_without_text_on_import", "NoTextError: (no text: __str__ raised ValueError)"),
    ],
)
async def test_the_reason_of_a_failed_import_is_given_whatever_its_text(
    launch: Launch, worker: str, module: str, words: str
):
    instance = await launch(f"broken/{module}:Model", worker, loaded=False)
    with pytest.raises(ModelLoadError) as caught:
        await instance.controller.wait_loaded()
    assert words in str(caught.value)
    assert (await instance.until("failed"))["payload"]["error"]["type"] == "ModelModuleFailed"


async def test_a_worker_that_dies_over_the_import_fails_the_instance(launch: Launch):
    instance = await launch("broken/dies_on_import:Model", "process", loaded=False)
    with pytest.raises(WorkerDied, match="exit code 9") as caught:
        await instance.controller.wait_loaded()
    assert caught.value.failure.output[-1] == "about to die"
    assert instance.state == "failed"


@pytest.mark.local
async def test_a_call_while_the_model_is_imported_waits_for_it(launch: Launch, import_gate: Gate):
    instance = await launch("broken/waits_on_import:Model", "process", loaded=False)
    assert (await instance.call("initialize"))["state"] == "initializing"
    import_gate.tell("g")
    await instance.until("initialized")


@pytest.mark.local
async def test_hyperparameters_that_come_before_the_class_are_read_as_those_that_come_after_it(
    launch: Launch, import_gate: Gate
):
    instance = await launch("broken/waits_on_import:Declared", "process", loaded=False)
    await instance.call("initialize", {}, {"rate": "0.5"})
    import_gate.tell("g")
    initialized = await instance.until("initialized")
    assert initialized["payload"]["got"] == {"rate": 0.5, "epochs": 3}


@pytest.mark.local
async def test_hyperparameters_that_the_class_does_not_accept_are_refused_once_it_is_loaded(
    launch: Launch, import_gate: Gate
):
    instance = await launch("broken/waits_on_import:Declared", "process", loaded=False)
    await instance.call("initialize", {}, {"rate": 1, "epoch": 4})
    import_gate.tell("g")
    payload = (await instance.until("started"))["payload"]
    assert payload["lastActivity"]["outcome"] == "refused"
    assert "hyperparameters.epoch is not known; did you mean epochs?" in payload["notice"]


async def test_a_reset_forgets_a_call_that_waits_for_the_class(launch: Launch, import_gate: Gate):
    instance = await launch("broken/waits_on_import:Declared", "process", loaded=False)
    await instance.call("initialize", {}, {"rate": 1})
    reset = await instance.call("reset")
    import_gate.tell("gg")
    started = await instance.until("started", after=version_of(reset))
    assert "got" not in started["payload"]


async def test_an_import_that_fails_fails_the_call_that_waits_for_it(launch: Launch, import_gate: Gate):
    instance = await launch("broken/waits_on_import:Model", "process", loaded=False)
    await instance.call("initialize")
    import_gate.tell("f")
    failed = await instance.until("failed")
    assert failed["payload"]["operation"] == "initialize"
    assert failed["payload"]["lastActivity"]["outcome"] == "failed"


@pytest.mark.parametrize("told", ["g", "f"])
@pytest.mark.local
async def test_a_reset_during_the_import_gives_a_fresh_worker_and_who_waits_gets_that(
    launch: Launch, import_gate: Gate, told: str
):
    instance = await launch("broken/waits_on_import:Model", "process", loaded=False)
    waiting = asyncio.ensure_future(instance.controller.wait_loaded())
    await instance.call("reset")
    import_gate.tell(told)
    import_gate.tell("g")
    await instance.until("started", after=instance.version)
    await waiting
    assert len(instance.workers) == 2


@pytest.mark.parametrize("told", ["g", "f"])
async def test_a_shutdown_during_the_import_leads_to_the_end(launch: Launch, import_gate: Gate, told: str):
    instance = await launch("broken/waits_on_import:Model", "process", loaded=False)
    await instance.call("shutdown")
    import_gate.tell(told)
    await instance.until("terminated")


@pytest.mark.local
async def test_a_reset_whose_fresh_worker_cannot_load_has_failed_and_can_be_tried_again(
    launch: Launch, import_gate: Gate
):
    instance = await launch("broken/waits_on_import:Model", "process", loaded=False)
    import_gate.tell("g")
    await instance.controller.wait_loaded()
    await instance.call("reset")
    import_gate.tell("f")
    failed = await instance.until("failed")
    assert failed["payload"]["error"]["type"] == "ModelModuleFailed"
    with pytest.raises(OperationRefused):
        await instance.call("initialize")
    again = await instance.call("reset")
    import_gate.tell("g")
    await instance.until("started", after=version_of(again))


async def test_a_bad_argument_after_a_death_is_refused_and_changes_nothing(launch: Launch):
    instance = await (await launch("steered:Steered", "process")).ready()
    before = instance.version
    with pytest.raises(InvalidRequest):
        await instance.call("saveModel", "")
    assert (instance.state, instance.version) == ("ready", before)


async def test_a_reset_gets_rid_of_a_fresh_worker_that_hangs_in_its_import(launch: Launch, gate: Gate, tmp_path: Path):
    """The first import goes through; the second one hangs, for as long as the file is there."""
    file, hang = tmp_path / "moody.py", tmp_path / "hang"
    file.write_text(
        "from pathlib import Path\n"
        "from mistk_service import AbstractModel\n"
        f"if Path({str(hang)!r}).exists():\n"
        f"    open({str(gate.path)!r}, 'rb').read()\n"
        "class Moody(AbstractModel):\n"
        "    pass\n"
    )
    instance = await launch(f"{file}:Moody", grace=0.5)
    hang.touch()
    await instance.call("reset")
    async with asyncio.timeout(TIMEOUT):
        while len(of_type(instance.events, WorkerStarted)) < 2:  # noqa: ASYNC110 - the events are a list
            await asyncio.sleep(0)
    hang.unlink()
    assert (await instance.call("reset"))["state"] == "resetting"
    assert (await instance.until("started"))["payload"]["possible"] == ["initialize", "reset", "shutdown"]
    assert len(instance.workers) == 3
