"""Tracked things as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.table import Column, Table
from rich.text import Text

from mistk_service.tracking.entities import Experiment, Run, RunStatus

if TYPE_CHECKING:
    # It loads the database library, which tables of other things do without.
    from mistk_service.tracking.outbox import Outbox

__all__ = ["experiments_table", "outbox_tables", "run_tables", "runs_table"]

#: How many metrics of a run the list of runs shows.
_METRICS = 4

_COLOURS = {
    RunStatus.RUNNING: "cyan",
    RunStatus.SCHEDULED: "blue",
    RunStatus.FINISHED: "green",
    RunStatus.FAILED: "red",
    RunStatus.KILLED: "yellow",
}


def experiments_table(experiments: Iterable[Experiment]) -> Table:
    """Return a table with a line for each experiment."""
    table = Table("Id", "Name", "Created", "Changed", "Stage", "Artifacts")
    for item in experiments:
        table.add_row(
            item.experiment_id,
            Text(item.name),
            _time(item.creation_time),
            _time(item.last_update_time),
            item.lifecycle_stage.value,
            Text(item.artifact_location),
        )
    return table


def runs_table(runs: Iterable[Run]) -> Table:
    """Return a table with a line for each run."""
    table = Table("Run", "Name", "Experiment", "Status", "Started", "Took", "Metrics")
    for run in runs:
        info = run.info
        shown = [f"{point.key}={point.value:.4g}" for point in run.data.metrics[:_METRICS]]
        more = ["…"] if len(run.data.metrics) > _METRICS else []
        table.add_row(
            info.run_id,
            Text(info.run_name),
            info.experiment_id,
            _status(info.status),
            _time(info.start_time),
            _duration(info.start_time, info.end_time),
            Text(" ".join(shown + more)),
        )
    return table


def run_tables(run: Run, experiment: Experiment) -> list[Table]:
    """Return tables with everything about one run; those that would be empty are left out."""
    info = run.info
    head = Table("Run", Column(Text(info.run_id)), title=Text(info.run_name))
    head.add_row("Experiment", Text(f"{experiment.name} ({experiment.experiment_id})"))
    head.add_row("Status", _status(info.status))
    head.add_row("Started", _time(info.start_time))
    head.add_row("Took", _duration(info.start_time, info.end_time))
    head.add_row("Artifacts", Text(info.artifact_uri))
    metrics = Table("Metric", "Value", "Step", "When")
    for point in run.data.metrics:
        metrics.add_row(Text(point.key), f"{point.value:g}", str(point.step), _time(point.timestamp))
    params = _pairs("Param", ((param.key, param.value) for param in run.data.params))
    tags = _pairs("Tag", ((tag.key, tag.value) for tag in run.data.tags))
    datasets = Table("Dataset", "Digest", "Source")
    for use in run.inputs.dataset_inputs:
        datasets.add_row(Text(use.dataset.name), Text(use.dataset.digest), Text(use.dataset.source))
    return [head, *(table for table in (metrics, params, datasets, tags) if table.row_count)]


def outbox_tables(outbox: Outbox) -> list[Table]:
    """Return tables with what remotes have yet to get, and with what they have refused."""
    remotes = Table(Column("Remote", overflow="fold"), "Waiting", "Oldest", "Refused", "Last success", "Last error")
    for state in outbox.remotes:
        age = "" if state.oldest_seconds is None else str(timedelta(seconds=round(state.oldest_seconds)))
        remotes.add_row(
            Text(state.remote),
            str(state.depth),
            age,
            str(state.refused),
            _time(state.last_success or 0),
            Text(state.last_error or ""),
        )
    for name in outbox.former:
        remotes.add_row(Text(name), "", "", "", "", "not configured")
    refused = Table(Column("Refused by", overflow="fold"), "Run", "What", "Times", "Last", "Reason")
    for item in outbox.refusals:
        refused.add_row(
            Text(item.remote), item.run_id, Text(item.what), str(item.items), _time(item.last), Text(item.reason)
        )
    return [remotes, refused] if outbox.refusals else [remotes]


def _pairs(title: str, pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table(title, "Value")
    for key, value in pairs:
        table.add_row(Text(key), Text(value))
    return table


def _status(status: RunStatus) -> Text:
    return Text(status.name, style=_COLOURS[status])


def _time(milliseconds: int) -> str:
    """Return a time as people read it, or the number where it is no sensible time."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    except (OverflowError, OSError, ValueError):
        return str(milliseconds)
    return moment.strftime("%Y-%m-%d %H:%M:%S") if milliseconds else ""


def _duration(start: int, end: int | None) -> str:
    if end is None or not start or end < start:
        return ""
    try:
        return str(timedelta(seconds=round((end - start) / 1000)))
    except OverflowError:
        return ""
