"""Experiments."""

import pytest

from mistk_service.tracking import Store
from mistk_service.tracking.errors import InvalidParameter, InvalidState, ResourceExists, ResourceNotFound
from mistk_service.tracking.values import Dataset, DatasetInput, DatasetSummary, LifecycleStage, Tag, ViewType


def names(store: Store, **search) -> list[str]:
    return [experiment.name for experiment in store.search_experiments(**search)]


def test_a_new_store_has_the_default_experiment(store):
    experiment = store.get_experiment("0")
    assert experiment.name == "Default"
    assert experiment.artifact_location == "mlflow-artifacts:/0"
    assert store.get_experiment_by_name("Default") == experiment


def test_what_was_created_is_read_back(store):
    number = store.create_experiment("e", "s3://bucket/folder", [Tag("b", "2"), Tag("a", "1"), Tag("b", "3")])
    experiment = store.get_experiment(number)
    assert (experiment.experiment_id, experiment.name) == (number, "e")
    assert experiment.artifact_location == "s3://bucket/folder"
    assert experiment.lifecycle_stage is LifecycleStage.ACTIVE
    assert experiment.tags == (Tag("a", "1"), Tag("b", "3"))
    assert experiment.creation_time == experiment.last_update_time > 1_600_000_000_000


def test_an_experiment_without_a_location_gets_a_folder_below_the_root(store):
    number = store.create_experiment("e")
    assert store.get_experiment(number).artifact_location == f"mlflow-artifacts:/{number}"


def test_a_location_that_could_mislead_is_refused(store):
    for location in [
        "s3://b/x?y=..%2f..",
        "s3://b/x#y",
        "http://host/x",
        "../x",
        "s3://b/%2e%2e/x",
        "s3://b/" + "x" * 2048,
    ]:
        with pytest.raises(InvalidParameter) as caught:
            store.create_experiment("e", location)
        assert caught.value.field == "artifact_location"
        assert names(store) == ["Default"]


@pytest.mark.parametrize(
    ("location", "artifacts"),
    [
        ("s3://b/x?region=1&v=2", "s3://b/x/{}/artifacts?region=1&v=2"),
        ("gs://b?x=y", "gs://b/{}/artifacts?x=y"),
        ("file:///folder?x=1", "file:///folder/{}/artifacts?x=1"),
        ("/a folder?/", "/a folder?/{}/artifacts"),
    ],
)
def test_what_lies_below_a_location_stands_before_its_query(store, location, artifacts):
    number = store.create_experiment("e", location)
    run = store.create_run(number).info
    assert run.artifact_uri == artifacts.format(run.run_id)
    model = store.create_logged_model(number)
    assert model.artifact_uri == artifacts.format(f"models/{model.model_id}")


def test_a_negative_id_is_that_of_no_experiment(store):
    for call in (store.get_experiment, store.delete_experiment, store.create_run, store.create_logged_model):
        with pytest.raises(ResourceNotFound, match="No Experiment with id=-1 exists"):
            call("-1")
    assert store.search_runs(["-1"]).items == store.search_logged_models(["-1"]).items == ()
    with pytest.raises(InvalidParameter, match=r"Invalid experiment ID 'x'\. Experiment ID must be a valid integer"):
        store.get_experiment("x")


def test_a_name_is_taken_even_by_a_deleted_experiment(store):
    number = store.create_experiment("e")
    with pytest.raises(ResourceExists, match=r"Experiment\(name=e\) already exists"):
        store.create_experiment("e")
    store.delete_experiment(number)
    with pytest.raises(ResourceExists, match="restore it"):
        store.create_experiment("e")


def test_a_bad_name_is_refused(store):
    for name in ["", "  ", "x" * 501, "nul\0"]:
        with pytest.raises(InvalidParameter):
            store.create_experiment(name)


def test_an_unknown_experiment_is_not_found(store):
    for number in ["99", "9223372036854775807"]:
        with pytest.raises(ResourceNotFound, match=f"No Experiment with id={number} exists"):
            store.get_experiment(number)


def test_an_id_that_is_not_a_number_is_refused(store):
    for number in ["", "x", "1.0", "٣", "9" * 30]:
        with pytest.raises(InvalidParameter):
            store.get_experiment(number)


