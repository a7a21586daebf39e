"""Tracked things as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.filesize import decimal
from rich.table import Column, Table
from rich.text import Text

from mistk_service.tracking.values import Experiment, FileInfo, Run, RunInfo, RunStatus

if TYPE_CHECKING:
    # Loading it takes long, and other tables do not need it.
    from mistk_service.tracking.replication.remote_states import OutboxReport

#: The number of metrics of a run in the list of runs.
_METRICS = 4
#: Prefixes of metrics that the list leaves out, since they do not describe the model.
_NOT_THE_MODELS = ("mistk/", "system/")
#: Columns of a terminal below which the list of runs leaves out the times.
_NARROW = 120
#: Columns to which a cell that may be folded is never narrowed.
_LEAST = 8

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


def runs_table(runs: Iterable[Run], experiments: Mapping[str, str], width: int) -> Table:
    """Return a table with a line for each run.

    Args:
        runs: the runs.
        experiments: the names of experiments by their ids.
        width: of the terminal in columns.
    """
    times = ["Started", "Took"] if width >= _NARROW else []
    status = Column("Status", no_wrap=True)
    table = Table(_whole("Run"), _folded("Name"), _folded("Experiment"), status, *times, _folded("Metrics"))
    for run in runs:
        info = run.info
        points = [point for point in run.data.metrics if not point.key.startswith(_NOT_THE_MODELS)]
        shown = [f"{point.key}={point.value:.4g}" for point in points[:_METRICS]]
        more = ["…"] if len(points) > _METRICS else []
        table.add_row(
            Text(info.run_id),
            Text(info.run_name),
            Text(experiments.get(info.experiment_id, info.experiment_id)),
            _status(info.status),
            *((_time(info.start_time), _duration(info)) if times else ()),
            Text(" ".join(shown + more)),
        )
    return table


def least_width(table: Table) -> int:
    """Return the width that a table needs for all cells that must not be folded."""
    widths = []
    for column in table.columns:
        cells = [column.header, *column.cells]
        widest = max(cell_len(cell.plain if isinstance(cell, Text) else str(cell)) for cell in cells)
        widths.append(widest if column.no_wrap else min(widest, _LEAST))
    # A column has a blank on either side and a line on its right, and the first has one on its left.
    return sum(widths) + 3 * len(widths) + 1


def run_tables(run: Run, experiment: Experiment) -> list[Table]:
    """Return tables with everything about one run, without empty ones."""
    info = run.info
    head = Table("Run", Column(Text(info.run_id), overflow="fold"), title=Text(info.run_name))
    head.add_row("Experiment", Text(f"{experiment.name} ({experiment.experiment_id})"))
    head.add_row("Status", _status(info.status))
    head.add_row("Started", _time(info.start_time))
    head.add_row("Took", _duration(info))
    head.add_row("Artifacts", Text(info.artifact_uri))
    metrics = Table(_folded("Metric"), "Value", "Step", "When")
    for point in run.data.metrics:
        metrics.add_row(Text(point.key), f"{point.value:g}", str(point.step), _time(point.timestamp))
    params = _pairs("Param", ((param.key, param.value) for param in run.data.params))
    tags = _pairs("Tag", ((tag.key, tag.value) for tag in run.data.tags))
    datasets = Table(_folded("Dataset"), _folded("Digest"), _folded("Source"))
    for use in run.inputs.dataset_inputs:
        datasets.add_row(Text(use.dataset.name), Text(use.dataset.digest), Text(use.dataset.source))
    return [head, *(table for table in (metrics, params, datasets, tags) if table.row_count)]


def files_table(files: Iterable[FileInfo]) -> Table:
    """Return a table with a line for each artifact file."""
    table = Table(_folded("Artifact"), "Size")
    for info in sorted(files, key=lambda info: info.path):
        table.add_row(Text(info.path), "" if info.file_size is None else decimal(info.file_size))
    return table


def outbox_tables(outbox: OutboxReport) -> list[Table]:
    """Return tables of what remotes have yet to receive, and of what they have refused."""
    remotes = Table(
        _whole("Remote"),
        _whole("State"),
        "Waiting",
        _folded("Oldest"),
        "Refused",
        _folded("Last success"),
        _folded("Last error"),
    )
    for state in outbox.remotes:
        age = "" if state.oldest_seconds is None else str(timedelta(seconds=round(state.oldest_seconds)))
        remotes.add_row(
            Text(state.remote),
            "configured",
            str(state.depth),
            age,
            str(state.refused),
            _time(state.last_success or 0),
            Text(state.last_error or ""),
        )
    for name in outbox.former:
        remotes.add_row(Text(name), "not configured")
    refused = Table(_whole("Refused by"), _whole("Run"), _folded("What"), "Times", _folded("Last"), _folded("Reason"))
    for item in outbox.refusals:
        refused.add_row(
            Text(item.remote), item.run_id, Text(item.what), str(item.items), _time(item.last), Text(item.reason)
        )
    return [remotes, refused] if outbox.refusals else [remotes]


def _whole(title: str) -> Column:
    """Return a column whose cells are never folded or cut, so that they can be copied."""
    return Column(title, no_wrap=True, overflow="ignore")


def _folded(title: str) -> Column:
    """Return a column whose cells are folded if necessary, also inside words, and never cut."""
    return Column(title, overflow="fold")


def _pairs(title: str, pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table(_folded(title), _folded("Value"))
    for key, value in pairs:
        table.add_row(Text(key), Text(value))
    return table


def _status(status: RunStatus) -> Text:
    return Text(status.name, style=_COLOURS[status])


def _time(milliseconds: int) -> str:
    """Return a time in readable form, or the number if it is out of range."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    except (OverflowError, OSError, ValueError):
        return str(milliseconds)
    return moment.strftime("%Y-%m-%d %H:%M:%S") if milliseconds else ""


def _duration(info: RunInfo) -> str:
    """Return the duration of a run; nothing for a resumed run, whose end time is an earlier one."""
    start, end = info.start_time, info.end_time
    if info.status in (RunStatus.RUNNING, RunStatus.SCHEDULED) or end is None or not start or end < start:
        return ""
    try:
        return str(timedelta(seconds=round((end - start) / 1000)))
    except OverflowError:
        return ""
