"""The values of the contract: both spellings are read, camelCase is written, and no field is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service import Dataset, InitParams, MistkDataset, ObjectInfo, Objective
from mistk_service.errors import InvalidRequest

texts = st.text(max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("train", Objective.TRAINING),
        ("training", Objective.TRAINING),
        ("predict", Objective.PREDICTION),
        ("prediction", Objective.PREDICTION),
        ("stream_predict", Objective.STREAMING_PREDICTION),
        ("streaming_prediction", Objective.STREAMING_PREDICTION),
        ("generate", Objective.GENERATION),
        ("generation", Objective.GENERATION),
        ("transfer_learning", Objective.TRANSFER_LEARNING),
        ("miniaturize", Objective.MINIATURIZATION),
        ("miniaturization", Objective.MINIATURIZATION),
    ],
)
def test_both_spellings_of_an_objective_are_understood(text: str, objective: Objective):
    assert Objective.parse(text) is objective


@pytest.mark.parametrize("text", ["", "Train", "trainin", 3, None, ["train"], {}])
def test_what_is_not_an_objective_is_refused_with_those_that_are(text: object):
    with pytest.raises(
        InvalidRequest, match="expected one of generate, generation, miniaturization, miniaturize, predict"
    ) as caught:
        Objective.parse(text)  # type: ignore[arg-type]
    assert caught.value.field == "objectives"


def test_init_params_are_read_and_written():
    wire = {
        "objectives": ["train", "stream_predict", "training"],
        "modelProperties": {"a": 1},
        "hyperparameters": {"b": 2},
    }
    params = InitParams.from_wire(wire)
    assert params.objectives == (Objective.TRAINING, Objective.STREAMING_PREDICTION)
    assert params.to_wire() == {**wire, "objectives": ["training", "streaming_prediction"]}


@pytest.mark.parametrize("wire", [{}, {"objectives": None, "modelProperties": None, "hyperparameters": None}])
def test_init_params_may_be_empty(wire: dict[str, None]):
    assert InitParams.from_wire(wire) == InitParams()


def test_a_dataset_is_read_in_camel_case_and_in_snake_case():
    wire = {
        "objectInfo": {"name": "n", "displayName": "N", "resourceVersion": 3},
        "dataPath": "/d",
        "datastashSubDir": "s",
    }
    snake = {
        "object_info": {"name": "n", "display_name": "N", "resource_version": 3},
        "data_path": "/d",
        "datastash_sub_dir": "s",
    }
    dataset = MistkDataset.from_wire(wire)
    assert dataset == MistkDataset.from_wire(snake)
    assert (dataset.data_path, dataset.datastash_sub_dir, dataset.object_info.display_name) == ("/d", "s", "N")
    assert dataset.to_wire() == wire


def test_what_a_dataset_does_not_know_is_kept():
    dataset = MistkDataset.from_wire({"dataPath": "/d", "split": 0.5, "nested": {"a": [1]}})
    assert dataset.extra == {"split": 0.5, "nested": {"a": [1]}}
    assert dataset.to_wire()["split"] == 0.5


@pytest.mark.parametrize("info", [None, {}])
def test_a_dataset_always_has_an_object_info(info: object):
    assert MistkDataset.from_wire({"objectInfo": info}).object_info == ObjectInfo()
    assert MistkDataset.from_wire({}).object_info == ObjectInfo()


def test_object_info_ignores_what_it_does_not_know_and_keeps_resources_in_order():
    info = ObjectInfo.from_wire({"name": "n", "unknown": 1, "resources": ["b", "a"]})
    assert info.resources == ("b", "a")
    assert info.to_wire() == {"name": "n", "resources": ["b", "a"]}


@given(
    st.dictionaries(st.sampled_from(["datastashId", "datastashSubDir", "modality", "format"]), texts),
    st.dictionaries(texts, json_values, max_size=4),
)
def test_a_dataset_comes_back_as_it_was(known: dict[str, str], others: dict[str, object]):
    names = {
        "objectInfo",
        "object_info",
        "datastash_id",
        "datastash_sub_dir",
        "data_path",
        "dataPath",
        "extra",
        "statistics",
    }
    wire = {**{k: v for k, v in others.items() if k not in names}, **known}
    dataset = Dataset.from_wire(wire)
    assert dataset.to_wire() == {**wire, "objectInfo": {}}
    assert Dataset.from_wire(dataset.to_wire()) == dataset


def test_values_can_be_changed_and_shown_as_those_of_mistk():
    dataset = MistkDataset.from_wire(
        {"statistics": {"size": 5, "rows": 2}, "defaultGroundTruthSetReference": {"id": "x"}}
    )
    assert dataset.statistics is not None
    assert dataset.statistics.size == 5
    dataset.data_path = "elsewhere"
    dataset.object_info = ObjectInfo("MistkDataset", name="changed")
    shown = dataset.to_dict()
    assert (shown["data_path"], shown["modality"]) == ("elsewhere", None)
    assert (shown["object_info"]["kind"], shown["object_info"]["name"]) == ("MistkDataset", "changed")
    assert shown["default_ground_truth_set_reference"]["id"] == "x"
    assert dataset.to_wire()["statistics"] == {"size": 5, "rows": 2}
