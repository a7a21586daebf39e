"""The requests of a delivery, and their order."""

import math

import pytest

from mistk_service.tracking.errors import (
    AnswerLost,
    InvalidParameter,
    NotSupported,
    ResourceNotFound,
    StoreUnavailable,
)
from mistk_service.tracking.replication.model_senders import SOURCE_VERSION
from mistk_service.tracking.replication.remote import SOURCE_RUN
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
from tests.support.copies import content, copies, files
from tests.support.refusing import refusals, refuse, refuse_items
from tests.support.stand_in import Abilities

USE = DatasetInput(Dataset("points", "abc", "local", "here", "{}", "{}"), (Tag("mlflow.data.context", "training"),))


def test_everything_that_is_written_to_a_run_arrives(world):
    run_id = world.run(user_id="me", run_name="first", start_time=5, tags=[Tag("made", "with")])
    world.deliver()
    for step in range(5):
        world.local.log_batch(run_id, [Metric("loss", 1 / (step + 1), 10 + step, step)], tags=[Tag("step", str(step))])
    world.local.log_batch(
        run_id, [Metric("odd", value, 1, i) for i, value in enumerate([math.nan, math.inf, -math.inf])]
    )
    world.local.log_batch(run_id, params=[Param("rate", "0.1"), Param("long", "x" * 7000)])
    world.local.log_inputs(run_id, [USE], [ModelInput("m-1")])
    world.local.log_outputs(run_id, [ModelOutput("m-2", 3)])
    world.local.delete_tag(run_id, "made")
    world.put(run_id, "model/weights.bin", b"\0" * 3_000_000)
    world.put(run_id, "notes.txt", b"a note")
    world.local.update_run(run_id, RunStatus.FINISHED, 99, "renamed")
    world.deliver()
    world.assert_same(run_id)
    copy = world.remote.store.get_run(world.copy(run_id))
    root = copy.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    assert files(world.remote.artifacts, root) == {
        f"{root}/model/weights.bin": b"\0" * 3_000_000,
        f"{root}/notes.txt": b"a note",
    }
    there = world.remote.store.get_experiment(copy.info.experiment_id)
    assert there.name == "an experiment"


def test_a_run_that_exists_gets_one_request_for_many_small_writes(world):
    run_id = world.run()
    world.deliver()
    world.remote.calls.clear()
    for step in range(999):
        world.local.submit_batch(run_id, [Metric("loss", 1.0, step, step)])
    world.local.log_param(run_id, Param("p", "1"))
    world.deliver()
    assert world.remote.names() == ["log_batch"]
    world.assert_same(run_id)


def test_runs_that_are_written_to_in_turns_get_a_request_each(world):
    run_ids = [world.run() for _ in range(3)]
    world.deliver()
    world.remote.calls.clear()
    for step in range(20):
        for run_id in run_ids:
            world.local.log_metric(run_id, Metric("m", 1.0, step, step))
    world.deliver()
    assert world.remote.names() == ["log_batch"] * 3
    world.assert_same(*run_ids)


def test_changes_of_a_run_keep_their_order(world):
    run_id = world.run()
    world.deliver()
    world.remote.calls.clear()
    world.local.set_tag(run_id, Tag("t", "1"))
    world.local.delete_tag(run_id, "t")
    world.local.set_tag(run_id, Tag("t", "2"))
    world.local.update_run(run_id, RunStatus.FAILED, 1)
    world.local.update_run(run_id, RunStatus.RUNNING)
    world.local.delete_run(run_id)
    world.deliver()
    assert world.remote.names() == ["log_batch", "delete_tag", "log_batch", "update_run", "update_run", "delete_run"]
    world.assert_same(run_id)


def test_what_is_too_much_for_one_request_is_sent_in_several(world):
    run_id = world.run()
    world.deliver()
    world.remote.calls.clear()
    for start in range(0, 2500, 500):
        world.local.log_batch(run_id, [Metric("m", float(i), i, i) for i in range(start, start + 500)])
    for start in range(0, 250, 50):
        world.local.log_batch(run_id, params=[Param(f"p{i}", "x") for i in range(start, start + 50)])
    world.deliver()
    sizes = [(len(metrics), len(params)) for name, (_, metrics, params, _) in world.remote.calls]
    assert [sum(column) for column in zip(*sizes, strict=True)] == [2500, 250]
    assert all(metrics + params <= 1000 and params <= 100 for metrics, params in sizes)
    world.assert_same(run_id)


