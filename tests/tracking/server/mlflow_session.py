"""What a data scientist does with MLflow, step by step; writes what came back as JSON to the file that is its argument.

Run as a program with MLFLOW_TRACKING_URI set. The test runs it against a real MLflow server and against ours, and
compares. Every step writes what it saw under its own name; what differs between two servers by nature (ids, times) is
masked by the test.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import matplotlib  # noqa: E402

matplotlib.use("Agg")

import mlflow  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from requests import HTTPError  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

T0 = 1_700_000_000_000
STEPS = []


def step(function):
    STEPS.append(function)
    return function


def refused(call, *arguments, **options):
    """Return the error code of a call that has to fail, or the status where the client looks no further."""
    try:
        call(*arguments, **options)
    except MlflowException as error:
        return error.error_code
    except HTTPError as error:
        return error.response.status_code
    return "nothing was refused"


def picked(thing, names):
    return {name: getattr(thing, name) for name in names.split()}


def info_of(run):
    return picked(
        run.info, "run_id run_name experiment_id user_id status start_time end_time artifact_uri lifecycle_stage"
    )


def run_of(run):
    return {
        "info": info_of(run),
        "metrics": run.data.metrics,
        "params": run.data.params,
        "tags": {k: v for k, v in run.data.tags.items() if k not in ("mlflow.source.name", "mlflow.user")},
        "datasets": [
            {"dataset": dict(use.dataset), "tags": {tag.key: tag.value for tag in use.tags}}
            for use in run.inputs.dataset_inputs
        ],
    }


def points_of(history):
    return [(p.key, p.value, p.timestamp, p.step) for p in history]


def tree_of(client, run_id, path=None):
    found = []
    for item in client.list_artifacts(run_id, path):
        found.append((item.path, item.is_dir, item.file_size))
        if item.is_dir:
            found.extend(tree_of(client, run_id, item.path))
    return found


@step
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


@step
def fluent_run(client):
    mlflow.set_experiment("fluent")
    with mlflow.start_run(run_name="one", tags={"given": "at the start"}, description="a note") as active:
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


@step
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


@step
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


@step
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


@step
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


@step
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
        "param": names("params.depth = '4'"),
        "like": names("attributes.run_name LIKE 'run 0%' AND params.depth ILIKE '_'"),
        "null": names("params.depth IS NULL"),
        "not null": names("params.depth IS NOT NULL"),
        "tag": names("tags.even = 'True' AND attributes.start_time > 1700000000003"),
        "status": names("status = 'RUNNING' and run_name != 'run 00'"),
        "run name alias": names("attributes.`Run name` = 'run 07'"),
        "by metric": names(order=["metrics.loss ASC"]),
        "by metric, down": names(order=["metrics.`a b/c` DESC"]),
        "by param": names(order=["params.depth ASC"]),
        "by two": names(order=["tags.even DESC", "start_time ASC"]),
        "pages": [[run.info.run_name for run in page] for page in (first, second)],
        "frame": json.loads(mlflow_frame[["metrics.loss", "params.depth", "tags.even", "status"]].to_json()),
        "broken": [refused(names, text) for text in (
            "metrics.loss = '1'", "params.depth = 4", "a or b", "metrics.loss", "nonsense.x = 'y'",
            "attributes.nope = 'x'", "tags.x == 'y'", "metrics.loss BETWEEN 1 AND 2", "tags.x = 'unclosed")],
        "broken order": [refused(names, "", [text]) for text in ("datasets.name", "metrics.loss SIDEWAYS", "nope.x")],
        "none": client.search_runs([]).to_list(),
    }  # fmt: skip


@step
def datasets(client):
    mlflow.set_experiment("datasets")
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    with mlflow.start_run(run_name="with data") as active:
        dataset = mlflow.data.from_pandas(frame, source="https://example.com/data.csv", name="points", targets="y")
        mlflow.log_input(dataset, context="training")
        mlflow.log_input(dataset, context="training")
        mlflow.log_metric("fit", 1.0, dataset=dataset)
    client.log_inputs(
        active.info.run_id,
        [
            DatasetInput(
                Dataset("plain", "abc123", "local", "{}"), [InputTag("mlflow.data.context", "eval"), InputTag("k", "v")]
            )
        ],
    )
    found = client.search_runs(
        [active.info.experiment_id],
        "datasets.name = 'plain' AND datasets.context = 'eval' AND dataset.digest LIKE 'abc%'",
    )
    return {
        "run": run_of(client.get_run(active.info.run_id)),
        "found": [run.info.run_name for run in found],
        "not found": list(client.search_runs([active.info.experiment_id], "datasets.name = 'nope'")),
    }


@step
def artifacts(client):
    mlflow.set_experiment("artifacts")
    with tempfile.TemporaryDirectory() as name, mlflow.start_run(run_name="files") as active:
        folder = Path(name) / "folder"
        (folder / "deep").mkdir(parents=True)
        (folder / "a b+c%d.txt").write_text("odd name")
        (folder / "deep" / "数据.csv").write_text("x,y\n1,2\n")
        (folder / "empty").write_bytes(b"")
        (Path(name) / "binary.bin").write_bytes(bytes(range(256)) * 4096)
        mlflow.log_artifact(Path(name) / "binary.bin")
        mlflow.log_artifacts(folder, "sub/folder")
        mlflow.log_dict({"a": [1, 2, {"b": None}]}, "dicts/d.json")
        mlflow.log_dict({"a": 1}, "dicts/d.yaml")
        mlflow.log_text("some text", "text.txt")
        figure, axes = plt.subplots()
        axes.plot([0, 1], [1, 0])
        mlflow.log_figure(figure, "figures/line.png")
        plt.close(figure)
        mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), "image.png")
        mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "table.json")
        mlflow.log_table({"x": [3], "y": ["c"]}, "table.json")
        run_id = active.info.run_id
        here = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="sub", dst_path=name))
        return {
            "tree": sorted(tree_of(client, run_id)),
            "file as folder": client.list_artifacts(run_id, "text.txt"),
            "missing folder": client.list_artifacts(run_id, "nowhere"),
            "text": mlflow.artifacts.load_text(f"runs:/{run_id}/text.txt"),
            "dict": mlflow.artifacts.load_dict(f"runs:/{run_id}/dicts/d.json"),
            "odd": (here / "folder" / "a b+c%d.txt").read_text(),
            "deep": (here / "folder" / "deep" / "数据.csv").read_text(),
            "empty": (here / "folder" / "empty").read_bytes() == b"",
            "binary": Path(client.download_artifacts(run_id, "binary.bin", name)).read_bytes()
            == bytes(range(256)) * 4096,
            "table": json.loads(mlflow.load_table("table.json", run_ids=[run_id]).to_json()),
            "missing": refused(client.download_artifacts, run_id, "nope.txt", name),
            "up": refused(client.list_artifacts, run_id, "../.."),
        }


@step
def models(client):
    mlflow.set_experiment("models")

    class Doubler(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

    with mlflow.start_run(run_name="model") as active:
        logged = mlflow.pyfunc.log_model(
            name="doubler",
            python_model=Doubler(),
            input_example=pd.DataFrame({"x": [1.0]}),
            pip_requirements=["mlflow"],
        )
        mlflow.log_metric("quality", 0.75, step=2, model_id=logged.model_id)
    run_id, model_id = active.info.run_id, logged.model_id
    client.set_logged_model_tags(model_id, {"colour": "blue", "gone": "x"})
    client.delete_logged_model_tag(model_id, "gone")
    version = mlflow.register_model(logged.model_uri, "doubler", tags={"v": "1"})
    client.set_registered_model_alias("doubler", "champion", version.version)
    frame = pd.DataFrame({"x": [1.0, 2.5]})
    model = mlflow.get_logged_model(model_id)
    found = mlflow.search_logged_models([active.info.experiment_id], "metrics.quality > 0.5", output_format="list")
    return {
        "by model uri": mlflow.pyfunc.load_model(logged.model_uri).predict(frame)["x"].tolist(),
        "by version": mlflow.pyfunc.load_model("models:/doubler/1").predict(frame)["x"].tolist(),
        "by alias": mlflow.pyfunc.load_model("models:/doubler@champion").predict(frame)["x"].tolist(),
        "model": picked(
            model, "model_id experiment_id name artifact_location creation_timestamp status source_run_id tags params"
        ),
        "model metrics": points_of(model.metrics),
        "found": [item.model_id for item in found],
        "outputs": [(out.model_id, out.step) for out in client.get_run(run_id).outputs.model_outputs],
        "files": sorted(path for path, is_dir, _ in tree_of(client, run_id) if not is_dir),
        "version": picked(
            client.get_model_version("doubler", "1"),
            "name version current_stage status run_id source tags aliases description model_id",
        ),
        "download uri": client.get_model_version_download_uri("doubler", "1"),
        "unknown": refused(mlflow.get_logged_model, "m-" + "0" * 32),
    }


@step
def autologging(client):
    mlflow.set_experiment("autologging")
    mlflow.sklearn.autolog(log_datasets=True)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = (x[:, 0] > 0).astype(int)
    with mlflow.start_run(run_name="fit") as active:
        LogisticRegression(C=0.5).fit(x, y)
    mlflow.sklearn.autolog(disable=True)
    run = run_of(client.get_run(active.info.run_id))
    files = sorted(path for path, is_dir, _ in tree_of(client, active.info.run_id) if not is_dir)
    return {"run": run, "files": files}


@step
def registry(client):
    model = client.create_registered_model("reg", tags={"t": "1"}, description="first")
    run = client.create_run(client.create_experiment("registry"), run_name="source")
    for n in range(3):
        client.create_model_version("reg", f"{run.info.artifact_uri}/model", run.info.run_id, tags={"n": str(n)})
    client.delete_model_version("reg", "3")
    fourth = client.create_model_version("reg", "s3://bucket/model", description="elsewhere")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client.transition_model_version_stage("reg", "1", "production")
        client.transition_model_version_stage("reg", "2", "Production", archive_existing_versions=True)
        latest = [(v.version, v.current_stage) for v in client.get_latest_versions("reg")]
    client.set_registered_model_alias("reg", "best", "2")
    client.set_registered_model_alias("reg", "best", "4")
    client.set_registered_model_tag("reg", "u", "2")
    client.delete_registered_model_tag("reg", "t")
    client.set_model_version_tag("reg", "2", "k", "v")
    client.delete_model_version_tag("reg", "2", "n")
    client.update_registered_model("reg", "second")
    client.update_model_version("reg", "2", "described")
    client.rename_registered_model("reg", "renamed")
    client.create_registered_model("another")
    found = client.get_registered_model("renamed")
    versions = client.search_model_versions("name = 'renamed'", order_by=["version_number ASC"])
    seen = {
        "created": (model.name, model.tags, model.description),
        "never reused": fourth.version,
        "latest": latest,
        "model": (found.name, found.description, found.tags, found.aliases),
        "versions": [
            (v.version, v.current_stage, v.description, v.tags, list(v.aliases), v.source, v.run_id) for v in versions
        ],
        "by alias": client.get_model_version_by_alias("renamed", "best").version,
        "models": [m.name for m in client.search_registered_models("name LIKE '%e%'", order_by=["name DESC"])],
        "by tag": [m.name for m in client.search_registered_models("tags.u = '2'")],
        "by run": [v.version for v in client.search_model_versions(f"run_id = '{run.info.run_id}'")],
        "taken": refused(client.create_registered_model, "another"),
        "bad name": refused(client.create_registered_model, "a/b"),
        "unknown": refused(client.get_registered_model, "reg"),
        "unknown version": refused(client.get_model_version, "renamed", "3"),
        "no number": refused(client.get_model_version, "renamed", "x"),
        "no alias": refused(client.get_model_version_by_alias, "renamed", "nope"),
        "bad alias": refused(client.set_registered_model_alias, "renamed", "v1", "2"),
        "foreign source": refused(client.create_model_version, "renamed", "/etc", run.info.run_id),
    }
    client.delete_registered_model_alias("renamed", "best")
    client.delete_registered_model("renamed")
    seen["left"] = [m.name for m in client.search_registered_models("name = 'renamed'")]
    return seen


@step
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


def main():
    client = MlflowClient()
    seen = {function.__name__: function(client) for function in STEPS}
    Path(sys.argv[1]).write_text(json.dumps(seen, default=str))


if __name__ == "__main__":
    main()
