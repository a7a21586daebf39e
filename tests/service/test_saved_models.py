"""What a model has saved is loaded by MLflow itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mistk_service.pyfunc import SavedModel
from mistk_service.resources import plugins_path
from tests.service.conftest import Start
from tests.service.test_runs import settled_run
from tests.support.harness import reference
from tests.support.preloaded import run_python

DIGITS = plugins_path() / "digits"

#: Loads a version with MLflow's client, and prints what it predicts for an image without ink.
LOAD = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow, numpy
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
image = numpy.zeros((2, 64), numpy.float32)
answer = model.predict({"pixels": image})
print(json.dumps({
    "labels": [int(each) for each in answer["label"]],
    "signature": model.metadata.signature.inputs.input_names(),
    "flavors": sorted(model.metadata.flavors),
    "run": model.metadata.run_id,
}))
"""


def test_mlflow_loads_a_registered_model_and_predicts_what_the_container_does(start: Start, tmp_path: Path) -> None:
    service = start(model=f"{DIGITS / 'model.py'}:Digits")
    properties = {"mlflow.registeredModelName": "digits"}
    service.do("initialize", {"hyperparameters": {"epochs": 1}, "modelProperties": properties})
    service.do("loadData", {"train": {"objectInfo": {}, "dataPath": str(DIGITS / "data" / "train.csv")}})
    service.do("buildModel")
    service.do("train")
    service.do("saveModel", modelPath=str(tmp_path / "saved"))
    refused = service.api.post("/saveModel", params={"modelPath": "models:/digits/2"})
    assert (refused.status_code, "expected the path of a folder" in refused.text) == (400, True)
    run = settled_run(service)["info"]["run_id"]
    assert not (tmp_path / "saved" / "MLmodel").exists()  # it belongs to the artifacts
    inputs = [{"name": "pixels", "datatype": "FP32", "shape": [2, 64], "data": [0.0] * 128}]
    answer = service.api.post(f"{service.url}/v2/models/digits/infer", json={"inputs": inputs}).json()
    labels = next(each["data"] for each in answer["outputs"] if each["name"] == "label")

    output = run_python("-c", LOAD, service.url, "models:/digits/1", cwd=tmp_path, loaded="mlflow")
    assert json.loads(output.splitlines()[-1]) == {
        "labels": labels,
        "signature": ["pixels"],
        "flavors": ["mistk_service", "python_function"],
        "run": run,
    }


def test_a_table_is_divided_into_the_declared_columns(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    flavor = {"reference": reference("declared:Declared"), "properties": {}, "hyperparameters": {"rate": 0.5}}
    model = SavedModel(str(tmp_path), flavor)
    table = pandas.DataFrame({"city": ["Bonn", "Rome"], "age": [20, 40]}, index=[7, 8])
    answer = model.predict(table)
    assert answer.to_dict() == {"label": {7: 0, 8: 1}}
    assert model.predict({"age": [40], "city": ["Oslo"]})["label"].tolist() == [1]


def test_the_records_of_a_model_without_tensors_are_the_rows(tmp_path: Path) -> None:
    flavor = {"reference": reference("batching:Batching"), "properties": {}, "hyperparameters": {}}
    answers = SavedModel(str(tmp_path), flavor).predict(np.array(["a", "b"]))
    assert len(answers) == 2
