"""Writes the generated pages of docs/reference from the code: options, commands, operations, hooks and metrics.

``python scripts/reference.py`` writes them; ``make docs`` does so too. A test compares them with the code.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import yaml
from prometheus_client import CollectorRegistry

import mistk_service
from mistk_service.app.cli import main
from mistk_service.app.settings import Settings
from mistk_service.command_line import options_of
from mistk_service.core.controller import Controller
from mistk_service.doors.grpc.method_roles import ROLES
from mistk_service.doors.mistk.handlers import role_in
from mistk_service.doors.mistk.status import status_encoder
from mistk_service.doors.ops.metrics import ServiceMetrics
from mistk_service.doors.ops.outbox_metrics import OutboxCollector
from mistk_service.kinds import Kind, all_kinds
from mistk_service.kinds.model import MODEL
from mistk_service.resources import contract_path, load_contract
from mistk_service.tracking.cli.commands import ServerSettings
from mistk_service.tracking.server.permissions import DECISIONS
from mistk_service.web.access import role_for
from mistk_service.workers.protocol import Worker, WorkerListener

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py. Do not edit; run `make docs`. -->\n\n"
BASE = MODEL.base


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def code(values: Iterable[Any]) -> str:
    """Return values as code, with commas between."""
    return ", ".join(f"`{value}`" for value in values)


def literal(text: str) -> str:
    """Return text with the characters of Markdown escaped."""
    return text.replace("*", r"\*")


def anchor(operation: str) -> str:
    """Return the anchor of the heading of an operation."""
    return operation.lower().replace("/", "")


# --- options and commands -----------------------------------------------------------------------------------------------


def options_page() -> str:
    """Return the page of the options of both servers."""
    return (
        "# Options\n\nEvery option is a flag and an environment variable. The flag takes precedence. If an option is "
        "repeatable, separate the values in its variable with spaces.\n\n"
        f"## mistk-service serve\n\n{_option_table(Settings)}\n"
        "`MISTK_MODEL` names the model, as the command's argument does.\n\n"
        f"## mistk-service tracking serve\n\n{_option_table(ServerSettings)}"
    )


def _option_table(settings: type) -> str:
    rows = []
    for each in options_of(settings):
        flag = f"`--{each.flag}`, `--no-{each.flag}`" if each.is_switch else f"`--{each.flag}`"
        default = str(each.default).lower() if each.kind is bool else each.default
        default = "" if each.default in (None, "", ()) else f"`{default}`"
        values = each.rules[0].expected if each.rules else ""
        rows.append((flag, code(each.variables), default, literal(each.help), literal(values)))
    return table(("Flag", "Variable", "Default", "Meaning", "Valid values"), rows)


def commands_page() -> str:
    """Return the page of the commands."""
    parts = ["# Commands\n\nEvery command takes `--help`.\n"]
    for name, command in _commands(main, "mistk-service"):
        parts.append(f"\n## {name}\n\n```text\n{_usage(name, command)}\n```\n\n{_paragraphs(command.help or '')}\n")
        if name in ("mistk-service serve", "mistk-service tracking serve"):
            parts.append(f"\nSee the [options](options.md#{name.replace(' ', '-')}).\n")
        elif rows := list(_parameters(command)):
            parts.append("\n" + table(("Option", "Variable", "Default", "Meaning"), rows))
    return "".join(parts)


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _usage(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    return f"{name} {' '.join(command.collect_usage_pieces(context))}"


def _parameters(command: click.Command) -> Iterator[tuple[str, str, str, str]]:
    for each in command.params:
        if isinstance(each, click.Option):
            variables = [each.envvar] if isinstance(each.envvar, str) else list(each.envvar or ())
            default = f"`{each.default}`" if each.show_default and each.default not in (None, ()) else ""
            yield code(each.opts), code(variables), default, literal(each.help or "")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


# --- operations and states ------------------------------------------------------------------------------------------------


def operations_page(kind: Kind = MODEL) -> str:
    """Return the page of the operations and states, from the table of a kind and its contract."""
    contract = yaml.safe_load(contract_path(kind.contract).read_text(encoding="utf-8"))
    base = contract["basePath"]
    rows = []
    for name, row in kind.operations.items():
        allowed = "every state" if len(row.allowed) > len(kind.states) / 2 else code(_ordered(kind, row.allowed))
        if len(row.allowed) > len(kind.states) / 2:
            missing = _ordered(kind, set(kind.states) - set(row.allowed))
            allowed = f"every state except {code(missing)}" if missing else allowed
        running = code(_ordered(kind, row.running_states)) or "none; it takes effect immediately"
        then = " or ".join(
            [f"`{row.then}`" if row.then else "the previous state", *(f"`{each}`" for each in row.alternatives)]
        )
        rows.append((f"[{name}](#{anchor(name)})", allowed, running, then, f"`{row.hook}`"))
    head = ("Operation", "Allowed in", "State while it runs", "State afterwards", "Hook")
    answers = [(f"`{name}`", " ".join(each["description"].split())) for name, each in contract["responses"].items()]
    details = "".join(_operation(base, path, methods, contract) for path, methods in contract["paths"].items())
    return (
        f"# Operations and states\n\nThe API is under `{base}`. A call that the state does not allow returns 400 "
        f"and the operations that are possible. `GET {base}/swagger.json` returns the contract in Swagger 2.0, "
        "and `openapi3.json` in OpenAPI 3.0.\n\n"
        f"{table(head, rows)}\n"
        "A hook that raises an error leads to `failed`. So does a worker that dies. From there, only `reset` and `shutdown` "
        "are possible.\n\n"
        f"## States\n\n{table(('State', 'Reached by', 'Operations allowed'), _states(kind))}\n"
        f"## Answers\n\n{table(('Answer', 'Meaning'), answers)}\n"
        f"{details}"
    )


def _ordered(kind: Kind, states: Iterable[str]) -> list[str]:
    chosen = set(states)
    return [str(state) for state in kind.states if state in chosen]


def _states(kind: Kind) -> Iterator[tuple[str, str, str]]:
    rows = kind.operations.values()
    for state in kind.states:
        reached = [f"during {row.name}" for row in rows if state in row.running_states]
        reached += [f"after {row.name}" for row in rows if state in {row.then, *row.alternatives}]
        if state == kind.initial:
            reached.insert(0, "the start")
        if str(state) == "failed":
            reached = ["an error of a hook, or the death of the worker"]
        yield f"`{state}`", ", ".join(reached), code(row.name for row in rows if state in row.allowed)


def _operation(base: str, path: str, methods: Mapping[str, Any], contract: Mapping[str, Any]) -> str:
    parts = []
    for method, operation in methods.items():
        if method not in ("get", "post", "put", "delete"):
            continue
        parts.append(f"\n## {path.removeprefix('/')}\n\n`{method.upper()} {base}{path}`\n\n{operation['summary']}.\n\n")
        parts.append(f"{operation.get('description', '').strip()}\n")
        parameters = [_resolved(each, contract) for each in operation.get("parameters", [])]
        if parameters:
            rows = [
                (f"`{each['name']}`", each["in"], "yes" if each.get("required") else "no",
                 " ".join(each.get("description", "").split()))
                for each in parameters
            ]  # fmt: skip
            parts.append("\n" + table(("Parameter", "In", "Required", "Meaning"), rows))
        shared, own = [], []
        for status, answer in operation["responses"].items():
            if "$ref" in answer:
                shared.append(f"{status} [{answer['$ref'].rpartition('/')[2]}](#answers)")
            else:
                own.append((str(status), " ".join(answer["description"].split())))
        parts.append("\n" + table(("Status", "Meaning"), own) if own else "")
        parts.append(f"\n{'Further answers' if own else 'Answers'}: {', '.join(shared)}.\n" if shared else "")
    return "".join(parts)


def _resolved(value: Mapping[str, Any], contract: Any) -> Mapping[str, Any]:
    if "$ref" not in value:
        return value
    found = contract
    for key in value["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return found  # type: ignore[no-any-return]


# --- hooks ----------------------------------------------------------------------------------------------------------------


def hooks_page() -> str:
    """Return the page of the base class of models: attributes, hooks and services."""
    members = _members(MODEL)
    callables = [name for name, value in members.items() if callable(value)]
    services = [name for name in callables if not name.startswith("do_") and name != "attach"]
    return (
        f"# Hooks\n\nSubclass `mistk_service.{BASE.__name__}` and write the hooks for what your model does.\n\n"
        f"{_markdown(inspect.cleandoc(BASE.__doc__ or '').partition(chr(10))[2])}\n\n"
        f"## Class attributes\n\n{''.join(_attributes())}\n"
        f"## What the container calls\n{_hooks(MODEL, 'operations.md')}\n"
        "## What a hook can call\n"
        f"{''.join(_method(name, members[name]) for name in services)}"
        f"\n## Exceptions\n\n{table(('Exception', 'Meaning'), _exceptions())}"
    )


def kind_page(kind: Kind) -> str:
    """Return the page of a kind other than the model: its operations, its states and its class."""
    return (
        operations_page(kind).replace("# Operations and states", f"# {kind.name.capitalize()} containers", 1)
        + f"\n## Class\n\nSubclass `mistk_service.{kind.base.__name__}`. A hook can call the same methods as "
        "[those of a model](hooks.md#what-a-hook-can-call).\n\n"
        f"{_markdown(inspect.cleandoc(kind.base.__doc__ or ''))}\n{_hooks(kind, '')}"
    )


def _members(kind: Kind) -> dict[str, Any]:
    members = {name: value for cls in reversed(kind.base.__mro__) for name, value in vars(cls).items()}
    return {name: value for name, value in members.items() if not name.startswith("_")}


def _hooks(kind: Kind, page: str) -> str:
    """Return the hooks of a kind, whose operations are described on a page."""
    hooks: dict[str, Any] = {}
    for row in kind.operations.values():
        for name in row.hooks:
            hooks.setdefault(name, row)
    members = _members(kind)
    written = sorted((name for name in members if name in hooks), key=list(hooks).index)
    return "".join(_method(name, members[name], _hook_note(name, hooks[name], page)) for name in written)


def _hook_note(name: str, row: Any, page: str) -> str:
    if name == row.prompt_hook:
        return "See [Stream tokens](../howto/stream-tokens.md)."
    if name == row.tensor_hook:
        return "See [Predict with tensors](../howto/predict-with-tensors.md)."
    notes = [f"Operation: [{row.name}]({page}#{anchor(row.name)})."]
    notes.append("Optional." if row.has_default else "Without it, the operation is refused.")
    if row.may_decline:
        notes.append("If it raises `NotImplementedError`, the previous state is restored.")
    return " ".join(notes)


def _method(name: str, function: Callable[..., Any], note: str = "") -> str:
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
    text = _markdown(inspect.cleandoc(function.__doc__ or ""))
    return f"\n### {name}\n\n```text\n{name}{signature}\n```\n\n{note}{chr(10) * 2 if note else ''}{text}\n"


def _attributes() -> Iterator[str]:
    for cls in BASE.__mro__[:-1]:
        for comment, name, rest in re.findall(r"((?:    #: ?.*\n)+)    (\w+)(.*)\n", inspect.getsource(cls)):
            if name.startswith("_"):
                continue
            text = " ".join(line.strip().removeprefix("#:").strip() for line in comment.splitlines())
            default = rest.rpartition("= ")[2] if "ClassVar" in rest else ""
            yield f"### {name}\n\n{_markdown(text)}{f' The default is `{default}`.' if default else ''}\n\n"


def _exceptions() -> Iterator[tuple[str, str]]:
    for name in ("RequestError", "StopActivity"):
        docstring = inspect.cleandoc(getattr(mistk_service, name).__doc__ or "")
        text = _markdown(docstring.partition("\n\nArgs:")[0])
        yield f"`mistk_service.{name}`", " ".join(text.split())


def _markdown(docstring: str) -> str:
    """Return a docstring in Google's form as Markdown."""
    text = re.sub(r":\w+:`~?([\w.]+)`", lambda found: f"`{found[1].rpartition('.')[2]}`", docstring.strip())
    text = re.sub(r"::\n", ":\n", text.replace("``", "`"))
    lines, in_section = [], False
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Attributes):", line):
            in_section = True
            lines.append(f"**{line[:-1].replace('Args', 'Arguments')}**\n")
        elif in_section and (found := re.fullmatch(r"    (\w+): (.*)", line)):
            lines.append(f"* `{found[1]}`: {found[2]}")
        elif in_section:
            lines.append(f"  {line.strip()}" if line.startswith("        ") else line.strip())
        else:
            lines.append(line)
    return "\n".join(lines)


