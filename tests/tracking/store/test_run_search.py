"""The search for runs."""

import pytest

from mistk_service.tracking.errors import FilterError, InvalidPageToken, InvalidParameter
from mistk_service.tracking.values import Dataset, DatasetInput, Metric, RunStatus, Tag, ViewType

NAN = float("nan")


@pytest.fixture
def names(store, experiment):
    def search(filter="", order_by=("run_name",), **rest):
        return [run.info.run_name for run in store.search_runs([experiment], filter, order_by=order_by, **rest)]

    return search


@pytest.fixture
def runs(store, new_run):
    """Four runs with a bit of everything."""
    ids = {
        "a": new_run("a", start=4, metrics={"loss": 1.0, "f 1/x": 1.0}, params={"lr": "0.1", "opt": "Adam"}),
        "b": new_run("b", start=3, metrics={"loss": 2.0}, params={"lr": "0.01", "opt": "adam"}, tags={"team": "50%_x"}),
        "c": new_run(
            "c", start=2, metrics={"loss": NAN}, params={"lr": "10"}, tags={"team": "50ab", "mlflow.x.y": "1"}
        ),
        "d": new_run("d", start=1, tags={"team": "it's"}),
    }
    store.update_run(ids["a"], RunStatus.FINISHED, 100)
    store.update_run(ids["b"], RunStatus.FAILED, 50)
    for name, digest, context in (("a", "d1", "train"), ("a", "d2", "test"), ("b", "d1", "test")):
        store.log_inputs(ids[name], [DatasetInput(Dataset("iris", digest), (Tag("mlflow.data.context", context),))])
    return ids


CASES = [
    ("metrics.loss > 1", "b"),
    ("metrics.loss>=1", "ab"),
    ("metrics.loss = 1.0", "a"),
    ("metric.loss < 2e0", "a"),
    # NaN only differs; what has no such metric is not found.
    ("metrics.loss != 1", "bc"),
    ("metrics.loss > -1e300", "ab"),
    ('metrics."f 1/x" = 1', "a"),
    ("metrics.`f 1/x` <= 1", "a"),
    ("metrics.unknown > 0", ""),
    ("params.lr = '0.1'", "a"),
    ("params.lr != '0.1'", "bc"),
    ("params.lr = '0.1' AND metrics.loss = 1", "a"),
    ("params.lr LIKE '0%'", "ab"),
    ("params.lr like '_0'", "c"),
    ("parameters.opt LIKE 'adam'", "b"),
    ("param.opt ILIKE 'aDAM'", "ab"),
    ("params.opt IS NULL", "cd"),
    ("params.opt is not null", "ab"),
    ("tags.team LIKE '50\\%'", ""),
    ("tags.team = '50%_x'", "b"),
    ('tags.team = "it\'s"', "d"),
    ("tags.team LIKE '50%'", "bc"),
    ("tags.mlflow.x.y = '1'", "c"),
    ("tags.team IS NULL", "a"),
    ("tag.team != 'x' and tags.team != '50ab'", "bd"),
    ("attributes.status = 'FINISHED'", "a"),
    ("status != 'FINISHED'", "bcd"),
    ("attr.status IN ('FINISHED', 'FAILED')", "ab"),
    ("status NOT IN ('FINISHED', 'FAILED')", "cd"),
    ("start_time > 2", "ab"),
    ("created <= 2", "cd"),
    ("end_time != 100", "b"),
    ("run_name = 'a'", "a"),
    ("`Run name` LIKE '%'", "abcd"),
    ("run.run_name ILIKE 'B'", "b"),
    ("user_id = ''", "abcd"),
    ("artifact_uri LIKE 'mlflow-artifacts:/%'", "abcd"),
    ("datasets.name = 'iris'", "ab"),
    ("dataset.digest != 'd1'", "a"),
    ("datasets.digest IN ('d2', 'd3')", "a"),
    ("datasets.context = 'test'", "ab"),
    ("datasets.context LIKE 'tr%' AND datasets.digest = 'd2'", "a"),
    ("", "abcd"),
    ("metrics.loss > 0 AND", "ab"),
]


def test_a_filter_finds_what_it_says(names, runs):
    assert {text: "".join(names(text)) for text, _ in CASES} == dict(CASES)


def test_runs_are_found_by_id(names, runs):
    assert names(f"run_id = '{runs['b']}'") == ["b"]
    assert names(f"run_id IN ('{runs['b']}', '{runs['c']}', 'x')") == ["b", "c"]


ORDERS = [
    ([], "abcd"),
    (["metrics.loss"], "abcd"),
    (["metrics.loss DESC"], "bacd"),
    (["params.lr ASC"], "bacd"),
    (["params.lr DESC"], "cabd"),
    (["tags.team"], "bcda"),
    (["tags.team desc"], "dcba"),
    (["end_time"], "bacd"),
    (["attributes.end_time DESC"], "abcd"),
    (["status DESC"], "cdab"),
    (["start_time ASC"], "dcba"),
    (["Created DESC"], "abcd"),
    (["params.unknown", "run_name DESC"], "dcba"),
    (["metrics.`f 1/x`", "attributes.start_time"], "adcb"),
]


def test_an_order_holds_over_pages(store, experiment, runs):
    for order_by, expected in ORDERS:
        for size in (1, 3, 100):
            found, token = "", None
            while True:
                page = store.search_runs([experiment], order_by=order_by, max_results=size, page_token=token)
                found += "".join(run.info.run_name for run in page)
                token = page.next_page_token
                if token is None:
                    break
                assert len(page) == size
            assert (order_by, found) == (order_by, expected)


