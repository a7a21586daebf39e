"""Reads that never block."""

import asyncio
import threading

import httpx
import pytest

from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.errors import ResourceNotFound, StoreUnavailable
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Metric, Tag


@pytest.fixture
def file_store(tmp_path):
    with SqlStore.open(str(tmp_path / "store.db"), lock_timeout=0.2) as opened:
        yield opened


def lock_timeout_of(store):
    with store.database.read() as connection:
        return connection.exec_driver_sql("PRAGMA busy_timeout").scalar()


def test_a_read_at_once_sees_what_was_just_written_and_fails_as_any_other(file_store):
    run_id = file_store.create_run("0").info.run_id
    for step in range(3):
        file_store.log_metric(run_id, Metric("m", float(step), 1, step))
        with file_store.non_blocking():
            assert file_store.get_run(run_id).data.metrics == (Metric("m", float(step), 1, step),)
    with pytest.raises(ResourceNotFound), file_store.non_blocking():
        file_store.get_run("unknown")
    with file_store.non_blocking():
        assert file_store.get_run(run_id).info.run_id == run_id


def test_only_reads_at_once_do_not_wait_for_locks(file_store):
    with file_store.non_blocking():
        assert lock_timeout_of(file_store) == 0
        others = []
        thread = threading.Thread(target=lambda: others.append(lock_timeout_of(file_store)))
        thread.start()
        thread.join(30)
        assert others == [200]
    assert lock_timeout_of(file_store) == 200


def test_a_thread_does_not_wait_for_another_that_reads_without_blocking(file_store):
    refused = []

    def read():
        try:
            with file_store.non_blocking():
                pass
        except StoreUnavailable as error:
            refused.append(error)

    with file_store.non_blocking():
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(30)
    assert len(refused) == 1
    with file_store.non_blocking():
        assert file_store.get_experiment("0").name == "Default"


@pytest.mark.parametrize("store_uri", ["sqlite memory", "postgresql"], indirect=True)
def test_where_reading_always_means_waiting_there_is_no_reading_without_blocking(store):
    with pytest.raises(StoreUnavailable), store.non_blocking():
        pass


@pytest.mark.parametrize("name", ["", "store.db"], ids=["memory", "file"])
def test_the_server_answers_the_same_where_a_run_can_be_read_at_once_and_where_not(tmp_path, name):
    uri = f"sqlite:///{tmp_path}/{name}" if name else "sqlite://"
    with open_store(uri) as store:
        run_id = store.create_run("0", run_name="r").info.run_id
        app = create_tracking_app(store, open_artifacts(tmp_path / "artifacts"))

        async def ask(query):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
                return await client.get("/api/2.0/mlflow/runs/get", params=query)

        found, missing = (asyncio.run(ask({"run_id": wanted})) for wanted in (run_id, "0" * 32))
    assert found.status_code == 200
    assert found.json()["run"]["info"]["run_name"] == "r"
    assert missing.status_code == 404
    assert missing.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_runs_that_are_submitted_together_are_all_made(store, experiment):
    with store.database.write_lock:
        futures = [store.submit_run(experiment, run_name=f"r{i}") for i in range(5)]
        missing = store.submit_run("999")
    runs = [future.result(30) for future in futures]
    assert [run.info.run_name for run in runs] == [f"r{i}" for i in range(5)]
    assert all(store.get_run(run.info.run_id) == run for run in runs)
    with pytest.raises(ResourceNotFound):
        missing.result(30)


def test_what_has_many_rows_is_not_read_without_blocking(file_store):
    run_id = file_store.create_run("0").info.run_id
    experiment_id = file_store.create_experiment("with many tags", tags=[Tag(f"t{n}", "v") for n in range(600)])
    file_store.log_batch(run_id, [Metric(f"m{n}", 1.0, 1) for n in range(600)])
    with pytest.raises(StoreUnavailable, match="rows"), file_store.non_blocking():
        file_store.get_run(run_id)
    with pytest.raises(StoreUnavailable, match="rows"), file_store.non_blocking():
        file_store.get_experiment(experiment_id)
    assert len(file_store.get_run(run_id).data.metrics) == 600
    assert len(file_store.get_experiment(experiment_id).tags) == 600
    with file_store.non_blocking():
        assert file_store.get_experiment("0").name == "Default"
    file_store.log_metric(run_id, Metric("m0", 2.0, 2))  # nothing is left open
