"""Searches for runs: filters, order, pages, and invalid filters."""

import json

import mlflow
from seeing import T0, refused


def searches(client):
    experiment_id = client.create_experiment("searching")
    for n in range(12):
        run = client.create_run(
            experiment_id, start_time=T0 + n, run_name=f"run {n:02}", tags={"even": str(n % 2 == 0)}
        )
        client.log_metric(run.info.run_id, "loss", float("nan") if n == 5 else n / 10, timestamp=T0)
        if n % 3:
            client.log_param(run.info.run_id, "depth", n)
            client.log_metric(run.info.run_id, "a b/c", -n, timestamp=T0)

    def names(condition="", order=(), **options):
        found = client.search_runs([experiment_id], condition, order_by=list(order), **options)
        return [run.info.run_name for run in found]

    first = client.search_runs([experiment_id], max_results=5, order_by=["attributes.start_time ASC"])
    second = client.search_runs(
        [experiment_id], max_results=5, order_by=["attributes.start_time ASC"], page_token=first.token
    )
    mlflow_frame = mlflow.search_runs([experiment_id], "metrics.loss < 0.3", order_by=["metrics.loss DESC"])
    return {
        "all": names(),
        "metric": names("metrics.loss >= 0.3 and metrics.loss < 0.8"),
        "not equal": names("metrics.loss != 0.1"),
        "quoted": names("metrics.`a b/c` < -5"),
        "double quoted": names('metrics."a b/c" < -5'),
        "single quoted": names("metrics.'a b/c' < -5"),
        "a name in quotes": names("\"run_name\" = 'run 07'"),
        "param": names("params.depth = '4'"),
        "like": names("attributes.run_name LIKE 'run 0%' AND params.depth ILIKE '_'"),
        "null": names("params.depth IS NULL"),
        "not null": names("params.depth IS NOT NULL"),
        "tag": names("tags.even = 'True' AND attributes.start_time > 1700000000003"),
        "status": names("status = 'RUNNING' and run_name != 'run 00'"),
        "run name alias": names("attributes.`Run name` = 'run 07'"),
        "by metric": names(order=["metrics.loss ASC"]),
        "by metric, down": names(order=["metrics.`a b/c` DESC"]),
        "by metric, in quotes": names(order=["metrics.'a b/c' DESC"]),
        "by param": names(order=["params.depth ASC"]),
        "by two": names(order=["tags.even DESC", "start_time ASC"]),
        "pages": [[run.info.run_name for run in page] for page in (first, second)],
        "frame": json.loads(mlflow_frame[["metrics.loss", "params.depth", "tags.even", "status"]].to_json()),
        "broken": [refused(names, text) for text in (
            "metrics.loss = '1'", "params.depth = 4", "a or b", "metrics.loss", "nonsense.x = 'y'",
            "attributes.nope = 'x'", "'run_name' = 'run 07'", "tags.x == 'y'",
            "metrics.loss BETWEEN 1 AND 2", "tags.x = 'unclosed")],
        "broken order": [refused(names, "", [text]) for text in ("datasets.name", "metrics.loss SIDEWAYS", "nope.x")],
        "none": client.search_runs([]).to_list(),
    }  # fmt: skip
