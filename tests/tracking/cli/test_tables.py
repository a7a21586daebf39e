"""Runs as tables for a terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from mistk_service.tracking import open_store
from mistk_service.tracking.cli.formatting import run_tables, runs_table
from mistk_service.tracking.values import RunStatus


@pytest.mark.parametrize("status", list(RunStatus))
def test_a_run_that_continues_has_not_taken_the_time_until_it_ended_before(status: RunStatus) -> None:
    console = Console(width=300, record=True, quiet=False)
    with open_store("sqlite://") as store, console.capture() as capture:
        experiment = store.get_experiment(store.create_experiment("mine"))
        run_id = store.create_run(experiment.experiment_id, start_time=1_000).info.run_id
        store.update_run(run_id, status, 62_000)
        run = store.get_run(run_id)
        console.print(runs_table([run], {}, 300), *run_tables(run, experiment))

    has_ended = status not in (RunStatus.RUNNING, RunStatus.SCHEDULED)
    assert capture.get().count("0:01:01") == (2 if has_ended else 0)
