"""Every query of a store is backed by an index, and a search costs the same number of statements for any number of runs."""

from collections.abc import Callable
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from mistk_service.tracking import open_store
from mistk_service.tracking.values import Dataset, DatasetInput, LoggedModelOrder, Metric, Param, Tag

#: So few rows that reading all of them would be right as well; PostgreSQL is told not to.
ROWS = 30


@contextmanager
def watched(store):
    """Collect the statements that a store executes, with their parameters."""
    seen = []

    def collect(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            seen.append((statement, parameters[0] if executemany else parameters))

    event.listen(store.database.engine, "before_cursor_execute", collect)
    try:
        yield seen
    finally:
        event.remove(store.database.engine, "before_cursor_execute", collect)


def fill(store):
    experiment = store.create_experiment("e")
    store.create_registered_model("r", [Tag("t", "1")])
    for i in range(ROWS):
        run_id = store.create_run(experiment, f"user{i}", f"run{i}", i, [Tag("t", str(i))]).info.run_id
        points = [Metric("m", float(i), 1, step) for step in range(-5, 1)]
        store.log_batch(run_id, points, [Param("p", str(i))])
        store.log_inputs(run_id, [DatasetInput(Dataset(f"d{i}", "x"), (Tag("mlflow.data.context", "train"),))])
        model = store.create_logged_model(experiment, f"lm{i}", source_run_id=run_id, params=[Param("p", str(i))])
        store.log_metric(run_id, Metric("acc", 0.5, 1, model_id=model.model_id))
        store.create_model_version("r", f"s3://{i}", run_id, [Tag("t", str(i))])
    return experiment, run_id, model.model_id


CALLS: dict[str, Callable] = {
    "get run": lambda s, e, r, m: s.get_run(r),
    "get experiment": lambda s, e, r, m: s.get_experiment(e),
    "get experiment by name": lambda s, e, r, m: s.get_experiment_by_name("e"),
    "log batch": lambda s, e, r, m: s.log_batch(r, [Metric("m", 9.0, 9)], [Param("p", str(ROWS - 1))], [Tag("t", "2")]),
    "update run": lambda s, e, r, m: s.update_run(r, end_time=4, run_name="n"),
    "delete tag": lambda s, e, r, m: s.delete_tag(r, "t"),
    "history": lambda s, e, r, m: s.get_metric_history(r, "m"),
    "page of a history": lambda s, e, r, m: s.get_metric_history(r, "m", 10),
    "bulk history": lambda s, e, r, m: s.get_metric_history_bulk([r], "m"),
    "interval": lambda s, e, r, m: s.get_metric_history_interval([r], "m"),
    "columns of steps": lambda s, e, r, m: s.get_metric_columns([r], "m", columns=1),
    "columns of times": lambda s, e, r, m: s.get_metric_columns([r], "m", "timestamp", columns=1),
    "search": lambda s, e, r, m: s.search_runs([e]),
    "search metric": lambda s, e, r, m: s.search_runs([e], "metrics.m > 28"),
    "search param": lambda s, e, r, m: s.search_runs([e], "params.p = '3'"),
    "search tag": lambda s, e, r, m: s.search_runs([e], "tags.t = '3' AND tags.u IS NULL"),
    "search both, ordered": lambda s, e, r, m: s.search_runs(
        [e], "metrics.m > 1 AND params.p = '3'", order_by=["metrics.m DESC"]
    ),
    "search status": lambda s, e, r, m: s.search_runs([e], "status = 'FAILED'"),
    "search name": lambda s, e, r, m: s.search_runs([e], "run_name = 'run3'"),
    "search user": lambda s, e, r, m: s.search_runs([e], "user_id = 'user3'"),
    "search id": lambda s, e, r, m: s.search_runs([e], f"run_id IN ('{r}')"),
    "search end": lambda s, e, r, m: s.search_runs([e], "end_time > 3"),
    "search start": lambda s, e, r, m: s.search_runs([e], "start_time > 3"),
    "search dataset": lambda s, e, r, m: s.search_runs([e], "datasets.name = 'd3' AND datasets.digest = 'x'"),
    "search context": lambda s, e, r, m: s.search_runs([e], "datasets.context = 'train'"),
    "datasets": lambda s, e, r, m: s.search_datasets([e]),
    "get model": lambda s, e, r, m: s.get_registered_model("r"),
    "search models by tag": lambda s, e, r, m: s.search_registered_models("tags.t = '1'"),
    "get version": lambda s, e, r, m: s.get_model_version("r", "3"),
    "search versions of a run": lambda s, e, r, m: s.search_model_versions(f"run_id = '{r}'"),
    "search versions of a model": lambda s, e, r, m: s.search_model_versions("name = 'r' AND version_number > 3"),
    "search versions by source": lambda s, e, r, m: s.search_model_versions("source_path = 's3://3'"),
    "search versions by tag": lambda s, e, r, m: s.search_model_versions("tags.t = '3'"),
    "get logged model": lambda s, e, r, m: s.get_logged_model(m),
    "search logged models": lambda s, e, r, m: s.search_logged_models(
        [e], "metrics.acc > 0.1 AND params.p = '3'", order_by=[LoggedModelOrder("metrics.acc", False)]
    ),
    "search logged models of a run": lambda s, e, r, m: s.search_logged_models([e], f"source_run_id = '{r}'"),
}


@pytest.fixture(scope="module")
def sqlite_store():
    with open_store("sqlite://") as store:
        yield store, fill(store)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_query_reads_a_whole_table(sqlite_store, call):
    store, things = sqlite_store
    with watched(store) as statements:
        call(store, *things)
    assert statements
    for statement, parameters in statements:
        if statement.startswith("INSERT"):
            continue
        with store.database.read() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        # A scan of a table's own index is one of the whole table too, unless it gives the order of a page.
        scans = [step for step in plan if step.startswith("SCAN ") and not is_harmless(step)]
        assert not scans, f"{scans} in {statement}"


def is_harmless(step: str) -> bool:
    """Return whether a scan is of a list of parameters, of a subquery's result, or of one model's own few rows."""
    return any(
        word in step
        for word in ("json_each", "SUBQUERY", "(subquery", "CONSTANT ROW", "VIRTUAL TABLE", "numbered", "divided")
    )


@pytest.mark.parametrize(
    ("filter", "index"),
    [
        ("params.p = '3'", "ix_params_value (key=? AND <expr>=?"),
        ("tags.t = '3'", "ix_run_tags_value (key=? AND <expr>=?"),
        ("run_name = 'run3'", "ix_runs_name (experiment_id=? AND <expr>=?"),
        ("user_id = 'user3'", "ix_runs_user (experiment_id=? AND <expr>=?"),
        ("metrics.m > 28", "ix_latest_metrics_value (key=? AND is_nan=? AND value>?"),
        ("datasets.name = 'd3'", "ix_datasets_name (name=?"),
        ("status = 'FAILED'", "ix_runs_status (experiment_id=? AND status=?"),
        ("run_id = 'x'", "(run_id=?"),
    ],
)
def test_the_index_for_a_value_is_fit_for_the_condition(sqlite_store, filter, index):
    store, (experiment, *_) = sqlite_store
    with watched(store) as statements:
        # Where an index gives the order too, the planner may prefer that one.
        store.search_runs([experiment], filter, order_by=["metrics.m DESC"])
    statement, parameters = statements[0]
    with store.database.read() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any(index in step for step in plan), plan


def test_a_page_in_the_default_order_is_read_from_an_index_without_sorting(sqlite_store):
    store, (experiment, *_) = sqlite_store
    token = store.search_runs([experiment], max_results=5).next_page_token
    for page_token in (None, token):
        with watched(store) as statements:
            store.search_runs([experiment], max_results=5, page_token=page_token)
        statement, parameters = statements[0]
        with store.database.read() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert len(plan) == 1
        assert "USING INDEX ix_runs_start (experiment_id=? AND lifecycle_stage=?" in plan[0]
        # The second page starts where the first ended, not at the beginning.
        assert ("start_time<?" in plan[0]) == (page_token is not None)


def test_a_history_is_read_from_the_primary_key_without_sorting(sqlite_store):
    store, (_, run_id, _) = sqlite_store
    for max_results in (None, 10):
        with watched(store) as statements:
            store.get_metric_history(run_id, "m", max_results)
        statement, parameters = statements[-1]
        with store.database.read() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert plan == ["SEARCH metrics USING PRIMARY KEY (run=? AND key=?)"]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_query_of_postgresql_reads_a_whole_table(postgres_store, call):
    store, things = postgres_store
    with watched(store) as statements:
        call(store, *things)
    for statement, parameters in statements:
        if statement.startswith("INSERT"):
            continue
        with store.database.read() as connection:
            connection.exec_driver_sql("SET enable_seqscan = off")
            try:
                plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
            finally:
                connection.exec_driver_sql("RESET enable_seqscan")
        assert not [step for step in plan if "Seq Scan" in step], "\n".join([statement, *plan])


@pytest.fixture(scope="module")
def postgres_store(postgres_module_database):
    with open_store(postgres_module_database) as store:
        yield store, fill(store)


@pytest.mark.parametrize("store_uri", ["sqlite file", "sqlite memory", "postgresql"], indirect=True)
def test_a_search_takes_as_many_statements_for_many_runs_as_for_one(store):
    counts: dict[str, list[int]] = {}
    for number in (1, 20):
        experiment = store.create_experiment(f"e{number}")
        for i in range(number):
            run_id = store.create_run(experiment, start_time=i).info.run_id
            store.log_batch(run_id, [Metric("m", 1.0, 1)], [Param("p", "1")], [Tag("t", "1")])
            store.log_inputs(run_id, [DatasetInput(Dataset("d", "x"), (Tag("k", "v"),))])
            store.create_logged_model(experiment, params=[Param("p", "1")])
        searches = {
            "runs": lambda experiment=experiment: store.search_runs([experiment], order_by=["metrics.m"]),
            "logged models": lambda experiment=experiment: store.search_logged_models([experiment]),
        }
        for name, search in searches.items():
            with watched(store) as statements:
                assert len(search()) == number
            counts.setdefault(name, []).append(len(statements))
    for name, (one, many) in counts.items():
        assert one == many <= 7, name
