"""Projects, experiments and datasets: created items are found again, and invalid arguments are refused."""

import inspect
import json
import threading

import pytest

from mistk_service.tracking import mlops
from mistk_service.tracking.errors import (
    InvalidParameter,
    InvalidState,
    ResourceExists,
    ResourceNotFound,
    StoreUnavailable,
)
from mistk_service.tracking.mlops import Workspace
from mistk_service.tracking.values import RunStatus, Tag


def tags_of(thing):
    return {tag.key: tag.value for tag in thing}


def test_a_project_has_what_it_was_created_with(workspace):
    project = workspace.create_project("Digits", "Reads postcodes.", "in progress", True)
    times = {"created_at": project["created_at"], "updated_at": project["updated_at"]}
    assert project == {
        "id": project["id"],
        "title": "Digits",
        "description": "Reads postcodes.",
        "status": "in progress",
        "archived": True,
        **times,
    }
    assert workspace.get_project(project["id"]) == project


def test_a_project_needs_a_title_alone(workspace):
    project = workspace.create_project("Digits")
    assert (project["description"], project["status"], project["archived"]) == (None, None, False)


def test_two_projects_cannot_have_one_title(workspace, project):
    with pytest.raises(ResourceExists, match="'Digits' is taken"):
        workspace.create_project("Digits")


def test_of_many_that_create_one_title_at_once_one_succeeds(store):
    start, outcomes = threading.Barrier(8), []

    def create():
        start.wait()
        try:
            outcomes.append(Workspace(store).create_project("Contested")["title"])
        except ResourceExists:
            outcomes.append("refused")

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["Contested"] + ["refused"] * 7


def test_everything_is_found_by_another_workspace_in_the_same_store(workspace, store, project, experiment):
    dataset = workspace.create_dataset("mnist", "data/mnist.npz", tags=["images"], version="2")
    other = Workspace(store)
    assert other.get_project(project)["title"] == "Digits"
    assert other.get_experiment(experiment) == workspace.get_experiment(experiment, project)
    other.start_iteration("uses it", experiment_id=experiment).log_dataset(dataset["id"])


def test_an_experiment_belongs_to_the_active_project(workspace, project):
    message = workspace.set_active_project(project)
    assert message == f"The active project is 'Digits' (id {project})."
    experiment = workspace.create_experiment("first", "With less data.")
    assert experiment["project_id"] == project
    assert (experiment["name"], experiment["description"]) == ("first", "With less data.")
    assert workspace.get_experiment(experiment["id"]) == experiment


def test_two_projects_have_experiments_of_one_name(workspace, project, experiment):
    other = workspace.create_project("Letters")["id"]
    assert workspace.create_experiment("first", project_id=other)["name"] == "first"
    with pytest.raises(ResourceExists, match="'Digits' cannot have another experiment 'first'"):
        workspace.create_experiment("first", project_id=project)


def test_names_with_slashes_that_come_to_the_same_are_refused_and_mix_nothing_up(workspace, project):
    experiment = workspace.create_experiment("a/b", project_id=project)
    assert experiment["name"] == "a/b"
    other = workspace.create_project("Digits/a")["id"]
    with pytest.raises(ResourceExists, match="Digits/a/b"):
        workspace.create_experiment("b", project_id=other)
    assert workspace.create_experiment("c", project_id=other)["name"] == "c"


def test_an_experiment_keeps_its_name_where_its_project_gets_another_title(workspace, store, project, experiment):
    store.rename_experiment(project, "Numbers")
    assert workspace.get_project(project)["title"] == "Numbers"
    assert workspace.get_experiment(experiment)["name"] == "first"


def test_without_an_active_project_an_experiment_needs_one(workspace):
    with pytest.raises(InvalidParameter, match="call set_active_project first") as caught:
        workspace.create_experiment("first")
    assert caught.value.field == "project_id"


