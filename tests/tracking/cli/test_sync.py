"""Copying runs by hand: all, selected, repeatedly, and while a replicator runs."""

import time
from typing import Any

import pytest

from mistk_service.tracking.cli.sync_command import SyncCommand, parse_time
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound, StoreUnavailable
from mistk_service.tracking.replication.remote import SOURCE_RUN
from mistk_service.tracking.replication.sync import sync
from mistk_service.tracking.values import Dataset, DatasetInput, Metric, Param, RunStatus, Tag
from tests.support.copies import copies, files
from tests.support.stand_in import Abilities
from tests.tracking.replication.conftest import NAME, World


@pytest.fixture
def world(tmp_path):
    """A store that was never forwarded."""
    world = World(tmp_path)
    world.local.journal.configure([])
    yield world
    world.close()


def call(world, **options):
    return sync(world.local, world.remote, NAME, artifacts=world.artifacts, **options)


@pytest.fixture
def run_ids(world):
    """Three runs with all that a run can have."""
    made = [world.run(run_name=f"run {i}", start_time=i, user_id="me") for i in range(3)]
    for i, run_id in enumerate(made):
        world.local.log_batch(run_id, [Metric("m", float(step), step, step) for step in range(900)], [Param("p", "1")])
        world.local.log_inputs(run_id, [DatasetInput(Dataset("d", "1"))])
        world.put(run_id, "folder/file", b"content")
        world.local.update_run(run_id, RunStatus.FINISHED, 1000 * (i + 1))
    world.local.delete_run(made[2])
    return made


@pytest.mark.parametrize("once", [True, False])
def test_everything_is_brought_over_and_again_changes_nothing(world, run_ids, once):
    world.remote.capabilities = Abilities(stores_repeats_once=once)
    report = call(world)
    assert (report.runs, report.left_out, report.refusals) == (3, 0, ())
    world.assert_same(*run_ids)
    assert list(files(world.remote.artifacts).values()) == [b"content"] * 3
    world.remote.calls.clear()
    assert call(world) == report
    assert set(world.remote.names()) <= {"get_run", "get_metric_history", "search_model_versions"}
    world.assert_same(*run_ids)


def test_what_has_changed_since_is_brought_over_the_next_time(world, run_ids):
    call(world)
    world.local.log_batch(run_ids[0], [Metric("m", -1.0, 1, 1), Metric("n", 1.0, 1)], tags=[Tag("t", "1")])
    world.put(run_ids[0], "folder/other", b"more")
    late = world.run()
    world.remote.calls.clear()
    call(world)
    world.assert_same(*run_ids, late)
    sent = [point for name, arguments in world.remote.calls if name == "log_batch" for point in arguments[1]]
    assert len(sent) == 2
    assert world.remote.names().count("create") == 1


def test_a_store_whose_memory_of_the_remote_is_gone_finds_its_runs_by_their_tag(world, run_ids):
    call(world)
    ledger = world.local.journal.ledger(NAME)
    for run_id in run_ids:
        ledger.forget(run_id)
    world.remote.calls.clear()
    call(world)
    assert copies(world.remote.store).keys() == set(run_ids)
    assert {"create_run", "create"}.isdisjoint(world.remote.names())


def test_after_an_interruption_the_next_call_continues(world, run_ids):
    left = iter(range(2))

    def after(name):
        if name == "log_batch" and next(left, None) is None:
            raise StoreUnavailable("away")

    world.remote.capabilities = Abilities(stores_repeats_once=False)
    world.remote.after = after
    with pytest.raises(StoreUnavailable):
        call(world)
    world.remote.after = lambda name: None
    call(world)
    world.assert_same(*run_ids)
    assert set(world.remote.received.values()) == {1}


def test_experiments_are_chosen_by_name_or_id(world, run_ids):
    named = world.local.create_experiment("named")
    inside = world.local.create_run(named).info.run_id
    call(world, experiments=["named"])
    assert copies(world.remote.store).keys() == {inside}
    call(world, experiments=[world.experiment])
    assert copies(world.remote.store).keys() == {inside, *run_ids}
    with pytest.raises(ResourceNotFound):
        call(world, experiments=["nothing of that name"])


def test_runs_that_had_ended_before_are_left_out(world, run_ids):
    running = world.run()
    call(world, since=2000)
    assert copies(world.remote.store).keys() == {run_ids[1], run_ids[2], running}


def test_what_came_from_the_remote_stays_there_as_it_is(world):
    there = world.remote.store.create_run("0").info.run_id
    world.run(tags=[Tag(SOURCE_RUN, there)])
    report = call(world)
    assert (report.runs, report.left_out) == (0, 1)
    assert copies(world.remote.store) == {}


def test_a_run_that_is_gone_from_the_remote_is_made_again(world, run_ids):
    call(world)
    # Another server at the same address, which has nothing.
    world.remote = world.another_remote("fresh")
    call(world)
    # The third is deleted, here as there, which is all there is to say of it.
    world.assert_same(*run_ids[:2])
    assert list(files(world.remote.artifacts).values()) == [b"content"] * 2


