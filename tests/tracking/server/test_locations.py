"""An artifact URI only leads to artifacts of this server."""

from types import SimpleNamespace
from unittest.mock import create_autospec

import pytest

from mistk_service.tracking import Store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import InvalidParameter


@pytest.fixture
def store():
    store = create_autospec(Store, instance=True)
    store.get_run.side_effect = lambda run_id: SimpleNamespace(
        info=SimpleNamespace(artifact_uri=f"mlflow-artifacts:/1/{run_id}/artifacts")
    )
    store.get_logged_model.side_effect = lambda model_id: SimpleNamespace(
        artifact_uri=f"mlflow-artifacts:/1/models/{model_id}/artifacts"
    )
    store.get_download_uri.side_effect = lambda name, version: {
        "plain": "runs:/r1/model",
        "chained": "models:/plain/1",
        "circle": "models:/circle/1",
    }[name]
    return store


@pytest.fixture
def locations(store, tmp_path):
    return Locations(store, open_artifacts(tmp_path))


@pytest.mark.parametrize(
    ("root", "path", "place"),
    [
        ("mlflow-artifacts:/1/r/artifacts", "", "1/r/artifacts"),
        ("mlflow-artifacts:/1/r/artifacts", "a/b.txt", "1/r/artifacts/a/b.txt"),
        ("mlflow-artifacts:/a%20b/", "c", "a b/c"),
        ("mlflow-artifacts:/", "", ""),
        ("runs:/r1/model", "MLmodel", "1/r1/artifacts/model/MLmodel"),
        ("models:/m-1/sub", "f", "1/models/m-1/artifacts/sub/f"),
        ("models:/plain/1", "MLmodel", "1/r1/artifacts/model/MLmodel"),
        ("models:/chained/1", "MLmodel", "1/r1/artifacts/model/MLmodel"),
    ],
)
def test_what_lies_below_the_root_is_found(locations, root, path, place):
    assert locations.place(root, path) == place


def test_a_uri_below_the_roots_own_is_found(locations, tmp_path):
    assert locations.place(f"{tmp_path.as_uri()}/a", "b") == "a/b"
    assert locations.place(tmp_path.as_uri(), "b") == "b"


@pytest.mark.parametrize(
    "root",
    [
        "s3://bucket/x",
        "file:///etc",
        "/etc",
        "relative",
        "",
        "http://host/api/2.0/mlflow-artifacts/artifacts/1",
        "mlflow-artifacts://another.host/1",
        "mlflow-artifacts://[broken",
    ],
)
def test_what_others_keep_is_refused(locations, root):
    with pytest.raises(InvalidParameter, match="which this server does not store"):
        locations.place(root, "x")


def test_a_uri_that_only_begins_like_the_roots_is_refused(locations, tmp_path):
    with pytest.raises(InvalidParameter, match="which this server does not store"):
        locations.place(f"{tmp_path.as_uri()}-and-more", "x")


def test_models_that_refer_to_each_other_are_refused(locations):
    with pytest.raises(InvalidParameter, match="and so on"):
        locations.place("models:/circle/1", "x")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "%2e%2e/x"])
def test_a_path_cannot_leave_the_place(locations, path):
    with pytest.raises(InvalidParameter, match="Invalid path"):
        locations.place("mlflow-artifacts:/1/r/artifacts", path)


def test_a_listing_has_paths_relative_to_its_root(locations, tmp_path):
    folder = tmp_path / "1" / "r" / "artifacts" / "sub"
    folder.mkdir(parents=True)
    (folder / "f").write_text("12")
    root = "mlflow-artifacts:/1/r/artifacts"
    assert [info.path for info in locations.list_folder(root, "")] == ["sub"]
    assert [(info.path, info.file_size) for info in locations.list_folder(root, "sub/")] == [("sub/f", 2)]
