"""GitLab as a remote: missing features have substitutes, and each is logged once."""

import io
import math

import pytest

from mistk_service.tracking.errors import (
    FilterError,
    InvalidPageToken,
    InvalidParameter,
    NotSupported,
    ResourceExists,
    ResourceNotFound,
    StoreUnavailable,
    Unauthenticated,
)
from mistk_service.tracking.rest import RestConfig, open_rest_store
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    RunStatus,
    Tag,
    ViewType,
)
from tests.support.gitlab import gitlab

#: The tag that the name of the run in ``run_id`` is.
NAME = Tag("mlflow.runName", "a run")


@pytest.fixture(scope="module", params=["new", "old"])
def project(request):
    new = request.param == "new"
    with gitlab(batch_tags=new, metric_history=new) as project:
        yield project


def opened(project, token=None):
    return open_rest_store(RestConfig(project.uri, token=token or project.token))


@pytest.fixture
def store(project):
    with opened(project) as store:
        yield store


@pytest.fixture
def experiment(store, request):
    return store.create_experiment(f"{request.node.name}")


@pytest.fixture
def run_id(store, experiment):
    return store.create_run(experiment, "me", "a run", 5, [Tag("first", "1")]).info.run_id


def test_it_is_known_by_what_it_refuses(project, store):
    able = store.capabilities
    lacking = {name for name in able.__slots__ if getattr(able, name) is False}
    assert lacking == {
        "search_filters", "log_inputs", "log_outputs", "delete_tag", "rename_run", "batch_tags", "overwrites_tags",
        "stores_repeats_once", "non_finite",
    }  # fmt: skip
    assert (able.longest_param, able.longest_tag) == (250, 5000)


def test_it_is_asked_once_and_nothing_is_written(project):
    before = (len(project.runs), project.experiments)
    with opened(project) as store:
        assert store.capabilities is store.capabilities
        asked = len(project.requests)
        store.search_experiments()
        assert len(project.requests) == asked + 1
    assert (len(project.runs), project.experiments) == before


def test_an_experiment_and_a_run_come_back(project, store, experiment, run_id):
    assert store.get_experiment(experiment) == store.get_experiment_by_name(store.get_experiment(experiment).name)
    with pytest.raises(ResourceExists):
        store.create_experiment(store.get_experiment(experiment).name)
    store.log_batch(run_id, [Metric("loss", 0.5, 7, 1)], [Param("rate", "0.1"), Param("none", "")])
    store.update_run(run_id, RunStatus.FINISHED, 9)
    run = store.get_run(run_id)
    assert (run.info.status, run.info.start_time, run.info.end_time) == (RunStatus.FINISHED, 5, 9)
    assert run.info.run_name == "a run"
    assert run.data.metrics == (Metric("loss", 0.5, 7, 1),)
    assert run.data.params == (Param("none", ""), Param("rate", "0.1"))
    assert run.data.tags == (Tag("first", "1"), NAME)


def test_what_is_not_there_is_not_found_although_no_words_say_so(store):
    for call, kind in ((lambda: store.get_run("none"), "run"), (lambda: store.get_experiment("99"), "experiment")):
        with pytest.raises(ResourceNotFound, match=f"no {kind} '"):
            call()


def test_tags_are_set_although_neither_batches_nor_repeats_are_taken(store, run_id, caplog):
    store.log_batch(run_id, [Metric("m", 1.0, 1)], tags=[Tag("a", "1"), Tag("empty", ""), Tag("long", "x" * 6000)])
    store.set_tag(run_id, Tag("a", "1"))
    store.set_tag(run_id, Tag("a", "2"))
    store.log_batch(run_id, tags=[Tag("b", "1"), Tag("b", "2")])
    assert {tag.key: tag.value for tag in store.get_run(run_id).data.tags} == {
        "first": "1", "a": "1", "b": "2", "long": "x" * 5000, NAME.key: NAME.value,
    }  # fmt: skip
    said = [record.message for record in caplog.records]
    assert [len([line for line in said if words in line]) for words in ("one by one", "without a value", "cut")] == [
        1
    ] * 3


def test_a_tag_of_an_experiment_keeps_its_first_value(store, experiment, caplog):
    for value in ("1", "1", "2"):
        store.set_experiment_tag(experiment, Tag("k", value))
    assert store.get_experiment(experiment).tags == (Tag("k", "1"),)
    assert len([record for record in caplog.records if "keep their first value" in record.message]) == 1
    with pytest.raises(ResourceNotFound):
        store.set_experiment_tag("99", Tag("k", "1"))


def test_a_run_is_created_with_long_tags(store, experiment):
    run = store.create_run(experiment, tags=[Tag("long", "x" * 6000)])
    assert store.get_run(run.info.run_id).data.tags[0] == Tag("long", "x" * 5000)


