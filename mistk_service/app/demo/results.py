"""Shows the run that a demonstration has recorded."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.values import FileInfo, Run

#: The prefix of metrics that the service measures. They would hide those that the model reports.
_SERVICES_OWN = ("mistk/", "system/")


def show_run(console: Console, state_dir: Path, container_id: str, command: Sequence[str]) -> None:
    """Show the run of a container that has exited, and the command that lists it."""
    uri = f"sqlite:///{state_dir / 'tracking.db'}"
    with open_store(uri) as store:
        experiments = [experiment.experiment_id for experiment in store.search_experiments()]
        run = next(iter(store.search_runs(experiments, f"tags.`mistk.containerId` = '{container_id}'")), None)
        if run is None:
            console.print("The environment names another tracking store, where the run is now.")
            return
        experiment = store.get_experiment(run.info.experiment_id).name
        latest = [each.info.run_id for each in store.search_runs([run.info.experiment_id], max_results=2)]
        locations = Locations(store, open_artifacts(state_dir / "artifacts"))
        files = sorted(locations.files(run.info.artifact_uri), key=lambda info: info.path)
    console.print(
        f"\nAll of it is tracked: the run [b]{run.info.run_name}[/b] of the experiment [b]{experiment}[/b] is "
        f"{run.info.status.name}"
    )
    console.print(*_tables(run, files))
    console.print("List it:")
    listing = [*command, "tracking", "show", run.info.run_id, "--store", uri]
    console.print(f"  {shlex.join(listing)}", soft_wrap=True, highlight=False)
    before = f"compare?runs={','.join(latest)}" if len(latest) > 1 else f"runs/{run.info.run_id}"
    serving = [*command, "tracking", "serve", "--store", uri, "--artifacts", str(state_dir / "artifacts")]
    for line in (
        f"See it on the page{', next to the previous run' if len(latest) > 1 else ''}:",
        f"  {shlex.join(serving)}",
        f"and open http://127.0.0.1:5000/#/{before}",
    ):
        console.print(line, soft_wrap=True, highlight=False)


def _tables(run: Run, files: Iterable[FileInfo]) -> Iterator[Table]:
    params = Table("param", "value")
    for param in run.data.params:
        params.add_row(Text(param.key), Text(param.value))
    metrics = Table("metric", "final value", "step")
    for metric in run.data.metrics:
        if not metric.key.startswith(_SERVICES_OWN):
            metrics.add_row(Text(metric.key), f"{metric.value:.4f}", str(metric.step))
    artifacts = Table("artifact", "bytes")
    for info in files:
        artifacts.add_row(Text(info.path), str(info.file_size or 0))
    yield from (params, metrics, artifacts)
