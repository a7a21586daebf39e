"""The files under deploy/ only use existing options and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mistk_service.app import cli

DEPLOY = Path(__file__).parents[2] / "deploy"

#: Variables that are for the libraries of object stores.
FOREIGN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "STORAGE_URI"}


def containers(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in a manifest that starts the image."""
    if isinstance(value, dict):
        if str(value.get("image", "")).startswith("mistk-service") or "runtimeRef" in value:
            yield value.get("trainer", value) | {key: value[key] for key in ("runtimeRef",) if key in value}
        for each in value.values():
            yield from containers(each)
    elif isinstance(value, list):
        for each in value:
            yield from containers(each)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    for file in [*sorted((DEPLOY / "kubernetes").glob("*.yaml")), DEPLOY / "compose.yaml"]:
        for document in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            for container in containers(document):
                arguments = container.get("args") or container.get("command") or ["serve"]
                if "mistk-service" not in arguments:  # a runtime, whose arguments a job gives
                    yield file.name, ["job", *arguments] if "runtimeRef" in container else arguments


def names_of_variables() -> set[str]:
    def of(command: click.Command) -> Iterator[str]:
        for parameter in command.params:
            names = parameter.envvar or ()
            yield from [names] if isinstance(names, str) else names
        if isinstance(command, click.Group):
            context = click.Context(command)
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None
                yield from of(found)

    return set(of(cli.main))


@pytest.mark.parametrize(("file", "arguments"), list(command_lines()))
def test_a_manifest_starts_the_service_with_arguments_that_it_takes(file: str, arguments: list[str]) -> None:
    command: click.Command = cli.main
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(context, list(arguments))
        assert found is not None, f"{file}: {name}"
        command, context = found, click.Context(found, info_name=name, parent=context)
    parser = command.make_parser(context)
    parser.parse_args(args=list(arguments))  # an unknown option is an error


def test_every_manifest_is_read() -> None:
    assert {file for file, _ in command_lines()} == {
        "compose.yaml",
        "inferenceservice.yaml",
        "job.yaml",
        "model.yaml",
        "tracking.yaml",
        "trainjob.yaml",
    }


@pytest.mark.parametrize("file", sorted(path for path in DEPLOY.rglob("*") if path.suffix in (".yaml", ".service")))
def test_a_file_sets_variables_that_the_service_reads(file: Path) -> None:
    named = set(re.findall(r"\b(?:MISTK|MLFLOW|AWS)_[A-Z_]+", file.read_text()))
    assert named <= names_of_variables() | FOREIGN | {"MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"}


def test_the_chart_has_a_schema_for_each_of_its_values() -> None:
    values = yaml.safe_load((DEPLOY / "helm/values.yaml").read_text())
    schema = yaml.safe_load((DEPLOY / "helm/values.schema.json").read_text())

    def names(value: Any) -> Any:
        return {key: names(each) for key, each in value.items()} if isinstance(value, dict) and value else None

    def declared(part: Any) -> Any:
        properties = part.get("properties")
        return {key: declared(each) for key, each in properties.items()} if properties else None

    expected = declared(schema)
    del expected["global"]  # Helm's own
    assert names(values) == expected
