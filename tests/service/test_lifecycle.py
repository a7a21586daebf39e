"""The lifecycle of an instance over HTTP, with a worker of either kind."""

from __future__ import annotations

import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Start
from tests.service.harness import MODELS, Service, refused, turns, version

#: From the library of models that the tests of all parts share.
DOCUMENTED_STYLE = Path(__file__).parents[1] / "models" / "documented_style.py"
DIGITS = f"{Path(__file__).parents[2] / 'plugins' / 'digits' / 'model.py'}:Digits"

both_workers = pytest.mark.parametrize("worker", ["process", "thread"])


@both_workers
def test_every_operation_of_the_contract_works_in_one_lifecycle(service: Service, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1,2\n")
    status = service.do("initialize", {"objectives": ["train", "streaming_prediction"], "modelProperties": {"a": [1]}})
    assert status["state"] == "initialized"
    assert status["payload"]["objectives"] == ["training", "streaming_prediction"]
    assert status["payload"]["props"] == {"a": [1]}
    status = service.do("loadData", {"train": {"dataPath": str(data)}, "test": {"data_path": str(data)}})
    assert status["state"] == "initialized"
    assert status["payload"]["loaded"] == {"train": str(data), "test": str(data)}
    assert service.do("buildModel")["state"] == "ready"
    for operation in ("train", "predict", "generate"):
        status = service.do(operation)
        assert (status["state"], status["payload"]["lastActivity"]["outcome"]) == ("ready", "completed")
    assert status["payload"]["metrics"]["loss"]["step"] == 2
    for operation, parameter, file in (
        ("saveModel", "modelPath", "model.txt"),
        ("savePredictions", "dataPath", "predictions.txt"),
        ("saveGenerations", "dataPath", "generations.txt"),
    ):
        folder = tmp_path / "new" / operation
        assert service.do(operation, **{parameter: str(folder)})["state"] == "ready"
        assert (folder / file).read_text() == "saved"
    assert service.do("buildModel", modelPath=str(tmp_path / "new" / "saveModel"))["state"] == "ready"
    assert service.do("updateStreamProperties", {"threshold": 0.5})["payload"]["threshold"] == 0.5
    assert service.post("streamPredict", {"x": "aGVsbG8="}, details="true") == {"x": {"echo": "hello", "details": True}}
    assert service.do("reset")["state"] == "started"


@both_workers
def test_a_paused_training_can_be_saved_and_continues(service: Service, tmp_path: Path) -> None:
    service.make_ready(train="steps_for_ever", predict="steps_for_ever")
    for operation, running, resume in (
        ("train", "training", "resumeTraining"),
        ("predict", "predicting", "resumePredict"),
    ):
        service.post(operation)
        paused = service.do("pause")
        assert paused["state"] == "paused"
        assert resume in paused["payload"]["possible"]
        status = service.do("saveModel", modelPath=str(tmp_path / operation))
        assert (status["state"], (tmp_path / operation / "model.txt").exists()) == ("paused", True)
        done = turns(status)
        resumed = service.post(resume)
        assert resumed["state"] == running
        service.wait(partial(lambda done, s: turns(s) > done, done), resumed)
        service.do("reset")
        service.make_ready(train="steps_for_ever", predict="steps_for_ever")


def test_the_wrong_resume_is_refused_with_what_would_be_right(service: Service) -> None:
    service.make_ready(train="steps_for_ever")
    service.post("train")
    service.do("pause")
    paused = service.settled()
    error = refused(service.api.post("/resumePredict"))
    assert error["operation"] == "resumePredict"
    assert (error["state"], error["activity"]) == ("paused", "train")
    assert error["possible"] == paused["payload"]["possible"]
    assert "resumeTraining" in error["possible"]
    assert service.status() == paused


@both_workers
def test_two_trainings_at_once_are_refused_and_the_first_continues(service: Service) -> None:
    service.make_ready(train="steps_for_ever")
    began = service.post("train")
    error = refused(service.api.post("/train"))
    assert (error["operation"], error["state"], error["activity"]) == ("train", "training", "train")
    assert set(error["possible"]) == {"pause", "reset", "shutdown"}
    assert all(word in error["message"] for word in ("train", "training", "pause", "reset", "shutdown"))
    service.wait(lambda s: turns(s) > 2, began)


@both_workers
def test_a_hook_that_raises_fails_the_instance_until_it_is_reset(service: Service) -> None:
    service.make_ready(train="raise")
    status = service.do("train")
    assert status["state"] == "failed"
    assert status["payload"]["operation"] == "train"
    assert status["payload"]["error"]["type"] == "ValueError"
    assert status["payload"]["error"]["message"] == "the model was told to raise"
    assert "_do_raise" in status["payload"]["error"]["traceback"]
    assert status["payload"]["possible"] == ["reset", "shutdown"]
    assert refused(service.api.post("/train"))["possible"] == ["reset", "shutdown"]
    assert service.do("reset")["state"] == "started"
    service.make_ready()
    assert service.do("train")["payload"]["lastActivity"]["outcome"] == "completed"


def test_a_request_that_the_model_calls_wrong_is_refused_and_changes_nothing(start: Start) -> None:
    service = start(model=DIGITS)
    error = refused(service.api.post("/initialize", json={"hyperparameters": {"epoch": 3}}))
    assert error["message"].startswith("'epoch' is not a hyperparameter of this model (did you mean epochs?)")
    status = service.settled()
    assert (status["state"], status["payload"]["lastActivity"]["outcome"]) == ("started", "refused")
    service.make_ready(epochs=1)
    assert "call loadData with it first" in refused(service.api.post("/train"))["message"]
    assert "the record 'a' is not base64" in refused(service.api.post("/streamPredict", json={"a": "?"}))["message"]
    assert "is not an image" in refused(service.api.post("/streamPredict", json={"a": "AAAA"}))["message"]
    assert service.settled()["state"] == "ready"


def test_a_reset_gives_a_fresh_process(service: Service) -> None:
    first = service.make_ready()["payload"]["pid"]
    service.do("reset")
    assert service.make_ready()["payload"]["pid"] != first


def test_a_model_written_in_mistks_manner_runs_through_its_lifecycle(start: Start, tmp_path: Path) -> None:
    train, test = tmp_path / "train.json", tmp_path / "test.json"
    train.write_text(json.dumps([["low", 1], ["low", 3], ["high", 9], ["high", 11]]))
    test.write_text(json.dumps([0, 12, 4]))
    service = start(model=f"{DOCUMENTED_STYLE}:NearestMean")
    service.do("initialize", {"objectives": ["training", "prediction"], "hyperparameters": {}})
    service.do("loadData", {"train": {"dataPath": str(train)}, "test": {"dataPath": str(test)}})
    service.do("buildModel")
    assert service.do("train")["payload"]["rows"] == 4
    service.do("predict")
    service.do("savePredictions", dataPath=str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == ["low", "high", "low"]
    service.do("saveModel", modelPath=str(tmp_path / "model"))
    assert service.post("streamPredict", {"a": base64.b64encode(b"10.5").decode()}) == {"a": "high"}
    # A saving that it does not have leads nowhere; anything else that it does not have fails, as it does in MISTK.
    status = service.do("saveGenerations", dataPath=str(tmp_path / "out"))
    assert (status["state"], status["payload"]["lastActivity"]["outcome"]) == ("ready", "unsupported")
    status = service.do("generate")
    assert (status["state"], status["payload"]["operation"]) == ("failed", "generate")
    assert status["payload"]["error"]["message"] == "this model classifies"
    assert service.do("reset")["state"] == "started"
    service.do("initialize", {})
    service.do("buildModel", modelPath=str(tmp_path / "model"))
    assert service.post("streamPredict", {"a": base64.b64encode(b"0").decode()}) == {"a": "low"}
    service.post("shutdown")
    assert service.wait_exit() == 0


def test_an_operation_that_the_class_does_not_have_is_refused_before_anything_changes(start: Start) -> None:
    service = start(model=f"{MODELS / 'minimal.py'}:Minimal")
    service.make_ready()
    ready = service.settled()
    possible = {"buildModel", "train", "updateStreamProperties", "reset", "shutdown"}
    assert set(ready["payload"]["possible"]) == possible
    for operation in ("predict", "generate", "loadData", "streamPredict", "saveModel"):
        query = {"modelPath": "x"} if operation == "saveModel" else {}
        bodies = {"loadData": {}, "streamPredict": {"a": "YQ=="}}
        content: dict[str, Any] = {"json": bodies[operation]} if operation in bodies else {}
        error = refused(service.api.post(f"/{operation}", params=query, **content))
        assert error["operation"] == operation
        assert "Minimal does not implement" in error["message"]
    assert service.status() == ready
    assert service.do("train")["payload"]["lastActivity"]["outcome"] == "completed"


def test_the_service_answers_while_the_model_keeps_the_interpreter_busy(service: Service) -> None:
    service.make_ready(train="burn")
    began = service.post("train")
    seen = [service.status() for _ in range(100)]
    assert {status["state"] for status in seen} == {"training"}
    versions = [version(status) for status in seen]
    assert versions == sorted(versions)
    service.wait(lambda s: turns(s) > 3, began)
    assert service.do("pause")["state"] == "paused"
