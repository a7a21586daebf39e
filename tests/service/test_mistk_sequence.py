"""The calls of MISTK's test harness, in its order and as its generated client sends them."""

from __future__ import annotations

import base64
import http.client
import json
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.service.conftest import Start
from tests.service.harness import API, REQUEST_TIMEOUT, Service

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "plugins" / "digits"


class ModelFailed(Exception):
    """The harness found the model in the state ``failed``; the argument is the payload."""


class Harness:
    """Speaks plain HTTP, and waits for states as MISTK does: by a watch without a version, until the state is there."""

    def __init__(self, service: Service) -> None:
        self._port = service.port

    @contextmanager
    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Iterator[http.client.HTTPResponse]:
        """Send a request; what was not given goes into the query as the text None."""
        text = None if body is None else json.dumps(body)
        target = f"{API}/{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=REQUEST_TIMEOUT)) as connection:
            connection.request(method, target, text, headers)
            with connection.getresponse() as response:
                yield response

    def post(self, operation: str, body: Any = None, **query: Any) -> Any:
        """Call an operation that has to be accepted, and return what it answers."""
        with self.call("POST", operation, body, **query) as response:
            answer = response.read()
            assert response.status == 200, (operation, answer)
            return json.loads(answer)

    def do(self, operation: str, state: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """Call an operation and wait for the state that it leads to."""
        self.post(operation, body, **query)
        return self.wait_for(state)

    def wait_for(self, state: str) -> dict[str, Any]:
        """Return the status in which the state is reached."""
        with self.call("GET", "status", watch="true") as response:
            for line in response:
                if line.strip():
                    status = json.loads(line)["payload"]
                    if status["state"] == state:
                        return status
                    if status["state"] == "failed":
                        raise ModelFailed(status["payload"])
        raise AssertionError(f"The watch ended before {state}.")


def datasets(train: Path, test: Path) -> dict[str, Any]:
    """The datasets as the harness sends them."""
    info = {"name": "data", "kind": "MistkDataset"}
    return {
        key: {"objectInfo": info, "dataPath": str(path), "modality": "text", "format": "json"}
        for key, path in (("train", train), ("test", test))
    }


def replay(harness: Harness, data: dict[str, Any], record: str, folder: Path) -> dict[str, Any]:
    """Make the harness's calls, and return the answer to the stream prediction."""
    harness.wait_for("started")
    objectives = ["training", "prediction", "streaming_prediction"]
    settings = {"objectives": objectives, "modelProperties": {}, "hyperparameters": {"epochs": 1}}
    harness.do("initialize", "initialized", settings)
    harness.do("buildModel", "ready", modelPath=None)
    harness.do("loadData", "ready", data)
    harness.do("train", "ready")
    harness.do("saveModel", "ready", modelPath=str(folder / "model"))
    harness.do("predict", "ready")
    harness.do("savePredictions", "ready", dataPath=str(folder / "predictions"))
    answer = harness.post("streamPredict", {"0": record}, details="True")
    harness.post("shutdown")
    return answer


def test_the_harness_of_mistk_drives_the_digits(start: Start, tmp_path: Path) -> None:
    service = start(model=f"{DIGITS / 'model.py'}:Digits")
    files = datasets(DIGITS / "data" / "train.csv", DIGITS / "data" / "test.csv")
    for dataset in files.values():
        dataset["format"] = "csv"
    record = base64.b64encode(struct.pack("<64f", *[8.0] * 64)).decode()
    answer = replay(Harness(service), files, record, tmp_path)
    assert "probabilities" in answer["0"]
    assert service.wait_exit() == 0
    assert list((tmp_path / "model").iterdir())
    assert (tmp_path / "predictions" / "predictions.csv").exists()


def test_the_harness_of_mistk_drives_a_model_in_the_style_of_its_documentation(start: Start, tmp_path: Path) -> None:
    train, test = tmp_path / "train.json", tmp_path / "test.json"
    train.write_text(json.dumps([["low", 1], ["low", 3], ["high", 9], ["high", 11]]))
    test.write_text(json.dumps([0, 12, 4]))
    service = start(model=f"{ROOT / 'tests' / 'models' / 'documented_style.py'}:NearestMean")
    record = base64.urlsafe_b64encode(b"10.5").decode().rstrip("=")
    answer = replay(Harness(service), datasets(train, test), f"{record}==", tmp_path)
    assert answer == {"0": "high", "details": "The nearest of **2** means."}
    assert service.wait_exit() == 0
    assert json.loads((tmp_path / "model" / "means.json").read_text()) == {"low": 2.0, "high": 10.0}
    assert json.loads((tmp_path / "predictions" / "predictions.json").read_text()) == ["low", "high", "low"]


def test_properties_that_are_updated_hold_for_the_stream_prediction_right_behind(start: Start) -> None:
    service = start()
    service.make_ready()
    harness = Harness(service)
    for number in range(100):
        harness.post("updateStreamProperties", {"threshold": number})
        assert harness.post("streamPredict", {"a": "YQ=="}) == {"a": {"echo": "a", "details": False}}


def test_records_of_any_text_and_none_at_all_reach_a_model_that_declares_nothing(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "echo.py"
    file.write_text(
        "from mistk_service import AbstractModel\n"
        "class Echo(AbstractModel):\n"
        "    def do_load_data(self, dataset_map):\n"
        "        self.update_status({'loaded': {key: d.data_path for key, d in dataset_map.items()}})\n"
        "    def do_stream_predict(self, data_map):\n"
        "        return list(data_map.values()) if 'list' in data_map else dict(data_map)\n"
    )
    service = start(model=f"{file}:Echo")
    service.make_ready()
    records = {"plain": "some text", "urlsafe": "_-_-", "unpadded": "YQ", "umlaut": "ä", "empty": ""}
    assert service.post("streamPredict", records) == records
    assert service.post("streamPredict", {}) == {}
    assert service.post("streamPredict", {"list": "1"}) == ["1"]
    data = {key: {"dataPath": str(tmp_path)} for key in ("generation", "validation", "my own")}
    assert service.do("loadData", data)["payload"]["loaded"] == dict.fromkeys(data, str(tmp_path))
    assert service.do("loadData", {})["payload"]["loaded"] == {}


@pytest.mark.parametrize("operation", ["initialize", "train", "predict"])
def test_a_hook_that_is_not_implemented_ends_the_wait_of_the_harness(start: Start, operation: str) -> None:
    service = start(model=f"{ROOT / 'tests' / 'models' / 'raises.py'}:Raises")
    harness = Harness(service)
    properties = {"hook": f"do_{operation}", "error": "NotImplementedError"}
    harness.post("initialize", {"modelProperties": properties})
    if operation != "initialize":
        harness.wait_for("initialized")
        harness.do("buildModel", "ready", modelPath="None")
        harness.post(operation)
    with pytest.raises(ModelFailed) as caught:
        harness.wait_for("never")
    (payload,) = caught.value.args
    assert (payload["operation"], payload["error"]["type"]) == (operation, "NotImplementedError")
    assert payload["error"]["message"] == "not this one"
