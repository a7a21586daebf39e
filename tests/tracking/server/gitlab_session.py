"""A training script that logs to a project of GitLab with MLflow's own client; run as a program."""

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

mlflow.set_experiment("first")
with mlflow.start_run(run_name="a run") as active:
    run_id = active.info.run_id
    mlflow.log_params({"rate": 0.1, "depth": 3})
    mlflow.set_tags({"kind": "test"})
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"accuracy": 0.5}, step=1)
    Path("notes.txt").write_text("kept", encoding="utf-8")
    mlflow.log_artifact("notes.txt")

client = MlflowClient()
run = client.get_run(run_id)
assert (run.info.status, run.info.run_name, run.info.experiment_id) == ("FINISHED", "a run", "1")
assert run.data.params == {"rate": "0.1", "depth": "3"}
assert run.data.tags["kind"] == "test"
assert run.data.metrics == {"loss": 1 / 3, "accuracy": 0.5}
assert [point.step for point in client.get_metric_history(run_id, "loss")] == [0, 1, 2]
first = client.get_experiment_by_name("first")
assert first is not None
assert first.experiment_id == "1"
assert client.get_experiment_by_name("none") is None
assert [found.name for found in client.search_experiments()] == ["first"]
assert [found.info.run_id for found in client.search_runs(["1"])] == [run_id]
assert Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/notes.txt")).read_text() == "kept"
for refused in (
    lambda: client.log_param(run_id, "rate", 0.2),
    lambda: client.restore_run(run_id),
    lambda: client.get_run("0" * 32),
):
    try:
        refused()
    except MlflowException:
        continue
    raise AssertionError("it was taken")
client.delete_run(run_id)
assert client.search_runs(["1"]) == []
