"""The write-ahead log is moved into the database aside from the writes."""

import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest

from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.sql.engine import checkpoints
from mistk_service.tracking.values import Metric


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_EVERY", 10)
    return tmp_path / "store.db"


def write(store, run_id, key, count):
    for step in range(count):
        store.log_batch(run_id, [Metric(f"{key}{i}", float(step), step, step) for i in range(20)])


def settle(store):
    """Let the thread do what it has been asked for, and end."""
    checkpoints = store.database._checkpoints
    assert checkpoints is not None
    checkpoints.close()


def test_what_was_committed_gets_into_the_file_while_the_store_is_open(file):
    with SqlStore.open(str(file)) as store:
        run_id = store.create_run("0").info.run_id
        before = file.stat().st_size
        write(store, run_id, "m", 50)
        # It ends when it has done what it was asked for.
        settle(store)
        assert file.stat().st_size > before + 50 * 20 * 10
        assert len(store.get_metric_history(run_id, "m0")) == 50


@pytest.mark.parametrize(
    ("pages", "moved", "held"), [(5000, 4900, [False, True]), (5000, 5000, [False]), (20, 10, [False])]
)
def test_writes_wait_only_for_the_last_pages_of_a_log_that_is_long(file, monkeypatch, pages, moved, held):
    found: list[Any] = []
    written = threading.Event()

    def checkpoint(connection):
        # The lock can be taken again by who has it, so another thread has to try.
        def look():
            free = lock.acquire(blocking=False)
            if free:
                lock.release()
            found.append(not free)

        assert written.wait(30)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(30)
        return pages, moved

    monkeypatch.setattr(checkpoints, "_checkpoint", checkpoint)
    with SqlStore.open(str(file)) as store:
        lock = store.database.write_lock
        run_id = store.create_run("0").info.run_id
        write(store, run_id, "m", 9)
        written.set()
        settle(store)
    assert found == held


def test_a_log_that_cannot_be_moved_is_told_and_costs_no_write(file, monkeypatch, caplog):
    def fail(connection):
        connection.exec_driver_sql("SELECT nothing")

    monkeypatch.setattr(checkpoints, "_checkpoint", fail)
    with SqlStore.open(str(file)) as store:
        run_id = store.create_run("0").info.run_id
        write(store, run_id, "m", 25)
        settle(store)
        assert "The write-ahead log could not be moved" in caplog.text
        assert len(store.get_metric_history(run_id, "m0")) == 25
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (500,)
