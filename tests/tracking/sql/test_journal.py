"""The journal: a row for every change, in the same transaction, until every remote has it."""

import math
import os
import signal
from typing import Any

import pytest

from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound, StoreUnavailable
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.sql.outbox.journal import SqlJournal
from mistk_service.tracking.store.outbox import Lease
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    LifecycleStage,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    RunStatus,
    Tag,
)
from mistk_service.tracking.values.changes import (
    ArtifactLogged,
    BatchLogged,
    InputsLogged,
    OutputsLogged,
    RunCreated,
    RunMoved,
    RunUpdated,
    TagDeleted,
    VersionCreated,
    decode,
    encode,
)
from tests.support.full_disk import Disk
from tests.support.preloaded import python

NEAR, FAR = "http://near", "http://far"
USE = DatasetInput(Dataset("points", "abc"), (Tag("mlflow.data.context", "training"),))


@pytest.fixture
def journal(store):
    store.journal.configure([NEAR])
    return store.journal


def changes(journal, name=NEAR):
    return [entry.change for entry in journal.read(journal.ledger(name).number)]


def test_nothing_is_kept_where_there_is_no_remote(store):
    run_id = store.create_run("0").info.run_id
    store.log_metric(run_id, Metric("m", 1.0, 1))
    store.artifact_logged(run_id, "a")
    store.journal.configure([NEAR])
    assert changes(store.journal) == []


def test_every_write_to_a_run_makes_a_row_in_order(store, journal, new_run):
    run_id = store.create_run("0").info.run_id
    store.log_batch(run_id, [Metric("m", 0.5, 7, -1)], [Param("p", "1")], [Tag("t", "x"), Tag("t", "y")])
    store.submit_batch(run_id, tags=[Tag("u", "z")]).result()
    store.update_run(run_id, RunStatus.FINISHED, 9)
    store.update_run(run_id, run_name="other")
    store.delete_tag(run_id, "u")
    store.log_inputs(run_id, [USE], [ModelInput("m-1")])
    store.log_outputs(run_id, [ModelOutput("m-2", 3)])
    store.artifact_logged(run_id, "model/weights")
    store.create_registered_model("model")
    store.create_model_version("model", "s3://bucket/elsewhere", run_id)
    store.create_model_version("model", "s3://bucket/elsewhere")
    store.delete_run(run_id)
    store.restore_run(run_id)
    assert changes(journal) == [
        RunCreated(),
        BatchLogged([("m", 0.5, 7, -1)], [("p", "1")], [("t", "y")]),
        BatchLogged([], [], [("u", "z")]),
        RunUpdated("FINISHED", 9, None),
        RunUpdated(None, None, "other"),
        TagDeleted("u"),
        InputsLogged([USE], [ModelInput("m-1")]),
        OutputsLogged([ModelOutput("m-2", 3)]),
        ArtifactLogged("model/weights"),
        VersionCreated("model", "1"),
        RunMoved(LifecycleStage.DELETED),
        RunMoved(LifecycleStage.ACTIVE),
    ]
    assert {entry.run_id for entry in journal.read(journal.ledger(NEAR).number)} == {run_id}


def test_values_that_json_does_not_have_are_kept():
    points = [("m", value, 1, 2) for value in (math.nan, math.inf, -math.inf, 5e-324)]
    found = decode(encode(BatchLogged(points, [], [])))
    assert repr(found) == repr(BatchLogged(points, [], []))


def test_what_was_stored_is_what_is_kept_and_not_what_was_asked_for(store, journal):
    run_id = store.create_run("0").info.run_id
    store.log_batch(run_id, params=[Param("p", "x" * 7000)])
    assert changes(journal)[1] == BatchLogged([], [("p", "x" * 6000)], [])


@pytest.mark.parametrize(
    "write",
    [
        lambda store, run_id: store.log_batch(run_id, [Metric("m", 1.0, 1)], [Param("p", "other")]),
        lambda store, run_id: store.delete_tag(run_id, "absent"),
        lambda store, run_id: store.log_metric("absent", Metric("m", 1.0, 1)),
        lambda store, run_id: store.create_run("77"),
        lambda store, run_id: store.create_model_version("absent", "s3://x", run_id),
        lambda store, run_id: store.delete_run("absent"),
    ],
)
def test_a_refused_write_makes_no_row(store, journal, write):
    run_id = store.create_run("0").info.run_id
    store.log_param(run_id, Param("p", "1"))
    before = changes(journal)
    with pytest.raises((InvalidParameter, ResourceNotFound)):
        write(store, run_id)
    assert changes(journal) == before