def test_the_experiment_is_found_by_its_name_and_made_with_its_tags_where_there_is_none(world):
    world.local.set_experiment_tag(world.experiment, Tag("team", "a"))
    first = world.run()
    world.deliver()
    copy = world.remote.store.get_run(world.copy(first))
    there = world.remote.store.get_experiment(copy.info.experiment_id)
    assert (there.name, there.tags) == ("an experiment", (Tag("team", "a"),))
    second = world.run()
    world.restart()
    world.deliver()
    assert world.remote.store.get_run(world.copy(second)).info.experiment_id == there.experiment_id


def test_a_child_names_the_copy_of_its_parent_whoever_comes_first(world):
    world.local.journal.configure([])
    parent = world.run(run_name="parent")
    world.local.journal.configure(["http://remote"])
    child = world.run(tags=[Tag("mlflow.parentRunId", parent)])
    late = world.run()
    world.deliver()
    world.local.set_tag(late, Tag("mlflow.parentRunId", child))
    world.deliver()
    found = copies(world.remote.store)

    def parent_of(run_id):
        tags = {tag.key: tag.value for tag in world.remote.store.get_run(found[run_id]).data.tags}
        return tags["mlflow.parentRunId"]

    assert parent_of(child) == found[parent]
    assert parent_of(late) == found[child]


def test_runs_that_are_each_others_parents_come_to_an_end(world):
    one = world.run()
    other = world.run(tags=[Tag("mlflow.parentRunId", one)])
    world.local.set_tag(one, Tag("mlflow.parentRunId", other))
    itself = world.run()
    world.local.set_tag(itself, Tag("mlflow.parentRunId", itself))
    orphan = world.run(tags=[Tag("mlflow.parentRunId", "nobody")])
    world.deliver()
    assert copies(world.remote.store).keys() == {one, other, itself, orphan}


def test_a_version_of_a_model_names_the_copy_of_its_run_and_is_made_once(world):
    run_id = world.run()
    root = world.local.get_run(run_id).info.artifact_uri
    world.local.create_registered_model("digits", [Tag("kind", "test")], "of numbers")
    world.remote.store.create_registered_model("other")
    world.local.create_model_version("digits", f"{root}/model", run_id, [Tag("v", "1")], description="the first")
    world.deliver()
    world.local.create_model_version("digits", f"runs:/{run_id}/model", run_id)
    world.deliver()
    world.local.journal.ledger("http://remote").map(run_id, world.copy(run_id))
    world.restart()
    world.deliver()
    copy = world.remote.store.get_run(world.copy(run_id))
    found = world.remote.store.search_model_versions("name = 'digits'", order_by=["version_number ASC"]).items
    assert [(item.source, item.run_id, item.description) for item in found] == [
        (f"{copy.info.artifact_uri}/model", copy.info.run_id, "the first"),
        (f"runs:/{copy.info.run_id}/model", copy.info.run_id, ""),
    ]
    assert found[0].tags == (Tag(SOURCE_VERSION, "1"), Tag("v", "1"))
    model = world.remote.store.get_registered_model("digits")
    assert (model.description, model.tags) == ("of numbers", (Tag("kind", "test"),))


def test_a_run_from_before_the_remote_is_brought_over_whole_when_it_changes(world):
    world.local.journal.configure([])
    old, untouched = world.run(run_name="old"), world.run()
    world.local.log_batch(old, [Metric("m", float(i), i, i) for i in range(999)], [Param("p", "1")])
    world.put(old, "a/b.txt", b"before")
    world.local.log_inputs(old, [USE])
    world.local.journal.configure(["http://remote"])
    world.local.log_metric(old, Metric("m", -1.0, 1))
    world.deliver()
    world.assert_same(old)
    assert copies(world.remote.store).keys() == {old}
    assert b"before" in files(world.remote.artifacts).values()
    assert untouched not in copies(world.remote.store)


