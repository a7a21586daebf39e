"""The choice of the run: as requested if possible, otherwise another one with a note."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mistk_service.recording import RunOptions
from mistk_service.tracking.values import Tag
from tests.recording.conftest import Story, tags_of

Tell = Callable[..., Story]


def experiment_of(story: Story) -> str:
    """The name of the experiment of the last run."""
    return story.store.get_experiment(story.runs[-1].info.experiment_id).name


def test_by_default_an_experiment_has_the_name_of_the_model_class(story: Story) -> None:
    story.initialize().did("train").reset()
    story.initialize().did("train")

    assert [story.store.get_experiment(run.info.experiment_id).name for run in story.runs] == ["Digits", "Digits"]


def test_an_experiment_that_is_not_there_is_made(story: Story) -> None:
    story.initialize({"mlflow.experimentName": "mine", "mlflow.runName": "first"}).did("train")

    assert experiment_of(story) == "mine"
    assert story.run.info.run_name == "first"
    assert story.notes == []


def test_the_environment_wishes_and_the_orchestrator_wishes_more(tell: Tell) -> None:
    story = tell(experiment_name="environment", run_name="of the environment")
    story.initialize().did("train")
    assert (experiment_of(story), story.run.info.run_name) == ("environment", "of the environment")

    story.reset().initialize({"mlflow.experimentName": "orchestrator"}).did("train")

    assert (experiment_of(story), story.runs[-1].info.run_name) == ("orchestrator", "of the environment")


def test_an_id_counts_more_than_a_name_unless_the_orchestrator_names_one(tell: Tell) -> None:
    story = tell(experiment_name="by name", experiment_id="0")
    story.initialize().did("train")
    assert experiment_of(story) == "Default"

    story.reset().initialize({"mlflow.experimentName": "by name"}).did("train")

    assert experiment_of(story) == "by name"


@pytest.mark.parametrize("wish", [{"experiment_id": "4711"}, {"experiment_id": "no number"}, {"experiment_name": " "}])
def test_an_experiment_that_cannot_be_had_is_reported(tell: Tell, wish: dict[str, str]) -> None:
    story = tell(**wish)

    story.initialize().did("train")

    assert experiment_of(story) == "Digits"
    (note,) = story.notes
    assert next(iter(wish.values())) in note
    assert "'Digits' instead" in note


def test_where_the_id_is_of_no_experiment_the_name_is_the_second_choice(story: Story) -> None:
    story.initialize({"mlflow.experimentId": "4711", "mlflow.experimentName": "mine"}).did("train")

    assert experiment_of(story) == "mine"
    (note,) = story.notes
    assert note == "There is no experiment with the id '4711'. The run went to the experiment 'mine' instead."


def test_where_neither_the_id_nor_the_name_can_be_had_both_are_reported(story: Story) -> None:
    story.store.delete_experiment(story.store.create_experiment("gone"))

    story.initialize({"mlflow.experimentId": "4711", "mlflow.experimentName": "gone"}).did("train")

    assert experiment_of(story) == "Digits"
    (note,) = story.notes
    assert "'4711'" in note
    assert "'gone' is deleted" in note
    assert "'Digits' instead" in note


def test_a_name_that_is_too_long_is_reported_in_a_few_words(story: Story) -> None:
    story.initialize({"mlflow.experimentName": "x" * 5_000}).did("train")

    assert experiment_of(story) == "Digits"
    assert len(story.notes[0]) < 500


def test_a_deleted_experiment_is_reported_and_left_alone(story: Story) -> None:
    story.store.delete_experiment(story.store.create_experiment("gone"))

    story.initialize({"mlflow.experimentName": "gone"}).did("train")

    assert experiment_of(story) == "Digits"
    assert "'gone' is deleted" in story.notes[0]


def test_where_the_usual_experiment_is_deleted_another_one_is_found(story: Story) -> None:
    story.store.delete_experiment(story.store.create_experiment("Digits"))

    story.initialize().did("train")

    assert experiment_of(story) == "Digits (2)"


def test_a_run_is_gone_on_with(tell: Tell) -> None:
    first = tell().initialize({}, epochs=1).did("train")
    run_id = first.run.info.run_id

    story = tell(run_id=run_id)
    story.initialize({}, epochs=2).did("train")

    assert story.run.info.run_id == run_id
    assert story.points(story.run, "mistk/train_count") == [(1.0, 1), (2.0, 2)]
    assert tags_of(story.run)["mistk.param.epochs"] == "2"


def test_the_variable_names_a_run_for_the_first_run_of_the_container_alone(tell: Tell) -> None:
    run_id = tell().initialize().did("train").run.info.run_id
    story = tell(run_id=run_id)

    story.initialize().did("train").reset().initialize().did("train")

    assert len(story.runs) == 2
    assert story.notes == []


@pytest.mark.parametrize("delete", [True, False])
def test_a_run_that_cannot_be_gone_on_with_is_reported(story: Story, delete: bool) -> None:
    run_id = "f" * 32
    if delete:
        run_id = story.store.create_run("0").info.run_id
        story.store.delete_run(run_id)

    story.initialize({"mlflow.runId": run_id}).did("train")

    assert story.run.info.run_id != run_id
    assert run_id in story.notes[0]
    assert "a new one was started" in story.notes[0]


def test_a_failed_run_that_is_gone_on_with_is_failed_no_more(story: Story) -> None:
    run_id = story.store.create_run("0", tags=[Tag("mistk.failure", "killed")]).info.run_id

    story.initialize({"mlflow.runId": run_id}).did("train")

    assert story.statuses == ["FINISHED"]
    assert "mistk.failure" not in tags_of(story.run)


def test_a_part_of_a_run_goes_where_that_is(story: Story) -> None:
    parent = story.store.create_run(story.store.create_experiment("parents")).info.run_id

    story.initialize({"mlflow.parentRunId": parent}).did("train")

    (child,) = [run for run in story.runs if run.info.run_id != parent]
    assert tags_of(child)["mlflow.parentRunId"] == parent
    assert story.store.get_experiment(child.info.experiment_id).name == "parents"


def test_a_parent_that_there_is_not_is_reported(story: Story) -> None:
    story.initialize({"mlflow.parentRunId": "f" * 32}).did("train")

    assert "mlflow.parentRunId" not in tags_of(story.run)
    assert "could be the parent" in story.notes[0]


def test_other_properties_of_mlflow_are_tags_as_they_are(story: Story) -> None:
    story.initialize({"mlflow.note.content": "a note", "mlflow.source.name": "somewhere else"}).did("train")

    tags = tags_of(story.run)
    assert tags["mlflow.note.content"] == "a note"
    assert tags["mlflow.source.name"] == "digits.model:Digits"
    assert tags["mistk.property.mlflow.source.name"] == "somewhere else"


def test_a_model_cannot_be_registered_under_any_name(story: Story, tmp_path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "weights").write_text("1")

    story.initialize({"mlflow.registeredModelName": "a/b"}).did("saveModel", str(tmp_path / "m"))

    assert story.files(story.run) == {"model/weights": "1"}
    assert "not registered as 'a/b'" in story.notes[0]


def test_a_registered_version_stays_what_it_is(story: Story, tmp_path) -> None:
    (tmp_path / "m").mkdir()
    weights = tmp_path / "m" / "weights"
    story.initialize({"mlflow.registeredModelName": "digits"}).did("train")
    for number in (1, 2):
        weights.write_text(str(number))
        story.did("saveModel", str(tmp_path / "m"))

    assert story.files(story.run) == {"model/weights": "1", "model-2/weights": "2"}
    versions = story.store.search_model_versions("name = 'digits'")
    assert {version.version: version.source.rpartition("/")[2] for version in versions} == {
        "1": "model",
        "2": "model-2",
    }
    assert {version.run_id for version in versions} == {story.run.info.run_id}


def test_properties_that_are_empty_wish_nothing() -> None:
    given = RunOptions(run_name="x").overridden({"mlflow.runName": "", "mlflow.experimentName": None})

    assert given == RunOptions(run_name="x")
