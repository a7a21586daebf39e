"""The command line."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from mistk_service import __version__
from mistk_service.app.exit_codes import ExitCode, exit_code_of
from mistk_service.app.job_settings import JobSettings
from mistk_service.app.settings import Settings
from mistk_service.command_line import click_option, click_options
from mistk_service.errors import MistkError, ModelLoadError, SettingsError, WorkerDied
from mistk_service.kinds import Kind, all_kinds
from mistk_service.logs import LogFormat, configure_logging, json_line

logger = logging.getLogger(__name__)

#: Commands that are loaded on first use, since the service itself does not need them.
_LATE = {"run": "mistk_service.harness.cli:run", "tracking": "mistk_service.tracking.cli.commands:tracking"}

if TYPE_CHECKING:
    from mistk_service.app.container import Script


class _Commands(click.Group):
    """The commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_LATE})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take a model instead of a command for the model to serve, as the arguments of an image may be."""
        if args and ":" in args[0] and not args[0].startswith("-"):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LATE:
            return super().get_command(ctx, cmd_name)
        module, _, name = _LATE[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MistkError as error:
            _fail(error)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mistk-service")
def main() -> None:
    """Serve one machine-learning model, evaluation or transform behind the MISTK lifecycle API.

    Each command's help names the environment variables that set its options.
    """
    # In this order, each gets its own number. A socket or a file with the number of one would get what is printed to it.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the process ends
    try:
        Path.cwd()
    except FileNotFoundError:
        raise click.ClickException("The current folder no longer exists; change to one that does.") from None


@main.command(short_help="Serve a model over HTTP.")
@click.argument("model", nargs=-1, envvar="MISTK_MODEL")
@click_options(Settings)
def serve(model: tuple[str, ...], **options: Any) -> None:
    """Serve MODEL: 'package.module:Class', 'path/to/file.py:Class' or 'package.module Class'.

    The base class of Class decides which API is served. MODEL can also be given as the environment variable MISTK_MODEL.
    """
    # The imports take a moment. Until then, Python as process 1 of a container would ignore SIGTERM.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_at_once)
    from mistk_service.app.autostart import Autostart, is_wanted
    from mistk_service.app.platforms import model_folder

    if not model:
        raise click.UsageError("Name the model to serve, as an argument or in MISTK_MODEL.")
    configure_logging(options["log_level"], options["log_format"], libraries=options["log_libraries"])
    try:
        options["build_from"] = options["build_from"] or model_folder(os.environ)
        settings = Settings(" ".join(model), **options)
        with tempfile.TemporaryDirectory(prefix="mistk-") as scratch:
            script = Autostart(settings, Path(scratch)) if is_wanted(settings) else None
            _run(settings, script, lambda *ready: _announce(settings, *ready))
    except MistkError as error:
        code = ExitCode.FAILED if isinstance(error, SettingsError) else exit_code_of(error)
        _fail(error, code, options["log_format"])


@main.command(short_help="Train or predict once, save the results, and exit.")
@click.argument("model", nargs=-1, envvar="MISTK_MODEL")
@click_options(JobSettings)
def job(model: tuple[str, ...], **options: Any) -> None:
    """Train or predict with MODEL once, save the results, and exit.

    The exit code is 0 if everything is done, 1 if the model failed, 2 if the input is wrong, 69 if a storage cannot be
    reached, 75 if a signal interrupted the training and it is saved, and 143 if it is not.
    """
    _job(model, options)


@main.command(short_help="Train a model as a training job of SageMaker.")
@click.argument("model", nargs=-1, envvar="MISTK_MODEL")
@click_options(JobSettings)
def train(model: tuple[str, ...], **options: Any) -> None:
    """Train MODEL as a training job of SageMaker, with the files in /opt/ml or SAGEMAKER_BASE_DIR."""
    from mistk_service.app.platforms import sagemaker_folder

    _job(model, options, sagemaker_folder(os.environ))


def _job(model: tuple[str, ...], options: dict[str, Any], sagemaker: Path | None = None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(ExitCode.INTERRUPTED))
    from mistk_service.app.job import Job
    from mistk_service.app.job_progress import JobProgress
    from mistk_service.app.sagemaker import training_options, write_failure

    if not model:
        raise click.UsageError("Name the model, as an argument or in MISTK_MODEL.")
    configure_logging(options["log_level"], options["log_format"], libraries=options["log_libraries"])

    def on_failure(reason: str) -> None:
        if sagemaker is not None:
            write_failure(sagemaker, reason)

    try:
        with tempfile.TemporaryDirectory(prefix="mistk-") as folder:
            if sagemaker is not None:
                options |= training_options(sagemaker, Path(folder))
            settings = JobSettings(model=" ".join(model), **options)
            progress, as_texts = JobProgress(os.environ), sagemaker is not None
            _run(settings, Job(settings, Path(folder), progress, on_failure, as_texts=as_texts), lambda *_: None)
    except MistkError as error:
        on_failure(str(error))
        _fail(error, exit_code_of(error), options["log_format"])


def _run(settings: Settings, script: Script | None, on_ready: Callable[[str, Kind], None]) -> None:
    """Run a container until it ends, and end this process.

    Raises:
        MistkError: the container could not be started.
    """
    from mistk_service.app.prerequisites import require_limits

    require_limits()  # before the imports that need most
    from mistk_service.app.container import serve as run
    from mistk_service.process_exit import finish
    from mistk_service.web.listening import bind
    from mistk_service.workers.child.loader import split_reference

    split_reference(settings.model)  # refuses a malformed reference before anything is started
    sock = bind(settings.host, settings.port)
    with asyncio.Runner(loop_factory=_event_loop_factory()) as runner:
        with _url_file(settings.url_file) as on_listening:
            shutdown = runner.run(run(settings, sock, on_listening, on_ready, script=script))
        shutdown.shut_down_executors()
        finish(shutdown.end, shutdown.threads, shutdown.exit_code)


def _event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop, which comes with the extra ``fast``, or None for asyncio's own event loop."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@contextlib.contextmanager
def _url_file(file: str | None) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes an address to a file atomically. The file is removed at the end.

    Raises:
        SettingsError: the file cannot be written.
    """

    def write(url: str) -> None:
        if file is None:
            return
        part = f"{file}.{os.getpid()}"
        try:
            Path(part).write_text(f"{url}\n", encoding="utf-8")
            os.replace(part, file)
        except OSError as error:
            raise SettingsError(
                f"--url-file: {file} cannot be written ({error.strerror}); expected a file in a folder that exists."
            ) from error
        written.append(file)

    written: list[str] = []
    try:
        yield write
    finally:
        for each in written:
            try:
                Path(each).unlink(missing_ok=True)
            except OSError as error:
                # The exit code is that of the service, which has ended as it should.
                logger.warning("--url-file: %s cannot be removed (%s).", each, error.strerror)


