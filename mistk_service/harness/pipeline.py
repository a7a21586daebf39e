"""Pipelines: steps as data, checked against the schema that editors use too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from mistk_service.errors import InvalidRequest
from mistk_service.kinds.call import STORE_URIS
from mistk_service.resources import contract_path

#: What a pipeline may drive, by the names in it.
COMPONENTS = ("model", "evaluation", "transform")

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One step: a name of the schema, and its parameters."""

    name: str
    parameters: Mapping[str, Any]

    @property
    def component(self) -> str | None:
        """The component that it drives; None if it only reads files."""
        found: str | None = step_schemas()[self.name].get("x-container")
        return found

    def paths(self) -> list[str]:
        """Return the paths among its parameters."""
        found: list[str] = []
        self.with_paths(lambda path: found.append(path) or path)  # type: ignore[func-returns-value]
        return found

    def with_paths(self, change: Callable[[str], str]) -> Step:
        """Return the step with its paths changed. URIs are not paths."""
        return Step(self.name, _change(self.parameters, step_schemas()[self.name], change))


@dataclass(frozen=True)
class Pipeline:
    """Steps, and the components that they drive, by name: ``model``, ``evaluation`` and ``transform``."""

    components: Mapping[str, str]
    steps: tuple[Step, ...]


@cache
def schema_text() -> str:
    """Return the JSON Schema of pipelines."""
    return contract_path("mistk-pipeline.schema.json").read_text(encoding="utf-8")


@cache
def step_schemas() -> Mapping[str, Json]:
    """Return the schema of each step's parameters, by the name of the step."""
    found: Mapping[str, Json] = _steps(json.loads(schema_text()))["items"]["anyOf"][1]["properties"]
    return found


def read_pipeline(file: Path, components: Mapping[str, str]) -> Pipeline:
    """Return the pipeline in a YAML file. ``components`` replace those in the file.

    Raises:
        InvalidRequest: the file cannot be read, or it is not a pipeline.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest(
            f"{file} cannot be read: {error}; expected a pipeline in YAML.", field="pipeline"
        ) from error
    try:
        return make_pipeline({**document, **components} if isinstance(document, dict) else document)
    except InvalidRequest as error:
        raise InvalidRequest(f"{file}: {error}", field=error.field) from error


def make_pipeline(document: Any) -> Pipeline:
    """Return the pipeline that a document describes.

    Raises:
        InvalidRequest: the document does not fit the schema, or a step needs a component that is not named.
    """
    if isinstance(document, dict) and isinstance(document.get("steps"), list):
        document = {**document, "steps": [_as_object(step) for step in document["steps"]]}
    # The short form of a step is an object now. Without the choice, messages name what is wrong inside a step.
    schema = json.loads(schema_text())
    _steps(schema)["items"] = _steps(schema)["items"]["anyOf"][1]
    error = best_match(Draft202012Validator(schema).iter_errors(document))
    if error is not None:
        place = error.json_path.removeprefix("$.").removeprefix("$") or "pipeline"
        known = ", ".join(error.schema.get("properties", ())) if error.validator == "additionalProperties" else ""
        hint = f"; expected one of {known}" if known else ""
        raise InvalidRequest(f"{place}: {error.message:.400}{hint}", field=place)
    steps = tuple(Step(name, parameters) for step in document["steps"] for name, parameters in step.items())
    components = {name: document[name] for name in COMPONENTS if name in document}
    for index, step in enumerate(steps):
        if step.component is not None and step.component not in components:
            raise InvalidRequest(
                f"steps[{index}].{step.name}: the step drives the {step.component}, and none is named; expected "
                f"`{step.component}` with an import path, a file, a URL or an image.",
                field=step.component,
            )
    return Pipeline(components, steps)


def _steps(schema: Json) -> Json:
    found: Json = schema["properties"]["steps"]
    return found


def _as_object(step: Any) -> Any:
    if isinstance(step, str):
        return {step: {}}
    if isinstance(step, dict):
        return {name: {} if parameters is None else parameters for name, parameters in step.items()}
    return step


def _change(value: Any, schema: Json, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        forms = {each.get("format") for each in (schema, *schema.get("anyOf", ()))}
        is_path = "path" in forms or ("path-or-name" in forms and os.path.exists(value))
        return change(value) if is_path and not _is_uri(value) else value
    if isinstance(value, list):
        return [_change(each, schema.get("items", {}), change) for each in value]
    if isinstance(value, dict):
        return dict(_changed_items(value, schema, change))
    return value


def _changed_items(value: Json, schema: Json, change: Callable[[str], str]) -> Iterator[tuple[str, Any]]:
    others = schema.get("additionalProperties") or {}
    for key, each in value.items():
        yield key, _change(each, schema.get("properties", {}).get(key, others), change)


def _is_uri(path: str) -> bool:
    return "://" in path or path.startswith(STORE_URIS)