def test_a_run_that_was_deleted_before_it_was_ever_delivered_arrives_deleted(world):
    run_id = world.run()
    world.local.log_metric(run_id, Metric("m", 1.0, 1))
    world.local.delete_run(run_id)
    world.deliver()
    world.assert_same(run_id)
    world.local.restore_run(run_id)
    world.deliver()
    world.assert_same(run_id)


@pytest.mark.parametrize("lives_again", [True, False])
def test_where_deleted_runs_are_gone_for_good_nothing_is_refused_and_a_restored_one_is_made_anew(world, lives_again):
    run_id = world.run(tags=[Tag("t", "1")])
    world.deliver()
    first, get_run = world.copy(run_id), world.remote.store.get_run

    def get_living_run(there):
        run = get_run(there)
        if run.info.lifecycle_stage is LifecycleStage.DELETED:
            raise ResourceNotFound("no such run")
        return run

    world.remote.store.get_run = get_living_run
    world.local.log_metric(run_id, Metric("m", 1.0, 1))
    world.local.delete_tag(run_id, "t")
    world.local.delete_run(run_id)
    if lives_again:
        world.local.restore_run(run_id)
        world.local.log_metric(run_id, Metric("m", 2.0, 2))

    def after(name):
        if name == "delete_run":
            world.remote.after = lambda name: None
            raise AnswerLost("the answer was lost")

    world.remote.after = after
    world.replicator.step()
    # A search there does not find it any more.
    with world.remote.store.database.read() as connection:
        connection.exec_driver_sql(f"DELETE FROM run_tags WHERE key = '{SOURCE_RUN}'")
    world.clock.now += 100
    world.deliver()
    assert refusals(world) == set()
    if lives_again:
        assert world.copy(run_id) != first
        world.assert_same(run_id)
    else:
        assert get_run(first).info.lifecycle_stage is LifecycleStage.DELETED


def test_a_copy_of_one_of_our_runs_is_not_forwarded(world):
    original = world.run()
    world.run(tags=[Tag(SOURCE_RUN, original)])
    world.deliver()
    assert copies(world.remote.store).keys() == {original}
    assert len(world.remote.store.search_runs([world.experiment]).items) == 1


def test_a_run_that_came_from_the_remote_does_not_go_back(world):
    there = world.remote.store.create_run("0").info.run_id
    here = world.run(tags=[Tag(SOURCE_RUN, there)])
    world.local.log_metric(here, Metric("m", 1.0, 1))
    child = world.run(tags=[Tag("mlflow.parentRunId", here)])
    world.deliver()
    assert copies(world.remote.store).keys() == {child}
    tags = {tag.key: tag.value for tag in world.remote.store.get_run(world.copy(child)).data.tags}
    assert tags["mlflow.parentRunId"] == there
    assert world.remote.store.get_run(there).data.metrics == ()


def test_a_run_that_came_from_elsewhere_is_forwarded_as_our_own(world):
    run_id = world.run(tags=[Tag(SOURCE_RUN, "0123456789abcdef0123456789abcdef")])
    world.deliver()
    assert copies(world.remote.store).keys() == {run_id}


def test_a_tag_that_creation_does_not_take_costs_the_run_nothing_but_that_tag(world):
    create_run = world.remote.store.create_run

    def picky(experiment_id, user_id="", run_name="", start_time=0, tags=()):
        if any(tag.key == "bad" for tag in tags):
            raise InvalidParameter("bad is not acceptable")
        return create_run(experiment_id, user_id, run_name, start_time, tags)

    world.remote.store.create_run = picky
    refuse_items(world, {"bad"})
    run_id = world.run(tags=[Tag("bad", "1"), Tag("good", "1")])
    world.deliver()
    tags = {tag.key: tag.value for tag in world.remote.store.get_run(world.copy(run_id)).data.tags}
    assert ("good" in tags, "bad" in tags) == (True, False)
    assert refusals(world) == {("tag bad", 1)}


def test_a_file_that_is_unchanged_is_not_sent_again_and_a_changed_one_is(world):
    run_id = world.run()
    world.put(run_id, "same", b"1" * 100)
    world.put(run_id, "changed", b"1" * 100)
    world.deliver()
    world.remote.calls.clear()
    world.local.artifact_logged(run_id, "same")
    world.put(run_id, "changed", b"2" * 100)
    world.deliver()
    assert world.remote.names().count("create") == 1
    assert sorted(files(world.remote.artifacts).values()) == [b"1" * 100, b"2" * 100]


