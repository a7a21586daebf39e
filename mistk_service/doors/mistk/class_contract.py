"""The contract that a container serves: the contract of its kind, completed by what the class declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mistk_service.kinds.predictions import Signature, TensorSpec


def with_signature(contract: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """Return a contract (Swagger 2.0) that describes the hyperparameters and the tensors of one class."""
    tensors = _table("Inputs", signature.inputs) + _table("Outputs", signature.outputs)
    info = contract["info"]
    completed = {**contract, "info": {**info, "description": f"{info.get('description', '')}{tensors}"}}
    named = (
        name
        for name, each in contract.get("definitions", {}).items()
        if "hyperparameters" in each.get("properties", ())
    )
    name = next(named, None)
    if signature.hyperparameters is None or name is None:
        return completed
    hyperparameters = _as_swagger(msgspec.json.decode(signature.hyperparameters)) | {"x-nullable": True}
    definition = contract["definitions"][name]
    properties = definition["properties"] | {"hyperparameters": hyperparameters}
    # The example of the kind has hyperparameters that the class does not.
    definition = {key: value for key, value in definition.items() if key != "example"} | {"properties": properties}
    return completed | {"definitions": contract["definitions"] | {name: definition}}


def _table(title: str, specs: Sequence[TensorSpec]) -> str:
    """Return a table of tensors in Markdown."""
    if not specs:
        return ""
    rows = "".join(f"| {spec.name} | {spec.type_name} | {list(spec.hook_shape)} |\n" for spec in specs)
    return f"\n\n**{title} of the model**\n\n| Name | Data type | Shape |\n|---|---|---|\n{rows}"


def _as_swagger(schema: Any) -> Any:
    """Return a JSON Schema in the dialect of Swagger 2.0, which has no unions and another form of bounds."""
    if isinstance(schema, list):
        return [_as_swagger(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _as_swagger(value) for key, value in schema.items()}
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in found:
            found |= {bound: found[exclusive], exclusive: True}
    if "anyOf" in found:
        kinds = [each for each in found.pop("anyOf") if each.get("type") != "null"]
        found |= {"x-nullable": True, **(kinds[0] if len(kinds) == 1 else {})}
    # It may not be empty, and a default may not be null.
    return {key: value for key, value in found.items() if (key, value) not in (("required", []), ("default", None))}
