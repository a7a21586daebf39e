"""Acknowledged writes survive crashes of the process and failures of the disk and the database."""

import json
import os
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import event, text

from mistk_service.tracking import open_store
from mistk_service.tracking.errors import InvalidParameter, ResourceExists, StoreUnavailable
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Metric, Param, Tag
from tests.support.full_disk import Disk
from tests.support.preloaded import python, run_python

#: Many processes write here.
pytestmark = pytest.mark.timeout(200)

WRITE = """
import sys
from mistk_service.tracking import open_store
from mistk_service.tracking.values import Metric, Param, Tag
uri, run_id, worker, count = *sys.argv[1:4], int(sys.argv[4])
with open_store(uri) as store:
    own = store.create_run(store.get_run(run_id).info.experiment_id, run_name=worker).info.run_id
    for step in range(count):
        store.log_batch(
            run_id,
            [Metric(f"m{worker}", float(step), step, step), Metric("shared", float(worker), step, step)],
            [Param(f"p{worker}.{step}", "x"), Param("same", "x")],
            [Tag("last", worker)],
        )
        store.log_metric(own, Metric("m", float(step), step))
    print(store.create_model_version("model", "s3://x").version)
"""


def test_eight_processes_that_write_at_once_lose_nothing(shared_uri):
    workers, count = 8, 25
    with open_store(shared_uri) as store:
        run_id = store.create_run("0").info.run_id
        store.create_registered_model("model")
    processes = [python("-c", WRITE, shared_uri, run_id, str(worker), str(count)) for worker in range(workers)]
    answers = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * workers, answers
    # Each got a number of its own.
    assert sorted(int(out) for out, _ in answers) == list(range(1, workers + 1))
    with open_store(shared_uri) as store:
        for worker in range(workers):
            steps = [m.step for m in store.get_metric_history(run_id, f"m{worker}")]
            assert steps == list(range(count))
        assert len(store.get_metric_history(run_id, "shared")) == workers * count
        data = store.get_run(run_id).data
        assert len(data.params) == workers * count + 1
        # The latest point is the greatest, whoever wrote last.
        assert {m.key: m.value for m in data.metrics}["shared"] == workers - 1.0
        for run in store.search_runs(["0"], "run_name != 'x'"):
            if run.info.run_id != run_id:
                assert run.data.metrics == (Metric("m", count - 1.0, count - 1),)


