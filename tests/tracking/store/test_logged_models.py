"""Logged models."""

from typing import Any

import pytest

from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.values import (
    Dataset,
    LoggedModelOrder,
    LoggedModelRegistration,
    LoggedModelStatus,
    Metric,
    Param,
    Tag,
)

BY_NAME = (LoggedModelOrder("name"),)


@pytest.fixture
def run_id(store, experiment):
    return store.create_run(experiment).info.run_id


@pytest.fixture
def new_model(store, experiment, run_id):
    def create(name, **scores):
        made = store.create_logged_model(experiment, name, "Agent", run_id, [Param("p", name)], [Tag("t", name)])
        for key, value in scores.items():
            store.log_metric(run_id, Metric(key, value, 1, model_id=made.model_id))
        return made.model_id

    return create


def test_a_model_is_read_back(store, experiment, run_id):
    made = store.create_logged_model(experiment, "m", "Agent", run_id, [Param("p", "1")], [Tag("t", "2")])
    assert store.get_logged_model(made.model_id) == made
    assert made.model_id.startswith("m-")
    assert len(made.model_id) == 34
    assert made.artifact_uri == f"mlflow-artifacts:/{experiment}/models/{made.model_id}/artifacts"
    assert (made.name, made.model_type, made.source_run_id) == ("m", "Agent", run_id)
    assert (made.status, made.params, made.tags) == (
        LoggedModelStatus.LOGGED_MODEL_PENDING,
        (Param("p", "1"),),
        (Tag("t", "2"),),
    )
    assert store.create_logged_model(experiment).name


def test_a_bad_name_is_refused(store, experiment):
    for name in ["a/b", "a:b", "1.0", "50%", "'a'", '"a"', "x" * 501, "nul\0"]:
        with pytest.raises(InvalidParameter, match="name"):
            store.create_logged_model(experiment, name)
        assert not store.search_logged_models([experiment])


def test_an_upload_ends(store, new_model):
    model_id = new_model("m")
    done = store.finalize_logged_model(model_id, LoggedModelStatus.LOGGED_MODEL_READY)
    assert done.status is LoggedModelStatus.LOGGED_MODEL_READY
    assert store.get_logged_model(model_id) == done


def test_a_deleted_model_is_gone(store, experiment, new_model):
    model_id = new_model("m")
    store.delete_logged_model(model_id)
    for call in (store.get_logged_model, store.delete_logged_model, lambda m: store.set_logged_model_tags(m, [])):
        with pytest.raises(ResourceNotFound):
            call(model_id)
    assert len(store.search_logged_models([experiment])) == 0


def test_tags_and_params_are_added(store, new_model):
    model_id = new_model("m")
    assert store.set_logged_model_tags(model_id, [Tag("t", "x"), Tag("u", "y")]).tags == (Tag("t", "x"), Tag("u", "y"))
    store.delete_logged_model_tag(model_id, "t")
    with pytest.raises(ResourceNotFound):
        store.delete_logged_model_tag(model_id, "t")
    assert store.log_logged_model_params(model_id, [Param("p", "m"), Param("q", "1")]).params == (
        Param("p", "m"),
        Param("q", "1"),
    )
    with pytest.raises(InvalidParameter, match="Changing param values"):
        store.log_logged_model_params(model_id, [Param("r", "1"), Param("p", "other")])
    assert len(store.get_logged_model(model_id).params) == 2


def test_every_point_of_a_metric_of_a_model_is_kept_with_its_origin(store, run_id, new_model):
    model_id = new_model("m")
    for value, step in ((0.5, 2), (0.9, 1)):
        store.log_metric(run_id, Metric("acc", value, 1, step, model_id, "iris", "d1"))
    store.log_metric(run_id, Metric("acc", 0.1, 1, 0, model_id))
    store.log_metric(run_id, Metric("acc", 0.1, 1, 0, model_id))
    assert store.get_logged_model(model_id).metrics == (
        Metric("acc", 0.1, 1, 0, model_id, None, None, run_id),
        Metric("acc", 0.9, 1, 1, model_id, "iris", "d1", run_id),
        Metric("acc", 0.5, 1, 2, model_id, "iris", "d1", run_id),
    )
    assert len(store.get_metric_history(run_id, "acc")) == 3


def test_a_metric_of_an_unknown_model_is_refused_whole(store, run_id):
    with pytest.raises(ResourceNotFound, match="Logged model"):
        store.log_batch(run_id, [Metric("a", 1.0, 1), Metric("b", 1.0, 1, model_id="m-unknown")])
    assert store.get_run(run_id).data.metrics == ()


def test_versions_made_from_a_model_are_shown(store, run_id, new_model):
    model_id = new_model("m")
    store.create_registered_model("r")
    made = store.create_model_version("r", f"models:/{model_id}", model_id=model_id)
    assert (made.model_id, made.run_id) == (model_id, run_id)
    assert store.get_download_uri("r", "1") == store.get_logged_model(model_id).artifact_uri
    store.create_model_version("r", store.get_logged_model(model_id).artifact_uri, run_id, model_id=model_id)
    model = store.get_logged_model(model_id)
    assert model.registrations == (LoggedModelRegistration("r", "1"), LoggedModelRegistration("r", "2"))
    listed = next(tag.value for tag in model.tags if tag.key == "mlflow.modelVersions")
    assert listed == '[{"name": "r", "version": 1}, {"name": "r", "version": 2}]'
    with pytest.raises(ResourceNotFound, match="Logged model"):
        store.create_model_version("r", "s3://bucket/model", model_id="m-unknown")
    assert len(store.search_model_versions("name = 'r'")) == 2


