"""Which run follows from what happens to an instance."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from mistk_service.events import StreamAnswered
from mistk_service.tracking.entities import RunStatus
from mistk_service.tracking.reporter import datasets as datasets_module
from mistk_service.tracking.reporter.lifecycle import StreamTotals
from tests.tracking.reporter.conftest import CONTAINER, FAILURE, Story, params_of, tags_of


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


@pytest.mark.parametrize("operation", ["train", "predict", "generate"])
def test_work_is_counted_and_timed(story: Story, operation: str) -> None:
    story.initialize().did(operation).did(operation, outcome="stopped")

    assert story.points(story.run, f"mistk/{operation}_count") == [(1.0, 1), (2.0, 2)]
    assert story.points(story.run, f"mistk/{operation}_seconds") == [(1.5, 1), (1.5, 2)]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("completed", "FINISHED"), ("stopped", "KILLED"), ("failed", "FAILED"), ("unsupported", "FINISHED")],
)
def test_a_run_ends_as_its_activity_did(story: Story, outcome: str, status: str) -> None:
    story.initialize().did("train", outcome=outcome)

    assert story.statuses == [status]


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


def test_a_later_activity_goes_on_with_the_run(story: Story) -> None:
    story.initialize().did("train").began("predict")
    assert story.statuses == ["RUNNING"]

    story.metrics(("accuracy", 0.9, None, 5)).ended("predict")

    assert story.statuses == ["FINISHED"]
    assert story.points(story.run, "accuracy") == [(0.9, 0)]
    assert story.shown == ["RUNNING", "RUNNING", "FINISHED", "RUNNING", "FINISHED"]


def test_a_run_goes_on_while_it_is_saved_in_a_pause(story: Story, tmp_path: Path) -> None:
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
    assert story.shown[-1] is None

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


# --- reports ----------------------------------------------------------------------------------------------------------


def test_the_first_report_opens_the_run(story: Story) -> None:
    story.initialize({"mlflow.runName": "mine"}, epochs=3).began("buildModel", None).params(hidden=64)
    assert story.statuses == ["RUNNING"]

    story.ended("buildModel")

    assert story.statuses == ["FINISHED"]
    assert story.run.info.run_name == "mine"
    assert params_of(story.run) == {"epochs": "3", "hidden": "64"}


def test_a_report_while_nothing_runs_leaves_the_run_ended(story: Story) -> None:
    story.initialize().metrics(("loss", 1.0, 1, 1))

    assert story.statuses == ["FINISHED"]


def test_what_is_reported_before_initialize_waits_for_it(story: Story) -> None:
    story.params(weights=12).tags(mood="good").metrics(("loss", 1.0, 1, 1))
    assert story.runs == []

    story.began("initialize", ["training"], {"mlflow.runName": "mine"}, {"epochs": 3})

    assert story.run.info.run_name == "mine"
    assert params_of(story.run) == {"epochs": "3", "weights": "12"}
    assert tags_of(story.run)["mood"] == "good"
    assert story.points(story.run, "loss") == [(1.0, 1)]


@pytest.mark.parametrize("end", [Story.reset, Story.close])
def test_what_is_reported_and_never_initialized_is_not_lost(story: Story, end) -> None:
    end(story.metrics(("loss", 1.0, 1, 1)))

    assert story.points(story.run, "loss") == [(1.0, 1)]
    assert story.statuses == ["FINISHED"]


def test_many_reports_before_initialize_do_not_fill_the_memory(story: Story) -> None:
    story.metrics(*(("loss", float(step), step, step) for step in range(10_001)))

    assert len(story.points(story.run, "loss")) == 10_001


def test_more_than_a_batch_arrives_whole(story: Story) -> None:
    points = [(f"metric {number % 7}", number / 7, number, number) for number in range(2_345)]
    story.initialize({}, **{f"p{number}": number for number in range(250)}).began("train").metrics(*points)
    story.tags(**{f"t{number}": number for number in range(150)})

    assert sum(len(story.points(story.run, f"metric {number}")) for number in range(7)) == 2_345
    assert len(params_of(story.run)) == 250
    assert {f"t{number}" for number in range(150)} <= tags_of(story.run).keys()


def test_nan_and_infinities_are_kept(story: Story) -> None:
    story.initialize().metrics(("m", math.nan, 1, 1), ("m", math.inf, 2, 2), ("m", -math.inf, 3, 3))

    (nan, one), *rest = story.points(story.run, "m")
    assert math.isnan(nan)
    assert one == 1
    assert rest == [(math.inf, 2), (-math.inf, 3)]


def test_what_the_store_cannot_take_keeps_nothing_else_back(story: Story) -> None:
    points = [("loss", 1.0, 1, 1), ("loss", 2.0, 2, -5), ("loss", 3.0, 3, 3), ("loss", 4.0, 4, -1)]
    story.initialize().began("train").metrics(*points)

    assert story.points(story.run, "loss") == [(1.0, 1), (3.0, 3)]
    assert len(story.notes) == 2
    assert "timestamp" in story.notes[0]


def test_keys_that_the_store_does_not_take_are_respelled_and_kept_apart(story: Story) -> None:
    story.initialize({"löß%": 1}, **{"a[0]": 1, "a(0)": 2, "../x": 3, "": 4, "y//z": 5}).began("train")

    assert params_of(story.run) == {"a_0_": "1", "a_0__2": "2", "__/x": "3", "_": "4", "y/z": "5"}
    assert tags_of(story.run)["mistk.property.löß_"] == "1"
    assert story.notes == []


def test_a_param_keeps_its_first_value_and_the_other_is_not_lost(story: Story) -> None:
    story.initialize({}, epochs=3, rate=1).began("train").params(epochs=4, rate=1.0)

    assert params_of(story.run) == {"epochs": "3", "rate": "1"}
    assert tags_of(story.run)["mistk.param.epochs"] == "4"
    assert "mistk.param.rate" not in tags_of(story.run)
    assert len(story.notes) == 1


def test_a_value_that_no_database_holds_is_made_one_that_it_holds(story: Story) -> None:
    story.initialize({}, text="nul \0 and \ud800", long="x" * 10_000).began("train")

    assert params_of(story.run)["text"] == "nul \\0 and \\ud800"
    assert params_of(story.run)["long"] == "x" * 6_000


def test_of_a_huge_value_the_beginning_is_kept_and_the_notes_stay_short(story: Story) -> None:
    story.initialize({}, long="x" * 1_000_000).began("train")
    story.params(long="x" * 1_000_000).tags(huge="é" * 1_000_000).params(long="y" * 1_000_000)

    assert params_of(story.run)["long"] == "x" * 6_000
    assert tags_of(story.run)["huge"] == "é" * 8_000
    assert tags_of(story.run)["mistk.param.long"] == "y" * 6_000
    assert "The param long has 1000000 characters; the first 6000 are kept." in story.notes
    assert any("is kept as the tag mistk.param.long" in note for note in story.notes)
    assert max(map(len, story.notes)) < 300


def test_the_model_may_name_the_run(story: Story) -> None:
    story.initialize().began("train").tell().tags(**{"mlflow.runName": "renamed"})

    assert story.run.info.run_name == "renamed"


def test_stream_predictions_come_as_totals_once_there_is_a_run(story: Story) -> None:
    totals = StreamTotals().plus(StreamAnswered(3, 0.5, True)).plus(StreamAnswered(1, 0.25, False))
    story.initialize().tell(totals)
    assert story.runs == []

    story.did("predict").tell(totals, totals)

    for key, value in {"count": 2, "records": 4, "failed": 1, "seconds": 0.75}.items():
        assert story.points(story.run, f"mistk/stream_predict_{key}") == [(value, 1)]


# --- datasets ---------------------------------------------------------------------------------------------------------


def test_datasets_are_inputs(story: Story, tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text("id,age,size\na,1,0.5\nb,2,1\n")
    datasets = {
        "train": {"dataPath": str(table), "objectInfo": {"name": "people", "kind": "MistkDataset"}, "format": "csv"},
        "test": {"dataPath": str(tmp_path / "missing")},
        "generate": {"datastashId": "7", "modality": "text"},
    }
    story.initialize().did("loadData", datasets).did("train")

    train, test, generate = (use.dataset for use in story.run.inputs.dataset_inputs)
    assert (train.name, train.source_type, json.loads(train.source)) == ("people", "local", {"uri": str(table)})
    columns = json.loads(train.schema or "")["mlflow_colspec"]
    assert [(column["name"], column["type"]) for column in columns] == [
        ("id", "string"),
        ("age", "long"),
        ("size", "double"),
    ]
    assert json.loads(train.profile or "") == {"files": 1, "bytes": table.stat().st_size}
    assert test.name == "missing"
    assert (generate.name, generate.source_type) == ("generate", "mistk")
    contexts = [{tag.key: tag.value for tag in use.tags} for use in story.run.inputs.dataset_inputs]
    assert contexts == [
        {"mlflow.data.context": "training", "mistk.format": "csv"},
        {"mlflow.data.context": "testing"},
        {"mlflow.data.context": "generation", "mistk.modality": "text"},
    ]
    assert all(len(use.dataset.digest) <= 36 for use in story.run.inputs.dataset_inputs)


def test_of_a_table_no_more_is_read_than_its_columns_take(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets_module, "_HEAD", 20)
    table, endless, pipe = tmp_path / "table.csv", tmp_path / "endless.csv", tmp_path / "pipe.csv"
    table.write_text("a,b\n1,2\n3,4\n5,6\n7,word\n")  # cut off in the last row
    endless.write_text("x," * 1000)
    os.mkfifo(pipe)
    story.initialize()
    for place in (table, endless, pipe):
        story.did("loadData", {"train": {"dataPath": str(place), "objectInfo": {"name": place.name}}})
    story.did("train")

    schemas = {use.dataset.name: use.dataset.schema for use in story.run.inputs.dataset_inputs}
    columns = json.loads(schemas["table.csv"] or "")["mlflow_colspec"]
    assert [(column["name"], column["type"]) for column in columns] == [("a", "long"), ("b", "long")]
    assert (schemas["endless.csv"], schemas["pipe.csv"]) == (None, None)


def test_a_digest_is_that_of_the_content(story: Story, tmp_path: Path) -> None:
    one, same, other = tmp_path / "one", tmp_path / "same", tmp_path / "other"
    for folder, text in ((one, "x"), (same, "x"), (other, "y")):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file").write_text(text)
    story.initialize()
    for folder in (one, same, other):
        story.did("loadData", {"train": {"dataPath": str(folder), "objectInfo": {"name": folder.name}}})
    story.did("train")

    digests = {use.dataset.name: use.dataset.digest for use in story.run.inputs.dataset_inputs}
    assert digests["one"] == digests["same"] != digests["other"]


def test_a_dataset_that_is_loaded_later_is_an_input_too_and_one_that_failed_is_none(story: Story) -> None:
    story.initialize().did("train").did("loadData", {"test": {"objectInfo": {"name": "late"}}})
    story.did("loadData", {"test": {"objectInfo": {"name": "broken"}}}, outcome="unsupported")

    assert [use.dataset.name for use in story.run.inputs.dataset_inputs] == ["late"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_what_is_saved_becomes_artifacts(story: Story, tmp_path: Path) -> None:
    for name in ("m", "p", "g"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / f"{name}.txt").write_text(name)
    story.initialize().did("train").did("saveModel", str(tmp_path / "m"))
    story.did("savePredictions", str(tmp_path / "p")).did("saveGenerations", str(tmp_path / "g"))

    assert story.files(story.run) == {
        "model/deep/m.txt": "m",
        "predictions/deep/p.txt": "p",
        "generations/deep/g.txt": "g",
    }
    assert story.statuses == ["FINISHED"]


def test_a_link_to_a_folder_is_left_out_of_what_is_saved_with_a_word(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "first").write_text("w")
    (folder / "latest").symlink_to(folder / "weights")
    story.initialize().did("train").did("saveModel", str(folder))

    assert story.files(story.run) == {"model/weights/first": "w"}
    assert story.notes == [f"The artifact {folder / 'latest'} was not kept: links to folders are not followed"]


def test_what_is_saved_again_replaces_what_was_saved_before(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "old").write_text("1")
    story.initialize().did("saveModel", str(folder))
    (folder / "old").rename(folder / "new")

    story.did("saveModel", str(folder))

    assert story.files(story.run) == {"model/new": "1"}


def test_what_failed_to_be_saved_is_no_artifact(story: Story, tmp_path: Path) -> None:
    (tmp_path / "half").write_text("x")
    story.initialize().began("saveModel", str(tmp_path)).ended("saveModel", "failed", FAILURE)

    assert story.files(story.run) == {}
    assert story.statuses == ["FAILED"]


def test_the_services_own_folder_is_nobodys_artifact(story: Story, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "tracking.db").write_text("the store")
    (tmp_path / "model.txt").write_text("x")

    story.initialize().did("saveModel", str(tmp_path))

    assert "model/model.txt" in story.files(story.run)
    assert not any("tracking.db" in path for path in story.files(story.run))


def test_artifacts_are_moved_from_where_they_are_kept_and_copied_from_where_they_are_not(
    story: Story, tmp_path: Path
) -> None:
    kept, folder, plain = tmp_path / "3f7a", tmp_path / "9b1c", tmp_path / "plain.txt"
    kept.write_text("kept")
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("below")
    plain.write_text("plain")
    story.initialize().began("train").artifact(Path("/gone/report.txt"), "texts", str(kept))
    story.artifact(Path("/gone/plots"), None, str(folder)).artifact(plain)

    assert story.files(story.run) == {"texts/report.txt": "kept", "plots/sub/file": "below", "plain.txt": "plain"}
    assert plain.exists()
    assert not kept.exists()
    assert not folder.exists()


@pytest.mark.parametrize("path", ["missing.txt", "folder/../../x"])
def test_an_artifact_that_cannot_be_kept_is_told_and_harms_nothing(story: Story, tmp_path: Path, path: str) -> None:
    there = tmp_path / "there.txt"
    there.write_text("x")
    story.initialize().began("train").artifact(tmp_path / path).artifact(there, "../up").artifact(there, "ok")

    assert story.files(story.run) == {"ok/there.txt": "x"}
    assert len(story.notes) == 2


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


def test_a_mistake_of_ours_does_not_keep_a_run_from_its_end(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr("mistk_service.tracking.reporter.desk.Desk.keep_saved", broken)

    story.initialize().did("saveModel", "anywhere")

    assert story.statuses == ["FINISHED"]
    assert "a mistake" in story.notes[0]


def test_artifacts_go_where_those_of_the_experiment_are(story: Story, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    story.store.create_experiment("elsewhere", place.as_uri())
    there = tmp_path / "there.txt"
    there.write_text("x")

    story.initialize({"mlflow.experimentName": "elsewhere"}).began("train").artifact(there, "texts")

    assert (place / story.run.info.run_id / "artifacts" / "texts" / "there.txt").read_text() == "x"


def test_artifacts_that_have_no_place_are_told(story: Story, tmp_path: Path) -> None:
    story.store.create_experiment("elsewhere", "nonsense://bucket/x")
    there = tmp_path / "there.txt"
    there.write_text("x")

    story.initialize({"mlflow.experimentName": "elsewhere"}).began("train").artifact(there)

    assert "nonsense://" in story.notes[0]