def test_an_experiment_of_another_project_is_refused(workspace, project, experiment):
    other = workspace.create_project("Letters")["id"]
    with pytest.raises(InvalidParameter, match=f"belongs to the project with id {project}"):
        workspace.get_experiment(experiment, other)
    workspace.set_active_project(other)
    with pytest.raises(InvalidParameter, match=f"not to the active project with id {other}"):
        workspace.get_experiment(experiment)
    assert workspace.get_experiment(experiment, project)["id"] == experiment


def test_an_active_experiment_brings_its_project_with_it(workspace, project, experiment):
    workspace.set_active_project(workspace.create_project("Letters")["id"])
    message = workspace.set_active_experiment(experiment)
    assert message == f"The active experiment is 'first' (id {experiment}) of the project with id {project}."
    assert workspace.create_experiment("second")["project_id"] == project
    assert workspace.start_iteration("one")["experiment_id"] == experiment


def test_another_active_project_takes_the_active_experiment_away(workspace, project, experiment):
    workspace.set_active_experiment(experiment)
    workspace.set_active_project(project)
    assert workspace.start_iteration("one")["experiment_id"] == experiment
    workspace.set_active_project(workspace.create_project("Letters")["id"])
    with pytest.raises(InvalidParameter, match="No experiment is active"):
        workspace.start_iteration("two")


def test_what_is_active_is_not_changed_by_a_refused_call(workspace, project, experiment):
    workspace.set_active_experiment(experiment)
    for call in (workspace.set_active_project, workspace.set_active_experiment):
        with pytest.raises(ResourceNotFound):
            call("4711")
    assert workspace.start_iteration("one")["project_id"] == project


@pytest.mark.parametrize("kind", ["project", "experiment"])
def test_an_id_of_something_else_is_not_found(workspace, store, project, experiment, kind):
    get = {"project": workspace.get_project, "experiment": workspace.get_experiment}[kind]
    other = {"project": experiment, "experiment": project}[kind]
    for wrong in (other, "0", store.create_experiment("made with MLflow")):
        with pytest.raises(ResourceNotFound, match=f"create_{kind} returned"):
            get(wrong)
    for unknown in ("4711", "first", "9" * 30, "/"):
        with pytest.raises(ResourceNotFound, match=f"There is no {kind} with the id '{unknown}'"):
            get(unknown)


def test_what_was_deleted_is_refused_and_says_so(workspace, store, project, experiment):
    store.delete_experiment(experiment)
    with pytest.raises(InvalidState, match=r"experiment 'Digits/first' .* was deleted"):
        workspace.start_iteration("one", experiment_id=experiment)
    store.delete_experiment(project)
    with pytest.raises(InvalidState, match=r"project 'Digits' .* was deleted"):
        workspace.create_experiment("second", project_id=project)
    store.restore_experiment(project)
    assert workspace.get_project(project)["title"] == "Digits"


def test_a_dataset_has_what_it_was_created_with(workspace, store):
    dataset = workspace.create_dataset(
        dataset_name="mnist",
        path_to_dataset="s3://bucket/mnist.npz",
        dataset_description="Handwritten digits.",
        tags={"owner": "nist", "kind": "images"},
        version="2",
    )
    assert dataset == {
        "id": dataset["id"],
        "name": "mnist",
        "path": "s3://bucket/mnist.npz",
        "description": "Handwritten digits.",
        "tags": {"owner": "nist", "kind": "images"},
        "version": "2",
        "created_at": dataset["created_at"],
    }
    run = store.get_run(dataset["id"])
    assert run.info.status is RunStatus.FINISHED
    assert tags_of(run.data.tags)["owner"] == "nist"
    assert tags_of(run.data.tags)["mlflow.note.content"] == "Handwritten digits."
    assert [use.dataset.name for use in run.inputs.dataset_inputs] == ["mnist"]


@pytest.mark.parametrize("labels", [None, "images", ["images", "grey, small"], {"k": "v"}])
def test_the_tags_of_a_dataset_come_back_as_they_were(workspace, labels):
    assert workspace.create_dataset("mnist", "mnist.npz", tags=labels)["tags"] == labels


