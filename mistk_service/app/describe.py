"""Describes a model class: what it does, and what it declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mistk_service.core.hyperparameters import expected
from mistk_service.kinds import kind_of
from mistk_service.kinds.predictions import TensorSpec
from mistk_service.workers.child.declared import signature_of
from mistk_service.workers.child.loader import construct_model, load_model_class


def describe(reference: str) -> str:
    """Return a text about the model class that ``reference`` names.

    Raises:
        ModelLoadError: the class cannot be loaded.
    """
    model_class = load_model_class(reference)
    model = construct_model(model_class, reference)
    kind, signature = kind_of(model_class), signature_of(model)
    hooks = kind.hooks_of(model_class)
    operations = [row.name for row in kind.operations.values() if {*row.hooks} & set(hooks)]
    lines = [
        f"{model_class.__name__}, a {kind.name}",
        *(f"  {line}" for line in (model_class.__doc__ or "").splitlines()[:1]),
    ]
    lines += ["", "Operations", f"  {', '.join(operations)}"]
    if signature.hyperparameters is not None:
        lines += ["", "Hyperparameters", *_columns(_hyperparameters(msgspec.json.decode(signature.hyperparameters)))]
    for title, specs in (("Inputs", signature.inputs), ("Outputs", signature.outputs)):
        lines += ["", title, *_columns(_tensors(specs))] if specs else []
    lines += ["", f"Records in one call: at most {max(1, getattr(model, 'max_batch_size', 1))}"]
    return "\n".join(lines)


def _hyperparameters(schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, each in schema["properties"].items():
        default = f"default {msgspec.json.encode(each['default']).decode()}" if "default" in each else "required"
        yield name, expected(each), default, each.get("description", "")


def _tensors(specs: Sequence[TensorSpec]) -> Iterator[tuple[str, ...]]:
    return ((spec.name, spec.type_name, str(list(spec.hook_shape))) for spec in specs)


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return rows as lines of aligned columns."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
