"""Datasets and artifacts of runs."""

import json
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from mlflow.entities import Dataset, DatasetInput, InputTag
from seeing import refused, run_of, tree_of


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