def test_a_file_that_was_removed_before_it_was_sent_is_no_trouble(world):
    run_id = world.run()
    world.put(run_id, "temporary", b"x")
    world.artifacts.delete(f"{world.experiment}/{run_id}/artifacts/temporary")
    world.deliver()
    assert refusals(world) == set()


def test_files_that_have_arrived_are_not_sent_again_after_an_outage(world):
    run_id = world.run()
    for i in range(4):
        world.put(run_id, f"part{i}", bytes([i]) * 2_500_000)
    left = iter([True, True, False])

    def before(name):
        if name == "create" and not next(left, True):
            raise StoreUnavailable("the network is away")

    world.remote.before = before
    world.replicator.step()
    assert world.replicator.state().last_error == "the network is away"
    world.clock.now += 100
    world.restart()
    world.deliver()
    assert world.remote.names().count("create") == 4
    assert sorted(files(world.remote.artifacts).values()) == [bytes([i]) * 2_500_000 for i in range(4)]


@pytest.mark.parametrize("crash", [True, False])
def test_points_that_may_be_there_are_compared_where_the_remote_would_have_them_twice(world, crash):
    # A remote that keeps repeats is one whose store is never sent any.
    world.remote.capabilities = Abilities(stores_repeats_once=False)
    run_id = world.run()
    world.deliver()
    world.local.log_batch(run_id, [Metric("m", value, 1, i) for i, value in enumerate([1.0, math.nan, math.inf])])
    lost = iter([True])

    def after(name):
        if name == "log_batch" and next(lost, False):
            raise StoreUnavailable("the answer was lost")

    world.remote.after = after
    world.replicator.step()
    world.local.log_metric(run_id, Metric("m", 2.0, 2, 9))
    world.clock.now += 100
    if crash:
        world.restart()
    world.deliver()
    sent = [point for name, arguments in world.remote.calls if name == "log_batch" for point in arguments[1]]
    assert [point.step for point in sent] == [0, 1, 2, 9]
    world.assert_same(run_id)


def test_a_remote_without_histories_is_asked_for_the_latest_points(world):
    world.remote.capabilities = Abilities(stores_repeats_once=False)
    run_id = world.run()
    world.deliver()
    refuse(world, "get_metric_history", error=NotSupported("no histories"))
    world.local.log_batch(run_id, [Metric("m", 1.0, 1, step) for step in range(5)])

    def after(name):
        if name == "log_batch":
            world.remote.after = lambda name: None
            raise StoreUnavailable("the answer was lost")

    world.remote.after = after
    world.replicator.step()
    world.local.log_metric(run_id, Metric("m", 1.0, 1, 5))
    world.clock.now += 100
    world.deliver()
    sent = [point for name, arguments in world.remote.calls if name == "log_batch" for point in arguments[1]]
    assert [point.step for point in sent] == [0, 1, 2, 3, 4, 5]


def test_what_a_refused_batch_has_left_behind_is_not_sent_again(world):
    world.remote.capabilities = Abilities(stores_repeats_once=False)
    run_id = world.run()
    world.deliver()
    accept = world.remote.store.log_batch

    def log_batch(there, metrics=(), params=(), tags=()):
        # As GitLab does it: one after the other, without a transaction around all of it.
        accept(there, metrics)
        world.remote.received.update((metric.key, metric.step) for metric in metrics)
        if any(param.key == "bad" for param in params):
            raise InvalidParameter("bad is not acceptable")
        accept(there, (), params, tags)

    world.remote.store.log_batch = log_batch
    metrics = [Metric("m", 1.0, 1, step) for step in range(5)]
    world.local.log_batch(run_id, metrics, [Param("bad", "1"), Param("good", "1")])
    world.deliver()
    assert [world.remote.received["m", step] for step in range(5)] == [1] * 5
    assert refusals(world) == {("param bad", 1)}
    assert content(world.remote.store, world.copy(run_id))["params"] == {"good": "1"}
