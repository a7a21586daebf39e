"""The kind ``evaluation``: a plugin that measures predictions against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistk_service.kinds.call import Call
from mistk_service.kinds.evaluation.base import AbstractEvaluationPlugin
from mistk_service.kinds.evaluation.states import State
from mistk_service.kinds.evaluation.values import Metric, declared_metrics, metrics_of
from mistk_service.kinds.kind import Arguments, Kind, RunSettings, reset_and_shutdown, row, table
from mistk_service.kinds.values import MistkDataset


def _evaluate(body: Mapping[str, Any]) -> Call:
    """Return the arguments of the hook. The inputs must be readable, and the folder for the results writable.

    Raises:
        InvalidRequest: a metric is malformed.
    """
    metrics = metrics_of(body["metrics"])
    inputs, truth, output = body["input_data_path"], body["ground_truth_path"], body.get("evaluation_path")
    arguments = (body["assessment_type"], metrics, inputs, body["evaluation_input_format"], truth, output)
    return Call(
        (*arguments, body.get("properties") or {}),
        reads={"input_data_path": inputs, "ground_truth_path": truth},
        writes={} if output is None else {"evaluation_path": output},
    )


def _settings(arguments: Arguments) -> RunSettings:
    assessment_type, metrics, inputs, form, truth, _, properties = arguments
    params = {
        "assessment_type": assessment_type,
        "metrics": ",".join(str(metric.object_info.name) for metric in metrics),
        "input_data_path": inputs,
        "evaluation_input_format": form,
        "ground_truth_path": truth,
    }
    return RunSettings(params, properties=properties, made_from=(form, inputs))


def _inputs(arguments: Arguments) -> dict[str, MistkDataset]:
    _, _, inputs, form, truth, *_ = arguments
    return {form: MistkDataset(data_path=inputs), "ground_truth": MistkDataset(data_path=truth)}


EVALUATION = Kind(
    name="evaluation",
    base=AbstractEvaluationPlugin,
    contract="mistk-evaluation-api.yaml",
    base_path="/v1/mistk/evaluation",
    states=State,
    initial=State.STARTED,
    ready=State.READY,
    operations=table(
        row("evaluate", "do_evaluate", {State.STARTED, State.READY}, State.EVALUATING, State.READY,
            parameters=(str, list[Metric]), configures_run=_settings, inputs=_inputs, is_work=True,
            saves="evaluation", saved_to=lambda arguments: arguments[5]),
        *reset_and_shutdown(State, State.STARTED),
    ),
    bodies={"evaluate": _evaluate},
    documents={"metrics": declared_metrics},
)  # fmt: skip
