"""The attempts, the delays and the state of a replicator, and several replicators."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from mistk_service.deadline import Deadline
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.errors import AnswerLost, PermissionDenied, StoreError, StoreUnavailable
from mistk_service.tracking.replication import Backoff, RemoteState, ReplicationService, remote_name
from mistk_service.tracking.replication.replicator import Replicator
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Metric, RunStatus
from tests.support.copies import content, copies
from tests.support.stand_in import Abilities, StandIn

LIMIT = 30


class Unauthenticated(StoreError):
    error_code = "UNAUTHENTICATED"


def fail(world, error):
    def before(name):
        raise error

    world.remote.before = before


def mend(world):
    world.remote.before = lambda name: None


def test_waits_double_up_to_a_limit_and_begin_anew_after_a_success(world):
    world.run()
    fail(world, StoreUnavailable("away"))
    waits = []
    for _ in range(9):
        world.replicator.step()
        waits.append(world.replicator.state().retry_in)
        world.clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    mend(world)
    world.deliver()
    fail(world, StoreUnavailable("away"))
    world.run()
    world.replicator.step()
    assert world.replicator.state().retry_in == 1


def test_nothing_is_tried_before_the_wait_is_over(world):
    world.run()
    asked: list[Any] = []

    def before(name):
        asked.append(name)
        raise StoreUnavailable("away")

    world.remote.before = before
    world.replicator.step()
    world.clock.now += 0.999
    assert not world.replicator.step()
    assert len(asked) == 1
    world.clock.now += 0.002
    world.replicator.step()
    assert len(asked) == 2


def test_chance_shortens_a_wait_by_half_at_most():
    chance = iter([0.0, 1.0, 0.5])
    backoff = Backoff(lambda: next(chance), first=8.0, most=100.0)
    assert [backoff.next() for _ in range(3)] == [4.0, 16.0, 24.0]


def test_a_remote_that_says_when_to_come_again_is_not_asked_earlier(world):
    world.run()
    fail(world, StoreUnavailable("busy", retry_after=300.0))
    world.replicator.step()
    assert 300.0 <= world.replicator.state().retry_in <= 301.0
    mend(world)
    world.clock.now += 299
    world.replicator.step()
    assert world.replicator.state().depth == 1
    world.clock.now += 2
    world.deliver()


@pytest.mark.parametrize("error", [Unauthenticated("the token has expired"), PermissionDenied("not yours")])
def test_a_remote_that_does_not_believe_the_token_is_asked_again_and_nothing_is_set_aside(world, error):
    run_id = world.run()
    fail(world, error)
    for _ in range(3):
        world.replicator.step()
        world.clock.now += 100
    state = world.replicator.state()
    assert (state.connected, state.last_error, state.refused, state.depth) == (False, str(error), 0, 1)
    # The token was renewed.
    mend(world)
    world.deliver()
    world.assert_same(run_id)


def test_the_state_says_how_the_remote_stands(world):
    world.clock.now = 2_000_000_000.0
    assert world.replicator.state() == RemoteState("http://remote")
    run_id = world.run()
    fail(world, StoreUnavailable("away"))
    world.replicator.step()
    world.local.log_metric(run_id, Metric("m", 1.0, 1))
    world.replicator.step()
    state = world.replicator.state()
    assert (state.depth, state.connected, state.last_error, state.retry_in) == (2, False, "away", 1.0)
    waited = state.oldest_seconds
    world.clock.now += 10
    assert world.replicator.state().oldest_seconds == pytest.approx(waited + 10)
    mend(world)
    world.deliver()
    state = world.replicator.state()
    assert replace(state, last_success=None) == RemoteState("http://remote", connected=True)
    assert state.to_json() == {
        "remote": "http://remote", "depth": 0, "refused": 0, "connected": True, "last_success": state.last_success,
    }  # fmt: skip


def test_an_idle_replicator_asks_the_remote_once_and_only_then_says_that_it_is_connected(world):
    asked: list[Any] = []
    world.remote.before = asked.append
    assert not world.replicator.state().connected
    for _ in range(3):
        assert not world.replicator.step()
    assert world.replicator.state() == RemoteState("http://remote", connected=True)
    assert asked == ["check"]


def test_an_idle_replicator_tells_what_is_wrong_with_the_remote_and_asks_again_after_a_wait(world):
    fail(world, Unauthenticated("who is asking?"))
    waits = []
    for _ in range(3):
        world.replicator.step()
        state = world.replicator.state()
        assert (state.connected, state.last_error, state.depth) == (False, "who is asking?", 0)
        waits.append(state.retry_in)
        world.clock.now += state.retry_in
    assert waits == [1, 2, 4]
    mend(world)
    world.replicator.step()
    state = world.replicator.state()
    assert (state.connected, state.last_error) == (True, None)


def test_while_another_process_delivers_a_remote_that_has_not_answered_is_not_connected(world):
    ledger = world.local.journal.ledger("http://remote")
    with world.local.journal.lease(ledger.number):
        world.replicator.step()
    assert not world.replicator.state().connected
    world.replicator.step()
    assert world.replicator.state().connected


def forwarding_to_one_that_hangs(world):
    """Start forwarding to a remote that does not answer; return also when it has been asked, and what lets it answer."""
    asked, released = threading.Event(), threading.Event()

    def before(name):
        asked.set()
        released.wait()

    world.remote.before = before
    replication = ReplicationService(world.local, world.artifacts, ["http://remote"], open_remote=Opened(world.remote))
    replication.start()
    return replication, asked, released


def test_a_remote_that_does_not_answer_does_not_keep_the_end_waiting_when_there_is_nothing_to_deliver(world):
    replication, asked, released = forwarding_to_one_that_hangs(world)
    asked.wait()
    deadline = Deadline()
    replication.close(deadline)
    assert not released.is_set()
    assert not replication.states()[0].connected
    # It has not waited for the thread, which goes on now, and needs the store for that.
    (thread,) = deadline.overdue
    released.set()
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_an_error_is_remembered_for_other_processes_until_it_is_over(world):
    world.run()
    fail(world, StoreUnavailable("away"))
    world.replicator.step()
    assert [remote.last_error for remote in world.local.journal.remotes()] == ["away"]
    mend(world)
    world.clock.now += 10
    world.deliver()
    (remote,) = world.local.journal.remotes()
    assert remote.last_error is None
    assert remote.last_success is not None


def test_a_mistake_of_ours_is_logged_and_tried_again(world, caplog):
    run_id = world.run()
    fail(world, ZeroDivisionError("a mistake"))
    world.replicator.step()
    assert world.replicator.state().last_error == "a mistake"
    assert "ZeroDivisionError" in caplog.text
    mend(world)
    world.clock.now += 10
    world.deliver()
    world.assert_same(run_id)


def test_an_outage_is_logged_once_and_its_end_too(world, caplog):
    caplog.set_level("INFO")
    world.run()
    fail(world, StoreUnavailable("away"))
    for _ in range(5):
        world.replicator.step()
        world.clock.now += 100
    mend(world)
    world.deliver()
    assert caplog.text.count("away") == 1
    assert caplog.text.count("resumed") == 1


def test_while_another_process_delivers_this_one_leaves_it_alone(world):
    run_id = world.run()
    ledger = world.local.journal.ledger("http://remote")
    with world.local.journal.lease(ledger.number):
        assert not world.replicator.step()
        assert world.remote.calls == []
    world.deliver()
    world.assert_same(run_id)


def test_two_services_on_one_store_deliver_everything_once(world):
    other = world.forward_to("http://remote", world.remote)
    run_ids = [world.run() for _ in range(3)]
    for step in range(30):
        world.local.log_metric(run_ids[step % 3], Metric("m", 1.0, step))
        (other if step % 2 else world.replicator).step()
    world.deliver()
    world.assert_same(*run_ids)


def test_a_failing_remote_holds_up_no_other(world):
    far = world.another_remote("far")
    world.local.journal.configure(["http://remote", "http://far"])
    other = world.forward_to("http://far", far)
    fail(world, StoreUnavailable("away"))
    run_id = world.run()
    for step in range(10):
        world.local.log_metric(run_id, Metric("m", 1.0, step))
        world.replicator.step()
        other.step()
    assert content(far.store, copies(far.store)[run_id]) == content(world.local, run_id)
    assert (world.replicator.state().depth, other.state().depth) == (11, 0)
    mend(world)
    world.clock.now += 100
    world.deliver()
    world.assert_same(run_id)


def test_a_remote_that_is_added_later_gets_what_changes_from_then_on(world):
    before, both, after = world.run(), world.run(), None
    world.deliver()
    far = world.another_remote("far")
    world.local.journal.configure(["http://remote", "http://far"])
    after = world.run()
    world.local.log_metric(both, Metric("m", 1.0, 1))
    other = world.forward_to("http://far", far)
    while other.step():
        pass
    assert copies(far.store).keys() == {both, after}
    world.deliver()
    world.assert_same(before, both, after)


def test_a_remote_that_comes_back_gets_what_it_has_missed_of_runs_that_are_touched(world):
    touched, undelivered = world.run(), None
    world.deliver()
    undelivered = world.run()
    world.local.journal.configure([])
    world.local.log_metric(touched, Metric("m", 1.0, 1))
    world.local.journal.configure(["http://remote"])
    world.local.log_metric(touched, Metric("m", 2.0, 2))
    world.restart()
    world.deliver()
    world.assert_same(touched, undelivered)


def test_the_name_of_a_remote_bears_no_secret():
    assert remote_name("HTTPS://user:s3cret@Host.example:8443/api/v4/?token=s3cret#x") == (
        "https://host.example:8443/api/v4"
    )
    assert remote_name("sqlite:////data/runs.db") == "sqlite:////data/runs.db"


class Opened:
    """Counts how often a remote is opened, and knows with what."""

    def __init__(self, remote):
        self.remote = remote
        self.given = []

    def __call__(self, given):
        self.given.append(given)
        return self.remote


def wait_until(condition):
    """Wait for something that another thread does; the test's time limit ends the wait."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)


