"""Runs: their lifecycle, names, tags, inputs and outputs."""

import json

import pytest

from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    LifecycleStage,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    RunStatus,
    Tag,
)


@pytest.fixture
def run_id(store, experiment):
    return store.create_run(experiment).info.run_id


def test_what_was_created_is_read_back(store, experiment):
    created = store.create_run(experiment, "ann", "first", 12, [Tag("k", "v" * 9000)])
    assert store.get_run(created.info.run_id) == created
    info = created.info
    assert len(info.run_id) == 32
    assert (info.run_name, info.user_id, info.start_time, info.end_time) == ("first", "ann", 12, None)
    assert (info.status, info.lifecycle_stage) == (RunStatus.RUNNING, LifecycleStage.ACTIVE)
    assert info.artifact_uri == f"mlflow-artifacts:/{experiment}/{info.run_id}/artifacts"
    assert created.data.tags == (Tag("k", "v" * 9000), Tag("mlflow.runName", "first"))


def test_a_run_without_a_name_gets_one(store, experiment):
    run = store.create_run(experiment)
    assert 0 < len(run.info.run_name) <= 20
    assert run.data.tags == (Tag("mlflow.runName", run.info.run_name),)


def test_the_name_and_its_tag_are_one(store, experiment):
    run_id = store.create_run(experiment, tags=[Tag("mlflow.runName", "by tag")]).info.run_id
    assert store.get_run(run_id).info.run_name == "by tag"
    store.set_tag(run_id, Tag("mlflow.runName", "renamed"))
    assert store.get_run(run_id).info.run_name == "renamed"
    assert store.update_run(run_id, run_name="again").run_name == "again"
    assert store.get_run(run_id).data.tags == (Tag("mlflow.runName", "again"),)
    assert store.update_run(run_id, run_name="").run_name == "again"


def test_two_different_names_are_refused(store, experiment):
    with pytest.raises(InvalidParameter, match="different values"):
        store.create_run(experiment, run_name="a", tags=[Tag("mlflow.runName", "b")])


def test_a_run_may_be_created_with_tags_that_cannot_be_set_later(store, experiment):
    odd = Tag("team+project!", "x")
    run_id = store.create_run(experiment, tags=[odd]).info.run_id
    assert odd in store.get_run(run_id).data.tags
    assert [run.info.run_id for run in store.search_runs([experiment], "tags.`team+project!` = 'x'")] == [run_id]
    with pytest.raises(InvalidParameter, match="Names may only contain"):
        store.set_tag(run_id, odd)


def test_a_run_is_not_created_with_a_tag_without_a_usable_key(store, experiment):
    for key in ["", "k" * 251, "nul\0"]:
        with pytest.raises(InvalidParameter):
            store.create_run(experiment, tags=[Tag(key, "x")])
        assert not store.search_runs([experiment])


def test_a_tag_given_twice_is_refused(store, experiment):
    with pytest.raises(InvalidParameter, match="twice"):
        store.create_run(experiment, tags=[Tag("k", "1"), Tag("k", "1")])
    assert len(store.search_runs([experiment])) == 0


def test_a_run_needs_an_experiment_that_exists(store):
    with pytest.raises(ResourceNotFound):
        store.create_run("77")


def test_an_update_changes_only_what_is_given(store, run_id):
    store.update_run(run_id, RunStatus.FINISHED, 99)
    info = store.update_run(run_id, RunStatus.RUNNING)
    assert (info.status, info.end_time) == (RunStatus.RUNNING, 99)
    assert store.get_run(run_id).info == info


def test_deleting_and_restoring_can_be_repeated(store, run_id):
    for _ in range(2):
        store.delete_run(run_id)
        assert store.get_run(run_id).info.lifecycle_stage is LifecycleStage.DELETED
    for _ in range(2):
        store.restore_run(run_id)
        assert store.get_run(run_id).info.lifecycle_stage is LifecycleStage.ACTIVE


