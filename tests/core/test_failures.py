"""Exceptions of hooks are reported with their traceback, and other reports of the model are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mistk_service.core.events import ActivityEnded
from mistk_service.errors import HookFailed, InvalidRequest
from tests.support.harness import MODELS, Instance, arguments, of_type, refusal

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]


HOOKS = {
    "initialize": "do_initialize",
    "loadData": "do_load_data",
    "buildModel": "do_build_model",
    "train": "do_train",
    "predict": "do_predict",
    "updateStreamProperties": "do_update_stream_properties",
    "generate": "do_generate",
    "saveModel": "do_save_model",
    "savePredictions": "do_save_predictions",
    "saveGenerations": "do_save_generations",
}


async def run_until(instance: Instance, operation: str, folder: Path, properties: dict[str, Any]) -> dict[str, Any]:
    """Bring an instance to where the operation is possible, and run it."""
    status = await instance.run("initialize", properties)
    if operation == "initialize":
        return status
    if operation not in ("loadData", "buildModel"):
        await instance.run("buildModel")
    return await instance.run(operation, *arguments(operation, folder))


@pytest.mark.parametrize("operation", HOOKS)
async def test_an_exception_in_a_hook_fails_the_instance_with_its_traceback(
    launch: Launch, tmp_path: Path, operation: str
):
    instance = await launch("raises:Raises", "thread")
    status = await run_until(instance, operation, tmp_path, {"hook": HOOKS[operation]})
    assert status["state"] == "failed"
    payload = status["payload"]
    assert payload["operation"] == operation
    assert payload["error"]["type"] == "ValueError"
    assert payload["error"]["message"] == "that went wrong"
    assert "in _maybe" in payload["error"]["traceback"]
    assert payload["possible"] == ["reset", "shutdown"]
    assert payload["lastActivity"]["outcome"] == "failed"
    ended = of_type(instance.events, ActivityEnded)[-1]
    assert (ended.operation, ended.outcome, ended.failure.type) == (operation, "failed", "ValueError")
    await refusal(instance, "initialize")
    await instance.call("reset")
    assert "error" not in (await instance.until("started"))["payload"]


@pytest.mark.parametrize(("operation", "returned"), [("train", "generator"), ("predict", "coroutine")])
async def test_a_hook_whose_code_has_not_run_fails(launch: Launch, operation: str, returned: str):
    instance: Instance = await launch("unrun:Unrun", "thread")
    await instance.ready()
    status = await instance.run(operation)
    assert status["state"] == "failed"
    assert f"do_{operation} returned a {returned}, whose code has not run" in status["payload"]["error"]["message"]


@pytest.mark.parametrize("operation", [name for name in HOOKS if not name.startswith("save")])
async def test_not_implemented_at_run_time_fails_the_instance(launch: Launch, tmp_path: Path, operation: str):
    """As in MISTK, whose orchestrators wait for a state that tells of it."""
    instance = await launch("raises:Raises", "thread")
    properties = {"hook": HOOKS[operation], "error": "NotImplementedError"}
    status = await run_until(instance, operation, tmp_path, properties)
    assert status["state"] == "failed"
    assert status["payload"]["operation"] == operation
    assert status["payload"]["error"]["type"] == "NotImplementedError"
    assert status["payload"]["error"]["message"] == "not this one"


@pytest.mark.parametrize("operation", HOOKS)
async def test_a_hook_that_refuses_the_request_leaves_the_state_as_it_was(
    launch: Launch, tmp_path: Path, operation: str
):
    instance = await launch("raises:Raises", "thread")
    properties = {"hook": HOOKS[operation], "error": "RequestError"}
    status = await run_until(instance, operation, tmp_path, properties)
    back = {"initialize": "started", "loadData": "initialized", "buildModel": "initialized"}.get(operation, "ready")
    assert status["state"] == back
    assert status["payload"]["lastActivity"]["outcome"] == "refused"
    assert "epochs must be at least 1" in status["payload"]["notice"]
    assert "error" not in status["payload"]
    with pytest.raises(InvalidRequest, match=r"^epochs must be at least 1$") as caught:
        await instance.controller.wait_accepted()
    assert caught.value.field == "hyperparameters.epochs"


async def test_a_stream_prediction_that_the_model_refuses_is_a_wrong_request(launch: Launch, kind: str):
    instance = await launch("raises:Raises", kind)
    await instance.ready({"hook": "do_stream_predict", "error": "RequestError"})
    with pytest.raises(InvalidRequest, match="epochs must be at least 1") as caught:
        await instance.stream({"a": ""})
    assert caught.value.field == "hyperparameters.epochs"
    assert instance.state == "ready"


@pytest.mark.parametrize("operation", ["saveModel", "savePredictions", "saveGenerations"])
async def test_a_saving_that_is_not_implemented_leads_back_to_where_it_was(
    launch: Launch, tmp_path: Path, operation: str
):
    instance = await launch("raises:Raises", "thread")
    properties = {"hook": HOOKS[operation], "error": "NotImplementedError."}
    status = await run_until(instance, operation, tmp_path, properties)
    assert status["state"] == "ready"
    assert status["payload"]["lastActivity"]["outcome"] == "unsupported"
    notice = status["payload"]["notice"]
    assert notice == f"The model does not support {operation} (not this one); nothing was done."
    assert "error" not in status["payload"]


@pytest.mark.parametrize(
    ("error", "kind_of_error", "message"),
    [
        ("Unprintable", "Unprintable", ""),
        ("surrogate", "ValueError", "a lone surrogate"),
        ("chained", "ValueError", "the effect"),
        ("SystemExit", "SystemExit", "3"),
        ("exit 0", "SystemExit", ""),
        ("KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("Base", "Base", "not an Exception"),
    ],
)
async def test_whatever_a_hook_raises_is_reported(
    launch: Launch, kind: str, error: str, kind_of_error: str, message: str
):
    instance = await (await launch("raises:Raises", kind)).ready({"hook": "do_train", "error": error})
    failed = await instance.run("train")
    assert failed["state"] == "failed"
    assert failed["payload"]["error"]["type"] == kind_of_error
    assert message in failed["payload"]["error"]["message"]
    if error == "chained":
        assert "the cause" in failed["payload"]["error"]["traceback"]
    assert not instance.workers[-1].exited, "the worker is well, only the hook has failed"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("SystemExit", "SystemExit: 3"),
        ("exit 0", "SystemExit"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("Base", "Base: not an Exception"),
    ],
)
async def test_what_would_end_an_interpreter_fails_a_prediction_alone(
    launch: Launch, kind: str, error: str, reason: str
):
    instance = await (await launch("raises:Raises", kind)).ready({"hook": "do_stream_predict", "error": error})
    with pytest.raises(HookFailed, match=f"streamPredict: {reason}$"):
        await instance.stream({"a": ""})
    assert instance.state == "ready"
    assert not instance.workers[-1].exited


#: Reports that cannot be sent, one for each way that a report can go wrong.
ODD_REPORTS = [
    *("status object", "status integer", "status surrogate", "status deep", "status large", "metric text"),
    *("metric name", "metric step", "metric time", "metric integer", "param object", "param integer", "param name"),
    *("tag surrogate", "artifact name", "artifact nothing", "metrics many", "metric name long", "param large"),
    *("param name long", "tag large", "tags many"),
]


async def report(instance: Instance, what: str) -> None:
    """Train a model that makes an odd report, and assert that all else is as it should be."""
    await instance.ready({"what": what})
    ended = await instance.run("train")
    assert ended["payload"]["lastActivity"]["outcome"] == "completed"
    assert ended["payload"]["metrics"]["sane"]["value"] == 1.0
    assert len(json.dumps(ended)) < 10_000, "what cannot be sent is left out"
    # The worker still listens.
    assert (await instance.run("train"))["payload"]["lastActivity"]["outcome"] == "completed"


@pytest.mark.parametrize("what", ODD_REPORTS)
async def test_a_report_that_cannot_be_sent_harms_neither_the_activity_nor_the_reports_after_it(
    launch: Launch, what: str
):
    await report(await launch("odd_reports:OddReports", "thread"), what)


@pytest.mark.parametrize("what", ["status surrogate", "tags many"])
async def test_a_report_that_cannot_be_sent_does_not_harm_a_process_either(launch: Launch, what: str):
    await report(await launch("odd_reports:OddReports", "process"), what)


async def test_rare_but_right_reports_arrive_as_they_are(launch: Launch, kind: str):
    instance = await (await launch("odd_reports:OddReports", kind)).ready({"what": "rare"})
    payload = (await instance.run("train"))["payload"]
    values = {key: metric["value"] for key, metric in payload["metrics"].items()}
    assert values == {"nan": "NaN", "up": "Infinity", "down": "-Infinity", "scalar": 0.25, "yes": 1.0, "sane": 1.0}
    assert payload["metrics"]["nan"]["step"] == 3
    assert payload["params"] == {"scalar": 7, "nested": {"a": [1, None]}, "5": "five"}
    assert payload["tags"] == {"tag": "second"}
    assert payload["artifacts"] == [{"path": str(MODELS / "odd_reports.py"), "artifactPath": "folder"}]
    assert payload["scalar"] == [1, 2]
    assert payload["path"] == "a/b"
