"""Shows a run: live in a terminal, as plain lines, or as JSON for programs.

An event is an object with the key ``event``:

* ``container``: a container runs (``component``, ``url``);
* ``step``: a step begins (``step``, ``component``);
* ``status``: the status of its container (``state``, ``progress``, ``metrics``);
* ``result``: what the step found (``step`` and its own keys);
* ``done``: the step is done (``step``, ``seconds``, the ``state``, and the ``metrics`` that it changed);
* ``log``: a container printed a line (``component``, ``line``);
* ``failed``: the run ended early (``step``, ``message``, ``exit_code``);
* ``completed``: all steps are done (``message``, ``seconds``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from mistk_service.harness.pipeline_runner import Show

Event = Mapping[str, Any]

#: The maximum number of answers and metrics to show; the output for programs contains all of them.
_SHOWN = 10

#: The fraction of an activity after which plain output has another line.
_PLAIN_PART = 0.25


@contextmanager
def display(*, as_json: bool) -> Iterator[Show]:
    """Yield a function that shows the events of a run."""
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        yield lambda event: print(json.dumps(event, default=str), flush=True)
    elif console.is_terminal:
        with Progress(
            TextColumn("  {task.description:<18}"), BarColumn(), TextColumn("{task.fields[detail]}"), TimeRemainingColumn(),
            console=console, transient=True,
        ) as progress:  # fmt: skip
            yield _Live(console, progress).show
    else:
        yield _Plain(console).show


class _Plain:
    """One line for each change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[Any, ...] = ()

    def show(self, event: Event) -> None:
        """Show an event."""
        if event["event"] == "step":
            self._last = ()
        elif event["event"] == "status" and event["progress"]:
            part = int(_fraction(event) / _PLAIN_PART)
            if (event["state"], part) != self._last:
                self._last = (event["state"], part)
                self._console.print(f"  {event['state']}  {_detail(event)}".rstrip(), markup=False)
        elif event["event"] != "status":
            print_event(self._console, event)


class _Live:
    """A bar for the step that runs, and lines for those that are done."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._task: TaskID | None = None

    def show(self, event: Event) -> None:
        """Show an event."""
        if event["event"] == "step":
            self._task = self._progress.add_task(event["step"], total=None, detail="")
        elif event["event"] == "status" and self._task is not None:
            progress = event["progress"] or {"done": 0, "total": None}
            self._progress.update(
                self._task,
                description=event["state"],
                completed=progress["done"],
                total=progress["total"],
                detail=_detail(event),
            )
        else:
            if event["event"] in ("done", "failed") and self._task is not None:
                self._progress.remove_task(self._task)
                self._task = None
            print_event(self._console, event)


def print_event(console: Console, event: Event) -> None:
    """Print an event as lines and tables."""
    if event["event"] == "log":
        print(f"[{event['component']}] {event['line']}", file=sys.stderr)
        return
    for each in _rendered(event):
        console.print(each)


def _rendered(event: Event) -> Iterator[RenderableType]:
    """Yield an event as text and tables."""
    if event["event"] == "container":
        yield f"The {event['component']} is at [b]{escape(event['url'])}[/b]"
    elif event["event"] == "done":
        state = f" → {event['state']}" if "state" in event else ""
        metrics = _numbers(event.get("metrics") or {})
        yield f"[green]✓[/green] [b]{event['step']}[/b]{state}  {event['seconds']:.1f} s  {escape(metrics)}".rstrip()
    elif event["event"] == "result":
        yield from _result(event)
    elif event["event"] == "failed":
        yield f"[red]✗ {escape(event['step'] or 'run')}[/red]: {escape(event['message'])}"
    elif event["event"] == "completed":
        yield f"[green][b]{event['message']}[/b][/green]"


def _result(event: Event) -> Iterator[RenderableType]:
    if "records" in event:
        yield f"  {event['records']} predictions are well-formed"
    if "accuracy" in event:
        yield f"  accuracy [b]{event['accuracy']:.4f}[/b]"
        yield _classes(event)
        yield _confusion(event)
    answers = event.get("answers", {})
    for key, answer in list(answers.items())[:_SHOWN]:
        yield escape(f"  {key}: {json.dumps(answer)[:200]}")
    if len(answers) > _SHOWN:
        yield f"  and {len(answers) - _SHOWN} more"


def _classes(event: Event) -> Table:
    table = Table("class", "precision", "recall", "f1", "records")
    for each in event["classes"]:
        figures = (each[name] for name in ("precision", "recall", "f1"))
        shown = ("-" if figure is None else f"{figure:.3f}" for figure in figures)
        table.add_row(escape(each["label"]), *shown, str(each["support"]))
    return table


def _confusion(event: Event) -> Table:
    labels = [escape(each["label"]) for each in event["classes"]]
    table = Table("true \\ predicted", *labels)
    for label, row in zip(labels, event["confusion"], strict=True):
        table.add_row(label, *map(str, row))
    return table


def _fraction(event: Event) -> float:
    progress = event["progress"]
    return progress["done"] / progress["total"] if progress and progress["total"] else 0.0


def _detail(event: Event) -> str:
    progress = event["progress"]
    if not progress:
        return _numbers(event["metrics"])
    total = f" of {progress['total']}" if progress["total"] is not None else ""
    return f"{progress['done']}{total} {progress['unit']}  {_numbers(event['metrics'])}".rstrip()


def _numbers(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:_SHOWN])