def test_replicators_deliver_by_themselves_and_stop_on_request(world):
    opened = Opened(world.remote)
    replication = ReplicationService(world.local, world.artifacts, ["http://user:s3cret@remote/"], open_remote=opened)
    replication.start()
    run_id = world.run()
    wait_until(lambda: world.remote.calls)
    world.local.update_run(run_id, RunStatus.FINISHED, 1)
    replication.close(Deadline(LIMIT))
    world.assert_same(run_id)
    (state,) = replication.states()
    assert (state.remote, state.depth, state.connected) == ("http://remote", 0, True)
    assert opened.given == ["http://user:s3cret@remote/"]


def test_what_is_written_last_is_delivered_before_the_end_even_after_an_outage(world):
    fail(world, StoreUnavailable("away"))
    replication = ReplicationService(
        world.local, world.artifacts, ["http://remote"], open_remote=Opened(world.remote),
        backoff=lambda: Backoff(lambda: 1.0, first=3600.0, most=3600.0),
    )  # fmt: skip
    replication.start()
    run_id = world.run()
    wait_until(lambda: replication.states()[0].last_error)
    mend(world)
    replication.close(Deadline(LIMIT))
    world.assert_same(run_id)


def test_what_remains_at_the_end_is_reported_and_delivered_after_the_next_start(world, caplog):
    fail(world, StoreUnavailable("away"))
    replication = ReplicationService(world.local, world.artifacts, ["http://remote"], open_remote=Opened(world.remote))
    replication.start()
    run_id = world.run()
    replication.close(Deadline(LIMIT))
    assert "1 changes remain to be forwarded to http://remote" in caplog.text
    mend(world)
    replication = ReplicationService(world.local, world.artifacts, ["http://remote"], open_remote=Opened(world.remote))
    replication.start()
    replication.close(Deadline(LIMIT))
    world.assert_same(run_id)


