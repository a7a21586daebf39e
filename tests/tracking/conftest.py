"""Tracking servers for the tests of all parts: ours, and MLflow's own. Each is started once, and emptied for each test."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from mistk_service.tracking import Store, open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.server import create_tracking_app
from tests.support.remotes import MlflowServer
from tests.support.serving import Switched, served


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Switched]]:
    """The URL of a tracking server, and its store, which each test replaces."""
    store = Switched()
    app = create_tracking_app(cast(Store, store), open_artifacts(tmp_path_factory.mktemp("artifacts")))
    with served(app) as url:
        yield url, store


@pytest.fixture
def served_store_uri(tracking_server: tuple[str, Switched]) -> Iterator[str]:
    """The URL of a tracking server whose store is empty."""
    url, switched = tracking_server
    with open_store("sqlite://") as store:
        switched.target = store
        yield url


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of MLflow's own server, and its database."""
    folder = tmp_path_factory.mktemp("mlflow")
    with MlflowServer(folder) as server:
        yield server.url, folder / "mlflow.db"


@pytest.fixture
def mlflow_store_uri(mlflow_server: tuple[str, Path]) -> str:
    """The URL of MLflow's own server, whose database is emptied."""
    url, database = mlflow_server
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name not in ("alembic_version", "experiments", "sqlite_sequence", "workspaces"):
                connection.execute(f'DELETE FROM "{name}"')
        connection.execute("DELETE FROM experiments WHERE experiment_id <> 0")
    return url