ACKNOWLEDGE = """
import sys, threading
from mistk_service.tracking import open_store
from mistk_service.tracking.values import Metric
store = open_store(sys.argv[1])
lock = threading.Lock()
def say(line):
    with lock:
        sys.stdout.write(line + "\\n")
        sys.stdout.flush()
def write(run_id, worker):
    step = 0
    while True:
        if step % 2:
            store.log_batch(run_id, [Metric(f"m{worker}", float(step), step, step)])
        else:
            store.submit_batch(run_id, [Metric(f"m{worker}", float(step), step, step)]).result()
        say(f"{worker} {step}")
        step += 1
for worker in range(4):
    threading.Thread(target=write, args=(sys.argv[2], worker), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("after", [5, 200, 1001])
def test_a_kill_in_the_middle_of_writes_keeps_every_acknowledged_metric(shared_uri, after):
    with open_store(shared_uri) as store:
        run_id = store.create_run("0").info.run_id
    with python("-c", ACKNOWLEDGE, shared_uri, run_id) as process:
        lines = [process.stdout.readline() for _ in range(after)]
        os.kill(process.pid, signal.SIGKILL)
        # The same reader as before, since it may hold what it has read ahead.
        rest = process.stdout.read()
    # What was cut off in the middle of a line was not told to anybody.
    lines += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    acknowledged = {tuple(map(int, line.split())) for line in lines}
    assert len(acknowledged) >= after
    with open_store(shared_uri) as store:
        stored = {
            (worker, point.step) for worker in range(4) for point in store.get_metric_history(run_id, f"m{worker}")
        }
        latest = {metric.key: metric.step for metric in store.get_run(run_id).data.metrics}
        store.log_metric(run_id, Metric("after", 1.0, 1))
    assert acknowledged <= stored
    # Not more than the one that each thread was about to be told of.
    assert len(stored) <= len(acknowledged) + 4
    # A thread that was killed before its first point has none.
    expected: dict[str, int] = {}
    for worker, step in stored:
        expected[f"m{worker}"] = max(step, expected.get(f"m{worker}", step))
    assert latest == expected


@pytest.fixture
def file_store(tmp_path):
    with SqlStore.open(str(tmp_path / "store.db"), lock_timeout=0.2) as opened:
        yield opened


def test_a_full_disk_is_reported_loses_nothing_and_is_recovered_from(file_store):
    run_id = file_store.create_run("0").info.run_id
    file_store.log_metric(run_id, Metric("m", 1.0, 0))
    disk = Disk(file_store)
    disk.leave(2)
    acknowledged = 0
    try:
        while True:
            file_store.log_batch(
                run_id,
                [Metric(f"m{acknowledged}", float(i), i) for i in range(200)],
                tags=[Tag(f"t{acknowledged}", "x" * 8000)],
            )
            acknowledged += 1
    except StoreUnavailable as error:
        assert "full" in str(error)  # noqa: PT017  # how often it goes well before is not known
    data = file_store.get_run(run_id).data
    assert [m.key for m in data.metrics] == ["m", *(f"m{i}" for i in range(acknowledged))]
    assert len(data.tags) == 1 + acknowledged
    # A small write that still fits goes on, and so does everything once there is space again.
    disk.clear()
    file_store.log_batch(run_id, [Metric("after", 1.0, 1)], tags=[Tag("after", "x" * 8000)])
    assert {m.key for m in file_store.get_run(run_id).data.metrics} >= {"m", "after"}


def test_a_full_disk_fails_the_writes_of_a_group_that_do_not_fit_and_no_others(file_store):
    run_id = file_store.create_run("0").info.run_id
    Disk(file_store).leave(12)
    with file_store.database.write_lock:
        small = [file_store.submit_batch(run_id, [Metric("m", float(i), i)]) for i in range(3)]
        big = file_store.submit_batch(run_id, tags=[Tag(f"t{i}", "x" * 8000) for i in range(50)])
        late = [file_store.submit_batch(run_id, [Metric("n", float(i), i)]) for i in range(3)]
    with pytest.raises(StoreUnavailable, match="full"):
        big.result(30)
    assert [future.result(30) for future in small + late] == [None] * 6
    assert len(file_store.get_metric_history(run_id, "m")) == len(file_store.get_metric_history(run_id, "n")) == 3
    assert len(file_store.get_run(run_id).data.tags) == 1


def test_a_locked_database_is_reported_and_is_recovered_from(file_store, tmp_path):
    run_id = file_store.create_run("0").info.run_id
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked") as caught:
            file_store.log_metric(run_id, Metric("m", 1.0, 1))
        assert caught.value.retry_after
        futures = [file_store.submit_batch(run_id, [Metric("m", 1.0, i)]) for i in range(3)]
        for future in futures:
            with pytest.raises(StoreUnavailable, match="locked"):
                future.result(30)
        # Reading does not wait for whoever writes.
        assert file_store.get_run(run_id).data.metrics == ()
        other.execute("ROLLBACK")
    file_store.log_metric(run_id, Metric("m", 2.0, 1))
    assert file_store.get_run(run_id).data.metrics == (Metric("m", 2.0, 1),)


def test_a_connection_that_broke_between_two_writes_is_replaced(postgres_database):
    with SqlStore.open(postgres_database) as store:
        run_id = store.create_run("0").info.run_id
        with store.database.engine.connect() as connection:
            others = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid != pg_backend_pid()"
            )
            connection.execute(text(others))
        store.log_metric(run_id, Metric("m", 1.0, 1))
        assert store.get_run(run_id).data.metrics == (Metric("m", 1.0, 1),)


def test_a_connection_that_breaks_in_a_write_is_reported_and_is_replaced(postgres_database):
    with SqlStore.open(postgres_database) as store:
        run_id = store.create_run("0").info.run_id
        broken: list[Any] = []

        @event.listens_for(store.database.engine, "after_cursor_execute")
        def cut(connection, cursor, statement, *_):
            if statement.startswith("INSERT INTO metrics") and not broken:
                broken.append(statement)
                connection.connection.driver_connection.close()

        with pytest.raises(StoreUnavailable):
            store.log_metric(run_id, Metric("m", 1.0, 1))
        assert store.get_run(run_id).data.metrics == ()
        store.log_metric(run_id, Metric("m", 2.0, 1))
        assert store.get_run(run_id).data.metrics == (Metric("m", 2.0, 1),)


RENAME = """
import sys
from mistk_service.tracking import open_store
from mistk_service.tracking.errors import ResourceExists
with open_store(sys.argv[1]) as store:
    number = store.create_experiment(sys.argv[2])
    store.create_registered_model(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    for call in (
        lambda: store.rename_experiment(number, "same"),
        lambda: store.rename_registered_model(sys.argv[2], "same"),
        lambda: store.create_experiment("new"),
        lambda: store.create_registered_model("new"),
    ):
        try:
            call()
            print("did it")
        except ResourceExists:
            print("is taken")
"""


def test_of_processes_that_want_one_name_each_learns_whether_it_got_it(shared_uri):
    processes = [python("-c", RENAME, shared_uri, f"e{i}") for i in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate() for process in processes]
    outcomes = [out.splitlines() for out, _ in answers]
    assert [len(outcome) for outcome in outcomes] == [4] * 4, answers
    for column in zip(*outcomes, strict=True):
        assert sorted(column) == ["did it"] + ["is taken"] * 3


@pytest.mark.parametrize("store_uri", ["sqlite file", "sqlite memory", "postgresql"], indirect=True)
def test_writes_that_wait_together_share_a_transaction_and_one_that_fails_fails_alone(store, experiment):
    run_id = store.create_run(experiment).info.run_id
    store.log_param(run_id, Param("p", "1"))
    begun = []

    @event.listens_for(store.database.engine, "after_cursor_execute")
    def count(connection, cursor, statement, *_):
        if statement.startswith("BEGIN"):
            begun.append(statement)

    # As long as the writer's lock is taken, writes wait.
    with store.database.write_lock:
        good = [store.submit_batch(run_id, [Metric("m", float(i), i)]) for i in range(20)]
        bad = store.submit_batch(run_id, [Metric("bad", 1.0, 1)], [Param("p", "2")])
        more = [store.submit_batch(run_id, [Metric("m", float(i), i)]) for i in range(20, 40)]
    with pytest.raises(InvalidParameter, match="Changing param values"):
        bad.result(30)
    for future in good + more:
        future.result(30)
    assert len(begun) == 1
    assert len(store.get_metric_history(run_id, "m")) == 40
    assert len(store.get_metric_history(run_id, "bad")) == 0


def test_threads_that_write_at_once_lose_nothing(store, experiment):
    run_id = store.create_run(experiment).info.run_id
    failures = []

    def write(worker: int) -> None:
        try:
            for step in range(40):
                store.log_metric(run_id, Metric(f"m{worker}", float(step), step, step))
                store.get_run(run_id)
            store.create_experiment("only one of them")
        except ResourceExists:
            failures.append(worker)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(150)
    assert len(failures) == 7
    for worker in range(8):
        assert [m.step for m in store.get_metric_history(run_id, f"m{worker}")] == list(range(40))


def test_closing_finishes_what_was_submitted(shared_uri):
    store = open_store(shared_uri)
    run_id = store.create_run("0").info.run_id
    futures = [store.submit_batch(run_id, [Metric("m", float(i), i)]) for i in range(300)]
    store.close()
    store.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(StoreUnavailable, match="closed"):
        store.log_metric(run_id, Metric("m", 1.0, 1))
    with open_store(shared_uri) as again:
        assert len(again.get_metric_history(run_id, "m")) == 300


DISK = """
import json, resource, signal, sys
from mistk_service.tracking import open_store
from mistk_service.tracking.values import Metric
from mistk_service.tracking.errors import StoreUnavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_store(sys.argv[1])
run_id = store.create_run("0").info.run_id
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
told, acknowledged = 0, 0
for i in range(200):
    try:
        store.log_batch(run_id, [Metric(f"m{i}", float(j), j, j) for j in range(500)])
    except StoreUnavailable:
        told += 1
        if told == 3:
            break
    else:
        acknowledged += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.log_batch(run_id, [Metric("after", 1.0, 1)])
found = len(store.get_run(run_id).data.metrics)
store.close()
print(json.dumps([told, acknowledged, found, run_id]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit on Windows")
def test_a_file_that_cannot_grow_is_reported_loses_nothing_and_is_recovered_from(tmp_path):
    uri = str(tmp_path / "store.db")
    told, acknowledged, found, run_id = json.loads(run_python("-c", DISK, uri))
    assert told == 3
    assert found == acknowledged + 1 > 1
    with open_store(uri) as store:
        for i in range(acknowledged):
            assert len(store.get_metric_history(run_id, f"m{i}")) == 500
