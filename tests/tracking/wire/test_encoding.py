"""Values to and from MLflow's JSON."""

import enum
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service.tracking import values as entities
from mistk_service.tracking import wire
from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    DatasetSummary,
    Experiment,
    FileInfo,
    LifecycleStage,
    LoggedModel,
    LoggedModelOrder,
    LoggedModelRegistration,
    LoggedModelStatus,
    Metric,
    ModelInput,
    ModelOutput,
    ModelVersion,
    Param,
    RegisteredModel,
    RegisteredModelAlias,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
    Tag,
)
from mistk_service.tracking.wire import Fields


def as_json(value):
    return json.loads(msgspec.json.encode(value))


INFO = RunInfo("r", "name", "1", "", RunStatus.RUNNING, 0, None, "s3://x", LifecycleStage.ACTIVE)


def test_every_value_is_a_frozen_documented_struct_or_an_enumeration():
    for name in entities.__all__:
        kind = getattr(entities, name)
        if name == "ResourceType":  # a choice of names
            continue
        assert kind.__doc__, name
        if not issubclass(kind, enum.Enum):
            assert kind.__struct_config__.frozen, name
            if name != "Run":
                for field in kind.__struct_fields__:
                    assert f"{field}:" in kind.__doc__, f"{name}.{field}"


def test_a_run_has_its_data_and_inputs_even_where_they_are_empty():
    assert as_json(wire.run(Run(INFO))) == {
        "info": {
            "run_id": "r",
            "run_uuid": "r",
            "run_name": "name",
            "experiment_id": "1",
            "user_id": "",
            "status": "RUNNING",
            "start_time": 0,
            "artifact_uri": "s3://x",
            "lifecycle_stage": "active",
        },
        "data": {},
        "inputs": {},
        "outputs": {},
    }
    assert "outputs" not in wire.run(Run(INFO), outputs=False)


def test_a_full_run_is_written_out():
    run = Run(
        msgspec.structs.replace(INFO, end_time=5, status=RunStatus.KILLED),
        RunData((Metric("m", 1.0, 2, 3),), (Param("p", ""),), (Tag("t", "v"),)),
        RunInputs((DatasetInput(Dataset("d", "x", "local", "/s", "{}"), (Tag("k", "v"),)),), (ModelInput("m-1"),)),
        RunOutputs((ModelOutput("m-2", 4),)),
    )
    found = as_json(wire.run(run))
    assert found["info"]["end_time"] == 5
    assert found["info"]["status"] == "KILLED"
    assert found["data"] == {
        "metrics": [{"key": "m", "value": 1.0, "timestamp": 2, "step": 3}],
        "params": [{"key": "p", "value": ""}],
        "tags": [{"key": "t", "value": "v"}],
    }
    dataset = {"name": "d", "digest": "x", "source_type": "local", "source": "/s", "schema": "{}"}
    assert found["inputs"] == {
        "dataset_inputs": [{"tags": [{"key": "k", "value": "v"}], "dataset": dataset}],
        "model_inputs": [{"model_id": "m-1"}],
    }
    assert found["outputs"] == {"model_outputs": [{"model_id": "m-2", "step": 4}]}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.1, 0.1),
        (math.nan, "NaN"),
        # What MLflow's server answers for the infinities.
        (math.inf, 1.7976931348623157e308),
        (-math.inf, -1.7976931348623157e308),
    ],
)
def test_numbers_are_written_as_mlflow_writes_them(value, written):
    assert as_json(wire.metric(Metric("m", value, 1)))["value"] == written
    assert as_json(wire.metrics([Metric("m", value, 1)])) == [as_json(wire.metric(Metric("m", value, 1)))]