def test_a_replicator_before_beside_and_after_it_makes_nothing_twice(world):
    world.remote.capabilities = Abilities(stores_repeats_once=False)
    world.local.journal.configure([NAME])
    run_id = world.run()
    world.deliver()
    for step in range(10):
        world.local.log_metric(run_id, Metric("m", float(step), step, step))
        world.put(run_id, f"file{step}", b"x")
        if step % 3 == 0:
            call(world)
        if step % 4 == 0:
            world.replicator.step()
    world.deliver()
    call(world)
    world.assert_same(run_id)
    assert set(world.remote.received.values()) == {1}
    assert len(files(world.remote.artifacts)) == 10


def test_a_replicator_does_not_send_again_what_an_interrupted_sync_has_sent(world):
    world.remote.capabilities = Abilities(stores_repeats_once=False)
    world.local.journal.configure([NAME])
    run_id = world.run()
    world.deliver()
    world.local.log_metric(run_id, Metric("m", 1.0, 1))

    def after(name):
        if name == "log_batch":
            raise StoreUnavailable("away")

    world.remote.after = after
    with pytest.raises(StoreUnavailable):
        call(world)
    world.remote.after = lambda name: None
    world.deliver()
    world.assert_same(run_id)
    assert set(world.remote.received.values()) == {1}


def test_it_waits_for_the_lease_while_another_process_delivers(world, run_ids):
    ledger = world.local.journal.ledger(NAME)
    lease = world.local.journal.lease(ledger.number)
    assert lease.__enter__()
    waits = []

    def wait(seconds):
        assert world.remote.calls == []
        waits.append(seconds)
        lease.__exit__(None, None, None)

    call(world, wait=wait)
    assert len(waits) == 1
    world.assert_same(*run_ids)


class Stopped(KeyboardInterrupt):
    """The user has seen enough."""


def test_watching_continues_over_an_outage_and_looks_only_at_what_is_new(world, run_ids):
    told: list[Any] = []
    now = 1_000_000.0
    rounds = iter(["away", "back", "new", "end"])
    looked = []

    def wait(seconds):
        match next(rounds):
            case "away":
                assert seconds == 10
                world.remote.before = fail
            case "back":
                assert "away" in told[-1]
                world.remote.before = note
                run_ids.append(world.run())
            case "new":
                world.local.update_run(run_ids[-1], RunStatus.FINISHED, int(now * 1000))
            case "end":
                raise Stopped

    def fail(name):
        raise StoreUnavailable("the server is away.")

    def note(name):
        looked.append(name)

    syncing = SyncCommand(
        world.local, NAME, None, (), None, told.append,
        open_remote=lambda uri: world.remote, wait=wait, now=lambda: now,
    )  # fmt: skip
    run_ids.append(world.run())
    syncing.watch()
    world.assert_same(*run_ids)
    assert told[0].startswith("Artifacts are left out")
    assert told[-1] == "Stopped."
    # The three that ended long ago were looked at in the first round only.
    assert looked.count("get_metric_history") == 0


def told_by(world, artifacts=None):
    told: list[Any] = []
    complete = SyncCommand(
        world.local, NAME, artifacts, (), None, told.append, open_remote=lambda uri: world.remote
    ).once()
    assert complete == (not any(" refused" in line for line in told))
    return told


def test_the_closing_sentence_is_about_what_is_there(world):
    assert told_by(world)[-1] == f"There are no runs to copy to {NAME}. Artifacts were left out."
    world.run()
    assert told_by(world)[-1] == f"1 run is up to date at {NAME}. Artifacts were left out."
    world.run()
    artifacts = str(world.artifacts.uri)
    assert told_by(world, artifacts) == [f"2 runs are up to date at {NAME}."]
    there = world.remote.store.create_run("0").info.run_id
    world.run(tags=[Tag(SOURCE_RUN, there)])
    assert told_by(world, artifacts) == [f"2 runs are up to date at {NAME}. 1 run came from there and was not copied."]


def test_what_is_refused_is_not_counted_as_there(world):
    artifacts = str(world.artifacts.uri)
    world.run()
    run_id = world.run()
    world.local.log_batch(run_id, [Metric("m", float(step), step, step) for step in range(2)])

    def refuse(*names):
        def before(name):
            if name in names:
                raise InvalidParameter("too odd")

        world.remote.before = before

    refuse("log_batch")
    closing, *refusals = told_by(world, artifacts)
    assert closing == f"1 run is up to date at {NAME}. 1 run is incomplete there."
    assert all(f" of run {run_id}: too odd" in line for line in refusals)
    assert len(refusals) >= 1
    refuse("get_run")
    closing, *refusals = told_by(world, artifacts)
    assert closing == f"No run is up to date at {NAME}. 2 runs were refused."
    assert [line.partition(": ")[2] for line in refusals] == ["too odd"] * 2
    assert all(line.startswith("  refused, run ") for line in refusals)
    refuse()
    assert told_by(world, artifacts) == [f"2 runs are up to date at {NAME}."]
    world.assert_same(run_id)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7200), ("7d", 604_800)])
def test_a_time_ago_is_a_moment(text, seconds):
    before = time.time()
    found = parse_time(text) / 1000 + seconds
    assert before - 0.01 <= found <= time.time() + 0.01


def test_a_time_ago_is_at_the_earliest_the_beginning_of_1970():
    assert parse_time("9999999999999d") == 0


def test_a_date_is_a_moment_and_something_else_is_refused():
    assert parse_time("2026-11-21T09:30:00+00:00") == 1_795_253_400_000
    assert parse_time("2026-11-21T00:00") == parse_time("2026-11-21")
    with pytest.raises(ValueError, match="not a time"):
        parse_time("yesterday")
