"""The kind ``transform``: a plugin that makes a dataset from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mistk_service.kinds.call import Call
from mistk_service.kinds.kind import Arguments, Kind, RunSettings, reset_and_shutdown, row, table
from mistk_service.kinds.transform.base import AbstractTransformPlugin
from mistk_service.kinds.transform.states import State
from mistk_service.kinds.values import MistkDataset, dataset_of


def _transform(body: Mapping[str, Any]) -> Call:
    """Return the arguments of the hook. The inputs must be readable, and the folder of the output writable.

    Raises:
        InvalidRequest: a dataset is malformed.
    """
    inputs = [dataset_of(f"inputDatasets[{index}]", wire) for index, wire in enumerate(body["inputDatasets"])]
    output = None if body.get("outputDataset") is None else dataset_of("outputDataset", body["outputDataset"])
    return Call(
        (inputs, output, body.get("properties") or {}),
        reads={
            f"inputDatasets[{index}].dataPath": each.data_path
            for index, each in enumerate(inputs)
            if each.data_path is not None
        },
        writes={} if output is None or output.data_path is None else {"outputDataset.dataPath": output.data_path},
    )


def _settings(arguments: Arguments) -> RunSettings:
    inputs, _, properties = arguments
    source = inputs[0].data_path if inputs else None
    return RunSettings(properties=properties, made_from=None if source is None else ("output", source))


def _inputs(arguments: Arguments) -> dict[str, MistkDataset]:
    return {f"input-{number}": each for number, each in enumerate(arguments[0], 1)}


def _output_folder(arguments: Arguments) -> str | None:
    return None if arguments[1] is None else arguments[1].data_path


TRANSFORM = Kind(
    name="transform",
    base=AbstractTransformPlugin,
    contract="mistk-transform-api.yaml",
    base_path="/v1/mistk/transform",
    states=State,
    initial=State.STARTED,
    ready=State.READY,
    operations=table(
        row("transform", "do_transform", {State.STARTED, State.READY}, State.TRANSFORMING, State.READY,
            parameters=(list[MistkDataset], MistkDataset | None), configures_run=_settings, inputs=_inputs,
            is_work=True, saves="output", saved_to=_output_folder),
        *reset_and_shutdown(State, State.STARTED),
    ),
    bodies={"transform": _transform},
)  # fmt: skip
