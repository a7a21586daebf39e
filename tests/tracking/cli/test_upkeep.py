"""Deleting, restoring, removing and copying runs from the command line."""

import io
import re

import pytest
from click.testing import CliRunner

from mistk_service.tracking import open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.cli.commands import tracking
from mistk_service.tracking.errors import ResourceNotFound
from mistk_service.tracking.mlops import Workspace
from mistk_service.tracking.values import Dataset, DatasetInput, LifecycleStage, Metric, Param, Tag, ViewType


class Place:
    """A store in a folder, with its artifacts."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.uri = f"sqlite:///{folder}/tracking.db"
        self.artifacts = open_artifacts(folder / "artifacts")

    def open(self):
        return open_store(self.uri)

    def call(self, command, *arguments, status=0):
        result = CliRunner().invoke(tracking, [command, *arguments, "--store", self.uri])
        assert result.exit_code == status, result.output
        return result.output

    def run(self, store, name, experiment_id="0"):
        run_id = store.create_run(experiment_id, run_name=name, start_time=1).info.run_id
        metrics = [Metric(key, float(step), step, step) for key in ("loss", "accuracy") for step in range(50)]
        store.log_batch(run_id, metrics, [Param("rate", "0.1")], [Tag("kind", name)])
        store.log_inputs(run_id, [DatasetInput(Dataset("d", "1"), (Tag("mlflow.data.context", "training"),))])
        self.artifacts.put(f"{experiment_id}/{run_id}/artifacts/model/weights", io.BytesIO(name.encode()))
        return run_id

    def files(self):
        return sorted(str(p.relative_to(self.folder)) for p in (self.folder / "artifacts").rglob("*") if p.is_file())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "here")


def test_runs_and_experiments_are_deleted_and_restored(place):
    with place.open() as store:
        run_id = place.run(store, "one")
        store.create_experiment("mine")
    assert f"Deleted the run {run_id} (one)." in place.call("delete", run_id[:8], "--experiment", "mine")
    with place.open() as store:
        assert store.get_run(run_id).info.lifecycle_stage is LifecycleStage.DELETED
        assert store.get_experiment_by_name("mine").lifecycle_stage is LifecycleStage.DELETED
    place.call("restore", run_id, "--experiment", "mine")
    with place.open() as store:
        assert store.get_run(run_id).info.lifecycle_stage is LifecycleStage.ACTIVE
        assert store.get_experiment_by_name("mine").lifecycle_stage is LifecycleStage.ACTIVE
    assert "Name runs, or experiments" in place.call("delete", status=2)


def test_nothing_is_deleted_where_one_of_the_names_is_wrong(place):
    with place.open() as store:
        run_id = place.run(store, "one")
    place.call("delete", run_id, "--experiment", "none", status=1)
    with place.open() as store:
        assert store.get_run(run_id).info.lifecycle_stage is LifecycleStage.ACTIVE


def test_gc_shows_what_it_would_remove_and_removes_it_on_request(place):
    with place.open() as store:
        gone, stays = place.run(store, "gone"), place.run(store, "stays")
        store.delete_run(gone)
    shown = place.call("gc")
    assert f"Would remove the run {gone} (gone)." in shown
    assert stays not in shown
    assert len(place.files()) == 2
    assert f"Removed the run {gone} (gone)." in place.call("gc", "--yes")
    with place.open() as store:
        with pytest.raises(ResourceNotFound):
            store.get_run(gone)
        assert len(store.get_metric_history(gone, "loss")) == 0
        assert len(store.get_metric_history(stays, "loss")) == 50
        assert store.get_run(stays).inputs.dataset_inputs
    assert place.files() == [f"artifacts/0/{stays}/artifacts/model/weights"]
    assert "0 to remove" in place.call("gc")


def test_gc_leaves_what_was_deleted_lately_and_what_is_in_other_experiments(place):
    with place.open() as store:
        other = store.create_experiment("other")
        runs = {place.run(store, "a"), place.run(store, "b", other)}
        for run_id in runs:
            store.delete_run(run_id)
    assert "0 to remove" in place.call("gc", "--older-than", "1d")
    assert "Would remove" not in place.call("gc", "--older-than", "2020-01-01")
    assert re.findall(r"\((\w)\)", place.call("gc", "--experiment", "other")) == ["b"]


def test_gc_does_not_touch_a_run_that_was_restored(place):
    with place.open() as store:
        run_id = place.run(store, "one")
        store.delete_run(run_id)
        store.restore_run(run_id)
    assert "0 removed" in place.call("gc", "--yes")


def test_gc_removes_an_experiment_with_all_that_it_holds_and_its_name_is_free(place):
    with place.open() as store:
        experiment = store.create_experiment("mine", tags=[Tag("a", "1")])
        place.run(store, "one", experiment)
        model = store.create_logged_model(experiment, "m", tags=[Tag("a", "1")])
        place.artifacts.put(f"{experiment}/models/{model.model_id}/artifacts/weights", io.BytesIO(b"1"))
        store.delete_experiment(experiment)
    place.call("gc", "--yes")
    assert place.files() == []
    with place.open() as store:
        assert [each.name for each in store.search_experiments(ViewType.ALL)] == ["Default"]
        store.create_experiment("mine")


def test_gc_keeps_what_a_version_of_a_model_was_made_from(place):
    with place.open() as store:
        experiment = store.create_experiment("mine")
        run_id = place.run(store, "one", experiment)
        store.create_registered_model("digits")
        store.create_model_version("digits", f"runs:/{run_id}/model", run_id)
        store.delete_experiment(experiment)
    shown = place.call("gc", "--yes")
    assert f"Keeping the run {run_id} (one): a version of the model 'digits' was made from it." in shown
    assert f"Keeping the experiment {experiment} (mine): it has items that are kept." in shown
    assert len(place.files()) == 1


def test_gc_keeps_the_experiments_by_which_those_of_a_project_are_numbered(place):
    with place.open() as store:
        workspace = Workspace(store)
        project = workspace.create_project("Digits")["id"]
        experiment = workspace.create_experiment("first", project_id=project)["id"]
        store.delete_experiment(experiment)
    assert "the experiments of its project are numbered with it" in place.call("gc", "--yes")
    with place.open() as store:
        store.delete_experiment(project)
    assert "2 removed" in place.call("gc", "--yes")


def test_gc_keeps_a_run_of_which_a_remote_has_yet_to_hear(place):
    with place.open() as store:
        store.journal.configure(["http://127.0.0.1:1"])
        run_id = place.run(store, "one")
        store.delete_run(run_id)
    assert f"Keeping the run {run_id} (one): a remote has yet to receive its last changes." in place.call("gc", "--yes")


def test_gc_leaves_files_that_are_kept_somewhere_else(place, tmp_path):
    with place.open() as store:
        experiment = store.create_experiment("elsewhere", "s3://bucket/prefix")
        run_id = store.create_run(experiment, run_name="one").info.run_id
        store.delete_run(run_id)
    assert "outside of the artifact root; they stay." in place.call("gc", "--yes")


def test_an_export_is_a_store_that_can_be_imported_elsewhere(place, tmp_path):
    with place.open() as store:
        run_id = place.run(store, "one", store.create_experiment("mine"))
        store.create_registered_model("digits")
        store.create_model_version("digits", f"runs:/{run_id}/model", run_id)
    for _ in range(2):
        place.call("export", str(tmp_path / "copy"))
    there = Place(tmp_path / "there")
    for _ in range(2):
        there.call("import", str(tmp_path / "copy"))
    with there.open() as store:
        experiment = store.get_experiment_by_name("mine").experiment_id
        (found,) = store.search_runs([experiment])
        assert (found.info.run_name, len(store.get_metric_history(found.info.run_id, "loss"))) == ("one", 50)
        assert found.data.params == (Param("rate", "0.1"),)
        assert store.get_model_version("digits", "1").run_id == found.info.run_id
    (file,) = there.files()
    assert file == f"artifacts/{experiment}/{found.info.run_id}/artifacts/model/weights"


def test_an_export_that_is_imported_where_it_came_from_changes_nothing(place, tmp_path):
    with place.open() as store:
        place.run(store, "one")
    place.call("export", str(tmp_path / "copy"))
    assert "came from there" in place.call("import", str(tmp_path / "copy"))
    with place.open() as store:
        assert len(store.search_runs(["0"])) == 1
