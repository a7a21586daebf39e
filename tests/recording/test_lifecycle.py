"""The runs that follow from the events of an instance."""

from __future__ import annotations

from pathlib import Path

import pytest

from mistk_service.core.events import ModelLoaded
from mistk_service.kinds.predictions import Signature
from mistk_service.tracking.values import RunStatus
from tests.recording.conftest import FAILURE, Story, params_of, tags_of
from tests.recording.harness import CONTAINER


def test_training_is_a_run_with_all_that_was_said_before_it(story: Story) -> None:
    story.initialize({"team": "vision"}, epochs=20, rate=0.05, layers=[64, 32], note=None)
    assert story.runs == []

    story.did("buildModel", None).began("train")

    assert story.run.info.status is RunStatus.RUNNING
    story.metrics(("loss", 0.5, 1, 10), ("loss", 0.25, 2, 20)).ended("train")
    run = story.run
    assert run.info.status is RunStatus.FINISHED
    assert (run.info.start_time, run.info.end_time) == (6_000, 8_000)
    assert params_of(run) == {"epochs": "20", "rate": "0.05", "layers": "[64, 32]", "note": "None"}
    assert story.points(run, "loss") == [(0.5, 1), (0.25, 2)]
    tags = tags_of(run)
    assert tags["mistk.containerId"] == CONTAINER
    assert tags["mistk.modelClass"] == "Digits"
    assert tags["mistk.objectives"] == "training"
    assert tags["mistk.apiVersion"] == "1.0"
    assert tags["mistk.property.team"] == "vision"
    assert tags["mlflow.source.name"] == "digits.model:Digits"
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.user"] == run.info.user_id != ""
    assert story.store.get_experiment(run.info.experiment_id).name == "Digits"
    assert story.notes == []


def test_hyperparameters_that_came_before_the_class_are_completed_by_its_defaults(story: Story) -> None:
    schema = '{"properties": {"rate": {"type": "number"}, "epochs": {"default": 3}}, "required": ["rate"]}'
    story.began("initialize", ["training"], {}, {"rate": "0.50"})
    story.tell(ModelLoaded("Digits", frozenset(), Signature(hyperparameters=schema))).ended("initialize")
    story.began("train")
    assert params_of(story.run) == {"rate": "0.5", "epochs": "3"}


@pytest.mark.parametrize("operation", ["train", "predict", "generate"])
def test_work_is_counted_and_timed(story: Story, operation: str) -> None:
    story.initialize().did(operation).did(operation, outcome="stopped")

    assert story.points(story.run, f"mistk/{operation}_count") == [(1.0, 1), (2.0, 2)]
    assert story.points(story.run, f"mistk/{operation}_seconds") == [(1.5, 1), (1.5, 2)]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("completed", "FINISHED"),
        ("stopped", "KILLED"),
        ("failed", "FAILED"),
        ("unsupported", "FINISHED"),
        ("refused", "FINISHED"),
    ],
)
def test_a_run_ends_as_its_activity_did(story: Story, outcome: str, status: str) -> None:
    story.initialize().did("train", outcome=outcome)

    assert story.statuses == [status]


def test_a_saving_that_fails_beside_a_paused_training_does_not_fail_its_run(story: Story) -> None:
    story.initialize().began("train").began("saveModel", "/models/m").ended("saveModel", "failed", FAILURE)
    assert story.statuses == ["RUNNING"]

    story.ended("train")

    assert story.statuses == ["FINISHED"]
    assert "mistk.failure" not in tags_of(story.run)


def test_what_the_model_refused_is_not_counted(story: Story) -> None:
    story.initialize().did("train", outcome="refused").did("train")

    assert story.points(story.run, "mistk/train_count") == [(1.0, 1)]


@pytest.mark.parametrize("operation", ["saveModel", "savePredictions", "saveGenerations"])
def test_what_is_saved_to_a_url_is_not_taken_for_a_path(story: Story, operation: str) -> None:
    story.initialize().did(operation, "s3://bucket/results")

    assert story.statuses == ["FINISHED"]
    assert story.notes == []


def test_a_clock_that_goes_back_does_not_end_a_run_before_its_start(story: Story) -> None:
    story.initialize().began("train")
    story.now -= 500_000
    story.ended("train")

    assert story.run.info.end_time == story.run.info.start_time


def test_a_failed_run_says_why(story: Story) -> None:
    story.initialize().began("train").ended("train", "failed", FAILURE)

    reason = tags_of(story.run)["mistk.failure"]
    assert reason.startswith("ValueError: a number is missing\n")
    assert "line 3" in reason


