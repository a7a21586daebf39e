"""Evaluation and transform containers: results, runs, links between runs, and refusals without a change."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mistk_service.client import EvaluationClient, ModelClient, ModelStatus, TransformClient
from mistk_service.errors import RequestRefused
from tests.service.harness import Service

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
TRUTH = PLUGINS / "digits" / "data" / "test.csv"
MULTICLASS = "MulticlassClassification"
TIMEOUT = 50.0

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


def served(plugin: str, folder: Path) -> Service:
    """Start a container that shares a store with the others."""
    return Service("serve", f"{PLUGINS}/{plugin}", "--port", "0", "--state-dir", str(folder / "state"), cwd=folder)


@pytest.fixture(scope="module")
def evaluated_model(folder: Path) -> dict[str, Any]:
    """What a model container says that has predicted, saved, and evaluated its predictions itself."""
    service = served("digits/model.py:Digits", folder)
    with service, ModelClient(service.url) as model:
        model.wait_for("initialized", since=model.initialize(["training"], hyperparameters={"epochs": 5, "seed": 1}))
        loaded = model.load_data(train=PLUGINS / "digits" / "data" / "train.csv", test=TRUTH)
        model.wait_for("initialized", since=loaded)
        for operation in (model.build_model, model.train, model.predict):
            model.wait_for("ready", timeout=TIMEOUT, since=operation())
        model.wait_for("ready", since=model.save_predictions(folder / "predictions"))
        measured = model.wait_for("ready", timeout=TIMEOUT, since=model.evaluate(MULTICLASS, TRUTH))
        told = refusal(model, lambda: model.evaluate("Taste", TRUTH))
        service.signal(signal.SIGTERM)  # so that its run is complete
        assert service.wait_exit() == 0
    return {"status": measured, "told": told}


@pytest.fixture(scope="module")
def container(folder: Path) -> Iterator[tuple[EvaluationClient, str]]:
    """The client of an evaluation container, and the container's address."""
    service = served("sklearn_evaluation/evaluation.py:SklearnEvaluation", folder)
    with service, EvaluationClient(service.url) as client:
        yield client, service.url


@pytest.fixture
def evaluation(container: tuple[EvaluationClient, str]) -> EvaluationClient:
    return container[0]


@pytest.fixture
def url(container: tuple[EvaluationClient, str]) -> str:
    return container[1]


def refusal(client: Any, call: Callable[[], ModelStatus]) -> str:
    """Return why a call is refused: at once, or if the plugin takes longer, by a notice. The state is as before."""
    before = client.status().state
    try:
        told = client.wait_for(before, timeout=TIMEOUT, since=call()).notice
    except RequestRefused as error:
        told = str(error)
    assert client.status().state == before
    assert told is not None
    return told


