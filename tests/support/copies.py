"""Runs and their copies on other servers, made comparable."""

from __future__ import annotations

from typing import Any

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.replication.metric_points import history, point_of
from mistk_service.tracking.replication.remote import SOURCE_RUN
from mistk_service.tracking.values import Run, ViewType


def content(store: Any, run_id: str, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return everything about a run that its copy has to have too; points as a sorted list, so that repeats show."""
    run = store.get_run(run_id)
    info = run.info
    found = {
        "name": info.run_name,
        "user": info.user_id,
        "status": info.status,
        "start": info.start_time,
        "end": info.end_time,
        "stage": info.lifecycle_stage,
        "params": {param.key: param.value for param in run.data.params},
        "tags": {tag.key: tag.value for tag in run.data.tags if tag.key != SOURCE_RUN},
        "metrics": {latest.key: points(store, run_id, latest.key) for latest in run.data.metrics},
        "datasets": sorted(run.inputs.dataset_inputs, key=repr),
        "models": sorted(run.inputs.model_inputs, key=repr),
        "outputs": sorted(run.outputs.model_outputs, key=repr),
    }
    return {key: value for key, value in found.items() if key not in without}


def points(store: Any, run_id: str, key: str) -> list[tuple[int, int, str]]:
    """Return the points of a metric, in an order that does not depend on the store."""
    found = map(point_of, history(store, run_id, key))
    return sorted((timestamp, step, repr(value)) for value, timestamp, step in found)


def runs(store: Any) -> list[Run]:
    """Return all runs of a store, deleted ones too."""
    experiments = [item.experiment_id for item in store.search_experiments(ViewType.ALL, max_results=1000)]
    return [run for number in experiments for run in store.search_runs([number], view_type=ViewType.ALL)]


def copies(store: Any) -> dict[str, str]:
    """Return the ids of the copies in a store by the ids of the originals; no run has two."""
    found: dict[str, str] = {}
    for run in runs(store):
        for tag in run.data.tags:
            if tag.key == SOURCE_RUN:
                assert tag.value not in found, "a run has two copies"
                found[tag.value] = run.info.run_id
    return found


def files(repository: ArtifactRepository, folder: str = "") -> dict[str, bytes]:
    """Return the content of all files below a folder."""
    found: dict[str, bytes] = {}
    for info in repository.list_folder(folder):
        path = f"{folder}/{info.path}" if folder else info.path
        if info.is_dir:
            found |= files(repository, path)
        else:
            with repository.open(path) as stored:
                found[path] = stored.stream.read()
    return found
