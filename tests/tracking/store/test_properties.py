"""Property tests: searches and batches compared with models in Python."""

import functools
import math
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mistk_service.tracking import open_store
from mistk_service.tracking.errors import FilterError, InvalidParameter
from mistk_service.tracking.filters import RUNS, Comparator, Comparison, Entity, parse_filter
from mistk_service.tracking.values import Metric, Param, RunStatus, Tag
from tests.support.examples import examples

KEYS = ("a", "b c", "d.e")
TEXTS = st.text(alphabet="aAbB%_\\é'.", max_size=3)
NUMBERS = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([math.nan, math.inf, -math.inf, 0.5, 1e-300]))
QUOTABLE = TEXTS.filter(lambda text: "'" not in text)


def quoted(key: str) -> str:
    quote = "`'\""[KEYS.index(key)]
    return f"{quote}{key}{quote}"


@st.composite
def comparisons(draw):
    """Return a condition as text."""
    kind = draw(st.sampled_from(["metrics", "params", "tags", "run_name", "start_time", "end_time", "status"]))
    if kind in ("start_time", "end_time", "metrics"):
        comparator = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
        value = draw(st.one_of(st.integers(-4, 4), st.floats(-4, 4, allow_nan=False)))
        name = f"metrics.{quoted(draw(st.sampled_from(KEYS)))}" if kind == "metrics" else kind
        return f"{name} {comparator} {value!r}"
    name = f"{kind}.{quoted(draw(st.sampled_from(KEYS)))}" if kind in ("params", "tags") else kind
    choices = ["=", "!=", "LIKE", "ILIKE"]
    choices += ["IS NULL", "IS NOT NULL"] if kind in ("params", "tags") else ["IN", "NOT IN"]
    comparator = draw(st.sampled_from(choices))
    if "NULL" in comparator:
        return f"{name} {comparator}"
    if "IN" in comparator.split():
        members = draw(st.lists(QUOTABLE, min_size=1, max_size=3))
        return f"{name} {comparator} ({', '.join(repr_sql(member) for member in members)})"
    return f"{name} {comparator} {repr_sql(draw(QUOTABLE))}"


def repr_sql(text: str) -> str:
    return f"'{text}'"


RUN = st.fixed_dictionaries(
    {
        "name": TEXTS.filter(bool),
        "start": st.integers(-2, 2),
        "end": st.one_of(st.none(), st.integers(-2, 2)),
        "status": st.sampled_from(RunStatus),
        "metrics": st.dictionaries(st.sampled_from(KEYS), NUMBERS),
        "params": st.dictionaries(st.sampled_from(KEYS), TEXTS),
        "tags": st.dictionaries(st.sampled_from(KEYS), TEXTS),
    }
)


def value_of(run: dict, comparison: Comparison):
    """Return what a run has for the key of a condition, or None."""
    match comparison.entity:
        case Entity.METRIC:
            return run["metrics"].get(comparison.key)
        case Entity.PARAM:
            return run["params"].get(comparison.key)
        case Entity.TAG:
            return run["tags"].get(comparison.key)
    return {
        "run_name": run["name"],
        "start_time": run["start"],
        "end_time": run["end"],
        "status": run["status"].name,
    }[comparison.key]


def like(text: str, pattern: str, flags: int) -> bool:
    expression = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(expression, text, flags | re.DOTALL) is not None


TESTS = {
    Comparator.EQ: lambda x, y: x == y,
    Comparator.NE: lambda x, y: x != y,
    Comparator.LT: lambda x, y: x < y,
    Comparator.LE: lambda x, y: x <= y,
    Comparator.GT: lambda x, y: x > y,
    Comparator.GE: lambda x, y: x >= y,
    Comparator.LIKE: lambda x, y: like(x, y, 0),
    Comparator.ILIKE: lambda x, y: like(x, y, re.IGNORECASE),
    Comparator.IN: lambda x, y: x in y,
    Comparator.NOT_IN: lambda x, y: x not in y,
}


def holds(run: dict, comparison: Comparison) -> bool:
    """Say whether a condition holds, as MLflow means it: what is not there fulfils nothing but IS NULL."""
    value = value_of(run, comparison)
    if comparison.comparator is Comparator.IS_NULL:
        return value is None
    if comparison.comparator is Comparator.IS_NOT_NULL:
        return value is not None
    return value is not None and TESTS[comparison.comparator](value, comparison.value)


def sort_key(run: dict, entity: str, key: str, ascending: bool):
    """Return what a run is sorted by: numbers or texts, then NaN, then what has none."""
    value = {"metrics": run["metrics"], "params": run["params"], "tags": run["tags"]}[entity].get(key)
    if value is None:
        return (2, Reverse(0, True))
    if value != value:
        return (1, Reverse(0, True))
    return (0, Reverse(value, ascending))