def test_a_row_goes_when_the_last_remote_has_it(store):
    journal = store.journal
    journal.configure([NEAR, FAR])
    store.create_run("0")
    store.create_run("0")
    near, far = journal.ledger(NEAR), journal.ledger(FAR)
    first, second = journal.read(near.number)
    journal.acknowledge(near.number, second.seq)
    assert journal.read(near.number) == []
    assert journal.read(far.number) == [first, second]
    journal.acknowledge(far.number, first.seq)
    assert journal.read(far.number) == [second]
    assert (journal.backlog(near.number).depth, journal.backlog(far.number).depth) == (0, 1)
    journal.acknowledge(far.number, second.seq)
    assert journal.backlog(far.number).oldest is None
    assert rows_of(store) == 0


def rows_of(store):
    with store.database.read() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM journal").scalar()


def test_an_acknowledgement_never_goes_back(store, journal):
    ledger = journal.ledger(NEAR)
    store.create_run("0")
    store.create_run("0")
    first, second = journal.read(ledger.number)
    journal.acknowledge(ledger.number, second.seq)
    journal.acknowledge(ledger.number, first.seq)
    assert journal.read(ledger.number) == []


def test_a_number_is_not_given_out_again_when_the_journal_was_empty(tmp_path):
    seen = []
    for _ in range(3):
        with SqlStore.open(str(tmp_path / "store.db")) as store:
            store.journal.configure([NEAR])
            ledger = store.journal.ledger(NEAR)
            store.create_run("0")
            (entry,) = store.journal.read(ledger.number)
            store.journal.acknowledge(ledger.number, entry.seq)
            assert store.journal.last() == entry.seq
            seen.append(entry.seq)
    assert seen == sorted(set(seen))


def test_the_same_rows_are_read_until_they_are_acknowledged(store, journal):
    run_id = store.create_run("0").info.run_id
    ledger = journal.ledger(NEAR)
    before = journal.read(ledger.number)
    store.log_metric(run_id, Metric("m", 1.0, 1))
    after = journal.read(ledger.number)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


def test_a_window_ends_before_it_is_too_big_for_the_memory(store, journal):
    journal = SqlJournal(store.database, window_bytes=10_000)
    run_id = store.create_run("0").info.run_id
    ledger = journal.ledger(NEAR)
    journal.acknowledge(ledger.number, journal.last())
    for i in range(4):
        store.log_param(run_id, Param(f"p{i}", "x" * 4000))
    store.log_inputs(run_id, [DatasetInput(Dataset("d", "1", profile="x" * 50_000))])
    sizes = []
    while entries := journal.read(ledger.number):
        sizes.append(len(entries))
        journal.acknowledge(ledger.number, entries[-1].seq)
    assert sizes == [2, 2, 1]


def test_a_remote_that_is_left_out_keeps_no_rows_but_the_names_of_its_runs(store, journal):
    done = store.create_run("0").info.run_id
    ledger = journal.ledger(NEAR)
    ledger.map(done, "r1")
    ledger.complete(done, 1, 1)
    journal.acknowledge(ledger.number, journal.last())
    undone = store.create_run("0").info.run_id
    journal.configure([FAR])
    assert rows_of(store) == 0
    assert ledger.incomplete() == [undone]
    store.log_metric(done, Metric("m", 1.0, 1))
    journal.configure([NEAR])
    assert changes(journal) == []
    # Nobody knows what it missed, so it is not complete any more, and not to be brought over before it changes either.
    assert not ledger.find(done).complete
    assert ledger.find(done).remote_run_id == "r1"
    assert ledger.incomplete() == [undone]


def test_without_remotes_nothing_is_kept_any_more(store, journal):
    run_id = store.create_run("0").info.run_id
    journal.configure([])
    assert rows_of(store) == 0
    store.log_metric(run_id, Metric("m", 1.0, 1))
    assert rows_of(store) == 0
    assert journal.ledger(NEAR).incomplete() == [run_id]


def test_a_store_that_is_opened_again_keeps_rows(shared_uri):
    with SqlStore.open(shared_uri) as store:
        store.journal.configure([NEAR])
    with SqlStore.open(shared_uri) as store:
        store.create_run("0")
        assert changes(store.journal) == [RunCreated()]


def test_refusals_of_a_kind_are_counted_together(store, journal):
    ledger = journal.ledger(NEAR)
    ledger.refuse("r", "metric loss", "no")
    ledger.refuse("r", "metric loss", "still no", 4)
    ledger.refuse("s", "param p", "never")
    found = {(refusal.run_id, refusal.what, refusal.reason, refusal.items) for refusal in ledger.refusals()}
    assert found == {("r", "metric loss", "still no", 5), ("s", "param p", "never", 1)}
    assert journal.remote(ledger.number).refused == 6
    ledger.clear_refusals("r")
    assert journal.remote(ledger.number).refused == 1


def test_one_at_a_time_holds_the_lease(shared_uri):
    with SqlStore.open(shared_uri) as one, SqlStore.open(shared_uri) as other:
        with one.journal.lease(1) as first, one.journal.lease(1) as second, other.journal.lease(1) as third:
            assert [bool(lease) for lease in (first, second, third)] == [True, False, False]
            with other.journal.lease(2) as elsewhere:
                assert elsewhere
        with other.journal.lease(1) as later:
            assert later is Lease.ACQUIRED


