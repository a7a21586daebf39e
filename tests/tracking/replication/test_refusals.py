"""Refused items are found, recorded with the reason, and block no others."""

import pytest

from mistk_service.tracking.errors import (
    InvalidParameter,
    NotSupported,
    ResourceNotFound,
)
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    LifecycleStage,
    Metric,
    ModelOutput,
    Param,
    RunStatus,
    Tag,
)
from tests.support.copies import content, copies, files
from tests.support.refusing import refusals, refuse, refuse_items

USE = DatasetInput(Dataset("points", "abc", "local", "here", "{}", "{}"), (Tag("mlflow.data.context", "training"),))


def test_the_one_bad_item_is_found_set_aside_and_holds_up_nothing(world):
    run_id = world.run()
    world.deliver()
    refuse_items(world, {"bad"})
    world.local.log_batch(
        run_id,
        [*(Metric(f"m{i}", 1.0, 1) for i in range(300)), Metric("bad", 1.0, 1)],
        [Param("good", "1")],
        [Tag("fine", "1")],
    )
    world.local.update_run(run_id, RunStatus.FINISHED, 5)
    world.remote.calls.clear()
    world.deliver()
    assert refusals(world) == {("metric bad", 1)}
    # Halving finds one among 303 in about twice as many requests as it has binary digits.
    assert world.remote.names().count("log_batch") < 25
    local, copy = content(world.local, run_id), content(world.remote.store, world.copy(run_id))
    assert copy == {**local, "metrics": {key: local["metrics"][key] for key in local["metrics"] if key != "bad"}}
    ledger = world.local.journal.ledger("http://remote")
    assert "bad is not acceptable" in ledger.refusals()[0].reason
    assert world.replicator.state().refused == 1


def test_several_bad_items_of_all_kinds_are_set_aside_each_by_its_name(world):
    run_id = world.run()
    world.deliver()
    refuse_items(world, {"bm", "bp", "bt"})
    for step in range(3):
        world.local.log_batch(run_id, [Metric("bm", 1.0, step), Metric("m", 1.0, step)])
    world.local.log_batch(run_id, params=[Param("bp", "1"), Param("p", "1")], tags=[Tag("bt", "1"), Tag("t", "1")])
    world.deliver()
    assert refusals(world) == {("metric bm", 3), ("param bp", 1), ("tag bt", 1)}
    copy = content(world.remote.store, world.copy(run_id))
    assert (copy["params"], copy["tags"]["t"], len(copy["metrics"]["m"])) == ({"p": "1"}, "1", 3)


def test_a_run_with_a_bad_item_from_before_its_creation_arrives_without_it(world):
    refuse_items(world, {"bad"})
    run_id = world.run(tags=[Tag("ok", "1")])
    world.local.log_batch(run_id, [Metric("bad", 1.0, 1), Metric("m", 1.0, 1)])
    world.deliver()
    assert refusals(world) == {("metric bad", 1)}
    assert list(content(world.remote.store, world.copy(run_id))["metrics"]) == ["m"]


@pytest.mark.parametrize(
    ("call", "write", "what"),
    [
        ("update_run", lambda store, run_id: store.update_run(run_id, RunStatus.FINISHED, 1), "status"),
        ("log_inputs", lambda store, run_id: store.log_inputs(run_id, [USE]), "inputs"),
        ("log_outputs", lambda store, run_id: store.log_outputs(run_id, [ModelOutput("m-1")]), "outputs"),
        ("delete_tag", lambda store, run_id: store.delete_tag(run_id, "there"), "deletion of tag there"),
        ("restore_run", lambda store, run_id: store.restore_run(run_id), "restoring"),
    ],
)
def test_a_refused_call_is_set_aside_and_the_next_change_is_delivered(world, call, write, what):
    run_id = world.run(tags=[Tag("there", "1")])
    world.deliver()
    refuse(world, call, error=NotSupported("no such thing here"))
    write(world.local, run_id)
    world.local.log_metric(run_id, Metric("after", 1.0, 1))
    world.deliver()
    assert refusals(world) == {(what, 1)}
    assert "after" in content(world.remote.store, world.copy(run_id))["metrics"]


def test_a_refused_file_is_set_aside_and_the_others_arrive(world):
    run_id = world.run()
    world.deliver()
    refuse(world, "create", error=InvalidParameter("too large"))
    world.put(run_id, "large", b"x")
    world.deliver()
    assert refusals(world) == {("artifact large", 1)}
    world.remote.before = lambda name: None
    world.put(run_id, "small", b"y")
    world.deliver()
    assert [path.rpartition("/")[2] for path in files(world.remote.artifacts)] == ["small"]


def test_a_run_that_is_gone_from_the_remote_is_set_aside_and_the_others_continue(world):
    gone, other = world.run(), world.run()
    world.deliver()
    known = world.copy(gone)
    get_run, log_batch = world.remote.store.get_run, world.remote.store.log_batch

    def without(method):
        def call(run_id, *arguments, **options):
            if run_id == known:
                raise ResourceNotFound("no such run")
            return method(run_id, *arguments, **options)

        return call

    world.remote.store.get_run, world.remote.store.log_batch = without(get_run), without(log_batch)
    for step in range(50):
        world.local.log_metric(gone, Metric("m", 1.0, step))
        world.local.log_metric(other, Metric("m", 1.0, step))
    world.remote.calls.clear()
    world.deliver()
    assert refusals(world) == {("the whole run", 50)}
    # It is not taken apart point by point.
    assert len(world.remote.calls) < 6
    world.assert_same(other)


def test_a_run_that_somebody_deleted_there_is_set_aside(world):
    run_id = world.run()
    world.deliver()
    world.remote.store.delete_run(world.copy(run_id))
    world.local.log_metric(run_id, Metric("m", 1.0, 1))
    world.deliver()
    assert refusals(world) == {("the whole run", 1)}
    assert world.remote.store.get_run(world.copy(run_id)).info.lifecycle_stage is LifecycleStage.DELETED
    # When somebody has restored it, it gets what it has missed.
    world.remote.store.restore_run(world.copy(run_id))
    world.local.log_metric(run_id, Metric("m", 2.0, 2))
    world.deliver()
    world.assert_same(run_id)
    assert refusals(world) == set()


def test_an_experiment_that_is_deleted_there_is_named_as_the_reason(world):
    there = world.remote.store.create_experiment("an experiment")
    world.remote.store.delete_experiment(there)
    world.run()
    world.deliver()
    (refusal,) = world.local.journal.ledger("http://remote").refusals()
    assert "'an experiment' is deleted there" in refusal.reason
    # When somebody has mended it, the next start brings the run over.
    world.remote.store.restore_experiment(there)
    world.restart()
    world.deliver()
    assert len(copies(world.remote.store)) == 1
    assert refusals(world) == set()