@pytest.mark.parametrize(
    ("path", "source_type", "source"),
    [
        ("data/mnist.npz", "local", '{"uri": "data/mnist.npz"}'),
        ("file:///data/mnist.npz", "local", '{"uri": "file:///data/mnist.npz"}'),
        ("C:\\data\\mnist.npz", "local", '{"uri": "C:\\\\data\\\\mnist.npz"}'),
        ("https://example.org/mnist.npz", "http", '{"url": "https://example.org/mnist.npz"}'),
        ("s3://bucket/mnist.npz", "s3", '{"uri": "s3://bucket/mnist.npz"}'),
    ],
)
def test_the_source_of_a_dataset_is_one_that_mlflow_understands(workspace, store, path, source_type, source):
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json

    run = store.get_run(workspace.create_dataset("mnist", path)["id"])
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.source_type, dataset.source) == (source_type, source)
    understood = get_dataset_source_from_json(source, source_type)
    assert json.loads(understood.to_json()) == json.loads(source)


def test_another_version_of_a_dataset_has_another_digest(workspace, store):
    ids = [workspace.create_dataset("mnist", "mnist.npz", version=version)["id"] for version in ("1", "2", "2")]
    digests = [store.get_run(i).inputs.dataset_inputs[0].dataset.digest for i in ids]
    assert digests[0] != digests[1] == digests[2]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("failures", [["pass", "before"], ["pass", "after"], ["pass", "pass", "before"]])
def test_a_dataset_that_could_not_be_finished_is_not_left_behind(workspace, unreliable, store, failures):
    workspace.create_dataset("there before", "x")
    unreliable.failures = list(failures)
    with pytest.raises(StoreUnavailable):
        workspace.create_dataset("mnist", "mnist.npz")
    home = store.get_experiment_by_name("mlops.datasets").experiment_id
    assert [run.info.run_name for run in store.search_runs([home]).items] == ["there before"]


@pytest.mark.parametrize(
    ("function", "arguments", "field"),
    [
        ("create_project", {"title": " "}, "title"),
        ("create_project", {"title": 3}, "title"),
        ("create_project", {"title": "x" * 501}, "name"),
        ("create_project", {"title": "mlops.datasets"}, "title"),
        ("create_project", {"title": "x", "description": 1}, "description"),
        ("create_project", {"title": "x", "status": ["a"]}, "status"),
        ("create_project", {"title": "x", "archived": "no"}, "archived"),
        ("get_project", {"project_id": None}, "project_id"),
        ("get_project", {"project_id": 1.5}, "project_id"),
        ("get_experiment", {"experiment_id": ""}, "experiment_id"),
        ("create_experiment", {"name": "", "project_id": "1"}, "name"),
        ("create_experiment", {"name": "x", "project_id": 1.5}, "project_id"),
        ("create_dataset", {"dataset_name": "", "path_to_dataset": "x"}, "dataset_name"),
        ("create_dataset", {"dataset_name": "x" * 501, "path_to_dataset": "x"}, "dataset_name"),
        ("create_dataset", {"dataset_name": "x", "path_to_dataset": None}, "path_to_dataset"),
        ("create_dataset", {"dataset_name": "x", "path_to_dataset": "x", "tags": 5}, "tags"),
        ("create_dataset", {"dataset_name": "x", "path_to_dataset": "x", "tags": ["a", 5]}, "tags[1]"),
        ("create_dataset", {"dataset_name": "x", "path_to_dataset": "x", "tags": {"a": 5}}, "tags['a']"),
        ("create_dataset", {"dataset_name": "x", "path_to_dataset": "x", "tags": {5: "a"}}, "tags"),
        ("create_dataset", {"dataset_name": "x", "path_to_dataset": "x", "tags": {"a$": "b"}}, "tags"),
        ("create_dataset", {"dataset_name": "x", "path_to_dataset": "x", "tags": {"mlops.kind": "b"}}, "tags"),
        ("create_dataset", {"dataset_name": "x", "path_to_dataset": "x", "version": 2}, "version"),
        ("start_iteration", {"iteration_name": None, "experiment_id": "1"}, "iteration_name"),
        ("start_iteration", {"iteration_name": "x"}, "experiment_id"),
        ("start_iteration", {"iteration_name": "x", "experiment_id": 7.5}, "experiment_id"),
    ],
)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # it is refused before it goes to a store
def test_a_wrong_argument_is_named_and_nothing_is_written(workspace, store, unreliable, function, arguments, field):
    with pytest.raises(InvalidParameter) as caught:
        getattr(workspace, function)(**arguments)
    assert caught.value.field == field
    assert unreliable.written == []
    assert [found.name for found in store.search_experiments().items] == ["Default"]