# --- metrics --------------------------------------------------------------------------------------------------------------


def metrics_page() -> str:
    """Return the page of what /metrics shows."""
    registry = asyncio.run(_registry())
    rows = {}
    for collector in list(registry._collector_to_names):
        for family in collector.collect():
            if family.name.startswith("mistk_") and "_worker_process" not in family.name:
                suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
                labels = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ())
                rows[family.name + suffix] = (family.type, code(labels), family.documentation)
    own = table(("Name", "Type", "Labels", "Meaning"), ((f"`{name}`", *row) for name, row in sorted(rows.items())))
    return (
        "# Metrics\n\n`GET /metrics` returns these in Prometheus' text format. A series that has had no event yet may be "
        f"absent.\n\n{own}\n"
        "The usual `process_*` and `python_info` series describe the service process. The same `process_*` series with the "
        "prefix `mistk_worker_` describe the worker process.\n\n"
        'The counters and histograms of requests cover the lifecycle API (`door="mistk"`) and the prediction APIs, whose '
        "labels are their names in `--doors`. Probes, scrapes and the web page do not count.\n"
    )


async def _registry() -> CollectorRegistry:
    """Return the registry of a service, which needs an event loop to be made."""
    metrics = ServiceMetrics()
    encoder = status_encoder("ModelInstanceStatus", "an-id")
    metrics.watch(Controller(MODEL, "Model", _no_worker, encoder), build={"version": "", "model": ""})
    metrics.registry.register(OutboxCollector(list, lambda: 0))
    return metrics.registry


