"""The options of MISTK's test harness, and their conversion to steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from mistk_service.errors import InvalidRequest
from mistk_service.harness.pipeline_runner import read_object

Steps = list[Any]


class _JsonFile(click.ParamType[Any]):
    """A file with a JSON object, as a dictionary."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return read_object(Path(value))
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)


def _path(flag: str, text: str) -> Callable[..., Any]:
    return click.option(flag, metavar="PATH", help=text)


def _file(flag: str, text: str) -> Callable[..., Any]:
    return click.option(flag, type=_JsonFile(), metavar="FILE", help=text)


def _switch(flag: str, text: str) -> Callable[..., Any]:
    return click.option(flag, is_flag=True, help=text)


#: Options of MISTK that concern the steps. FILEs are JSON objects.
OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--model", metavar="MODEL", help="The model."),
    _path("--train", "Train on this file or folder."),
    _switch("--transfer-learning", "Announce transfer learning as an objective too."),
    _path("--predict", "Predict for this file or folder."),
    _switch("--generate", "Generate."),
    _path("--miniaturize", "Write a smaller model to this folder."),
    _switch("--include-half-precision", "Reduce the weights to half precision."),
    _path("--model-path", "Load the model from this folder, where one was saved."),
    _path("--model-save-path", "Save the model to this folder."),
    _path("--predictions-path", "Save the predictions to this folder, and check them."),
    _path("--generations-path", "Save the generations to this folder."),
    _file("--model-props", "The model's properties."),
    _file("--hyperparams", "The model's hyperparameters."),
    _file("--ensemble-model-paths", "Build an ensemble of saved models: name to folder."),
    _file("--stream-predict", "Predict for these records: identifier to base64."),
    _file("--stream-properties", "Properties for the stream predictions."),
    click.option(
        "--stream-predict-source", metavar="SOURCE", help="Predict for the records of this source as they arrive."
    ),
    _switch("--stream-predict-source-cancel", "Cancel the source after its first predictions."),
    click.option("--transform", metavar="TRANSFORM", help="The transform."),
    click.option("--transform-input-paths", multiple=True, metavar="PATH...", help="Transform these files or folders."),
    _path("--transform-output-path", "The folder for the output of the transform."),
    _file("--transform-properties", "The properties of the transform."),
    click.option("--evaluation", metavar="EVALUATION", help="The evaluation."),
    click.option("--evaluate", metavar="TYPE", help="Evaluate as this type, such as MulticlassClassification."),
    _path("--evaluations-input-path", "Evaluate this file or folder; by default that of --predictions-path."),
    click.option(
        "--evaluations-input-format",
        type=click.Choice(["predictions", "generations"]),
        help="What this file or folder contains.",
    ),
    _path("--ground-truth-path", "The truth: ground_truth.csv, its folder, or any CSV file with columns id and label."),
    _path("--evaluation-output-path", "The folder for the results of the evaluation."),
    _file("--evaluation-properties", "The properties of the evaluation."),
    click.option("--metrics", metavar="NAME,NAME", help="Compute these metrics; by default all for the type."),
)


def steps_of(options: dict[str, Any]) -> Steps:
    """Return the steps for the options.

    Raises:
        InvalidRequest: an option needs another one.
    """
    return [*_transform_steps(options), *_model_steps(options), *_evaluation_steps(options)]


def _transform_steps(options: dict[str, Any]) -> Iterator[Any]:
    if options["transform"] is None:
        return
    if not options["transform_input_paths"]:
        raise InvalidRequest("--transform needs --transform-input-paths.", field="transform-input-paths")
    parameters = {
        "inputs": list(options["transform_input_paths"]),
        "output": options["transform_output_path"],
        "properties": options["transform_properties"],
    }
    yield {"transform": _given(parameters)}


