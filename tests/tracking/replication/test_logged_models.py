"""Logged models go to a remote with their files, before anything that names them."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.replication import open_remote
from mistk_service.tracking.replication.model_senders import SOURCE_MODEL
from mistk_service.tracking.replication.replicator import Replicator
from mistk_service.tracking.replication.sync import sync
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import LoggedModelStatus, ModelInput, ModelOutput, Param, Tag
from tests.support.copies import copies, files
from tests.support.preloaded import CALM, run_python
from tests.support.serving import served

READY = LoggedModelStatus.LOGGED_MODEL_READY
FILES = {"MLmodel": b"flavors: {}", "data/weights": b"\0\1\2"}


def log_model(world, run_id, name="m"):
    """Log a model as MLflow's client does: made, named as an output, its files, finished."""
    store = world.local
    model = store.create_logged_model(world.experiment, name, "Agent", run_id, [Param("p", "1")], [Tag("t", "v")])
    store.log_outputs(run_id, [ModelOutput(model.model_id, 3)])
    for path, data in FILES.items():
        upload = world.artifacts.create(Locations(store, world.artifacts).place(model.artifact_uri, path))
        upload.write(data)
        upload.commit()
    store.finalize_logged_model(model.model_id, READY)
    return model


def register(world, model, name="registered"):
    world.local.create_registered_model(name)
    return world.local.create_model_version(
        name, f"models:/{model.model_id}", model.source_run_id, model_id=model.model_id
    )


def copy_of(world, run_id, model):
    """Return the remote's copy of a logged model, of which there is one."""
    experiment = world.remote.store.get_run(world.copy(run_id)).info.experiment_id
    found = world.remote.store.search_logged_models([experiment], f"tags.`{SOURCE_MODEL}` = '{model.model_id}'")
    assert len(found.items) == 1
    return found.items[0]


def assert_arrived(world, run_id, model):
    """Fail where the remote has not all of a logged model, and of the version made from it."""
    there = copy_of(world, run_id, model)
    assert (there.name, there.model_type, there.status) == (model.name, "Agent", READY)
    assert there.params == (Param("p", "1"),)
    assert Tag("t", "v") in there.tags
    assert there.source_run_id == world.copy(run_id)
    assert files(world.remote.model_artifacts(there)) == FILES
    outputs = world.remote.store.get_run(world.copy(run_id)).outputs.model_outputs
    assert outputs == (ModelOutput(there.model_id, 3),)
    version = world.remote.store.get_model_version("registered", "1")
    assert (version.model_id, version.source, version.run_id) == (
        there.model_id,
        f"models:/{there.model_id}",
        world.copy(run_id),
    )
    assert world.replicator.state().refused == 0


@pytest.mark.parametrize("brought", ["as it is logged", "as a whole"])
def test_a_version_comes_with_the_logged_model_that_it_is_made_from(world, brought):
    run_id = world.run()
    if brought == "as it is logged":
        world.deliver()
    model = log_model(world, run_id)
    register(world, model)
    world.deliver()
    assert_arrived(world, run_id, model)


def test_sync_brings_logged_models_over_and_nothing_twice(world):
    world.local.journal.configure([])
    run_id = world.run()
    model = log_model(world, run_id)
    register(world, model)
    for _ in range(2):
        report = sync(world.local, world.remote, "http://remote", artifacts=world.artifacts)
        assert (report.runs, report.refusals) == (1, ())
        assert_arrived(world, run_id, model)
    assert world.remote.names().count("create_logged_model") == 1
    assert len(world.remote.store.search_model_versions()) == 1


@pytest.mark.parametrize("call", ["create_logged_model", "finalize_logged_model", "create", "create_model_version"])
def test_what_was_on_its_way_when_the_answer_was_lost_is_made_once(world, call):
    run_id = world.run()
    world.deliver()
    model = log_model(world, run_id)
    register(world, model)

    def after(name):
        if name == call:
            world.remote.after = lambda name: None
            raise StoreUnavailable("the answer was lost")

    world.remote.after = after
    world.replicator.step()
    assert world.replicator.state().last_error
    world.clock.now += 100
    world.restart()
    world.deliver()
    assert_arrived(world, run_id, model)
    assert world.remote.names().count("create_logged_model") == 1