def test_a_remote_that_hangs_does_not_keep_the_end_waiting(world, caplog):
    replication, asked, released = forwarding_to_one_that_hangs(world)
    run_id = world.run()
    asked.wait()
    replication.close(Deadline(0.05))
    assert "1 changes remain" in caplog.text
    released.set()
    replication.close(Deadline(LIMIT))
    world.assert_same(run_id)


def test_a_remote_that_cannot_be_opened_is_tried_again(world):
    tries = iter([StoreUnavailable("no such host"), None])

    def open_remote(given):
        error = next(tries)
        if error is not None:
            raise error
        return world.remote

    replication = ReplicationService(
        world.local, world.artifacts, ["http://remote"], open_remote=open_remote,
        backoff=lambda: Backoff(lambda: 0.0, first=0.0),
    )  # fmt: skip
    replication.start()
    run_id = world.run()
    wait_until(lambda: replication.states()[0].connected)
    replication.close(Deadline(LIMIT))
    world.assert_same(run_id)


def test_what_another_process_has_sent_before_it_failed_is_not_sent_twice(tmp_path):
    uri = f"sqlite:///{tmp_path / 'store.db'}"
    with SqlStore.open(uri) as one, SqlStore.open(uri) as other, SqlStore.open("sqlite://") as far:
        remote: Any = StandIn(far, open_artifacts(tmp_path / "remote"))
        remote.capabilities = Abilities(stores_repeats_once=False)
        one.journal.configure(["http://remote"])
        first, second = (Replicator(store, None, "http://remote", lambda: remote) for store in (one, other))
        run_id = one.create_run(one.create_experiment("an experiment")).info.run_id
        first.step()
        one.log_metric(run_id, Metric("m", 1.0, 1))
        second.step()
        first.step()
        one.log_metric(run_id, Metric("m", 2.0, 2))

        def lose(name):
            if name == "log_batch":
                raise AnswerLost("the answer was lost")

        remote.after = lose
        second.step()
        remote.after = lambda name: None
        while first.step():
            pass

        assert first.state().depth == 0
        assert sorted(remote.received.values()) == [1, 1]
