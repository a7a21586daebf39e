"""Experiments and runs: created, logged to, resumed, nested, ended, deleted."""

import mlflow
from mlflow.entities import Metric, Param, RunTag, ViewType
from seeing import T0, points_of, refused, run_of


def experiments(client):
    first = client.create_experiment("first", tags={"team": "a", "goal": "digits"})
    second = client.create_experiment("second", artifact_location="s3://bucket/second")
    client.set_experiment_tag(first, "team", "b")
    client.set_experiment_tag(first, "extra", "x")
    client.delete_experiment_tag(first, "extra")
    client.rename_experiment(second, "second renamed")
    client.delete_experiment(second)
    seen = {
        "by id": dict(client.get_experiment(first)),
        "by name": dict(client.get_experiment_by_name("second renamed")),
        "default": dict(client.get_experiment("0")),
        "unknown name": client.get_experiment_by_name("no such experiment"),
        "unknown id": refused(client.get_experiment, "4711"),
        "taken": refused(client.create_experiment, "second renamed"),
        "deleted": [e.name for e in client.search_experiments(view_type=ViewType.DELETED_ONLY)],
        "active": [e.name for e in client.search_experiments()],
        "filtered": [e.name for e in client.search_experiments(filter_string="tags.team = 'b' AND name LIKE 'f%'")],
        "ordered": [e.name for e in client.search_experiments(order_by=["name DESC"], view_type=ViewType.ALL)],
    }
    client.restore_experiment(second)
    seen["restored"] = client.get_experiment(second).lifecycle_stage
    return seen


def fluent_run(client):
    mlflow.set_experiment("fluent")
    with mlflow.start_run(
        run_name="one", tags={"given": "at the start", "only+here!": "too"}, description="a note"
    ) as active:
        mlflow.log_param("rate", 0.1)
        mlflow.log_params({"depth": 3, "kind": "tree", "long": "x" * 7000})
        for n in range(5):
            mlflow.log_metric("loss", 1.0 / (n + 1), step=n)
        mlflow.log_metrics({"accuracy": 0.9, "recall": 0.8}, step=3)
        mlflow.set_tag("stage", "test")
        mlflow.set_tags({"a": 1, "b": "two"})
        mlflow.delete_tag("b")
        changed = refused(mlflow.log_param, "rate", 0.2)
    run = mlflow.get_run(active.info.run_id)
    return {"run": run_of(run), "changed param": changed, "last": mlflow.last_active_run().info.run_id}


def resumed_and_nested(client):
    with mlflow.start_run(run_name="parent") as parent:
        for name in ("child 1", "child 2"):
            with mlflow.start_run(run_name=name, nested=True):
                mlflow.log_metric("score", float(name[-1]))
    with mlflow.start_run(run_id=parent.info.run_id) as again:
        mlflow.log_param("added", "later")
    children = client.search_runs(
        [parent.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'",
        order_by=["metrics.score DESC"],
    )
    return {
        "same": again.info.run_id == parent.info.run_id,
        "parent": run_of(client.get_run(parent.info.run_id)),
        "children": [run_of(child) for child in children],
    }


def failed_and_killed(client):
    class Failure(Exception):
        pass

    try:
        with mlflow.start_run(run_name="bad") as bad:
            raise Failure
    except Failure:
        pass
    with mlflow.start_run(run_name="killed") as killed:
        pass
    client.set_terminated(killed.info.run_id, status="KILLED", end_time=T0 + 5)
    client.update_run(bad.info.run_id, name="renamed")
    return [run_of(client.get_run(run.info.run_id)) for run in (bad, killed)]


def client_batches(client):
    run = client.create_run(client.create_experiment("batches"), start_time=T0, run_name="batch", tags={"t": "1"})
    run_id = run.info.run_id
    values = [0.5, float("nan"), -1.5, 1e300, 2**53 + 1]
    client.log_batch(
        run_id,
        metrics=[Metric("m", value, T0 + n, n - 2) for n, value in enumerate(values)] + [Metric("m", 0.5, T0, -2)],
        params=[Param("p", "1"), Param("スケール", "大")],
        tags=[RunTag("k", "first"), RunTag("k", "second")],
    )
    client.log_metric(run_id, "inf", float("inf"), timestamp=T0)
    client.log_metric(run_id, "odd name/with.all_-: of it", 1.0, timestamp=T0)
    return {
        "run": run_of(client.get_run(run_id)),
        "history": points_of(client.get_metric_history(run_id, "m")),
        "infinity": points_of(client.get_metric_history(run_id, "inf")),
        "unknown key": points_of(client.get_metric_history(run_id, "no such metric")),
        "duplicate params": refused(client.log_batch, run_id, params=[Param("d", "1"), Param("d", "2")]),
        "bad name": refused(client.log_metric, run_id, "../up", 1.0),
        "missing tag": refused(client.delete_tag, run_id, "nope"),
        "unknown run": refused(client.log_metric, "0" * 32, "m", 1.0),
    }


def deleted_runs(client):
    experiment_id = client.create_experiment("deleting")
    kept, gone = (client.create_run(experiment_id, run_name=name).info.run_id for name in ("kept", "gone"))
    client.delete_run(gone)
    seen = {
        "write": refused(client.log_metric, gone, "m", 1.0),
        "stage": client.get_run(gone).info.lifecycle_stage,
        "active": [run.info.run_name for run in client.search_runs([experiment_id])],
        "deleted": [
            run.info.run_name for run in client.search_runs([experiment_id], run_view_type=ViewType.DELETED_ONLY)
        ],
    }
    client.restore_run(gone)
    seen["restored"] = client.get_run(gone).info.lifecycle_stage
    client.delete_experiment(experiment_id)
    seen["with the experiment"] = client.get_run(kept).info.lifecycle_stage
    return seen


def asynchronous(client):
    mlflow.set_experiment("async")
    with mlflow.start_run(run_name="async") as active:
        for n in range(50):
            mlflow.log_metric("m", n, step=n, timestamp=T0 + n, synchronous=False)
        mlflow.log_params({"a": 1, "b": 2}, synchronous=False)
        mlflow.set_tag("t", "v", synchronous=False)
        mlflow.flush_async_logging()
        run_id = active.info.run_id
    return {"run": run_of(client.get_run(run_id)), "history": points_of(client.get_metric_history(run_id, "m"))}
