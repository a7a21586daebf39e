"""The write-ahead log is moved into the database outside of the writes."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import create_engine, event

from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.sql.engine.checkpoints import Checkpoints
from mistk_service.tracking.values import Metric
from tests.service.harness import wait_until

#: More commits than the log is left alone for.
MANY = 300

PAGE = 4096


@pytest.fixture
def file(tmp_path):
    return tmp_path / "store.db"


def write(store, run_id, count):
    for step in range(count):
        store.log_batch(run_id, [Metric(f"m{i}", float(step), step, step) for i in range(20)])


def test_what_was_committed_gets_into_the_file_while_the_store_is_open(file):
    with SqlStore.open(str(file)) as store:
        run_id = store.create_run("0").info.run_id
        before = file.stat().st_size
        write(store, run_id, MANY)
        wait_until(lambda: file.stat().st_size > before + 200 * 20 * 10)
        assert len(store.get_metric_history(run_id, "m0")) == MANY


class Writing:
    """The lock for writing, which tells whether it is held.

    Attributes:
        held: whether it is.
    """

    def __init__(self):
        self.held = False

    def __enter__(self):
        self.held = True

    def __exit__(self, *_):
        self.held = False


@pytest.mark.parametrize(
    ("pages", "has_reader", "held"), [(5000, True, [False, True]), (5000, False, [False]), (20, True, [False])]
)
def test_writes_wait_only_for_the_last_pages_of_a_log_that_is_long(file, pages, has_reader, held):
    engine = create_engine(f"sqlite:///{file}")
    writing = Writing()
    found = []

    def look(connection, cursor, statement, *_):
        if "checkpoint" in statement:
            found.append(writing.held)

    event.listen(engine, "before_cursor_execute", look)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer, closing(sqlite3.connect(file)) as reader:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("CREATE TABLE pieces (data)")
        if has_reader:
            # Of what is written from here on nothing can be moved, as long as the transaction is open.
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM pieces").fetchall()
        writer.execute("INSERT INTO pieces VALUES (zeroblob(?))", (pages * PAGE,))
        checkpoints = Checkpoints(engine, writing)
        for _ in range(MANY):
            checkpoints.committed()
        checkpoints.close()
        reader.rollback()
    engine.dispose()
    assert found == held


def test_a_log_that_cannot_be_moved_is_reported_and_costs_no_write(file, caplog):
    def fail(connection, cursor, statement, parameters, *_):
        return ("SELECT nothing" if "checkpoint" in statement else statement), parameters

    with SqlStore.open(str(file)) as store:
        event.listen(store.database.engine, "before_cursor_execute", fail, retval=True)
        run_id = store.create_run("0").info.run_id
        write(store, run_id, MANY)
        wait_until(lambda: "The write-ahead log could not be moved" in caplog.text)
        assert len(store.get_metric_history(run_id, "m0")) == MANY
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (20 * MANY,)