TAKE = """
import sys
from mistk_service.tracking import open_store
store = open_store(sys.argv[1])
with store.journal.lease(1) as free:
    print(bool(free), flush=True)
    sys.stdin.read()
"""


def test_the_lease_of_a_process_that_was_killed_is_free(shared_uri):
    with SqlStore.open(shared_uri) as store:
        with python("-c", TAKE, shared_uri) as process:
            assert process.stdout.readline() == "True\n"
            with store.journal.lease(1) as free:
                assert not free
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        # PostgreSQL notices the end of a connection a moment later.
        taken = False
        while not taken:
            with store.journal.lease(1) as lease:
                taken = bool(lease)


WRITE = """
import sys
from mistk_service.tracking import open_store
from mistk_service.tracking.values import Metric
store = open_store(sys.argv[1])
for step in range(int(sys.argv[3])):
    batch = store.submit_batch(sys.argv[2], [Metric(f"m{sys.argv[4]}", float(step), step, i) for i in range(3)])
    if step % 7 == 0:
        batch.result()
    print(step, flush=True)
batch.result()
"""


def start_writer(uri, run_id, count, name):
    return python("-c", WRITE, uri, run_id, str(count), str(name))


@pytest.mark.parametrize("after", [1, 30, 211])
def test_a_kill_in_the_middle_leaves_the_data_and_the_row_or_neither(shared_uri, after):
    with SqlStore.open(shared_uri) as store:
        store.journal.configure([NEAR])
        run_id = store.create_run("0").info.run_id
    with start_writer(shared_uri, run_id, 100_000, 0) as process:
        for _ in range(after):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.read()
    with SqlStore.open(shared_uri) as store:
        kept: list[Any] = []
        ledger = store.journal.ledger(NEAR)
        while entries := store.journal.read(ledger.number):
            kept += [point for e in entries if isinstance(e.change, BatchLogged) for point in e.change.points]
            store.journal.acknowledge(ledger.number, entries[-1].seq)
        stored = [(m.key, m.value, m.timestamp, m.step) for m in store.get_metric_history(run_id, "m0")]
    assert sorted(kept) == sorted(stored)


def test_what_processes_write_at_once_is_read_without_a_gap(shared_uri):
    writers, count = 3, 60
    with SqlStore.open(shared_uri) as store:
        store.journal.configure([NEAR])
        run_id = store.create_run("0").info.run_id
        processes = [start_writer(shared_uri, run_id, count, name) for name in range(writers)]
        ledger = store.journal.ledger(NEAR)
        kept: list[Any] = []

        def take():
            # Each window is acknowledged at once, so a row that appears behind it would be lost.
            entries = store.journal.read(ledger.number)
            kept.extend(point for e in entries if isinstance(e.change, BatchLogged) for point in e.change.points)
            if entries:
                store.journal.acknowledge(ledger.number, entries[-1].seq)
            return bool(entries)

        while any(process.returncode is None for process in processes):
            take()
        while take():
            pass
        for process in processes:
            process.communicate()
            assert process.returncode == 0
    assert len(kept) == writers * count * 3 == len(set(kept))


def test_a_row_is_not_read_before_one_that_has_a_smaller_number_and_is_not_committed(postgres_database):
    import psycopg

    with SqlStore.open(postgres_database, lock_timeout=0.3) as store, psycopg.connect(postgres_database) as other:
        store.journal.configure([NEAR])
        other.execute("INSERT INTO journal (run_id, created, change) VALUES ('r', 1, %s)", [encode(RunCreated())])
        run_id = store.create_run("0").info.run_id
        ledger = store.journal.ledger(NEAR)
        with pytest.raises(StoreUnavailable, match="locked"):
            store.journal.read(ledger.number)
        other.commit()
        assert [entry.run_id for entry in store.journal.read(ledger.number)] == ["r", run_id]


def write_until_full(store, run_id):
    """Return how many points were written."""
    for stored in range(10_000):
        try:
            store.log_metric(run_id, Metric("m", float(stored), stored))
        except StoreUnavailable:
            return stored
    raise AssertionError("the disk has no end")


def test_where_the_disk_is_full_there_is_neither_the_data_nor_the_row(tmp_path):
    with SqlStore.open(str(tmp_path / "store.db")) as store:
        store.journal.configure([NEAR])
        run_id = store.create_run("0").info.run_id
        disk = Disk(store)
        disk.leave(3)
        stored = write_until_full(store, run_id)
        disk.clear()
        kept = [change for change in changes(store.journal) if isinstance(change, BatchLogged)]
        assert len(kept) == stored == len(store.get_metric_history(run_id, "m"))
        assert stored > 0