def run_of(url: str, status: ModelStatus) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Return the metrics, the tags and params, and the artifacts of the run of a status."""
    api = f"{url}/api/2.0/mlflow"
    run_id = status.payload["run"]["id"]
    data = httpx.get(f"{api}/runs/get", params={"run_id": run_id}, timeout=TIMEOUT).json()["run"]["data"]
    listed = [httpx.get(f"{api}/artifacts/list", params={"run_id": run_id, "path": path}, timeout=TIMEOUT).json()
              for path in ("evaluation", "figures", "output")]  # fmt: skip
    metrics = {metric["key"]: metric["value"] for metric in data["metrics"]}
    values = {each["key"]: each["value"] for each in (*data["tags"], *data.get("params", ()))}
    return metrics, values, {file["path"] for each in listed for file in each.get("files", ())}


def test_a_model_container_evaluates_its_own_predictions(evaluated_model: dict[str, Any]) -> None:
    status = evaluated_model["status"]
    assert status.last_activity.operation == "evaluate"
    assert status.metrics["accuracy_score"] == pytest.approx(status.metrics["test_accuracy"])
    assert "f1_score/7" in status.metrics
    assert "assessment_type: 'Taste'" in evaluated_model["told"]


def test_results_are_written_tracked_and_linked_to_the_run_of_the_predictions(
    evaluation: EvaluationClient, url: str, evaluated_model: dict[str, Any], folder: Path
) -> None:
    metrics = evaluation.metrics(MULTICLASS)
    assert {metric.object_info.kind for metric in metrics} == {"MistkMetric"}
    begun = evaluation.evaluate(MULTICLASS, metrics, folder / "predictions", TRUTH, folder / "results")
    status = evaluation.wait_for("ready", timeout=TIMEOUT, since=begun)
    (file,) = (folder / "results").iterdir()
    results = json.loads(file.read_text())
    assert results["accuracy_score"] == pytest.approx(evaluated_model["status"].metrics["accuracy_score"])

    numbers, values, files = run_of(url, status)
    assert numbers["accuracy_score"] == results["accuracy_score"]
    assert numbers["f1_score/3"] == results["f1_score"]["3"]
    assert values["assessment_type"] == MULTICLASS
    model_run = evaluated_model["status"].payload["run"]["id"]
    assert values["mlflow.parentRunId"] == values["mistk.madeFromRunId"] == model_run
    assert files >= {f"evaluation/{file.name}", "figures/confusion_matrix.png", "figures/roc_curve.png"}


def test_each_evaluation_has_a_run_of_its_own_which_the_plugin_knows(
    evaluation: EvaluationClient, url: str, tmp_path: Path
) -> None:
    (tmp_path / "predictions.csv").write_text("a,1\nb,0\n")
    (tmp_path / "truth.csv").write_text("a,1\nb,1\n")
    chosen = [each for each in evaluation.metrics() if each.object_info.name == "accuracy_score"]
    runs = []
    for name in ("first", "second"):
        begun = evaluation.evaluate(
            "BinaryClassification", chosen, tmp_path, tmp_path / "truth.csv", properties={"mlflow.runName": name}
        )
        status = evaluation.wait_for("ready", timeout=TIMEOUT, since=begun)
        assert status.payload["run"]["id"] == begun.payload["run"]["id"]
        numbers, values, files = run_of(url, status)
        assert (numbers["accuracy_score"], values["mlflow.runName"]) == (0.5, name)
        assert "evaluation/eval_results.json" in files
        runs.append(status.payload["run"]["id"])
    assert runs[0] != runs[1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ground_truth_path": "/nowhere"}, "ground_truth_path: '/nowhere' cannot be read"),
        ({"input_data_path": "/nowhere"}, "input_data_path: '/nowhere' cannot be read"),
        ({"evaluation_path": "/proc/x"}, "evaluation_path: the folder '/proc/x' cannot be written"),
        ({"metrics": [{"package": "sklearn.metrics"}]}, "metrics[0].objectInfo.name"),
        ({"metrics": [{"objectInfo": {"name": "wisdom"}}]}, "metrics[0]: there is no metric 'wisdom'"),
        ({"assessment_type": "Taste"}, "assessment_type: 'Taste'"),
        ({"metrics": "all"}, "metrics"),
        ({"evaluation_input_format": "dreams"}, "evaluation_input_format"),
        ({"ground_truth_path": None}, "ground_truth_path"),
        ({"colour": "red"}, "colour"),
        ({}, "line 2 of"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_changes_nothing(
    evaluation: EvaluationClient, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    (tmp_path / "p.csv").write_text("a,1\nb\n")
    (tmp_path / "t.csv").write_text("a,1\nb,1\n")
    body = {
        "assessment_type": "BinaryClassification",
        "metrics": [{"objectInfo": {"name": "accuracy_score"}}],
        "input_data_path": str(tmp_path / "p.csv"),
        "evaluation_input_format": "predictions",
        "ground_truth_path": str(tmp_path / "t.csv"),
        "evaluation_path": str(tmp_path / "out"),
    } | change
    assert told in refusal(evaluation, lambda: evaluation.call("evaluate", body=body))
    assert not list((tmp_path / "out").glob("*"))


def test_a_transform_writes_and_tracks_its_tables_and_what_it_has_fitted(folder: Path, tmp_path: Path) -> None:
    service = served("tabular_transform/transform.py:TabularTransform", folder)
    with service, TransformClient(service.url) as transform:
        steps = [{"split": {"fractions": {"train": 0.75, "test": 0.25}}}, {"scale": {"columns": ["p10"]}}]
        begun = transform.transform([TRUTH], tmp_path / "out", {"steps": steps, "format": "parquet"})
        status = transform.wait_for("ready", timeout=TIMEOUT, since=begun)
        numbers, values, files = run_of(service.url, status)
        assert numbers["rows/train"] + numbers["rows/test"] == len(TRUTH.read_text().splitlines()) - 1
        assert json.loads(values["steps"]) == steps
        assert files == {f"output/{name}" for name in ("train.parquet", "test.parquet", "transform.json")}
        told = refusal(transform, lambda: transform.transform([TRUTH], tmp_path / "no", {"steps": [{"sort": {}}]}))
        assert "properties.steps[0]" in told
        assert "inputDatasets[0].dataPath: 'gone.csv'" in refusal(transform, lambda: transform.transform(["gone.csv"]))
