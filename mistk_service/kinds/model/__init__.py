"""The kind ``model``: one machine-learning model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistk_service.errors import InvalidRequest
from mistk_service.kinds.call import Call
from mistk_service.kinds.evaluation.values import metrics_of
from mistk_service.kinds.kind import Kind
from mistk_service.kinds.model.base import AbstractModel
from mistk_service.kinds.model.operations import OPERATIONS
from mistk_service.kinds.model.states import State
from mistk_service.kinds.values import InitParams, MistkDataset

__all__ = ["MODEL", "load_data"]


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
    datasets = {key: _dataset(key, wire) for key, wire in body.items()}
    paths = {f"datasets.{key}.dataPath": each.data_path for key, each in datasets.items()}
    return Call((datasets,), reads={field: path for field, path in paths.items() if path is not None})


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


def _dataset(key: str, wire: Mapping[str, Any]) -> MistkDataset:
    try:
        return MistkDataset.from_wire(wire)
    except InvalidRequest as error:
        raise InvalidRequest(f"datasets.{key}.{error}", field=f"datasets.{key}.{error.field}") from error


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