def test_deleting_takes_the_runs_along_and_restoring_revives_them_all(store, experiment):
    kept, deleted = (store.create_run(experiment).info.run_id for _ in range(2))
    store.delete_run(deleted)
    store.delete_experiment(experiment)
    assert store.get_experiment(experiment).lifecycle_stage is LifecycleStage.DELETED
    assert store.get_run(kept).info.lifecycle_stage is LifecycleStage.DELETED
    with pytest.raises(ResourceNotFound):
        store.delete_experiment(experiment)
    store.restore_experiment(experiment)
    assert {store.get_run(run).info.lifecycle_stage for run in (kept, deleted)} == {LifecycleStage.ACTIVE}
    with pytest.raises(ResourceNotFound):
        store.restore_experiment(experiment)


def test_a_deleted_experiment_takes_no_changes(store, experiment):
    store.set_experiment_tag(experiment, Tag("k", "v"))
    store.delete_experiment(experiment)
    with pytest.raises(InvalidState):
        store.rename_experiment(experiment, "other")
    with pytest.raises(InvalidParameter, match="must be in the 'active' state"):
        store.set_experiment_tag(experiment, Tag("k", "w"))
    with pytest.raises(InvalidParameter):
        store.delete_experiment_tag(experiment, "k")
    with pytest.raises(InvalidParameter):
        store.create_run(experiment)
    assert store.get_experiment(experiment).tags == (Tag("k", "v"),)


def test_renaming_keeps_names_unique(store, experiment):
    store.create_experiment("other")
    with pytest.raises(ResourceExists):
        store.rename_experiment(experiment, "other")
    store.rename_experiment(experiment, "an experiment")
    store.rename_experiment(experiment, "new")
    assert store.get_experiment_by_name("new").experiment_id == experiment
    with pytest.raises(ResourceNotFound):
        store.get_experiment_by_name("an experiment")


def test_tags_are_replaced_and_removed(store, experiment):
    store.set_experiment_tag(experiment, Tag("k", "1"))
    store.set_experiment_tag(experiment, Tag("k", "2"))
    assert store.get_experiment(experiment).tags == (Tag("k", "2"),)
    store.delete_experiment_tag(experiment, "k")
    with pytest.raises(ResourceNotFound, match="No tag with name: k"):
        store.delete_experiment_tag(experiment, "k")


def test_a_bad_tag_is_refused_not_cut(store, experiment):
    for tag in [Tag("", "v"), Tag("/k", "v"), Tag("k" * 251, "v"), Tag("k", "v" * 20_001)]:
        with pytest.raises(InvalidParameter):
            store.set_experiment_tag(experiment, tag)


def test_searching_filters_orders_and_views(store):
    first, second, third = (store.create_experiment(name) for name in ("beta", "alpha", "Alpine"))
    store.set_experiment_tag(second, Tag("team", "blue"))
    store.delete_experiment(third)
    assert names(store, filter="name LIKE 'al%'") == ["alpha"]
    assert names(store, filter="name ILIKE 'AL%'", view_type=ViewType.ALL, order_by=["name"]) == ["Alpine", "alpha"]
    assert names(store, filter="tags.team = 'blue'") == ["alpha"]
    assert names(store, filter="tags.team IS NULL", order_by=["name DESC"]) == ["beta", "Default"]
    assert names(store, view_type=ViewType.DELETED_ONLY) == ["Alpine"]
    assert names(store, filter=f"experiment_id IN ('{first}', '{second}', 'x')", order_by=["experiment_id"]) == [
        "beta",
        "alpha",
    ]
    assert names(store, filter=f"attributes.experiment_id = '{first}' AND creation_time > 0") == ["beta"]


def test_a_page_has_a_sensible_size(store):
    for max_results in [0, -1, 50_001]:
        with pytest.raises(InvalidParameter, match="max_results"):
            store.search_experiments(max_results=max_results)


def test_datasets_of_experiments_are_found_with_their_context(store, experiment):
    used = DatasetInput(Dataset("iris", "d1"), (Tag("mlflow.data.context", "train"),))
    for _ in range(2):
        store.log_inputs(store.create_run(experiment).info.run_id, [used, DatasetInput(Dataset("mnist", "d2"))])
    assert store.search_datasets([experiment]) == [
        DatasetSummary(experiment, "iris", "d1", "train"),
        DatasetSummary(experiment, "mnist", "d2", None),
    ]
    assert store.search_datasets(["0"]) == []
    with pytest.raises(InvalidParameter):
        store.search_datasets(["0"] * 21)
