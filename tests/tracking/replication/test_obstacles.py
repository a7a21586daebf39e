"""Items that fail every time are postponed or set aside, and block no others."""

import pytest

from mistk_service.tracking.errors import (
    AnswerLost,
    PermissionDenied,
    StoreUnavailable,
)
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    Metric,
    Param,
    RunStatus,
    Tag,
)
from tests.support.copies import files
from tests.support.refusing import refusals, refuse
from tests.support.stand_in import Abilities

USE = DatasetInput(Dataset("points", "abc", "local", "here", "{}", "{}"), (Tag("mlflow.data.context", "training"),))


def test_a_run_that_brings_the_server_down_every_time_is_put_off_and_the_others_continue(world):
    poisoned, other = world.run(), world.run()
    world.deliver()
    there, accept = world.copy(poisoned), world.remote.store.log_batch

    def log_batch(run_id, *arguments):
        if run_id == there:
            raise AnswerLost("answered 500")
        accept(run_id, *arguments)

    world.remote.store.log_batch = log_batch
    world.local.log_metric(poisoned, Metric("m", 1.0, 1))
    world.local.log_metric(other, Metric("m", 1.0, 1))
    tries = 0
    while world.replicator.step() or world.replicator.state().depth:
        tries += 1
        world.clock.now += 100
    assert tries >= 15
    world.assert_same(other)
    assert refusals(world) == {("the whole run", 1)}
    # The server was mended.
    world.remote.store.log_batch = accept
    world.local.log_metric(poisoned, Metric("m", 2.0, 2))
    world.deliver()
    world.assert_same(poisoned)
    assert refusals(world) == set()


def failing_at(world, monkeypatch, poison):
    """Let the remote fail at each batch with something that is ``poison``."""
    accept = world.remote.store.log_batch

    def log_batch(run_id, metrics=(), params=(), tags=()):
        if any(map(poison, [*metrics, *params, *tags])):
            raise AnswerLost("answered 500")
        accept(run_id, metrics, params, tags)

    monkeypatch.setattr(world.remote.store, "log_batch", log_batch)


def outlast(world):
    """Let time pass until everything is delivered, or put off."""
    for _ in range(100):
        if not world.replicator.step() and not world.replicator.state().depth:
            return
        world.clock.now += 100
    raise AssertionError(world.replicator.state())


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("repeats", [True, False])
def test_a_single_item_that_the_server_fails_at_every_time_is_set_aside_and_the_rest_arrives(
    world, monkeypatch, known, repeats
):
    world.remote.capabilities = Abilities(stores_repeats_once=repeats)
    run_id = world.run()
    if known:
        world.deliver()
    failing_at(world, monkeypatch, lambda item: item.key == "poison")
    points = [Metric("m", float(step), 1, step) for step in range(50)]
    world.local.log_batch(run_id, [*points, Metric("poison", 1.0, 1)], [Param("p", "1")], [Tag("t", "1")])
    world.put(run_id, "file", b"content")
    world.local.update_run(run_id, RunStatus.FINISHED, 5)
    outlast(world)
    assert refusals(world) == {("metric poison", 1)}
    there = world.remote.store.get_run(world.copy(run_id))
    assert there.info.status is RunStatus.FINISHED
    assert [metric.key for metric in there.data.metrics] == ["m"]
    assert len(world.remote.store.get_metric_history(world.copy(run_id), "m").items) == 50
    assert {(param.key, param.value) for param in there.data.params} == {("p", "1")}
    assert files(world.remote.artifacts)


def test_a_file_that_cannot_be_read_any_more_holds_up_nothing_else(world, monkeypatch):
    run_id = world.run()
    world.deliver()
    world.put(run_id, "bad", b"x")
    world.put(run_id, "good", b"y")
    read = world.artifacts.open

    def cannot_read(path):
        if path.endswith("bad"):
            raise StoreUnavailable("The artifact storage cannot do this now: Input/output error.")
        return read(path)

    monkeypatch.setattr(world.artifacts, "open", cannot_read)
    outlast(world)
    assert refusals(world) == {("artifact bad", 1)}
    assert list(files(world.remote.artifacts).values()) == [b"y"]


def test_a_run_that_may_not_be_written_to_holds_up_no_other(world, monkeypatch):
    refused, other = world.run(), world.run()
    world.deliver()
    there, accept = world.copy(refused), world.remote.store.log_batch

    def log_batch(run_id, *arguments, **options):
        if run_id == there:
            raise PermissionDenied("not this experiment")
        accept(run_id, *arguments, **options)

    monkeypatch.setattr(world.remote.store, "log_batch", log_batch)
    world.local.log_metric(refused, Metric("m", 1.0, 1))
    world.local.log_metric(other, Metric("m", 1.0, 1))
    outlast(world)
    world.assert_same(other)
    assert refusals(world) == {("the whole run", 1)}
    # What follows does not wait as long for it.
    world.local.log_metric(refused, Metric("m", 2.0, 2))
    world.local.log_metric(other, Metric("m", 2.0, 2))
    world.deliver()
    world.assert_same(other)


def test_a_server_that_can_be_read_and_takes_nothing_has_nothing_put_off(world):
    run_id, other = world.run(), world.run()
    world.deliver()
    world.local.log_metric(run_id, Metric("m", 1.0, 1))
    world.local.log_metric(other, Metric("m", 1.0, 1))
    refuse(world, "log_batch", error=AnswerLost("the server's disk is full"))
    for _ in range(40):
        world.replicator.step()
        world.clock.now += 100
    assert (world.replicator.state().depth, refusals(world)) == (2, set())
    world.remote.before = lambda name: None
    world.deliver()
    world.assert_same(run_id, other)


def test_a_mistake_that_comes_back_at_one_run_holds_up_no_other(world, monkeypatch):
    run_id, other = world.run(), world.run()
    world.deliver()
    here = world.local.get_run

    def get_run(wanted):
        if wanted == run_id:
            raise ValueError("a mistake")
        return here(wanted)

    monkeypatch.setattr(world.local, "get_run", get_run)
    world.put(run_id, "file", b"x")
    world.local.log_metric(other, Metric("m", 1.0, 1))
    outlast(world)
    world.assert_same(other)
    assert refusals(world) == {("the whole run", 1)}


def test_failures_with_successes_between_them_have_nothing_put_off(world):
    run_id = world.run()
    world.deliver()
    for step in range(10):
        world.local.log_metric(run_id, Metric("m", 1.0, step))
        refuse(world, "log_batch", error=AnswerLost("no answer"))
        world.replicator.step()
        assert world.replicator.state().depth == 1
        world.remote.before = lambda name: None
        world.clock.now += 100
        world.deliver()
    assert refusals(world) == set()


def test_a_server_that_answers_nothing_at_all_has_nothing_put_off(world):
    run_id = world.run()
    world.deliver()
    world.local.log_metric(run_id, Metric("m", 1.0, 1))
    refuse(world, "log_batch", "get_experiment_by_name", error=AnswerLost("no answer"))
    for _ in range(20):
        world.replicator.step()
        world.clock.now += 100
    assert (world.replicator.state().depth, refusals(world)) == (1, set())
    world.remote.before = lambda name: None
    world.deliver()
    world.assert_same(run_id)
