"""The commands ``mistk-service tracking ...``: serve a store alone, and inspect one from a terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mistk_service.command_line import PORT, ListenSettings, click_option, click_options, option, warn_of_password
from mistk_service.deadline import Deadline
from mistk_service.errors import MistkError, SettingsError
from mistk_service.logs import configure_logging
from mistk_service.process_exit import watch

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mistk_service.tracking.sql import SqlStore
    from mistk_service.tracking.store._store import Store

_DEFAULT_STORE = "sqlite:///mistk-state/tracking.db"
_DEFAULT_ARTIFACTS = "mistk-state/artifacts"
_DEFAULT_TOKENS = "mistk-state/tokens"
#: Maximum seconds for running work to end, once requests have been answered or cancelled.
_END = 2.0
#: The width in columns of a table that is written to a pipe or a file.
_PIPED = 200


@dataclass(frozen=True, kw_only=True)
class ServerSettings(ListenSettings):
    """How ``mistk-service tracking serve`` serves a store."""

    port: int = option(5000, "Port to listen on; 0 picks a free one.", PORT)
    store_uri: str = option(
        _DEFAULT_STORE,
        "The store: sqlite:///FILE, postgresql://HOST/DATABASE or a file's path.",
        flag="store",
        env="MISTK_TRACKING_STORE",
        secret=True,  # it may contain a password
        callback=warn_of_password,
    )
    artifacts: str = option(
        _DEFAULT_ARTIFACTS,
        "Root of the artifacts: a folder, or a URL for fsspec such as s3://BUCKET/PREFIX.",
        env="MISTK_TRACKING_ARTIFACTS",
    )
    mlflow_ui: bool = option(False, "Serve MLflow's own web pages at /mlflow/, from an installed mlflow.")


_store_option = click_option(ServerSettings, "store_uri")
_artifacts_option = click.option(
    "--artifacts", envvar="MISTK_TRACKING_ARTIFACTS", show_envvar=True,
    help="Root of the local artifacts; by default the folder 'artifacts' next to the store's file.")  # fmt: skip
_json_option = click.option("--json", "as_json", is_flag=True, help="Print MLflow's JSON instead of a table.")
_experiment_option = click.option(
    "--experiment", "names", multiple=True, help="Name or id of an experiment; all unless given. Repeatable.")  # fmt: skip
_since_option = click.option(
    "--since", help="Leave out runs that ended before 2026-11-21, 2026-11-21T09:30, or 90m, 12h, 7d ago.")  # fmt: skip


class _Commands(click.Group):
    """Commands that show an error of this package as one sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MistkError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands)
def tracking() -> None:
    """Serve a tracking store with MLflow's REST API, or inspect one."""


@tracking.command()
@click_options(ServerSettings)
def serve(**options: Any) -> None:
    """Serve a tracking store for MLflow clients: export MLFLOW_TRACKING_URI=http://HOST:PORT."""
    # What follows takes a moment to load; uvicorn raises the signal again when the server has closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_without_waiting)
    from mistk_service.tracking.server import serve_tracking
    from mistk_service.web.access import open_access
    from mistk_service.web.server import HttpLimits

    try:
        settings = ServerSettings(**options)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    configure_logging(settings.log_level, settings.log_format)
    authenticator = open_access(
        host=settings.host,
        auth=settings.requires_login,
        insecure=settings.insecure,
        token_file=Path(settings.token_file or _DEFAULT_TOKENS).absolute(),
        proxy_secret_file=settings.proxy_secret_file,
        auth_function=settings.auth_function,
        audit_file=settings.audit_file,
    )
    _make_parent(settings.store_uri)
    serve_tracking(
        settings.store_uri,
        settings.artifacts,
        settings,
        authenticator,
        limits=HttpLimits(
            keep_alive=settings.keep_alive_timeout, connections=settings.max_connections, end_timeout=_END
        ),
        mlflow_ui=settings.mlflow_ui,
        on_listening=lambda url: click.echo(f"Tracking server at {url} — export MLFLOW_TRACKING_URI={url}", err=True),
    )


def _exit_without_waiting(_number: int, _frame: FrameType | None) -> None:
    # A request may still wait for a locked database, and the interpreter would wait for its thread.
    watch(Deadline(_END))
    raise SystemExit(0)


def _make_parent(store_uri: str) -> None:
    """Make the folder of the default store; any other has to exist."""
    if store_uri == _DEFAULT_STORE:
        Path(_DEFAULT_ARTIFACTS).parent.mkdir(exist_ok=True)


@contextmanager
def _opened(store_uri: str) -> Iterator[Store]:
    # SQLAlchemy is only loaded when a store is opened.
    from mistk_service.tracking.opening import open_store

    with open_store(store_uri, create=False) as store:
        yield store