def test_what_a_logged_model_gets_later_follows(world):
    run_id = world.run()
    model = log_model(world, run_id)
    world.deliver()
    world.local.set_logged_model_tags(model.model_id, [Tag("later", "x"), Tag("t", "w")])
    world.local.log_logged_model_params(model.model_id, [Param("q", "2")])
    world.deliver()
    there = copy_of(world, run_id, model)
    assert {tag.key: tag.value for tag in there.tags if tag.key != SOURCE_MODEL} == {"t": "w", "later": "x"}
    assert there.params == (Param("p", "1"), Param("q", "2"))
    assert world.remote.names().count("create") == len(FILES)


def test_a_model_that_another_run_made_is_taken_by_its_id_there(world):
    maker, user = world.run(), world.run()
    model = log_model(world, maker)
    world.local.log_inputs(user, models=[ModelInput(model.model_id)])
    world.restart()
    world.deliver()
    inputs = world.remote.store.get_run(world.copy(user)).inputs.model_inputs
    assert inputs == (ModelInput(copy_of(world, maker, model).model_id),)


def test_a_model_that_is_not_known_here_keeps_its_id(world):
    run_id = world.run()
    world.local.log_outputs(run_id, [ModelOutput("m-unknown", 1)])
    world.deliver()
    assert world.remote.store.get_run(world.copy(run_id)).outputs.model_outputs == (ModelOutput("m-unknown", 1),)


CLIENT = """
import sys, mlflow, pandas
mlflow.set_experiment("logged models")

@mlflow.pyfunc.utils.pyfunc
def double(model_input: list[float]) -> list[float]:
    return [2 * value for value in model_input]

with mlflow.start_run() as run:
    mlflow.pyfunc.log_model(
        name="doubler", python_model=double, registered_model_name=sys.argv[1], pip_requirements=["mlflow"]
    )
print(run.info.run_id)
"""
LOADING = """
import sys, mlflow
print(mlflow.pyfunc.load_model(f"models:/{sys.argv[1]}/1").predict([1.0, 2.5]))
print(mlflow.MlflowClient().get_model_version(sys.argv[1], "1").source)
"""


def mlflow_client(uri, script, name):
    environment = {**os.environ, **CALM, "MLFLOW_TRACKING_URI": uri}
    return run_python("-c", script, name, env=environment, loaded="mlflow").split("\n")


@pytest.mark.timeout(300)
def test_what_mlflow_logs_and_registers_here_is_loaded_from_an_mlflow_server_that_it_was_sent_to(
    tmp_path, mlflow_store_uri
):
    artifacts = open_artifacts(tmp_path / "artifacts")
    for name, journal in (("forwarded", [mlflow_store_uri]), ("synced", [])):
        with (
            SqlStore.open(f"sqlite:///{tmp_path}/{name}.db") as store,
            closing(open_remote(mlflow_store_uri)) as remote,
        ):
            store.journal.configure(journal)
            with served(create_tracking_app(store, artifacts)) as url:
                run_id = mlflow_client(url, CLIENT, name)[-2]
            if journal:
                replicator = Replicator(store, artifacts, mlflow_store_uri, lambda: remote)
                while replicator.step():
                    pass
                state = replicator.state()
                assert (state.depth, state.refused, state.last_error) == (0, 0, None)
            report = sync(store, remote, mlflow_store_uri, artifacts=artifacts)
            assert (report.runs, report.refusals) == (1, ())
            there = remote.get_run(copies(remote)[run_id])
        predicted, source = mlflow_client(mlflow_store_uri, LOADING, name)[-3:-1]
        assert predicted == "[2.0, 5.0]"
        assert [f"models:/{made.model_id}" for made in there.outputs.model_outputs] == [source]
