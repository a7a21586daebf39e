"""Inputs and outputs of runs as tags, for a server that has no other place for them.

The keys start with ``mistk.input.`` and ``mistk.output.``; the values are JSON. A dataset that is too
long is written without schema and profile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, astuple, replace

from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    ModelInput,
    ModelOutput,
    Run,
    RunData,
    RunInputs,
    RunOutputs,
    Tag,
)

_DATASET = "mistk.input.dataset."
_MODEL = "mistk.input.model."
_OUTPUT = "mistk.output.model."


class _Used(Dataset, frozen=True, gc=True):
    """A dataset that a run used, as the value of a tag."""

    tags: dict[str, str] = msgspec.field(default_factory=dict)


def input_tags(datasets: Sequence[DatasetInput], models: Sequence[ModelInput], longest: int) -> list[Tag]:
    """Return tags that stand for what a run used."""
    found = [Tag(_DATASET + _fingerprint(use.dataset), _value(use, longest)) for use in datasets]
    return found + [Tag(_MODEL + model.model_id, model.model_id) for model in models]


def output_tags(models: Iterable[ModelOutput]) -> list[Tag]:
    """Return tags that stand for the models that a run made."""
    return [Tag(f"{_OUTPUT}{model.model_id}.{model.step}", str(model.step)) for model in models]


def restored(run: Run) -> Run:
    """Return a run with the tags for inputs and outputs replaced by the inputs and outputs."""
    rest, datasets, inputs, outputs = [], [], [], []
    for tag in run.data.tags:
        if tag.key.startswith(_DATASET) and (use := _use(tag.value)) is not None:
            datasets.append(use)
        elif tag.key.startswith(_MODEL):
            inputs.append(ModelInput(tag.value))
        elif tag.key.startswith(_OUTPUT) and tag.value.removeprefix("-").isdecimal():
            name = tag.key.removeprefix(_OUTPUT).removesuffix(f".{tag.value}")
            outputs.append(ModelOutput(name, int(tag.value)))
        else:
            rest.append(tag)
    if len(rest) == len(run.data.tags):
        return run
    return replace(
        run,
        data=RunData(run.data.metrics, run.data.params, tuple(rest)),
        inputs=RunInputs((*run.inputs.dataset_inputs, *datasets), (*run.inputs.model_inputs, *inputs)),
        outputs=RunOutputs((*run.outputs.model_outputs, *outputs)),
    )


def _fingerprint(dataset: Dataset) -> str:
    """Return a fingerprint of a dataset for a key, since its name may be too long or have invalid characters."""
    return hashlib.blake2b(f"{dataset.name}\0{dataset.digest}".encode(), digest_size=8).hexdigest()


def _value(use: DatasetInput, longest: int) -> str:
    item = use.dataset
    whole = _Used(**asdict(item), tags={tag.key: tag.value for tag in use.tags})
    without: dict[str, Any] = {}
    for name, empty in (("", None), ("profile", None), ("schema", None), ("source", ""), ("tags", {})):
        if name:
            without[name] = empty
        value = msgspec.json.encode(replace(whole, **without)).decode()
        if len(value) <= longest:
            return value
    return msgspec.json.encode(_Used(item.name[: longest // 2], item.digest)).decode()


def _use(value: str) -> DatasetInput | None:
    try:
        used = msgspec.json.decode(value, type=_Used)
    except msgspec.MsgspecError:
        return None
    *dataset, tags = astuple(used)
    return DatasetInput(Dataset(*dataset), tuple(Tag(key, tags[key]) for key in sorted(tags)))