WRITES = {
    "metric": lambda store, run: store.log_metric(run, Metric("m", 1.0, 1)),
    "param": lambda store, run: store.log_param(run, Param("p", "1")),
    "tag": lambda store, run: store.set_tag(run, Tag("t", "1")),
    "tag deletion": lambda store, run: store.delete_tag(run, "mlflow.runName"),
    "update": lambda store, run: store.update_run(run, RunStatus.FAILED),
    "empty batch": lambda store, run: store.log_batch(run),
    "inputs": lambda store, run: store.log_inputs(run, [DatasetInput(Dataset("d", "x"))]),
    "outputs": lambda store, run: store.log_outputs(run, [ModelOutput("m-1")]),
    "model": lambda store, run: store.record_model(
        run, json.dumps({"artifact_path": "m", "flavors": {}, "utc_time_created": "x", "run_id": run})
    ),
}


def test_a_deleted_run_takes_no_writes(store, run_id):
    store.delete_run(run_id)
    before = store.get_run(run_id)
    for write in WRITES.values():
        with pytest.raises(InvalidParameter, match="must be in the 'active' state"):
            write(store, run_id)
        assert store.get_run(run_id) == before


def test_an_unknown_run_is_not_found(store):
    for write in WRITES.values():
        with pytest.raises(ResourceNotFound, match="Run with id=nobody not found"):
            write(store, "nobody")


def test_other_calls_for_an_unknown_run_are_not_found_either(store):
    for call in (store.get_run, store.delete_run, store.restore_run):
        with pytest.raises(ResourceNotFound):
            call("nobody")


def test_a_tag_can_be_removed_once(store, run_id):
    store.set_tag(run_id, Tag("t", "1"))
    store.delete_tag(run_id, "t")
    with pytest.raises(ResourceNotFound, match="No tag with name: t in run with id"):
        store.delete_tag(run_id, "t")


def test_an_input_keeps_its_first_tags(store, run_id):
    dataset = Dataset("iris", "abc", "local", "/data", '{"x": 1}', "{}")
    store.log_inputs(run_id, [DatasetInput(dataset, (Tag("mlflow.data.context", "train"),))], [ModelInput("m-1")])
    store.log_inputs(run_id, [DatasetInput(dataset, (Tag("mlflow.data.context", "test"),))], [ModelInput("m-1")])
    inputs = store.get_run(run_id).inputs
    assert inputs.dataset_inputs == (DatasetInput(dataset, (Tag("mlflow.data.context", "train"),)),)
    assert inputs.model_inputs == (ModelInput("m-1"),)


def test_one_dataset_serves_many_runs(store, experiment, run_id):
    other = store.create_run(experiment).info.run_id
    use = DatasetInput(Dataset("iris", "abc"))
    for run in (run_id, other):
        store.log_inputs(run, [use, use])
    assert store.get_run(other).inputs == store.get_run(run_id).inputs
    assert len(store.get_run(other).inputs.dataset_inputs) == 1


def test_a_dataset_over_the_limits_is_refused_with_all_others(store, run_id):
    for dataset in [Dataset("d" * 501, "x"), Dataset("d", "x" * 37), Dataset("d", "x", source="s" * 65_536)]:
        with pytest.raises(InvalidParameter, match=r"datasets\[1\]"):
            store.log_inputs(run_id, [DatasetInput(Dataset("fine", "x")), DatasetInput(dataset)])
        assert store.get_run(run_id).inputs.dataset_inputs == ()


def test_outputs_are_kept_in_order(store, run_id):
    store.log_outputs(run_id, [ModelOutput("m-b", 1), ModelOutput("m-a", 2)])
    store.log_outputs(run_id, [ModelOutput("m-b", 1)])
    assert store.get_run(run_id).outputs.model_outputs == (ModelOutput("m-b", 1), ModelOutput("m-a", 2))


def test_descriptions_of_models_are_collected_in_a_tag(store, run_id):
    models = [
        {"artifact_path": path, "flavors": {}, "utc_time_created": "now", "run_id": run_id} for path in ("a", "b")
    ]
    for model in models:
        store.record_model(run_id, json.dumps(model))
    tags = {tag.key: tag.value for tag in store.get_run(run_id).data.tags}
    assert json.loads(tags["mlflow.log-model.history"]) == models


def test_a_description_that_lacks_something_is_refused(store, run_id):
    for text in ["", "no json", "[]", '{"artifact_path": "x"}']:
        with pytest.raises(InvalidParameter) as caught:
            store.record_model(run_id, text)
        assert caught.value.field == "model_json"