def _exit_at_once(_number: int, _frame: FrameType | None) -> None:
    """Exit with code 0, like a graceful shutdown, before anything has been started."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # While the interpreter ends, a further one would change the exit code or show a traceback.
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


def _announce(settings: Settings, url: str, kind: Kind) -> None:
    api = f"{url}{kind.base_path}"
    text = f"Serving {settings.model} at {url} — the API is under {api}, described at {api}/ui/"
    # Like a line of the log, it may be lost if the disk is full or nobody reads it.
    with contextlib.suppress(OSError):
        click.echo(json_line("info", "mistk_service", text) if settings.log_format == "json" else text, err=True)


def _fail(error: MistkError, code: int = ExitCode.FAILED, log_format: LogFormat = "text") -> None:
    """Print the error, with the traceback of the model's code if there is one, and exit."""
    trace = error.traceback if isinstance(error, ModelLoadError) else None
    if log_format == "json":
        click.echo(json_line("error", "mistk_service", str(error), traceback=trace), err=True)
        raise SystemExit(code) from error
    if trace:
        click.echo(trace, err=True)
    if isinstance(error, WorkerDied):
        click.echo("\n".join(error.failure.output), err=True)
    click.echo(f"Error: {error}", err=True)
    raise SystemExit(code) from error


@main.command()
@click_option(Settings, "port", help="Port to listen on; if it is taken, a free one is used.")
@click.option("--folder", default="mistk-demo", envvar="MISTK_DEMO_FOLDER", show_envvar=True, show_default=True,
              type=click.Path(path_type=Path, file_okay=False),
              help="Folder for the trained model and its predictions.")  # fmt: skip