def test_params_keep_their_first_value_and_are_cut(store, run_id, caplog):
    store.log_batch(run_id, params=[Param("p", "1"), Param("long", "x" * 6000)])
    store.log_param(run_id, Param("p", "1"))
    assert store.get_run(run_id).data.params == (Param("long", "x" * 250), Param("p", "1"))
    assert "cut to 250 characters" in caplog.text


def test_a_tag_that_cannot_be_removed_stays(store, run_id, caplog):
    store.delete_tag(run_id, "first")
    store.delete_tag(run_id, "first")
    assert store.get_run(run_id).data.tags == (Tag("first", "1"), NAME)
    assert len([record for record in caplog.records if "cannot remove them" in record.message]) == 1


def test_inputs_and_outputs_come_back_although_there_is_no_place_for_them(store, run_id):
    uses = [
        DatasetInput(Dataset("d", "1", "local", "{}", "[]", "{}"), (Tag("mlflow.data.context", "training"),)),
        DatasetInput(Dataset("d", "2", schema="s" * 6000, profile="p")),
        DatasetInput(Dataset("名" * 500, "x" * 36, source="s" * 65_535)),
    ]
    for _ in range(2):
        store.log_inputs(run_id, uses, [ModelInput("m-1")])
        store.log_outputs(run_id, [ModelOutput("m-2", 3), ModelOutput("m-2", -4)])
    run = store.get_run(run_id)
    found = {use.dataset.digest: use for use in run.inputs.dataset_inputs}
    assert found["1"] == uses[0]
    assert found["2"] == DatasetInput(Dataset("d", "2"))
    assert found["x" * 36] == DatasetInput(Dataset("名" * 500, "x" * 36))
    assert run.inputs.model_inputs == (ModelInput("m-1"),)
    assert sorted(run.outputs.model_outputs, key=lambda made: made.step) == [
        ModelOutput("m-2", -4),
        ModelOutput("m-2", 3),
    ]
    assert run.data.tags == (Tag("first", "1"), NAME)
    summaries = store.search_datasets([run.info.experiment_id])
    assert {(used.digest, used.context) for used in summaries} == {("1", "training"), ("2", None), ("x" * 36, None)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_it_refuses_is_named_and_nothing_is_sent(project, store, run_id, value):
    with pytest.raises(InvalidParameter) as caught:
        store.log_batch(run_id, [Metric("m", 1.0, 1), Metric("m", value, 2)])
    assert caught.value.field == "metrics[1].value"
    assert project.runs[run_id].data.metrics == ()


def test_a_history_is_read_over_several_pages(project, store, run_id):
    for start in range(0, 2500, 500):
        store.log_batch(run_id, [Metric("m", float(i), i, i) for i in range(start, start + 500)])
    if not project.batch_tags:
        with pytest.raises(NotSupported):
            store.get_metric_history(run_id, "m")
        return
    assert [point.step for point in store.get_metric_history(run_id, "m")] == list(range(2500))
    page = store.get_metric_history(run_id, "m", max_results=10)
    assert len(page) == 10
    assert store.get_metric_history(run_id, "m", 10, page.next_page_token).items[0].step == 10
    assert len(store.get_metric_history("none", "m")) == 0
    together = store.get_metric_history_bulk([run_id, "none"], "m", max_results=1200)
    assert [(point.run_id, point.step) for point in together] == [(run_id, step) for step in range(1200)]


@pytest.fixture
def filled(store, experiment):
    """Three runs: a, b and c."""
    for name, loss, rate in (("a", 0.3, "x"), ("b", 0.1, "y"), ("c", math.pi, None)):
        run = store.create_run(experiment, run_name=name, start_time=ord(name), tags=[Tag("kind", name.upper())])
        store.log_batch(run.info.run_id, [Metric("loss", loss, 1)], [Param("rate", rate)] if rate else [])
    store.log_inputs(run.info.run_id, [DatasetInput(Dataset("digits", "1"), (Tag("mlflow.data.context", "eval"),))])
    return lambda *args, **kwargs: [run.info.run_name for run in store.search_runs([experiment], *args, **kwargs)]


#: Filters, and the names of the runs that they find.
FILTERS = {
    "": "cba",
    "metrics.loss < 0.3": "b",
    "metrics.loss <= 0.3 and metrics.loss > 0.1": "a",
    "metrics.other != 1": "",
    "params.rate = 'x'": "a",
    "params.rate != 'x'": "b",
    "params.rate IS NULL": "c",
    "params.rate IS NOT NULL": "ba",
    "tags.kind LIKE '_'": "cba",
    "tags.kind LIKE 'a'": "",
    "tags.kind ILIKE 'a%'": "a",
    "run_name IN ('a', 'c')": "ca",
    "run_name NOT IN ('a', 'c')": "b",
    "start_time >= 98": "cb",
    "status = 'RUNNING' and run_name != 'b'": "ca",
    "end_time > 0": "",
    "datasets.name = 'digits'": "c",
    "datasets.context = 'eval'": "c",
}

#: The same for orders.
ORDERS = [
    (["metrics.loss"], "bac"),
    (["metrics.loss DESC"], "cab"),
    (["params.rate"], "abc"),
    (["params.rate DESC"], "bac"),
    (["run_name"], "abc"),
    (["status", "start_time"], "abc"),
    (["metrics.none"], "cba"),
]


def test_runs_are_filtered_on_this_side(filled):
    assert {filter: "".join(filled(filter)) for filter in FILTERS} == FILTERS


def test_runs_are_ordered_on_this_side(filled):
    assert [(order, "".join(filled(order_by=order))) for order, _ in ORDERS] == ORDERS


def test_a_search_has_pages_and_refuses_what_is_wrong(store, experiment, filled):
    first = store.search_runs([experiment], max_results=2)
    second = store.search_runs([experiment], max_results=2, page_token=first.next_page_token)
    assert [run.info.run_name for run in (*first, *second)] == ["c", "b", "a"]
    assert second.next_page_token is None
    assert filled(view_type=ViewType.DELETED_ONLY) == []
    assert filled(view_type=ViewType.ALL) == ["c", "b", "a"]
    with pytest.raises(FilterError):
        filled("nothing")
    with pytest.raises(InvalidPageToken):
        filled(page_token="x")


def test_experiments_are_filtered_on_this_side(store):
    ids = {name: store.create_experiment(name, tags=[Tag("kind", name)]) for name in ("search one", "search two")}
    found = store.search_experiments(filter="name LIKE 'search%'", order_by=["name DESC"])
    assert [experiment.name for experiment in found] == ["search two", "search one"]
    assert [e.name for e in store.search_experiments(filter=f"experiment_id = '{ids['search one']}'")] == ["search one"]
    assert [e.name for e in store.search_experiments(filter="tags.kind = 'search two'")] == ["search two"]


def test_a_name_stays_as_it_is(store, run_id, experiment, caplog):
    assert store.update_run(run_id, run_name="other").run_name == "a run"
    assert "cannot rename" in caplog.text
    with pytest.raises(NotSupported):
        store.rename_experiment(experiment, "other")
    with pytest.raises(NotSupported):
        store.restore_run(run_id)


def test_artifacts_go_to_the_package_registry_under_flat_names(project, store, run_id):
    artifacts = store.run_artifacts(store.get_run(run_id))
    artifacts.put("model/weights 1.bin", io.BytesIO(b"123"))
    artifacts.put("model/weights 1.bin", io.BytesIO(b"123"))
    upload = artifacts.create("plain")
    upload.write(b"x")
    upload.commit()
    with artifacts.open("model/weights 1.bin") as stored:
        assert (stored.size, stored.stream.read()) == (3, b"123")
    with pytest.raises(ResourceNotFound):
        artifacts.open("none")
    with pytest.raises(NotSupported):
        artifacts.list_folder()
    mine = project.place(run_id)
    names = {path.removeprefix(mine): len(kept) for path, kept in project.files.items() if path.startswith(mine)}
    assert names == {"model__weights_20_1.bin": 1, "plain": 1}


def test_a_model_gets_a_version(store):
    store.create_registered_model("digits")
    assert store.create_model_version("digits", "runs:/x/model").version == "1.0.0"
    assert store.create_model_version("digits", "", tags=[Tag("gitlab.version", "2.1.0")]).version == "2.1.0"
    assert [v.version for v in store.get_registered_model("digits").latest_versions] == ["2.1.0"]


def test_a_token_that_may_only_read_is_told_so(project, run_id):
    with opened(project, project.read_token) as store:
        assert store.get_run(run_id).info.run_name == "a run"
        with pytest.raises(Unauthenticated):
            store.log_batch(run_id, [Metric("m", 1.0, 1)])
    with opened(project, "wrong") as store, pytest.raises(Unauthenticated):
        store.check()


def test_a_wrong_project_is_not_a_tracking_server(project):
    uri = project.uri.replace("projects/1/", "projects/2/")
    with open_rest_store(RestConfig(uri, token=project.token)) as store:
        for call in (store.check, lambda: store.create_experiment("x"), lambda: store.get_run("x")):
            with pytest.raises(StoreUnavailable, match="no tracking server at this address"):
                call()