def _no_worker(_listener: WorkerListener, _slot: int | None) -> Worker:
    raise NotImplementedError


# --- roles ----------------------------------------------------------------------------------------------------


def roles_page() -> str:
    """Return the page of the role, and the permission, that each operation of each contract needs."""
    parts = [
        "# Roles\n\nThe lowest role that an operation needs. A user of the tracking store needs the permission "
        "instead, for the experiment or the model that the request is about. See "
        "[control access](../howto/control-access.md).\n"
    ]
    kinds = {kind.contract: kind for kind in all_kinds()}
    for file in sorted(contract_path().parent.glob("*-api.yaml")):
        contract = load_contract(file.name)
        rows = [
            (f"`{method.upper()} {path}`", *_needed(file.name, kinds, path, method, operation["operationId"]))
            for path, item in contract["paths"].items()
            for method, operation in item.items()
            if isinstance(operation, dict) and "operationId" in operation
        ]
        parts.append(f"\n## {file.stem}\n\n{table(('Operation', 'Role', 'Permission'), rows)}")
    methods = [(f"`{name}`", role.label) for name, role in ROLES.items()]
    parts.append(f"\n## open_inference.proto\n\n{table(('Method', 'Role'), methods)}")
    return "".join(parts)


def _needed(file: str, kinds: Mapping[str, Any], path: str, method: str, operation_id: str) -> tuple[str, str]:
    if "mlflow" in file:
        decision = DECISIONS[f"project:{operation_id}" if "gitlab" in file else operation_id]
        permission = "admin" if decision.admin else decision.permission or ""
        return decision.role.label, "filtered" if decision.filtered else str(permission)
    if file in kinds:
        return role_in(kinds[file], path.strip("/"), operation_id, method).label, ""
    return role_for(operation_id, method).label, ""


PAGES: dict[str, Callable[[], str]] = {
    "options.md": options_page,
    "commands.md": commands_page,
    "operations.md": operations_page,
    "hooks.md": hooks_page,
    "metrics.md": metrics_page,
    "roles.md": roles_page,
    **{f"{kind.name}.md": partial(kind_page, kind) for kind in all_kinds() if kind is not MODEL},
}


def pages() -> dict[str, str]:
    """Return the text of each generated page, by file name."""
    return {name: NOTE + re.sub(r"\n{3,}", "\n\n", write()).rstrip() + "\n" for name, write in PAGES.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