@functools.total_ordering
class Reverse:
    """A value that compares the other way round where it is descending."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value, ascending):
        self.value, self.ascending = value, ascending

    def __lt__(self, other):
        return self.value < other.value if self.ascending else other.value < self.value

    def __eq__(self, other):
        return self.value == other.value


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def property_store(request, tmp_path_factory):
    if request.param == "sqlite":
        uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    else:
        uri = request.getfixturevalue("postgres_module_database")
    with open_store(uri) as store:
        yield store


def write_runs(store, runs) -> tuple[str, dict[str, dict]]:
    experiment = store.create_experiment(f"e{len(store.search_experiments(max_results=50_000))}")
    ids = {}
    for run in runs:
        run_id = store.create_run(experiment, run_name=run["name"], start_time=run["start"]).info.run_id
        store.update_run(run_id, run["status"], run["end"])
        store.log_batch(
            run_id,
            [Metric(key, value, 1) for key, value in run["metrics"].items()],
            [Param(key, value) for key, value in run["params"].items()],
            [Tag(key, value) for key, value in run["tags"].items()],
        )
        ids[run_id] = run
    return experiment, ids


SETTINGS = settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(
    runs=st.lists(RUN, max_size=6),
    conditions=st.lists(comparisons(), max_size=3),
    entity=st.sampled_from(["metrics", "params", "tags"]),
    key=st.sampled_from(KEYS),
    ascending=st.booleans(),
    size=st.integers(1, 4),
)
def test_a_search_finds_what_the_model_of_it_finds_in_its_order(
    property_store, runs, conditions, entity, key, ascending, size
):
    experiment, ids = write_runs(property_store, runs)
    text = " AND ".join(conditions)
    parsed = parse_filter(text, RUNS)
    expected = [run_id for run_id, run in ids.items() if all(holds(run, c) for c in parsed)]
    expected.sort(key=lambda run_id: (sort_key(ids[run_id], entity, key, ascending), -ids[run_id]["start"], run_id))
    order_by = [f"{entity}.`{key}` {'ASC' if ascending else 'DESC'}"]
    found, token = [], None
    while True:
        page = property_store.search_runs([experiment], text, order_by=order_by, max_results=size, page_token=token)
        found += [run.info.run_id for run in page]
        token = page.next_page_token
        if token is None:
            break
    assert found == expected


POINT = st.builds(Metric, st.sampled_from(KEYS), NUMBERS, st.integers(0, 3), st.integers(-2, 2))
BATCH = st.tuples(
    st.lists(POINT, max_size=6),
    st.lists(st.builds(Param, st.sampled_from(KEYS), st.sampled_from("xy")), max_size=2),
    st.lists(st.builds(Tag, st.sampled_from(KEYS), TEXTS), max_size=3),
)


@SETTINGS
@given(batches=st.lists(BATCH, max_size=6))
def test_interleaved_batches_leave_what_the_model_of_them_leaves(property_store, batches):
    store = property_store
    run_id = store.create_run("0", run_name="r").info.run_id
    points: set[Any] = set()
    params: dict[str, str] = {}
    tags = {"mlflow.runName": "r"}
    with store.database.write_lock:
        futures = []
        for metrics, new_params, new_tags in batches:
            keys = [param.key for param in new_params]
            changed = any(params.get(param.key, param.value) != param.value for param in new_params)
            if len(set(keys)) < len(keys):
                with pytest.raises(InvalidParameter, match="Duplicate"):
                    store.submit_batch(run_id, metrics, new_params, new_tags)
                continue
            future = store.submit_batch(run_id, metrics, new_params, new_tags)
            futures.append((future, changed))
            if not changed:
                # NaN is replaced by something that is equal to itself, and ranks as 0.
                points |= {replace(m, value=0.0, model_id="nan") if m.value != m.value else m for m in metrics}
                params.update((param.key, param.value) for param in new_params)
                tags.update((tag.key, tag.value) for tag in new_tags)
    for future, changed in futures:
        assert isinstance(future.exception(30), InvalidParameter) if changed else future.result(30) is None
    data = store.get_run(run_id).data
    assert {param.key: param.value for param in data.params} == params
    assert {tag.key: tag.value for tag in data.tags} == tags
    latest = {m.key: m for m in data.metrics}
    assert set(latest) == {m.key for m in points}
    for key, found in latest.items():
        best = max((m.step, m.timestamp, m.value) for m in points if m.key == key)
        assert (found.step, found.timestamp, 0.0 if math.isnan(found.value) else found.value) == best
        history = store.get_metric_history(run_id, key)
        assert len(history) == sum(m.key == key for m in points)


@settings(max_examples=examples(100), deadline=None)
@given(text=st.text(alphabet="ab.'\"`=<>!() ,ANDINOTLKEUS%1-\n\t\0é", max_size=40))
def test_any_text_is_a_filter_or_is_refused_with_a_place(text):
    try:
        parsed = parse_filter(text, RUNS)
    except FilterError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017  # most texts are refused, not all
    else:
        assert isinstance(parsed, tuple)


@settings(max_examples=examples(100), deadline=None)
@given(conditions=st.lists(comparisons(), min_size=1, max_size=4), spaces=st.sampled_from([" ", "  ", "\n"]))
def test_what_was_written_as_a_filter_is_read_as_it(conditions, spaces):
    separately = [parse_filter(condition, RUNS)[0] for condition in conditions]
    together = parse_filter(f"{spaces}and{spaces}".join(conditions), RUNS)
    assert list(together) == separately


def test_the_model_of_a_search_is_tested_too():
    run = {"metrics": {"a": math.nan}, "params": {}, "tags": {"a": "50%"}, "name": "N", "start": 1, "end": None}
    for text, expected in {
        "metrics.a != 1": True,
        "metrics.a = 1": False,
        "params.a != 'x'": False,
        "params.a IS NULL": True,
        "tags.a LIKE '50%'": True,
        "tags.a LIKE '5_\\%'": False,
        "run_name ILIKE 'n'": True,
        "end_time != 3": False,
    }.items():
        assert holds({**run, "status": RunStatus.RUNNING}, parse_filter(text, RUNS)[0]) is expected, text
