"""What the module writes, read by the real MLflow client through a server."""

import pytest

from mistk_service.tracking import open_store
from mistk_service.tracking.mlops import Workspace
from tests.tracking.server.conftest import running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def client(server):
    from mlflow import MlflowClient  # here, since every process that collects tests would load it

    return MlflowClient(server.url)


@pytest.fixture
def workspace(server):
    """A workspace in the store that the server serves, from another process."""
    with open_store(f"sqlite:///{server.folder}/tracking.db") as store:
        yield Workspace(store)


def test_the_client_sees_projects_experiments_iterations_and_datasets(workspace, client):
    import mlflow.data
    from mlflow.data.http_dataset_source import HTTPDatasetSource
    from mlflow.entities import RunStatus

    project = workspace.create_project("Seen", "By a client of MLflow.")
    experiment = workspace.create_experiment("first", "With less data.", project["id"])
    dataset = workspace.create_dataset("mnist", "https://example.org/mnist.npz", "Digits.", {"owner": "nist"}, "2")
    with workspace.start_iteration("one", experiment_id=experiment["id"]) as iteration:
        iteration.log_dataset(dataset["id"])
        iteration.log_parameter("rate", 0.1)
        iteration.log_metrics({"loss": 0.5})
        iteration.log_metrics({"loss": 0.25})
        iteration.log_path_to_model("model.npz")

    found = client.get_experiment_by_name("Seen/first")
    assert found.experiment_id == experiment["id"]
    assert found.tags["mlflow.note.content"] == "With less data."
    assert client.get_experiment_by_name("Seen").tags["mlflow.note.content"] == "By a client of MLflow."
    (run,) = client.search_runs(
        [found.experiment_id], "metrics.loss < 0.3 AND params.rate = '0.1' AND datasets.name = 'mnist'"
    )
    assert run.info.run_id == iteration["id"]
    assert run.info.status == RunStatus.to_string(RunStatus.FINISHED)
    assert run.data.tags["mlops.modelPath"] == "model.npz"
    assert [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, "loss")] == [(0, 0.5), (1, 0.25)]
    (use,) = run.inputs.dataset_inputs
    source = mlflow.data.get_source(use.dataset)
    assert isinstance(source, HTTPDatasetSource)
    assert source.url == "https://example.org/mnist.npz"
    described = client.get_run(dataset["id"])
    assert described.info.run_name == "mnist"
    assert described.data.tags["owner"] == "nist"
    assert described.inputs.dataset_inputs[0].dataset == use.dataset


def test_what_the_client_changes_is_seen_here(workspace, client):
    project = workspace.create_project("Changed")["id"]
    client.rename_experiment(project, "Renamed")
    client.set_experiment_tag(project, "mlflow.note.content", "Described later.")
    client.set_experiment_tag(project, "mlops.archived", "true")
    changed = workspace.get_project(project)
    assert (changed["title"], changed["description"], changed["archived"]) == ("Renamed", "Described later.", True)