def test_a_reserved_tag_says_what_is_reserved(workspace):
    with pytest.raises(
        InvalidParameter, match=r"'mlflow\.note\.content' .* must not start with 'mlflow\.' or 'mlops\.'"
    ):
        workspace.create_dataset("x", "x", tags={"mlflow.note.content": "y"})


def test_a_client_of_mlflow_sees_how_everything_belongs_together(workspace, store, project, experiment):
    found = {item.name: tags_of(item.tags) for item in store.search_experiments().items}
    assert found["Digits"] == {"mlops.kind": "project", "mlops.archived": "false"}
    assert found["Digits/first"] == {
        "mlops.kind": "experiment", "mlops.project": "Digits", "mlops.projectId": project,
    }  # fmt: skip
    below = store.search_experiments(filter=f"tags.mlops.projectId = '{project}'").items
    assert [item.experiment_id for item in below] == [experiment]


def test_the_experiment_of_the_datasets_is_not_a_project(workspace, store):
    workspace.create_dataset("mnist", "mnist.npz")
    home = store.get_experiment_by_name("mlops.datasets")
    assert Tag("mlops.kind", "project") not in home.tags
    with pytest.raises(ResourceNotFound):
        workspace.get_project(home.experiment_id)


#: The arguments that stand in the description of the module, in their order.
PROMISED = {
    "create_project": ["title", "description", "status", "archived"],
    "get_project": ["project_id"],
    "get_experiment": ["experiment_id", "project_id"],
    "create_experiment": ["name", "description", "project_id"],
    "create_dataset": ["dataset_name", "path_to_dataset", "dataset_description", "tags", "version"],
    "start_iteration": ["iteration_name", "project_id", "experiment_id"],
    "set_active_project": ["project_id"],
    "set_active_experiment": ["experiment_id"],
}


@pytest.mark.parametrize("name", PROMISED)
def test_a_function_has_the_same_arguments_as_the_method_behind_it(name):
    function = inspect.signature(getattr(mlops, name))
    method = inspect.signature(getattr(Workspace, name))
    assert list(function.parameters) == PROMISED[name]
    assert list(method.parameters.values())[1:] == list(function.parameters.values())


def test_an_id_may_be_a_number(workspace):
    project = workspace.create_project("Numbered")["id"]
    experiment = workspace.create_experiment("e", project_id=int(project))
    assert workspace.get_project(int(project))["id"] == experiment["project_id"] == project
    assert workspace.get_experiment(int(experiment["id"]), int(project)) == experiment
    workspace.set_active_project(int(project))
    workspace.set_active_experiment(int(experiment["id"]))
    with workspace.start_iteration("i", int(project), int(experiment["id"])) as iteration:
        assert iteration["project_id"] == project
    for wrong in (True, 1.0, [project]):
        with pytest.raises(InvalidParameter, match="project_id"):
            workspace.get_project(wrong)
    with pytest.raises(ResourceNotFound, match=r"id=4711 exists\. Pass an id that create_project returned\."):
        workspace.get_project(4711)
