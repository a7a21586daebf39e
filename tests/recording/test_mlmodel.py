"""The file with which MLflow loads a saved model."""

from __future__ import annotations

import json
from pathlib import Path

from mistk_service.kinds.predictions import Signature, TensorSpec
from mistk_service.recording.mlmodel import mlmodel
from tests.recording.conftest import Story

PIXELS = TensorSpec("pixels", "float32", (-1, 64))


def test_it_has_what_it_takes_to_load_the_class_and_to_initialize_it() -> None:
    content = json.loads(mlmodel("shop.model:Shop", Signature(), {"classes": 3}, {"rate": 0.5}, "abc", "model"))
    assert content["run_id"] == "abc"
    assert content["flavors"]["python_function"]["loader_module"] == "mistk_service.pyfunc"
    assert content["flavors"]["mistk_service"] == {
        "reference": "shop.model:Shop", "properties": {"classes": 3}, "hyperparameters": {"rate": 0.5},
    }  # fmt: skip
    assert "signature" not in content


def test_a_file_is_named_wherever_the_service_ran() -> None:
    content = json.loads(mlmodel("shop/model.py:Shop", Signature(), {}, {}, "abc", "model"))
    assert content["flavors"]["mistk_service"]["reference"] == f"{Path.cwd()}/shop/model.py:Shop"


def test_the_signature_is_that_of_the_tensors() -> None:
    content = json.loads(mlmodel("a:B", Signature(inputs=(PIXELS,)), {}, {}, "abc", "model"))
    (tensor,) = json.loads(content["signature"]["inputs"])
    assert tensor == {"name": "pixels", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 64]}}
    texts = Signature(inputs=(PIXELS, TensorSpec("city", "bytes", (-1,))))
    assert "signature" not in json.loads(mlmodel("a:B", texts, {}, {}, "abc", "model"))


def test_a_model_that_writes_the_file_itself_keeps_its_own(story: Story, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text("flavors: {}")
    story.initialize().did("train").did("saveModel", str(tmp_path / "m"))
    root = story.run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    with story.artifacts.open(f"{root}/model/MLmodel") as stored:
        assert stored.stream.read() == b"flavors: {}"


def test_every_other_model_gets_one(story: Story, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    story.initialize().did("train").did("saveModel", str(tmp_path / "m"))
    root = story.run.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    with story.artifacts.open(f"{root}/model/MLmodel") as stored:
        assert json.loads(stored.stream.read())["run_id"] == story.run.info.run_id