def _model_steps(options: dict[str, Any]) -> Iterator[Any]:
    if options["model"] is None:
        return
    setup = {"initialize": _initialization(options)}
    data = _given({"train": options["train"], "test": options["predict"]})
    trains = options["train"] or options["model_path"]
    ensemble = options["ensemble_model_paths"]
    if trains or ensemble is None:
        # MISTK builds before it loads data.
        yield from (setup, {"build_model": _given({"model_path": options["model_path"]})})
        yield from [{"load_data": data}] * bool(data)
        yield from _training_steps(options)
    if ensemble is not None:
        # Its models may be the ones that were just saved.
        yield from ["reset"] * bool(trains)
        yield from (setup, {"build_ensemble": {"model_paths": ensemble}})
        yield from [{"load_data": data}] * bool(data)
    yield from _prediction_steps(options)
    yield from _generation_steps(options)
    yield from _stream_steps(options)


def _training_steps(options: dict[str, Any]) -> Iterator[Any]:
    if options["train"]:
        yield "train"
    if options["model_save_path"]:
        yield {"save_model": {"path": options["model_save_path"]}}
    if options["miniaturize"]:
        half = options["include_half_precision"]
        yield {"miniaturize": {"path": options["miniaturize"], "half_precision": half}}


def _generation_steps(options: dict[str, Any]) -> Iterator[Any]:
    if options["generate"]:
        yield "generate"
    if options["generations_path"]:
        yield {"save_generations": {"path": options["generations_path"]}}


def _stream_steps(options: dict[str, Any]) -> Iterator[Any]:
    if options["stream_properties"] is not None:
        yield {"update_stream_properties": {"props": options["stream_properties"]}}
    if options["stream_predict"] is not None:
        yield {"stream_predict": {"records": options["stream_predict"]}}
    if options["stream_predict_source"]:
        limit = 1 if options["stream_predict_source_cancel"] else None
        yield {"stream_predict_source": _given({"source": options["stream_predict_source"], "cancel_after": limit})}


def _prediction_steps(options: dict[str, Any]) -> Iterator[Any]:
    if options["predict"]:
        yield "predict"
    saved = options["predictions_path"]
    if saved and options["predict"]:
        yield {"save_predictions": {"path": saved}}
    if saved:
        yield {"check_predictions": _given({"predictions": saved, "ground_truth": options["ground_truth_path"]})}


def _evaluation_steps(options: dict[str, Any]) -> Iterator[Any]:
    if options["evaluation"] is None:
        return
    measured = options["evaluations_input_path"] or options["predictions_path"]
    needed = {"evaluate": options["evaluate"], "ground-truth-path": options["ground_truth_path"]}
    for name, value in {**needed, "evaluations-input-path": measured}.items():
        if value is None:
            raise InvalidRequest(f"--evaluation needs --{name}.", field=name)
    parameters = {
        "assessment_type": options["evaluate"],
        "metrics": options["metrics"] and [name.strip() for name in options["metrics"].split(",")],
        "predictions": measured,
        "ground_truth": options["ground_truth_path"],
        "output": options["evaluation_output_path"],
        "input_format": options["evaluations_input_format"],
        "properties": options["evaluation_properties"],
    }
    if options["evaluations_input_format"] != "generations" and not options["predictions_path"]:
        yield {"check_predictions": {"predictions": measured, "ground_truth": options["ground_truth_path"]}}
    yield {"evaluate": _given(parameters)}


def _initialization(options: dict[str, Any]) -> dict[str, Any]:
    wanted = {
        "training": options["train"],
        "transfer_learning": options["transfer_learning"],
        "prediction": options["predict"],
        "streaming_prediction": options["stream_predict"] is not None or options["stream_predict_source"],
        "generation": options["generate"],
        "miniaturization": options["miniaturize"],
    }
    return _given(
        {
            "objectives": [name for name, value in wanted.items() if value],
            "model_properties": options["model_props"],
            "hyperparameters": options["hyperparams"],
        }
    )


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}