@click.argument("what", type=click.Choice(["model", "evaluation", "game"]), default="model")
def demo(what: str, port: int, folder: Path) -> None:
    """Run a demonstration.

    'model' drives the digits model through its whole lifecycle, 'evaluation' measures its predictions in a second container,
    and in 'game' two agents learn.
    """
    from mistk_service.app.demo import run_demo, run_evaluation_demo, run_game_demo

    if what == "game":
        run_game_demo(folder)
    elif what == "evaluation":
        run_evaluation_demo(folder)
    else:
        run_demo(port, folder)


@main.command()
@click.option("--ready", is_flag=True, help="Check that the model can accept work, not only that the service is alive.")
@click_option(Settings, "host", help="Address that the service listens on.")
@click_option(Settings, "port", help="Port that the service listens on.")
@click.option("--timeout", default=2.0, show_default=True, type=click.FloatRange(min=0, min_open=True),
              help="Seconds to wait for the answer.")  # fmt: skip
@click_option(Settings, "tls_cert", help="Certificate of the service, if it speaks HTTPS.")
def health(ready: bool, host: str, port: int, timeout: float, tls_cert: str | None) -> None:
    """Exit with 0 if a running service is healthy, else with 1. For probes and health checks."""
    from mistk_service.app.health_probe import probe

    click.echo(probe(host, port, "/readyz" if ready else "/healthz", timeout, tls=tls_cert is not None))


@main.command(name="describe", short_help="Describe a model class.")
@click.argument("model")
def describe_model(model: str) -> None:
    """Describe MODEL: its operations, hyperparameters, inputs and outputs."""
    from mistk_service.app.describe import describe

    click.echo(describe(model))


@main.group()
def token() -> None:
    """Create access tokens."""


@token.command("new")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(["viewer", "predictor", "operator", "admin"]),
              help="Role: viewer reads, predictor also predicts, operator also controls, admin does all.")  # fmt: skip
@click.option("--days", type=click.IntRange(1, 36500), help="Days until it expires; never by default.")
@click_option(Settings, "token_file")
@click_option(Settings, "state_dir")
def token_new(name: str, role: str, days: int | None, token_file: str | None, state_dir: str) -> None:
    """Create a token called NAME, print it, and add its hash to the token file.

    The token cannot be shown again. Running services accept it at once. To revoke it, remove its line from the file.
    """
    from mistk_service.web.access import AccessRole, add_token

    path = Path(token_file or Path(state_dir) / "tokens")
    click.echo(add_token(path, name, AccessRole[role.upper()], days))


@main.command()
@click.argument("kind", default="model")
def spec(kind: str) -> None:
    """Print the contract of the API of KIND (Swagger 2.0, YAML). KIND is 'model' by default."""
    from mistk_service.resources import contract_path

    contracts = {each.name: each.contract for each in all_kinds()}
    if kind not in contracts:
        raise click.UsageError(f"Unknown kind {kind!r}; expected one of {', '.join(contracts)}.")
    click.echo(contract_path(contracts[kind]).read_text(encoding="utf-8"), nl=False)


def run_as_module() -> None:
    """Entry point of ``python -m mistk_service``: the commands, or MISTK's form ``MODULE CLASS [PORT] [OPTIONS]``."""
    arguments = sys.argv[1:]
    if len(arguments) >= 2 and arguments[0] not in {*main.commands, *_LATE}:
        module, name, *rest = arguments
        if not module.startswith("-") and not name.startswith("-"):
            sys.argv[1:] = ["serve", f"{module}:{name}", *_as_mistk_listens(rest)]
    main(prog_name="mistk-service")


def _as_mistk_listens(arguments: list[str]) -> list[str]:
    """Return the options for MISTK's form: the port becomes ``--port``, and the host is all interfaces by default."""
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--port", *arguments]
    named = "MISTK_HOST" in os.environ or any(each.partition("=")[0] == "--host" for each in arguments)
    if named or {"--help", "-h"} & set(arguments):
        return arguments
    click.echo(
        "Warning: listening on all interfaces, as MISTK does in this form of the command. To serve this machine alone, add "
        "--host 127.0.0.1.",
        err=True,
    )
    return [*arguments, "--host", "0.0.0.0"]  # noqa: S104 - refused without accounts
