"""The demonstration of an evaluation: one container trains and predicts, another one measures the predictions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mistk_service.client import ContainerClient, EvaluationClient, ModelClient, ModelStatus, launch
from mistk_service.errors import MistkError
from mistk_service.resources import plugins_path

#: The assessment type for the digits model's predictions, and the maximum seconds for a single step.
_TYPE, _TIMEOUT = "MulticlassClassification", 120.0


def run_evaluation_demo(folder: Path) -> None:
    """Train the digits model, predict, and evaluate the predictions.

    Args:
        folder: the folder for predictions, results and the tracking store.

    Raises:
        MistkError: a step failed.
    """
    for library in ("numpy", "sklearn", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise MistkError(
                f"The demonstration needs {library}; install it with: pip install 'mistk-service[plugins]'"
            )
    console, folder = Console(), folder.absolute()
    store = ["--state-dir", str(folder / "state"), "--log-level", "warning"]
    digits, plugin = plugins_path() / "digits", plugins_path() / "sklearn_evaluation"
    with launch(f"{digits / 'model.py'}:Digits", ModelClient, options=store) as model:
        _predict(console, model, digits / "data", folder / "predictions")
    with launch(f"{plugin / 'evaluation.py'}:SklearnEvaluation", EvaluationClient, options=store) as evaluation:
        chosen = evaluation.metrics(_TYPE)
        console.print(f"[green]✓[/green] the evaluation container knows {len(chosen)} metrics for {_TYPE}")
        truth, output = digits / "data" / "test.csv", folder / "evaluation"
        accepted = evaluation.evaluate(_TYPE, chosen, folder / "predictions", truth, output)
        status = _step(console, evaluation, "evaluate", accepted)
    if (refused := status.notice) is not None:
        raise MistkError(refused)
    console.print(_table(status))
    console.print(
        f"The results are in {output}. The run {status.payload['run']['id']} has them too, with a confusion matrix"
    )
    console.print("and curves among its artifacts. It is a child of the run that made the predictions. List it:")
    console.print(
        f"  mistk-service tracking show {status.payload['run']['id']} --store sqlite:///{folder / 'state' / 'tracking.db'}",
        soft_wrap=True,
        highlight=False,
    )


def _predict(console: Console, model: ModelClient, data: Path, predictions: Path) -> None:
    """Train the digits model, and save its predictions for images that it was not trained with."""
    hyperparameters = {"epochs": 60, "learning_rate": 0.05, "seed": 1}
    objectives = ["training", "prediction"]
    _step(console, model, "initialize", model.initialize(objectives, hyperparameters=hyperparameters), "initialized")
    loaded = model.load_data(train=data / "train.csv", test=data / "test.csv")
    _step(console, model, "loadData", loaded, "initialized")
    _step(console, model, "buildModel", model.build_model())
    _step(console, model, "train", model.train())
    _step(console, model, "predict", model.predict())
    _step(console, model, "savePredictions", model.save_predictions(predictions))


def _step(
    console: Console, client: ContainerClient, operation: str, accepted: ModelStatus, state: str = "ready"
) -> ModelStatus:
    """Wait for the end of an operation that the container has accepted."""
    status = client.wait_for(state, timeout=_TIMEOUT, since=accepted)
    console.print(f"[green]✓[/green] [b]{operation}[/b] → {status.state}")
    return status


def _table(status: ModelStatus) -> Table:
    table = Table("metric", "value")
    for name, value in status.metrics.items():
        table.add_row(name, f"{value:.4f}")
    return table
