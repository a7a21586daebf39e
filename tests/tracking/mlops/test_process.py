"""The store of the module's functions."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mistk_service.tracking import mlops, open_store
from mistk_service.tracking.errors import InvalidParameter, InvalidState, StoreUnavailable, UnsupportedStore
from mistk_service.tracking.mlops.current import leave

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Functions that have chosen nothing yet, in an empty folder."""
    leave()
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MISTK_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    yield
    leave()


def titles(uri):
    with open_store(uri) as store:
        return [item.name for item in store.search_experiments().items if item.name != "Default"]


def test_every_function_works_on_the_same_store():
    project = mlops.create_project("Digits", "Reads postcodes.")
    mlops.set_active_project(project["id"])
    experiment = mlops.create_experiment("first")
    mlops.set_active_experiment(experiment["id"])
    dataset = mlops.create_dataset("mnist", "mnist.npz")
    with mlops.start_iteration("one") as iteration:
        iteration.log_dataset(dataset["id"])
    assert iteration["datasets"] == [dataset["id"]]
    assert iteration["experiment_id"] == experiment["id"]
    assert mlops.get_project(project["id"]) == project
    assert mlops.get_experiment(experiment["id"]) == experiment


def test_the_store_is_that_of_a_container_started_in_the_same_folder(tmp_path):
    mlops.create_project("Digits")
    assert titles(f"sqlite:///{tmp_path}/mistk-state/tracking.db") == ["Digits"]


def test_the_environment_names_the_store(monkeypatch, tmp_path):
    monkeypatch.setenv("MISTK_STATE_DIR", "elsewhere/state")
    mlops.create_project("In the state directory")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    mlops.create_project("In the same store, which was chosen already")
    mlops.use("sqlite:///third.db")
    mlops.create_project("Where the script says")
    leave()
    mlops.create_project("In the other")
    assert len(titles("sqlite:///elsewhere/state/tracking.db")) == 2
    assert titles("sqlite:///third.db") == ["Where the script says"]
    assert titles("sqlite:///other.db") == ["In the other"]


def test_another_store_knows_nothing_active():
    mlops.set_active_project(mlops.create_project("Digits")["id"])
    mlops.use("sqlite:///other.db")
    with pytest.raises(InvalidParameter, match="No project is active"):
        mlops.create_experiment("first")


def test_a_store_that_was_given_is_not_closed(tmp_path):
    with open_store("sqlite:///own.db") as store:
        mlops.use(store)
        mlops.create_project("Digits")
        mlops.use("sqlite:///other.db")
        store.check()


def open_databases():
    """The databases that this process has open."""
    return {Path(file.path).name for file in psutil.Process().open_files() if file.path.endswith(".db")}


def test_a_store_that_was_opened_here_is_closed_when_another_one_is_chosen():
    mlops.use("sqlite:///first.db")
    mlops.create_project("Digits")
    assert "first.db" in open_databases()
    mlops.use("sqlite:///second.db")
    mlops.create_project("Digits")
    assert "first.db" not in open_databases()
    assert "second.db" in open_databases()


@pytest.mark.parametrize(
    ("wrong", "error"), [("ftp://host/x", UnsupportedStore), ("sqlite:///file/x.db", StoreUnavailable)]
)
def test_a_store_that_cannot_be_opened_leaves_the_present_one(wrong, error):
    Path("file").touch()
    mlops.use("sqlite:///first.db")
    with pytest.raises(error):
        mlops.use(wrong)
    mlops.create_project("Digits")
    assert titles("sqlite:///first.db") == ["Digits"]


@pytest.mark.parametrize("wrong", [None, 3, Path("runs.db")])
def test_what_is_not_a_store_is_refused(wrong):
    with pytest.raises(InvalidParameter, match="not a store"):
        mlops.use(wrong)


def test_a_state_directory_that_cannot_be_made_is_named(monkeypatch):
    Path("file").touch()
    monkeypatch.setenv("MISTK_STATE_DIR", "file/state")
    with pytest.raises(StoreUnavailable, match="file/state"):
        mlops.create_project("Digits")


def test_the_store_is_not_changed_under_iterations_that_have_not_ended():
    experiment = mlops.create_experiment("first", project_id=mlops.create_project("Digits")["id"])
    iteration = mlops.start_iteration("one", experiment_id=experiment["id"])
    with pytest.raises(InvalidState, match="'one'"):
        mlops.use("sqlite:///other.db")
    iteration.end_iteration()
    mlops.use("sqlite:///other.db")


def run_script(text, folder):
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-W", "error", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False)


def test_a_script_that_forgets_an_iteration_hears_of_it_and_leaves_a_sound_store(tmp_path):
    script = """
from mistk_service.tracking import mlops
experiment = mlops.create_experiment("first", project_id=mlops.create_project("Digits")["id"])
iteration = mlops.start_iteration("forgotten", experiment_id=experiment["id"])
iteration.log_metric("loss", 1)
"""
    done = run_script(script, tmp_path)
    assert done.returncode == 0
    assert "'forgotten'" in done.stderr
    assert "was not ended" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(titles("sqlite:///mistk-state/tracking.db")) == ["Digits", "Digits/first"]


def test_the_import_opens_nothing_and_loads_no_database_library(tmp_path):
    script = "from mistk_service.tracking import mlops; import sys; sys.exit('sqlalchemy' in sys.modules)"
    done = run_script(script, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
