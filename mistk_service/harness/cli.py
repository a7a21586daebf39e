"""The command ``run``, with MISTK's options or a pipeline."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import click

from mistk_service.errors import (
    AnswerNotUnderstood,
    InvalidRequest,
    LaunchFailed,
    MistkError,
    RequestFailed,
    RequestRefused,
    ServiceUnreachable,
    ValidationFailed,
    WaitFailed,
)
from mistk_service.harness.display import display
from mistk_service.harness.mistk_options import OPTIONS, steps_of
from mistk_service.harness.pipeline import COMPONENTS, Pipeline, make_pipeline, read_pipeline, schema_text
from mistk_service.harness.pipeline_runner import Options, Runner, Show
from mistk_service.process_exit import signals_handled

#: The exit code of a run that was interrupted, by the convention of shells.
_INTERRUPTED = 130


class Exit(IntEnum):
    """The exit codes."""

    COMPLETED = 0
    UNEXPECTED = 1
    BAD_INPUT = 2
    REFUSED = 3
    FAILED = 4
    UNREACHABLE = 5


_CODES: tuple[tuple[type[MistkError], Exit], ...] = (
    (InvalidRequest, Exit.BAD_INPUT),
    (RequestRefused, Exit.REFUSED),
    (RequestFailed, Exit.FAILED),
    (WaitFailed, Exit.FAILED),
    (LaunchFailed, Exit.FAILED),
    (ValidationFailed, Exit.FAILED),
    (ServiceUnreachable, Exit.UNREACHABLE),
    (AnswerNotUnderstood, Exit.UNREACHABLE),
)


class _Run(click.Command):
    """A command one of whose options takes several values, as in MISTK: ``--transform-input-paths A B``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_with_flags(args, "--transform-input-paths")))


def _with_flags(arguments: list[str], flag: str) -> Iterator[str]:
    """Yield the arguments, with the flag before each of its values."""
    several = False
    for argument in arguments:
        if argument.startswith("-"):
            several = argument == flag
        if argument != flag:
            yield from (flag, argument) if several else (argument,)


def _mistk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


# fmt: off
@click.command(
    cls=_Run,
    short_help="Drive containers through a pipeline.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--pipeline", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Run the steps in this YAML file. --model, --evaluation and --transform replace those in the file.")
@_mistk_options
@click.option("--port", default=0, type=click.IntRange(0, 65535), show_default=True,
              help="Port of the first container that is started; 0 picks a free one.")
@click.option("--disable-container-shutdown", is_flag=True, help="Do not shut down the containers that were started.")
@click.option("--logs", is_flag=True, help="Show the output of the containers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event, for programs.")
@click.option("--print-schema", is_flag=True, help="Print the JSON Schema of pipelines and exit.")
def run(pipeline: Path | None, port: int, disable_container_shutdown: bool, logs: bool, as_json: bool,
        print_schema: bool, **options: Any) -> None:
    """Drive a model, an evaluation and a transform through their work, and check the results.

    MODEL, EVALUATION and TRANSFORM are each package.module:Class, path/to/file.py:Class, the URL of a running container, or an
    image. A container that is not running is started, and shut down at the end. If one that
    is running asks for a token, set MISTK_CLIENT_TOKEN.

    Exit codes: 0 completed, 2 bad input, 3 a call was refused, 4 a component failed, 5 a container cannot be reached, 1
    anything else.
    """
    if print_schema:
        click.echo(schema_text(), nl=False)
        return
    containers = Options(port, disable_container_shutdown, logs)
    # SIGTERM too is handled as Ctrl-C, so that the containers are shut down.
    with signals_handled((signal.SIGTERM,), signal.default_int_handler), display(as_json=as_json) as show:
        code = _run(lambda: _pipeline(pipeline, options), containers, show)
    sys.exit(code)


# fmt: on
def _run(make: Callable[[], Pipeline], containers: Options, show: Show) -> int:
    """Run a pipeline, show how it ended, and return the exit code."""
    step: str | None = None

    def follow(event: Any) -> None:
        nonlocal step
        step = event.get("step", step)
        show(event)

    try:
        with Runner(make(), containers, follow) as runner:
            runner.run()
    except KeyboardInterrupt:
        error, code = "Interrupted.", _INTERRUPTED
    except MistkError as caught:
        error = str(caught)
        code = next((code for kind, code in _CODES if isinstance(caught, kind)), Exit.UNEXPECTED)
    else:
        return Exit.COMPLETED
    show({"event": "failed", "step": step, "message": error, "exit_code": int(code)})
    return int(code)


def _pipeline(file: Path | None, options: dict[str, Any]) -> Pipeline:
    """Return the pipeline in the file, or that of MISTK's options.

    Raises:
        InvalidRequest: there is nothing to do, or something is wrong with it.
    """
    named = {name: options[name] for name in COMPONENTS if options[name] is not None}
    if file is None:
        if not named:
            raise InvalidRequest("There is nothing to run; expected --model, --evaluation, --transform or --pipeline.")
        return make_pipeline({**named, "steps": steps_of(options)})
    given = sorted(name for name, value in options.items() if name not in COMPONENTS and value not in (None, (), False))
    if given:
        raise InvalidRequest(f"--{given[0].replace('_', '-')} cannot be given with --pipeline: write a step for it.")
    return read_pipeline(file, named)