@pytest.mark.parametrize(
    ("value", "written"), [(0.1, 0.1), (math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_a_request_names_the_infinities_and_not_the_run(value, written):
    found = as_json(wire.requested_metrics([Metric("m", value, 1, run_id="r"), Metric("m", value, 1)]))
    assert found == [{"key": "m", "value": written, "timestamp": 1, "step": 0}] * 2


def test_a_metric_names_its_origin_where_it_has_one():
    full = Metric("m", 1.0, 2, 3, "m-1", "iris", "d1", "r")
    assert as_json(wire.metrics([full, Metric("m", 1.0, 2)])) == [
        {
            "key": "m",
            "value": 1.0,
            "timestamp": 2,
            "step": 3,
            "run_id": "r",
            "model_id": "m-1",
            "dataset_name": "iris",
            "dataset_digest": "d1",
        },
        {"key": "m", "value": 1.0, "timestamp": 2, "step": 0},
    ]


def test_other_things_are_written_out():
    experiment = Experiment("1", "e", "s3://x", LifecycleStage.DELETED, 1, 2, (Tag("a", "b"),))
    assert as_json(wire.experiment(experiment)) == {
        "experiment_id": "1",
        "name": "e",
        "artifact_location": "s3://x",
        "lifecycle_stage": "deleted",
        "creation_time": 1,
        "last_update_time": 2,
        "tags": [{"key": "a", "value": "b"}],
        "workspace": "default",
    }
    assert as_json(FileInfo("a", False, 0)) == {"path": "a", "is_dir": False, "file_size": 0}
    assert as_json(FileInfo("a", True)) == {"path": "a", "is_dir": True}
    assert as_json(DatasetSummary("1", "n", "d")) == {"experiment_id": "1", "name": "n", "digest": "d"}


def test_models_are_written_out():
    version = ModelVersion("m", "2", 1, 2, aliases=("best",), run_id="r")
    model = RegisteredModel("m", 1, 2, None, (version,), aliases=(RegisteredModelAlias("best", "2"),))
    found = as_json(wire.registered_model(model))
    assert "description" not in found
    assert found["aliases"] == [{"alias": "best", "version": "2"}]
    written = found["latest_versions"][0]
    assert (written["version"], written["status"], written["current_stage"]) == ("2", "READY", "None")
    assert written["description"] == ""
    assert "aliases" not in written
    assert as_json(wire.model_version(version))["aliases"] == ["best"]
    assert "aliases" not in wire.listed_version(version)
    logged = LoggedModel(
        "m-1",
        "1",
        "n",
        1,
        2,
        "s3://x",
        LoggedModelStatus.LOGGED_MODEL_READY,
        params=(Param("p", "1"),),
        registrations=(LoggedModelRegistration("m", "2"),),
    )
    found = as_json(wire.logged_model(logged))
    assert found["data"] == {"params": [{"key": "p", "value": "1"}]}
    assert found["info"]["registrations"] == [{"name": "m", "version": "2"}]
    assert found["info"]["status"] == "LOGGED_MODEL_READY"
    assert found["info"]["creation_timestamp_ms"] == 1


METRICS = st.builds(
    Metric,
    st.text(min_size=1, max_size=5).filter(lambda t: t.isprintable()),
    st.floats(),
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.just("m-1"),
)


@given(st.lists(METRICS, max_size=5))
def test_metrics_survive_the_way_there_and_back(metrics):
    body = msgspec.json.encode({"metrics": [wire.metric(metric) for metric in metrics]})
    # What is written is JSON in the strict sense, without bare NaN.
    json.loads(body, parse_constant=pytest.fail)
    found = wire.read_metrics(Fields.from_body(body))
    largest = 1.7976931348623157e308
    expected = [
        m if math.isnan(m.value) else msgspec.structs.replace(m, value=max(-largest, min(largest, m.value)))
        for m in metrics
    ]
    assert list(map(repr, found)) == list(map(repr, expected))


@pytest.mark.parametrize(
    "extra",
    [{}, {"step": "7"}, {"step": None}, {"modelId": "m-1"}, {"unknown": {}}, {"value": "2.5"}, {"timestamp": "3"}],
)
def test_the_fast_and_the_thorough_way_read_the_same(extra):
    point = {"key": "m", "value": 1, "timestamp": 2, **extra}
    thorough = wire.read_metric(Fields(point))
    found = wire.read_metrics(Fields({"metrics": [point, {"key": "n", "value": 1.5, "timestamp": 1}]}))
    assert found == [thorough, Metric("n", 1.5, 1)]


@pytest.mark.parametrize(
    ("point", "place"),
    [
        ({"value": 1, "timestamp": 1}, "metrics[1].key"),
        ({"key": "", "value": 1, "timestamp": 1}, "metrics[1].key"),
        ({"key": "m", "timestamp": 1}, "metrics[1].value"),
        ({"key": "m", "value": None, "timestamp": 1}, "metrics[1].value"),
        ({"key": "m", "value": True, "timestamp": 1}, "metrics[1].value"),
        ({"key": "m", "value": 1}, "metrics[1].timestamp"),
        ({"key": "m", "value": 1, "timestamp": 1.5}, "metrics[1].timestamp"),
        ({"key": "m", "value": 1, "timestamp": 2**63}, "metrics[1].timestamp"),
        ({"key": "m", "value": 1, "timestamp": 1, "step": 2**63}, "metrics[1].step"),
        ({"key": "m", "value": 10**400, "timestamp": 1}, "metrics[1].value"),
        ({"key": 5, "value": 1, "timestamp": 1}, "metrics[1].key"),
        ("text", "metrics[1]"),
    ],
)
def test_a_bad_point_is_refused_with_its_place(point, place):
    good = {"key": "m", "value": 1, "timestamp": 1}
    with pytest.raises(InvalidParameter) as caught:
        wire.read_metrics(Fields({"metrics": [good, point, good]}))
    assert caught.value.field == place


def test_other_lists_are_read():
    fields = Fields(
        {
            "params": [{"key": "p", "value": "1"}, {"key": "q"}],
            "tags": [{"key": "t", "value": None}],
            "datasets": [
                {"dataset": {"name": "d", "sourceType": "local"}, "tags": [{"key": "k", "value": "v"}]},
                {},
            ],
            "models": [{"model_id": "m-1", "step": "4"}],
            "order_by": [{"field_name": "metrics.a", "ascending": False, "dataset_name": "d"}, {"field_name": "name"}],
        }
    )
    assert wire.read_params(fields) == [Param("p", "1"), Param("q", "")]
    assert wire.read_tags(fields) == [Tag("t", "")]
    assert wire.read_dataset_inputs(fields) == [
        DatasetInput(Dataset("d", "", "local"), (Tag("k", "v"),)),
        DatasetInput(Dataset("", "")),
    ]
    assert wire.read_model_inputs(fields) == [ModelInput("m-1")]
    assert wire.read_model_outputs(fields) == [ModelOutput("m-1", 4)]
    assert wire.read_logged_model_order(fields) == [
        LoggedModelOrder("metrics.a", False, "d"),
        LoggedModelOrder("name"),
    ]
    searched = Fields({"datasets": [{"dataset_name": "d", "dataset_digest": "x"}]})
    assert wire.read_datasets(searched) == [Dataset("d", "x")]
