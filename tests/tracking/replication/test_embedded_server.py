"""Writes of scripts to a container's tracking server are forwarded to the remotes."""

import io

import httpx
import pytest

from mistk_service.tracking.rest import open_rest_store
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.values import Dataset, DatasetInput, Metric, Param, RunStatus, Tag
from mistk_service.tracking.values.changes import ArtifactLogged
from tests.support.copies import files
from tests.support.serving import served


@pytest.fixture
def url(world):
    with served(create_tracking_app(world.local, world.artifacts)) as url:
        yield url


def test_a_run_of_a_script_is_forwarded_with_its_files(world, url):
    with open_rest_store(url) as script:
        run = script.create_run(world.experiment, "me", "a script", 5, [Tag("t", "1")])
        run_id = run.info.run_id
        script.log_metric(run_id, Metric("m", 1.0, 1))
        script.log_param(run_id, Param("p", "1"))
        script.set_tag(run_id, Tag("u", "2"))
        script.log_batch(run_id, [Metric("m", 2.0, 2)])
        script.log_inputs(run_id, [DatasetInput(Dataset("d", "1"))])
        script.delete_tag(run_id, "t")
        script.run_artifacts(run).put("folder/file.bin", io.BytesIO(b"content"))
        script.update_run(run_id, RunStatus.FINISHED, 9)
    world.deliver()
    world.assert_same(run_id)
    assert {path.partition("/artifacts/")[2]: data for path, data in files(world.remote.artifacts).items()} == {
        "folder/file.bin": b"content"
    }


def test_the_small_upload_of_mlflows_pages_is_forwarded_too(world, url):
    run_id = world.run()
    response = httpx.post(
        f"{url}/ajax-api/2.0/mlflow/upload-artifact",
        params={"run_uuid": run_id, "path": "note.txt"},
        content=b"text",
        timeout=30,
    )
    assert response.status_code == 200, response.text
    world.deliver()
    assert list(files(world.remote.artifacts).values()) == [b"text"]


@pytest.mark.parametrize(
    "path",
    ["somewhere/else.txt", "1/0123456789abcdef0123456789abcdef/artifacts/x", "artifacts/x", "2/{run}/artifacts/x"],
)
def test_a_file_that_belongs_to_no_run_is_kept_and_not_forwarded(world, url, path):
    path = path.format(run=world.run())
    response = httpx.put(f"{url}/api/2.0/mlflow-artifacts/artifacts/{path}", content=b"x", timeout=30)
    assert response.status_code == 200
    noted = [entry.change for entry in world.local.journal.read(world.local.journal.ledger("http://remote").number)]
    assert not any(isinstance(change, ArtifactLogged) for change in noted)
    assert path in files(world.artifacts)
