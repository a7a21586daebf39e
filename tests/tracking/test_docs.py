"""The documentation of tracking matches the contract, the commands and the client."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import click
import pytest

from mistk_service.resources import load_contract
from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.cli.commands import tracking
from mistk_service.tracking.mlops.current import leave
from mistk_service.tracking.rest import RestConfig
from mistk_service.tracking.rest.config import VARIABLES

DOCS = Path(__file__).resolve().parents[2] / "docs"
API = (DOCS / "reference" / "tracking-api.md").read_text(encoding="utf-8")
COMMANDS = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
OPTIONS = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
CLIENT = (DOCS / "reference" / "tracking-client.md").read_text(encoding="utf-8")
CONTRACT = load_contract("mlflow-api.yaml")

#: What the operations under one path are called in the table, where it is not by the path itself.
WORDS = {
    "create", "get", "search", "update", "delete", "restore", "rename", "finalize", "tags", "aliases", "alias", "params",
    "upload", "download", "list", "directories", "files", "artifacts",
}  # fmt: skip


def test_every_operation_is_in_the_table():
    served = API.partition("## What is served")[2].partition("## What is not served")[0]
    for path in CONTRACT["paths"]:
        parts = [part for part in path.split("/") if not part.startswith("{")]
        name = parts[-1]
        if {"presigned", "create", "complete", "abort"} & set(parts) and "mlflow-artifacts" in parts:
            continue  # not supported, and said so elsewhere
        if name.startswith("presigned"):
            continue
        known = name in WORDS or name in served or name.replace("-", " ") in served
        assert known or re.fullmatch(r"(set|delete)-.*tag", name), f"{path} is not in the table"


@pytest.mark.parametrize("command", sorted(tracking.commands))
def test_every_command_and_every_option_of_serve_is_documented(command):
    assert f"## mistk-service tracking {command}\n" in COMMANDS
    if command == "serve":
        for option in tracking.commands[command].params:
            assert isinstance(option, click.Option)
            assert f"`{option.opts[0]}`" in OPTIONS
            assert str(option.envvar) in OPTIONS


def test_the_example_of_embedding_runs(tmp_path, monkeypatch):
    text = (DOCS / "howto" / "embed-the-tracking-server.md").read_text(encoding="utf-8")
    example = text.partition("```python")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(example, str(DOCS), "exec"), names)
    names["store"].close()
    assert callable(names["app"])
    assert (tmp_path / "runs.db").exists()
    assert open_artifacts(tmp_path / "artifacts").list_folder() == []


def test_the_example_of_projects_runs(tmp_path, monkeypatch, capsys):
    section = (DOCS / "howto" / "use-projects.md").read_text(encoding="utf-8")
    example = section.partition("```python")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    leave()
    try:
        exec(compile(example, str(DOCS), "exec"), {})
    finally:
        leave()
    promised = example.rpartition("# ")[2].strip()
    assert capsys.readouterr().out.splitlines()[-1] == promised
    with open_store("sqlite:///runs.db") as store:
        experiment = store.get_experiment_by_name("Digits/small network")
        (run,) = store.search_runs([experiment.experiment_id]).items
    assert {param.key: param.value for param in run.data.params} == {"rate": "0.1", "epochs": "3"}
    written = {tag.key for tag in (*experiment.tags, *run.data.tags)} - {"mlops.failure"}
    assert {key for key in written if key.startswith("mlops.")} <= set(re.findall(r"`(mlops\.\w+)`", section))


def test_every_setting_of_a_remote_and_every_variable_is_documented():
    for setting in dataclasses.fields(RestConfig):
        assert f"`{setting.name}`" in CLIENT
    for variable in VARIABLES.values():
        assert f"`{variable}`" in CLIENT