@tracking.command()
@_store_option
@click.option("--all", "with_deleted", is_flag=True, help="Include deleted experiments.")
@_json_option
def experiments(store_uri: str, with_deleted: bool, as_json: bool) -> None:
    """List the experiments."""
    from mistk_service.tracking import wire
    from mistk_service.tracking.cli import formatting as views
    from mistk_service.tracking.values import ViewType

    with _opened(store_uri) as store:
        found = store.search_experiments(ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY)
    if as_json:
        _print_json([wire.experiment(item) for item in found])
    else:
        _print(views.experiments_table(found))


@tracking.command()
@_store_option
@_experiment_option
@click.option("--filter", "condition", default="", help='MLflow filter, such as "metrics.loss < 0.1".')
@click.option("--order-by", multiple=True, help='Such as "metrics.loss ASC".')
@click.option(
    "-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 50_000), help="Maximum number of runs."
)
@_json_option
def runs(
    store_uri: str, names: tuple[str, ...], condition: str, order_by: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """List runs, latest first."""
    from mistk_service.tracking import wire
    from mistk_service.tracking.cli import formatting as views
    from mistk_service.tracking.lookup import every_experiment, find_experiment

    with _opened(store_uri) as store:
        chosen = [find_experiment(store, name) for name in names] or list(every_experiment(store))
        ids = [item.experiment_id for item in chosen]
        found = store.search_runs(ids, filter=condition, max_results=limit, order_by=order_by)
    if as_json:
        _print_json([wire.run(item) for item in found])
    else:
        console = _console()
        _print(views.runs_table(found, {item.experiment_id: item.name for item in chosen}, console.width), on=console)
        if found.next_page_token:
            click.echo(f"The first {limit}; more with --limit.", err=True)


@tracking.command()
@click.argument("run_id", metavar="RUN")
@_store_option
@_artifacts_option
@_json_option
def show(run_id: str, store_uri: str, artifacts: str | None, as_json: bool) -> None:
    """Show one run with everything logged to it. The first characters of its id are enough."""
    from mistk_service.tracking import wire
    from mistk_service.tracking.artifacts.locations import Locations
    from mistk_service.tracking.cli import formatting as views
    from mistk_service.tracking.lookup import artifacts_next_to, find_run

    with _opened(store_uri) as store:
        run = find_run(store, run_id)
        experiment = store.get_experiment(run.info.experiment_id)
        repository = None if as_json else artifacts_next_to(getattr(store, "file", None), artifacts)
        files = [] if repository is None else list(Locations(store, repository).files(run.info.artifact_uri))
    if as_json:
        _print_json(wire.run(run))
    else:
        _print(*views.run_tables(run, experiment), *([views.files_table(files)] if files else []))


@tracking.command()
@_store_option
@_json_option
def outbox(store_uri: str, as_json: bool) -> None:
    """Show the changes that wait to be sent to remotes, and those that remotes have refused."""
    from mistk_service.tracking.cli import formatting as views
    from mistk_service.tracking.replication.remote_states import outbox_report

    with _opened_here(store_uri) as store:
        found = outbox_report(store)
    if as_json:
        _print_json(found.to_json())
    else:
        _print(*views.outbox_tables(found))


@tracking.command()
@_store_option
@click.option("--to", "remote", required=True, metavar="URI", callback=warn_of_password,
              help="Tracking server to copy the runs to. Credentials come from MLflow's environment variables.")  # fmt: skip
@_artifacts_option
@_experiment_option
@_since_option
@click.option("--watch", is_flag=True, help="Keep running and copy changes until interrupted.")
def sync(
    store_uri: str, remote: str, artifacts: str | None, names: tuple[str, ...], since: str | None, watch: bool
) -> None:
    """Copy the runs of a local store to a tracking server. Only missing data is sent.

    The exit code is 1 if the server refused anything.
    """
    from mistk_service.tracking.cli.sync_command import SyncCommand

    start = _parse_time(since, "--since") if since else None
    with _opened_here(store_uri) as store:
        syncing = SyncCommand(store, remote, artifacts, names, start, _print_line)
        if watch:
            syncing.watch()
        else:
            _exit_with(syncing.once())


@tracking.command()
@click.argument("run_ids", metavar="[RUN]...", nargs=-1)
@_store_option
@click.option("--experiment", "names", multiple=True, help="Name or id of an experiment to delete with its runs.")
def delete(run_ids: tuple[str, ...], store_uri: str, names: tuple[str, ...]) -> None:
    """Delete runs and experiments. 'restore' brings them back until 'gc' removes them."""
    _move(run_ids, store_uri, names, restore=False)


@tracking.command()
@click.argument("run_ids", metavar="[RUN]...", nargs=-1)
@_store_option
@click.option("--experiment", "names", multiple=True, help="Name or id of an experiment to restore with its runs.")
def restore(run_ids: tuple[str, ...], store_uri: str, names: tuple[str, ...]) -> None:
    """Restore deleted runs and experiments."""
    _move(run_ids, store_uri, names, restore=True)


def _move(run_ids: tuple[str, ...], store_uri: str, names: tuple[str, ...], *, restore: bool) -> None:
    from mistk_service.tracking.lookup import find_experiment, find_run

    if not run_ids and not names:
        raise click.UsageError("Name runs, or experiments with --experiment.")
    word = "Restored" if restore else "Deleted"
    with _opened(store_uri) as store:
        # All are looked up before any of them is changed.
        runs = [find_run(store, run_id).info for run_id in run_ids]
        chosen = [find_experiment(store, name) for name in names]
        for run in runs:
            (store.restore_run if restore else store.delete_run)(run.run_id)
            click.echo(f"{word} the run {run.run_id} ({run.run_name}).")
        for item in chosen:
            (store.restore_experiment if restore else store.delete_experiment)(item.experiment_id)
            click.echo(f"{word} the experiment {item.experiment_id} ({item.name}) with its runs.")


@tracking.command()
@_store_option
@_artifacts_option
@_experiment_option
@click.option("--older-than", default="0s", show_default=True,
              help="Keep what was deleted after this time: 12h or 30d ago, or a date such as 2026-11-21.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Remove. Without it, only show what would be removed.")
def gc(store_uri: str, artifacts: str | None, names: tuple[str, ...], older_than: str, yes: bool) -> None:
    """Remove deleted runs, models and experiments permanently, with their files. Needs --yes."""
    from mistk_service.tracking.garbage import Garbage
    from mistk_service.tracking.lookup import artifacts_next_to, find_experiment

    before = _parse_time(older_than, "--older-than")
    with _opened_here(store_uri) as store:
        chosen = [find_experiment(store, name).experiment_id for name in names] or None
        garbage = Garbage(store, artifacts_next_to(store.file, artifacts), before, chosen)
        for item in garbage.kept:
            click.echo(f"Keeping the {item}: {item.needed}.")
        if yes:
            click.echo(f"{garbage.remove(click.echo)} removed.")
            return
        for item in garbage.items:
            click.echo(f"Would remove the {item}.")
        click.echo(f"{len(garbage.items)} to remove; --yes removes them permanently.")


@tracking.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@_store_option
@_artifacts_option
@_experiment_option
@_since_option
def export_runs(folder: Path, store_uri: str, artifacts: str | None, names: tuple[str, ...], since: str | None) -> None:
    """Copy runs with their files and models into FOLDER. Repeat it to add what is new."""
    from mistk_service.tracking.cli.local_remote import LocalRemote
    from mistk_service.tracking.cli.sync_command import SyncCommand

    start = _parse_time(since, "--since") if since else None
    with _opened_here(store_uri) as store:
        address = folder.resolve().as_uri()
        syncing = SyncCommand(
            store, address, artifacts, names, start, _print_line, open_remote=lambda _: LocalRemote.in_folder(folder)
        )
        _exit_with(syncing.once())


@tracking.command("import")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@_store_option
@_artifacts_option
@_experiment_option
def import_runs(folder: Path, store_uri: str, artifacts: str | None, names: tuple[str, ...]) -> None:
    """Copy runs with their files and models from FOLDER, written by 'export', into the store.

    Runs get new ids; the tag mistk.sourceRunId holds the original id. Repeat it to add what is new.
    """
    from mistk_service.tracking.cli.local_remote import LocalRemote
    from mistk_service.tracking.cli.sync_command import SyncCommand

    _make_parent(store_uri)
    with (
        LocalRemote.opened(store_uri, artifacts) as target,
        _opened_here(f"sqlite:///{folder / 'tracking.db'}") as source,
    ):
        given = str(folder / "artifacts")
        _exit_with(
            SyncCommand(source, target.uri, given, names, None, _print_line, open_remote=lambda _: target).once()
        )


def _print_line(text: str) -> None:
    click.echo(text, err=True)


def _exit_with(complete: bool) -> None:
    if not complete:
        click.get_current_context().exit(1)


def _parse_time(text: str, option: str) -> int:
    from mistk_service.tracking.cli.sync_command import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


@contextmanager
def _opened_here(store_uri: str) -> Iterator[SqlStore]:
    """Open a store that has an outbox, which is one of this machine or a database server."""
    from mistk_service.tracking.errors import UnsupportedStore
    from mistk_service.tracking.sql import SqlStore

    with _opened(store_uri) as store:
        if not isinstance(store, SqlStore):
            raise UnsupportedStore(
                f"{store.uri} is a tracking server; expected a store of this machine: sqlite:///FILE, a file's path or "
                "postgresql://HOST/DATABASE."
            )
        yield store


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def _console() -> Console:
    """Return the console. Output that does not go to a terminal gets a large width."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPED
    return console


def _print(*tables: Table, on: Console | None = None) -> None:
    from mistk_service.tracking.cli.formatting import least_width

    console = on or _console()
    console.width = max(console.width, *map(least_width, tables))
    for table in tables:
        console.print(table)
