"""A pipeline is checked before anything is started, and its steps are calls of the clients."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from mistk_service.client import CLIENTS
from mistk_service.errors import InvalidRequest
from mistk_service.harness.pipeline import COMPONENTS, make_pipeline, read_pipeline, schema_text, step_schemas

ROOT = Path(__file__).parents[2]
PIPELINES = sorted((ROOT / "plugins").glob("*/pipeline.yaml"))

#: A game has an orchestrator and several agents, which a pipeline does not drive.
GAME = ROOT / "plugins" / "tictactoe"

#: Steps whose parameters are not those of one call.
OWN = {"check_predictions", "evaluate", "stream_predict", "stream_predict_source"}


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_a_step_is_a_call_of_the_client_of_its_component() -> None:
    clients = {client.kind.name: client for client, _ in CLIENTS}
    for name, schema in step_schemas().items():
        if name in OWN or schema["x-container"] not in clients:
            continue
        parameters = inspect.signature(getattr(clients[schema["x-container"]], name)).parameters
        known = set(parameters) - {"self"}
        assert set(schema["properties"]) <= known, name
        required = {key for key in known if parameters[key].default is inspect.Parameter.empty} - {
            "datasets",
            "objectives",
        }
        assert required == set(schema.get("required", ())), name


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.parent.name)
def test_every_plugin_has_a_pipeline_that_fits_the_schema(file: Path) -> None:
    Draft202012Validator(json.loads(schema_text())).validate(yaml.safe_load(file.read_text()))
    assert read_pipeline(file, {}).steps
    assert f"$schema=../../{'api/mistk-pipeline.schema.json'}" in file.read_text().splitlines()[0]


def test_there_is_a_pipeline_for_every_plugin() -> None:
    assert {file.parent for file in PIPELINES} == {file.parent for file in (ROOT / "plugins").glob("*/README.md")} - {
        GAME
    }


@pytest.mark.parametrize(
    ("document", "field", "said"),
    [
        (None, "pipeline", "None is not of type 'object'"),
        ({"model": "m:M"}, "pipeline", "'steps' is a required property"),
        ({"steps": []}, "steps", "non-empty"),
        ({"model": "m:M", "steps": ["fly"]}, "steps[0]", "'fly' was unexpected); expected one of transform, "),
        ({"model": "m:M", "steps": [{"save_model": {}}]}, "steps[0].save_model", "'path' is a required property"),
        ({"model": "m:M", "steps": [{"train": {"epochs": 3}}]}, "steps[0].train", "'epochs' was unexpected"),
        ({"model": "m:M", "steps": ["train", {"predict": None, "train": None}]}, "steps[1]", "too many properties"),
        ({"model": "m:M", "steps": [3]}, "steps[0]", "3 is not of type 'object'"),
        ({"steps": ["train"]}, "model", "steps[0].train: the step drives the model, and none is named"),
    ],
)
def test_what_is_not_a_pipeline_is_refused_with_its_place(document: Any, field: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_pipeline(document)
    assert caught.value.field == field
    assert said in str(caught.value)


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text("steps: [")
    with pytest.raises(InvalidRequest, match=r"pipeline\.yaml cannot be read"):
        read_pipeline(file, {})


def test_paths_are_found_and_uris_are_left_alone() -> None:
    steps = [
        {"build_model": {"model_path": "models:/digits/1"}},
        {"load_data": {"train": "data/train.csv", "test": "s3://bucket/test"}},
        {"check_predictions": {"predictions": "out", "ground_truth": "truth.csv"}},
    ]
    pipeline = make_pipeline({"model": "m:M", "steps": steps})
    assert [path for step in pipeline.steps for path in step.paths()] == ["data/train.csv", "out", "truth.csv"]
    moved = pipeline.steps[1].with_paths(lambda path: f"/w/{path}")
    assert moved.parameters == {"train": "/w/data/train.csv", "test": "s3://bucket/test"}
    assert set(pipeline.components) <= set(COMPONENTS)
