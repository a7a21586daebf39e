"""Models: logged, loaded back, registered, with stages and aliases."""

import warnings

import mlflow
import numpy as np
import pandas as pd
from mlflow import genai
from seeing import picked, points_of, refused, run_of, tree_of
from sklearn.linear_model import LogisticRegression


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
        "latest alias": [client.get_model_version_by_alias("renamed", name).version for name in ("latest", "Latest")],
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


def prompts(client):
    first = genai.register_prompt(name="greeting", template="Hi {{x}}", commit_message="short", tags={"a": "b"})
    genai.register_prompt(name="greeting", template=[{"role": "user", "content": "Good day {{x}}"}])
    genai.set_prompt_alias("greeting", "live", 1)
    genai.set_prompt_version_tag("greeting", 1, "k", "v")
    seen = {
        "first": (first.version, first.template, first.commit_message, first.tags),
        "filled": genai.load_prompt("prompts:/greeting/1").format(x="you"),
        "latest": genai.load_prompt("prompts:/greeting@latest").template,
        "live": genai.load_prompt("prompts:/greeting@live").tags,
        "found": [prompt.name for prompt in genai.search_prompts()],
        "no models": [model.name for model in client.search_registered_models("name = 'greeting'")],
        "unknown": refused(genai.load_prompt, "prompts:/none/1"),
    }
    for version in ("1", "2"):
        client.delete_prompt_version("greeting", version)
    client.delete_prompt("greeting")
    return seen
