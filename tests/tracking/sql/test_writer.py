"""The writer reports the outcome of every write to its caller, whatever fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, event

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.sql.engine.checkpoints import Checkpoints
from mistk_service.tracking.sql.engine.writer import Writer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(
        f"sqlite:///{tmp_path / 'numbers.db'}", isolation_level="AUTOCOMMIT", connect_args={"check_same_thread": False}
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (number INTEGER)")
    yield engine
    engine.dispose()


def insert(connection: Connection) -> None:
    connection.exec_driver_sql("INSERT INTO numbers VALUES (1)")


def count(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM numbers").scalar_one())


def test_a_group_that_an_unexpected_error_interrupts_fails_and_later_writes_succeed(engine: Engine) -> None:
    engine.dispose()
    failures = [OSError("too many open files")]

    @event.listens_for(engine, "connect")
    def fail_once(*_: object) -> None:
        if failures:
            raise failures.pop()

    lock = threading.RLock()
    writer = Writer(engine, "BEGIN IMMEDIATE", lock)
    with lock:  # both have to be in the queue before the writer begins
        submitted = [writer.submit(insert), writer.submit(insert)]
    for future in submitted:
        with pytest.raises(StoreUnavailable, match="too many open files"):
            future.result()
    assert count(engine) == 0
    writer.submit(insert).result()
    writer.run(insert)
    writer.close()
    assert count(engine) == 2


def test_a_group_that_fails_before_it_begins_fails_and_later_writes_succeed(engine: Engine) -> None:
    failures = [MemoryError("no room")]

    def check() -> None:
        if failures:
            raise failures.pop()

    writer = Writer(engine, "BEGIN IMMEDIATE", threading.RLock(), check=check)
    with pytest.raises(StoreUnavailable, match="no room"):
        writer.run(insert)
    assert count(engine) == 0
    writer.submit(insert).result()
    writer.close()
    assert count(engine) == 1


def test_a_thread_that_cannot_be_started_fails_only_the_write_that_needs_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(engine, "BEGIN IMMEDIATE", threading.RLock())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="new thread"):
            writer.submit(insert)
    writer.submit(insert).result()
    writer.close()
    assert count(engine) == 1


def test_a_commit_succeeds_although_no_thread_can_be_started_to_move_the_log(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.RLock()
    checkpoints = Checkpoints(engine, lock)
    writer = Writer(engine, "BEGIN IMMEDIATE", lock, checkpoints.committed)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(300):
            writer.run(insert)
    writer.close()
    checkpoints.close()
    assert count(engine) == 300


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