def test_equal_runs_are_ordered_by_id(store, experiment, new_run):
    ids = sorted(new_run(start=7) for _ in range(6))
    found, token = [], None
    for _ in range(3):
        page = store.search_runs([experiment], max_results=2, page_token=token)
        found += [run.info.run_id for run in page]
        token = page.next_page_token
    assert (found, token) == (ids, None)


def test_runs_that_come_between_two_pages_neither_repeat_nor_hide_others(store, experiment, new_run):
    for start in range(10):
        new_run(str(start), start=start, metrics={"m": float(start % 3)})
    for order_by in ([], ["metrics.m DESC"], ["metrics.m"]):
        whole = [run.info.run_id for run in store.search_runs([experiment], order_by=order_by)]
        page = store.search_runs([experiment], order_by=order_by, max_results=5)
        for start in (-1, 100):
            new_run(start=start, metrics={"m": float(start)})
        seen = [run.info.run_id for run in page]
        while page.next_page_token:
            page = store.search_runs([experiment], order_by=order_by, max_results=5, page_token=page.next_page_token)
            seen += [run.info.run_id for run in page]
        assert [run_id for run_id in seen if run_id in whole] == whole
        assert len(set(seen)) == len(seen)


def test_a_token_is_only_good_for_its_own_order(store, experiment, runs):
    token = store.search_runs([experiment], max_results=1).next_page_token
    with pytest.raises(InvalidPageToken):
        store.search_runs([experiment], order_by=["run_name"], page_token=token)
    with pytest.raises(InvalidPageToken, match="could not base64-decode"):
        store.search_runs([experiment], page_token="{}")


def test_views_show_what_they_say(store, experiment, names, runs):
    store.delete_run(runs["a"])
    assert names() == ["b", "c", "d"]
    assert names(view_type=ViewType.DELETED_ONLY) == ["a"]
    assert names(view_type=ViewType.ALL) == ["a", "b", "c", "d"]


def test_only_the_experiments_that_are_named_are_searched(store, experiment, runs):
    other = store.create_experiment("other")
    store.create_run(other, run_name="elsewhere")
    assert len(store.search_runs([])) == 0
    assert len(store.search_runs([experiment, other, other])) == 5
    assert len(store.search_runs([other])) == 1
    with pytest.raises(InvalidParameter):
        store.search_runs(["not a number"])


def test_a_found_run_is_the_run(store, experiment, runs):
    for run in store.search_runs([experiment], "run_name != 'c'"):
        assert run == store.get_run(run.info.run_id)
    # NaN is not equal to itself.
    found = store.search_runs([experiment], "run_name = 'c'").items[0]
    assert repr(found) == repr(store.get_run(runs["c"]))


def test_a_filter_looks_at_the_latest_point(store, names, runs):
    store.log_metric(runs["a"], Metric("loss", 9.0, 1, step=5))
    assert names("metrics.loss = 9") == ["a"]
    assert names("metrics.loss = 1") == []


BAD = [
    ("metrics.loss == 1", 13),
    ("metrics.loss > '1'", 15),
    ("params.lr = 1", 12),
    ("params.lr IN ('1')", 10),
    ("params.lr > '1'", 10),
    ("metrics.loss IS NULL", 13),
    ("run_name = 'a' OR run_name = 'b'", 15),
    ("(run_name = 'a')", 0),
    ("lifecycle_stage = 'active'", 0),
    ("experiment_id = '1'", 0),
    ("run_name = 'a", 11),
    ("run_name", 8),
    ("'a' = run_name", 0),
    ("run_id IN ()", 11),
    ("metrics.loss > nan", 15),
    ("metrics.loss > 1e999", 15),
    ("foo.bar = 1", 0),
    ("run_name = 'a'; DROP TABLE runs", 14),
]


def test_a_broken_filter_is_refused_with_the_place(names):
    for text, position in BAD:
        with pytest.raises(FilterError) as caught:
            names(text)
        assert caught.value.position == position
        assert f"column {position + 1}" in str(caught.value)
        # The caret in the message stands below the place.
        lines = str(caught.value).splitlines()
        assert lines[1][lines[2].index("^") :] == text[position:]


def test_a_broken_order_is_refused(names):
    for order_by in [
        ["run_name", "run_name DESC"],
        ["datasets.name"],
        ["metrics.a NULLS LAST"],
        ["a, b"],
        [""],
        ["lifecycle_stage"],
        ["start_time", "created"],
    ]:
        with pytest.raises(InvalidParameter) as caught:
            names(order_by=order_by)
        assert caught.value.field == "order_by"


def test_a_page_has_a_sensible_size(names):
    for max_results in [0, -1, 50_001]:
        with pytest.raises(InvalidParameter):
            names(max_results=max_results)


def test_the_longest_filter_and_order_still_run(names, runs):
    filter = " AND ".join(["metrics.loss > 0", "params.lr != 'x'"] * 20)
    assert names(filter, order_by=[f"metrics.m{i}" for i in range(9)] + ["run_name"]) == ["a", "b"]
    with pytest.raises(InvalidParameter, match="at most 40"):
        names(filter + " AND metrics.loss > 0")
    members = ", ".join(f"'{i}'" for i in range(10_000))
    assert names(f"run_id IN ({members})") == []
    with pytest.raises(InvalidParameter):
        names(f"run_name LIKE '{'%a' * 10_000}'")