def test_what_is_reported_after_a_failure_belongs_to_a_failed_run_that_says_why(story: Story) -> None:
    story.initialize().began("buildModel", None).ended("buildModel", "failed", FAILURE)

    story.metrics(("loss", 1.0, 1, 1))

    assert story.statuses == ["FAILED"]
    assert tags_of(story.run)["mistk.failure"].startswith("ValueError")


def test_a_failure_before_a_reset_is_none_of_what_follows(story: Story) -> None:
    story.initialize().began("buildModel", None).ended("buildModel", "failed", FAILURE).reset()

    story.metrics(("loss", 1.0, 1, 1)).close()

    assert story.statuses == ["FINISHED"]


def test_a_later_activity_continues_the_run(story: Story) -> None:
    story.initialize().did("train").began("predict")
    assert story.statuses == ["RUNNING"]

    story.metrics(("accuracy", 0.9, None, 5)).ended("predict")

    assert story.statuses == ["FINISHED"]
    assert story.points(story.run, "accuracy") == [(0.9, 0)]
    assert story.shown == ["RUNNING", "RUNNING", "FINISHED", "RUNNING", "FINISHED"]


def test_a_run_continues_while_it_is_saved_in_a_pause(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    story.initialize().began("train").did("saveModel", str(folder))
    assert story.statuses == ["RUNNING"]

    assert story.ended("train").statuses == ["FINISHED"]


def test_what_was_cut_off_stays_killed_when_something_beside_it_was_completed(story: Story, tmp_path: Path) -> None:
    story.initialize().began("train").began("saveModel", str(tmp_path / "x"))
    story.ended("saveModel", "stopped").ended("train")

    assert story.statuses == ["KILLED"]


def test_a_reset_begins_anew(story: Story) -> None:
    story.initialize({}, epochs=1).did("train").reset()

    story.initialize({}, epochs=2).did("train")

    assert [params_of(run) for run in story.runs] == [{"epochs": "1"}, {"epochs": "2"}]
    assert story.statuses == ["FINISHED", "FINISHED"]
    assert story.points(story.runs[1], "mistk/train_count") == [(1.0, 1)]


def test_the_end_of_the_service_kills_what_runs(story: Story) -> None:
    story.initialize().began("train").close()

    assert story.statuses == ["KILLED"]


def test_an_instance_that_does_nothing_leaves_no_run(story: Story) -> None:
    story.initialize().did("loadData", {}).did("buildModel", None).reset().close()

    assert story.runs == []


# --- what others do to the run ----------------------------------------------------------------------------------------


def test_a_run_that_somebody_deletes_is_replaced_by_one_with_all_that_is_remembered(story: Story) -> None:
    story.initialize({}, epochs=3).did("loadData", {"train": {"objectInfo": {"name": "data"}}})
    story.began("train").params(hidden=64).tags(mood="good").metrics(("loss", 1.0, 1, 1))
    gone = story.run.info.run_id
    story.store.delete_run(gone)

    story.metrics(("loss", 2.0, 2, 2)).ended("train")

    run = story.run
    assert run.info.run_id != gone
    assert run.info.status is RunStatus.FINISHED
    assert params_of(run) == {"epochs": "3", "hidden": "64"}
    assert tags_of(run)["mood"] == "good"
    assert tags_of(run)["mistk.replacesRunId"] == gone
    assert [use.dataset.name for use in run.inputs.dataset_inputs] == ["data"]
    assert story.points(run, "loss") == [(2.0, 2)]
    assert any(gone in note for note in story.notes)


def test_a_run_that_is_deleted_at_the_end_is_left_alone(story: Story) -> None:
    story.initialize().began("train")
    story.store.delete_run(story.run.info.run_id)

    story.close()

    assert story.runs == []


def test_a_mistake_of_ours_does_not_keep_a_run_from_its_end(story: Story) -> None:
    story.initialize().began("train").did("saveModel", 5)  # no path, by a mistake of the service
    story.ended("train")

    assert story.statuses == ["FINISHED"]
    assert "A part of saveModel could not be tracked" in story.notes[0]


def test_artifacts_go_where_those_of_the_experiment_are(story: Story, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    story.store.create_experiment("elsewhere", place.as_uri())
    there = tmp_path / "there.txt"
    there.write_text("x")

    story.initialize({"mlflow.experimentName": "elsewhere"}).began("train").artifact(there, "texts")

    assert (place / story.run.info.run_id / "artifacts" / "texts" / "there.txt").read_text() == "x"


def test_artifacts_that_have_no_place_are_reported(story: Story, tmp_path: Path) -> None:
    story.store.create_experiment("elsewhere", "nonsense://bucket/x")
    there = tmp_path / "there.txt"
    there.write_text("x")

    story.initialize({"mlflow.experimentName": "elsewhere"}).began("train").artifact(there)

    assert "nonsense://" in story.notes[0]
