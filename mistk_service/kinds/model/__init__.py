"""The kind ``model``: one machine-learning model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistk_service.kinds.call import Call
from mistk_service.kinds.evaluation.values import metrics_of
from mistk_service.kinds.kind import Kind
from mistk_service.kinds.model.base import AbstractModel
from mistk_service.kinds.model.operations import OPERATIONS
from mistk_service.kinds.model.states import State
from mistk_service.kinds.values import InitParams, dataset_of


def _initialize(body: Mapping[str, Any]) -> Call:
    """Return objectives, properties and hyperparameters.

    Raises:
        InvalidRequest: an objective is unknown.
    """
    params = InitParams.from_wire(body)
    objectives = [objective.value for objective in params.objectives]
    return Call((objectives, dict(params.model_properties), dict(params.hyperparameters)))


def load_data(body: Mapping[str, Any]) -> Call:
    """Return the datasets, whose paths must be readable.

    Raises:
        InvalidRequest: a dataset is malformed; the message says which field.
    """
    datasets = {key: dataset_of(f"datasets.{key}", wire) for key, wire in body.items()}
    reads = {f"datasets.{key}.dataPath": each.data_path for key, each in datasets.items() if each.data_path is not None}
    return Call((datasets,), reads)


def _evaluate(body: Mapping[str, Any]) -> Call:
    """Return the arguments of the hook. The truth must be readable, and the folder for the results writable.

    Raises:
        InvalidRequest: a metric is malformed.
    """
    truth, output = body["ground_truth_path"], body.get("evaluation_path")
    return Call(
        (body["assessment_type"], metrics_of(body.get("metrics") or ()), truth, output, body.get("properties") or {}),
        reads={"ground_truth_path": truth},
        writes={} if output is None else {"evaluation_path": output},
    )


MODEL = Kind(
    name="model",
    base=AbstractModel,
    contract="mistk-api.yaml",
    base_path="/v1/mistk",
    states=State,
    initial=State.STARTED,
    ready=State.READY,
    operations=OPERATIONS,
    bodies={"initialize": _initialize, "loadData": load_data, "evaluate": _evaluate},
)
