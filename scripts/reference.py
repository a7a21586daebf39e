"""Writes the generated pages of docs/reference from the code: options and commands.

``python scripts/reference.py`` writes them; ``make docs`` does so too. A test compares them with what the code says now.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from mistk_service.app.cli import main
from mistk_service.app.settings import Settings
from mistk_service.command_line import options_of
from mistk_service.tracking.cli.commands import ServerSettings

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py. Do not edit; run `make docs`. -->\n\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def code(values: Iterable[Any]) -> str:
    """Return values as code, with commas between."""
    return ", ".join(f"`{value}`" for value in values)


def literal(text: str) -> str:
    """Return text in which no character is taken for Markdown."""
    return text.replace("*", r"\*")


# --- options and commands -----------------------------------------------------------------------------------------------


def options_page() -> str:
    """Return the page of the options of both servers."""
    return (
        "# Options\n\nEvery option is a flag and an environment variable. The flag wins. An option that is repeatable takes "
        "several values with blanks between them in its variable.\n\n"
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


PAGES: dict[str, Callable[[], str]] = {
    "options.md": options_page,
    "commands.md": commands_page,
}


def pages() -> dict[str, str]:
    """Return the text of each generated page, by file name."""
    return {name: NOTE + re.sub(r"\n{3,}", "\n\n", write()).rstrip() + "\n" for name, write in PAGES.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