def test_a_list_of_versions_that_a_client_made_unreadable_begins_anew(store, new_model):
    model_id = new_model("m")
    store.set_logged_model_tags(model_id, [Tag("mlflow.modelVersions", "none")])
    store.create_registered_model("r")
    store.create_model_version("r", f"models:/{model_id}", model_id=model_id)
    assert Tag("mlflow.modelVersions", '[{"name": "r", "version": 1}]') in store.get_logged_model(model_id).tags


def test_models_are_searched(store, experiment, run_id, new_model):
    ids = {name: new_model(name, **scores) for name, scores in (("a", {"acc": 0.1}), ("b", {"acc": 0.9}), ("c", {}))}
    store.finalize_logged_model(ids["a"], LoggedModelStatus.LOGGED_MODEL_READY)
    store.log_metric(run_id, Metric("acc", 0.5, 1, 0, ids["a"], "iris", "d"))

    def search(filter="", order_by=BY_NAME, **rest):
        return "".join(m.name for m in store.search_logged_models([experiment], filter, order_by=order_by, **rest))

    assert search() == "abc"
    assert search("metrics.acc > 0.4") == "ab"
    assert search("metrics.acc > 0.4", datasets=[Dataset("iris", "")]) == "a"
    assert search("metrics.acc > 0.4", datasets=[Dataset("iris", "other")]) == ""
    assert search(datasets=[Dataset("iris", "")]) == search("name != 'x'", datasets=[Dataset("iris", "d")]) == "a"
    assert search(datasets=[Dataset("iris", "other")]) == ""
    with pytest.raises(InvalidParameter, match="dataset_name"):
        search(datasets=[Dataset("", "d")])
    assert search("params.p = 'c' AND tags.t LIKE '_'") == "c"
    assert search("tags.t IN ('a', 'c')") == search("params.p IN ('a', 'c', 'x')") == "ac"
    assert search("tags.t NOT IN ('a')") == search("params.p NOT IN ('a', 'x')") == "bc"
    assert search("tags.none NOT IN ('a')") == ""
    assert search(f"artifact_location LIKE '%{ids['b']}%'") == search(f"artifact_uri LIKE '%{ids['b']}%'") == "b"
    assert search(f"model_id = '{ids['b']}'") == "b"
    assert search("status = 'READY'") == search("status = 'LOGGED_MODEL_READY'") == "a"
    assert search("status != 'READY'") == "bc"
    assert search(f"attributes.source_run_id = '{run_id}' AND model_type = 'Agent'") == "abc"
    assert search("creation_timestamp > 0 AND creation_time < 1") == ""
    assert search(f"experiment_id = '{experiment}'") == "abc"
    assert search(order_by=[LoggedModelOrder("metrics.acc", ascending=False)]) == "bac"
    assert search(order_by=[LoggedModelOrder("metrics.acc", True, "iris"), LoggedModelOrder("name", False)]) == "acb"
    assert search(order_by=[LoggedModelOrder("params.p", ascending=False)], max_results=2) == "cb"
    assert len(store.search_logged_models([])) == 0
    with pytest.raises(InvalidParameter):
        search("unknown = 'x'")


def test_an_order_by_a_metric_goes_by_the_newest_point(store, experiment, run_id, new_model):
    first, second = new_model("first"), new_model("second")
    for model_id, values in ((first, (0.9, 0.2)), (second, (0.1, 0.5))):
        for step, value in enumerate(values):
            store.log_metric(run_id, Metric("acc", value, 1 + step, step, model_id))
    found = store.search_logged_models([experiment], order_by=[LoggedModelOrder("metrics.acc", ascending=False)])
    assert [model.model_id for model in found] == [second, first]
    # A condition holds where any point fulfils it.
    assert [model.model_id for model in store.search_logged_models([experiment], "metrics.acc > 0.8")] == [first]


@pytest.mark.parametrize(
    "order_by",
    [
        (),
        (LoggedModelOrder("name", False),),
        (LoggedModelOrder("metrics.acc", False, "iris", "d"), LoggedModelOrder("metrics.acc")),
    ],
)
def test_pages_together_are_the_whole(store, experiment, run_id, new_model, order_by):
    for i in range(6):
        model_id = new_model(f"m{i}", acc=float(i % 3))
        if i % 2:
            store.log_metric(run_id, Metric("acc", -float(i), 1, 0, model_id, "iris", "d"))
    whole = store.search_logged_models([experiment], order_by=order_by).items
    found: list[Any] = []
    token = None
    while len(found) < len(whole):
        page = store.search_logged_models([experiment], order_by=order_by, max_results=4, page_token=token)
        found += page.items
        token = page.next_page_token
    assert (tuple(found), token) == (whole, None)
