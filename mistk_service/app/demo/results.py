"""The run that the demonstration leaves, as its end shows it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mistk_service.tracking import Store, open_store
from mistk_service.tracking.artifacts import ArtifactRepository, open_artifacts
from mistk_service.tracking.values import Run

__all__ = ["show_run"]

#: What begins with this is measured by the service, and would hide what the model reports.
_SERVICES_OWN = ("mistk/", "system/")


def show_run(console: Console, state_dir: Path, container_id: str, command: Sequence[str]) -> None:
    """Show what a container that has ended has tracked, and how to list it.

    Args:
        console: where.
        state_dir: the container's state directory.
        container_id: the container.
        command: how ``mistk-service`` is called.
    """
    uri = f"sqlite:///{state_dir / 'tracking.db'}"
    with open_store(uri) as store:
        run = _run_of(store, container_id)
        if run is None:
            console.print("The environment names another tracking store, where the run is now.")
            return
        experiment = store.get_experiment(run.info.experiment_id).name
    console.print(
        f"\nAll of it is tracked: the run [b]{run.info.run_name}[/b] of the experiment [b]{experiment}[/b] is "
        f"{run.info.status.name}"
    )
    console.print(*_tables(run, open_artifacts(state_dir / "artifacts")))
    console.print("List it:")
    listing = [*command, "tracking", "show", run.info.run_id, "--store", uri]
    console.print(f"  {shlex.join(listing)}", soft_wrap=True, highlight=False)


def _run_of(store: Store, container_id: str) -> Run | None:
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    found = store.search_runs(experiments, f"tags.`mistk.containerId` = '{container_id}'", max_results=1)
    return next(iter(found), None)


def _tables(run: Run, artifacts: ArtifactRepository) -> Iterator[Table]:
    params = Table("param", "value")
    for param in run.data.params:
        params.add_row(Text(param.key), Text(param.value))
    metrics = Table("metric", "final value", "step")
    for metric in run.data.metrics:
        if not metric.key.startswith(_SERVICES_OWN):
            metrics.add_row(Text(metric.key), f"{metric.value:.4f}", str(metric.step))
    files = Table("artifact", "bytes")
    root = run.info.artifact_uri.partition(":/")[2]
    for path, size in _files(artifacts, root, ""):
        files.add_row(Text(path), str(size))
    yield from (params, metrics, files)


def _files(artifacts: ArtifactRepository, root: str, folder: str) -> Iterator[tuple[str, int]]:
    for info in artifacts.list_folder(f"{root}/{folder}" if folder else root):
        path = f"{folder}/{info.path}" if folder else info.path
        if info.is_dir:
            yield from _files(artifacts, root, path)
        else:
            yield path, info.file_size or 0
