"""The controller follows the state table: it accepts allowed operations, and explains refusals."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mistk_service.core.events import (
    ActivityBegan,
    ActivityEnded,
    ArtifactLogged,
    MetricsReported,
    ModelLoaded,
    ParamsReported,
    ProgressReported,
    StateChanged,
    StatusUpdated,
    TagsSet,
    WorkerStarted,
)
from mistk_service.errors import InvalidRequest, OperationRefused, OperationUnsupported
from tests.support.harness import MODELS, Gate, arguments, of_type, refusal, version_of

pytestmark = pytest.mark.anyio

Launch = Callable[..., Any]

#: The operations that run a hook in the state ready: name, state while it runs.
FROM_READY = [
    ("loadData", "loading_data"),
    ("buildModel", "building_model"),
    ("train", "training"),
    ("predict", "predicting"),
    ("updateStreamProperties", "updating_properties"),
    ("generate", "generating"),
    ("saveModel", "saving_model"),
    ("savePredictions", "saving_predictions"),
    ("saveGenerations", "saving_generations"),
]

IN_READY = [
    *("loadData", "buildModel", "train", "predict", "streamPredict", "streamPredict/source", "updateStreamProperties"),
    *("generate", "evaluate", "miniaturize", "saveModel", "savePredictions", "saveGenerations", "reset", "shutdown"),
]


# --- the rows of the table ---------------------------------------------------------------------------------------------


async def test_a_new_instance_is_started_and_can_be_initialized(launch: Launch, kind: str):
    instance = await launch("steered:Steered", kind)
    assert instance.state == "started"
    assert instance.controller.view.possible() == ("initialize", "reset", "shutdown")
    assert instance.payload["possible"] == ["initialize", "reset", "shutdown"]
    assert instance.controller.view.name == "Steered"


async def test_initialize_leads_to_initialized(launch: Launch, gate: Gate, kind: str):
    instance = await launch("steered:Steered", kind)
    begun = await instance.call("initialize", {"gate": str(gate.path), "from_the_start": True})
    assert begun["state"] == "initializing"
    gate.tell("d")
    assert (await instance.until("initialized"))["payload"]["possible"] == [
        "loadData",
        "buildModel",
        "buildEnsemble",
        "reset",
        "shutdown",
    ]


async def test_data_loaded_before_the_model_is_built_leads_back_to_initialized(launch: Launch, gate: Gate):
    instance = await launch("steered:Steered", "thread")
    await instance.run("initialize", {"gate": str(gate.path)})
    assert (await instance.call("loadData"))["state"] == "loading_data"
    gate.tell("d")
    await instance.until("initialized")


@pytest.mark.parametrize(("operation", "running"), FROM_READY)
async def test_an_operation_in_ready_runs_and_leads_back_to_ready(
    launch: Launch, gate: Gate, tmp_path: Path, operation: str, running: str
):
    instance = await launch("steered:Steered", "thread")
    await instance.run("initialize", {"gate": str(gate.path)})
    gate.tell("d")
    assert (await instance.run("buildModel"))["payload"]["possible"] == IN_READY
    begun = await instance.call(operation, *arguments(operation, tmp_path))
    assert begun["state"] == running
    assert begun["payload"]["activity"]["operation"] == operation
    gate.tell("d")
    ended = await instance.until("ready", after=version_of(begun))
    assert "activity" not in ended["payload"]
    assert ended["payload"]["possible"] == IN_READY
    last = ended["payload"]["lastActivity"]
    assert (last["operation"], last["outcome"]) == (operation, "completed")
    assert last["startedAt"] <= last["endedAt"]


async def test_the_status_of_a_call_is_what_a_watch_can_start_from(launch: Launch, gate: Gate):
    instance = await (await launch("steered:Steered", "thread")).ready()
    begun = await instance.call("train")
    ended = await instance.until(lambda status: True, after=version_of(begun))
    assert version_of(ended) == version_of(begun) + 1
    assert ended["state"] == "ready"


async def test_a_whole_lifecycle(launch: Launch, kind: str, tmp_path: Path):
    instance = await (await launch("steered:Steered", kind)).ready()
    for operation, _ in FROM_READY:
        ended = await instance.run(operation, *arguments(operation, tmp_path))
        assert ended["state"] == "ready", ended
    assert await instance.stream({"a": "YQ=="}) == {"a": "YQ=="}
    await instance.call("shutdown")
    await instance.until("terminated")


# --- refusals ----------------------------------------------------------------------------------------------------------

ALL = [
    *("initialize", "loadData", "buildModel", "train", "predict", "updateStreamProperties", "generate", "saveModel"),
    *("savePredictions", "saveGenerations", "pause", "resumeTraining", "resumePredict"),
]


@pytest.mark.parametrize(
    ("state", "way", "allowed"),
    [
        ("started", [], {"initialize"}),
        ("initialized", ["initialize"], {"loadData", "buildModel"}),
        ("ready", ["initialize", "buildModel"], set(IN_READY)),
    ],
)
async def test_what_the_table_does_not_allow_is_refused_and_changes_nothing(
    launch: Launch, tmp_path: Path, state: str, way: list[str], allowed: set[str]
):
    instance = await launch("steered:Steered", "thread")
    for operation in way:
        await instance.run(operation)
    assert instance.state == state
    target = tmp_path / "never made"
    for operation in [*ALL, "streamPredict"]:
        if operation in allowed:
            continue
        error = await refusal(instance, operation, *arguments(operation, target))
        assert (error.operation, error.state, error.activity) == (operation, state, None)
        assert error.possible == instance.controller.view.possible()
        message = str(error)
        assert message.startswith(f"{operation} is not possible in the state {state}; nothing is running.")
        assert f"Possible now: {', '.join(error.possible)}." in message
    assert not target.exists(), "a refused saving has made its folder"


async def test_while_an_activity_runs_the_refusal_names_it(launch: Launch, gate: Gate, tmp_path: Path, kind: str):
    instance = await launch("steered:Steered", kind)
    await instance.run("initialize", {"gate": str(gate.path)})
    gate.tell("d")
    await instance.run("buildModel")
    await instance.call("generate")
    for operation in [*ALL, "streamPredict"]:
        error = await refusal(instance, operation, *arguments(operation, tmp_path))
        assert (error.state, error.activity, error.possible) == ("generating", "generate", ("reset", "shutdown"))
        assert "generate is running" in str(error)
    gate.tell("d")
    await instance.until("ready")


@pytest.mark.parametrize("operation", ["train", "generate", "loadData", "saveModel", "streamPredict"])
async def test_what_the_class_does_not_implement_is_refused_before_any_state_changes(
    launch: Launch, tmp_path: Path, operation: str
):
    instance = await (await launch("nothing:Nothing", "process")).ready()
    target = tmp_path / "never made"
    error = await refusal(instance, operation, *arguments(operation, target))
    assert isinstance(error, OperationUnsupported)
    assert "The model Nothing does not implement" in str(error)
    assert re.search(r"its class has no do_\w+", str(error))
    assert error.possible == ("buildModel", "updateStreamProperties", "reset", "shutdown")
    assert not target.exists()


async def test_a_model_without_any_hook_lives_and_ends(launch: Launch, kind: str):
    instance = await (await launch("nothing:Nothing", kind)).ready()
    assert instance.payload["possible"] == ["buildModel", "updateStreamProperties", "reset", "shutdown"]
    await instance.call("reset")
    await instance.until("started")
    await instance.call("shutdown")
    await instance.until("terminated")


async def test_an_operation_that_another_call_has_overtaken_is_refused(launch: Launch, gate: Gate, tmp_path: Path):
    """The file system is looked at on a thread; what the state allowed before need not be allowed afterwards."""
    instance = await launch("steered:Steered", "thread")
    await instance.run("initialize", {"gate": str(gate.path)})
    gate.tell("d")
    await instance.run("buildModel")
    both = [instance.call("saveModel", str(tmp_path)), instance.call("savePredictions", str(tmp_path))]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert {type(first), type(second)} == {dict, OperationRefused}
    gate.tell("d")
    await instance.until("ready")


# --- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["loadData", "buildModel"])
async def test_a_path_that_does_not_exist_is_refused_with_its_place(launch: Launch, tmp_path: Path, operation: str):
    instance = await (await launch("steered:Steered", "thread")).ready()
    missing = str(tmp_path / "nowhere")
    before = instance.version
    argument = {"train": {"dataPath": missing}} if operation == "loadData" else missing
    with pytest.raises(InvalidRequest, match="No such file or directory") as caught:
        await instance.call(operation, argument)
    assert caught.value.field == {"loadData": "datasets.train.dataPath", "buildModel": "modelPath"}[operation]
    assert instance.version == before
    assert instance.state == "ready"


@pytest.mark.parametrize("value", [2**70, -(2**70), "\ud800", {"\ud800": 1}, [[2**70]]])
@pytest.mark.parametrize("kind", ["thread"])
async def test_an_argument_that_cannot_cross_to_the_worker_is_refused(launch: Launch, kind: str, value: Any):
    instance = await launch("steered:Steered", kind)
    before = instance.version
    with pytest.raises(InvalidRequest, match=r"expected"):
        await instance.call("initialize", {"value": value})
    assert (instance.state, instance.version) == ("started", before)
    assert not of_type(instance.events, ActivityBegan)
    await instance.ready()
    with pytest.raises(InvalidRequest):
        await instance.call("updateStreamProperties", {"value": value})
    assert instance.state == "ready"


@pytest.mark.parametrize("depth", [10, 100, 400, 800, 950])
async def test_deep_arguments_reach_the_hook_or_are_refused(launch: Launch, depth: int):
    instance = await (await launch("steered:Steered", "process")).ready()
    value: Any = None
    for _ in range(depth):
        value = [value]
    try:
        ended = await instance.run("updateStreamProperties", {"value": value})
    except InvalidRequest:
        assert depth > 400
    else:
        assert ended["payload"]["lastActivity"]["outcome"] == "completed"
    assert (await instance.run("train"))["payload"]["lastActivity"]["outcome"] == "completed"


async def test_arguments_without_a_bottom_are_refused(launch: Launch):
    instance = await (await launch("steered:Steered", "thread")).ready()
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        await instance.call("updateStreamProperties", {"value": value})
    assert instance.state == "ready"


async def test_hooks_get_their_arguments_in_the_types_of_the_package(launch: Launch, tmp_path: Path):
    source = tmp_path / "records.py"
    source.write_text(
        "from mistk_service import AbstractModel, MistkDataset\n"
        "class Records(AbstractModel):\n"
        "    def do_initialize(self, objectives, props, hparams):\n"
        "        self.seen = {'initialize': [objectives, props, hparams]}\n"
        "    def do_load_data(self, dataset_map):\n"
        "        assert all(isinstance(d, MistkDataset) for d in dataset_map.values())\n"
        "        self.seen['load'] = {k: [d.data_path, d.object_info.name, d.format] for k, d in dataset_map.items()}\n"
        "    def do_build_model(self, path=None):\n"
        "        self.update_status({**self.seen, 'build': path})\n"
    )
    data = tmp_path / "data.csv"
    data.touch()
    instance = await launch(f"{source}:Records", "process")
    await instance.run("initialize", {"p": [1, None]}, {"rate": 0.5})
    dataset = {"objectInfo": {"name": "digits", "kind": "MistkDataset"}, "dataPath": str(data), "format": "csv"}
    await instance.run("loadData", {"train": dataset})
    payload = (await instance.run("buildModel", str(tmp_path)))["payload"]
    assert payload["initialize"] == [[], {"p": [1, None]}, {"rate": 0.5}]
    assert payload["load"] == {"train": [str(data), "digits", "csv"]}
    assert payload["build"] == str(tmp_path)


# --- events ------------------------------------------------------------------------------------------------------------


@pytest.mark.local
async def test_observers_receive_everything_in_order(launch: Launch):
    instance = await (await launch("odd_reports:OddReports", "process")).ready(
        {"what": "rare"},
    )
    await instance.run("train")
    others = ModelLoaded | ProgressReported | StateChanged | StatusUpdated
    seen = [event for event in instance.events if not isinstance(event, others)]
    told = [(type(event), getattr(event, "operation", None)) for event in seen]
    before, reported, after = told[:6], told[6:-1], told[-1]
    assert before == [
        (WorkerStarted, None),
        (ActivityBegan, "initialize"),
        (ActivityEnded, "initialize"),
        (ActivityBegan, "buildModel"),
        (ActivityEnded, "buildModel"),
        (ActivityBegan, "train"),
    ]
    # In one go or in several, as the threads of the worker have their turns.
    first_of_each = list(dict.fromkeys(kind for kind, _ in reported))
    assert first_of_each == [MetricsReported, ParamsReported, TagsSet, ArtifactLogged]
    assert after == (ActivityEnded, "train")
    tags = [event.values for event in of_type(instance.events, TagsSet)]
    assert {key: value for values in tags for key, value in values.items()} == {"tag": "second"}
    began = of_type(instance.events, ActivityBegan)[0]
    assert began.arguments == ([], {"what": "rare"}, {})
    assert of_type(instance.events, WorkerStarted) == [WorkerStarted(0, instance.pid)]
    # Without a spool nothing is kept.
    assert of_type(instance.events, ArtifactLogged) == [ArtifactLogged(str(MODELS / "odd_reports.py"), "folder", None)]


async def test_all_metrics_reach_the_observers_in_order_however_fast_they_come(launch: Launch, kind: str):
    instance = await (await launch("floods:FloodsMetrics", kind)).ready()
    await instance.run("train")
    points = [point for event in of_type(instance.events, MetricsReported) for point in event.points]
    assert [step for _, _, step, _ in points] == list(range(50_000))
    assert instance.payload["metrics"]["loss"]["value"] == 49_999 / 2


@pytest.mark.parametrize("model", ["FloodsStatus", "FloodsProgress"])
async def test_a_flood_of_statuses_becomes_a_few_versions_and_the_last_one_is_right(
    launch: Launch, kind: str, model: str
):
    instance = await (await launch(f"floods:{model}", kind)).ready()
    before = instance.version
    ended = await instance.run("train")
    # Twenty a second, and nothing here takes more than the time limit of a test.
    assert version_of(ended) - before < 20 * 60
    if model == "FloodsStatus":
        assert ended["payload"]["count"] == 19_999


# --- what models need --------------------------------------------------------------------------------------------------


async def test_a_model_can_compute_in_processes_of_its_own(launch: Launch):
    instance = await (await launch("parallel:Parallel", "process")).ready()
    payload = (await instance.run("train"))["payload"]
    assert payload["lastActivity"]["outcome"] == "completed", payload
    results = {way: payload[way] for way in ("fork", "spawn", "forkserver", "threads") if way in payload}
    assert {"spawn", "threads"} <= results.keys()
    assert all(result == [0, 1, 4, 9] for result in results.values())
    await instance.call("shutdown")
    assert "notice" not in (await instance.until("terminated"))["payload"]


async def test_a_model_that_waits_for_all_its_children_has_no_others_than_its_own(launch: Launch):
    instance = await (await launch("parallel:Parallel", "process")).ready()
    assert (await instance.run("predict"))["payload"]["codes"] == [0, 1, 2]


# --- MISTK's own style -------------------------------------------------------------------------------------------------


async def test_a_model_in_the_style_of_mistks_documentation_lives_its_life(launch: Launch, kind: str, tmp_path: Path):
    train, test = tmp_path / "train.json", tmp_path / "test.json"
    train.write_text('[["low", 1], ["low", 3], ["high", 9], ["high", 11]]')
    test.write_text("[0, 20]")
    instance = await launch("documented_style:NearestMean", kind)
    await instance.run("initialize", {"a": 1}, {"b": 2})
    await instance.run("loadData", {"train": {"dataPath": str(train)}, "test": {"dataPath": str(test)}})
    await instance.run("buildModel")
    assert (await instance.run("train"))["payload"]["rows"] == 4
    await instance.run("predict")
    out = tmp_path / "out"
    await instance.run("savePredictions", str(out))
    assert (out / "predictions.json").read_text() == '["low", "high"]'
    details = "The nearest of **2** means."
    assert await instance.stream({"x": "OA=="}, details=True) == {"x": "high", "details": details}
    status = await instance.run("saveGenerations", str(out))
    assert (status["state"], status["payload"]["lastActivity"]["outcome"]) == ("ready", "unsupported")
    await instance.run("saveModel", str(out))
    status = await instance.run("generate")
    assert (status["state"], status["payload"]["error"]["message"]) == ("failed", "this model classifies")
    await instance.call("reset")
    await instance.until("started")
    await instance.run("initialize")
    await instance.run("buildModel", str(out))
    assert await instance.stream({"x": "MQ=="}) == {"x": "low"}
    await instance.call("shutdown")
    await instance.until("terminated")


async def test_of_two_savings_at_once_the_one_refused_leaves_no_folder_behind(
    launch: Launch, gate: Gate, tmp_path: Path, kind: str
):
    instance = await launch("steered:Steered", kind)
    await instance.run("initialize", {"gate": str(gate.path)})
    gate.tell("d")
    await instance.run("buildModel")
    answers = await asyncio.gather(
        *(instance.call("saveModel", str(tmp_path / name)) for name in ("one", "other")), return_exceptions=True
    )
    (refused,) = [index for index, answer in enumerate(answers) if isinstance(answer, OperationRefused)]
    assert (tmp_path / ("one", "other")[1 - refused]).is_dir()
    assert not (tmp_path / ("one", "other")[refused]).exists()
    gate.tell("d")
