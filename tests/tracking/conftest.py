"""Stores and tracking servers for the tests of all parts: ours, and MLflow's own.

Each server is started once, and emptied for each test.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from mistk_service.tracking import Store, open_store
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.sql.tables import metadata
from mistk_service.tracking.values import Metric, Param, Tag
from tests.support import postgres
from tests.support.remotes import MlflowServer
from tests.support.serving import Switched, served

postgres_url, postgres_database = postgres.postgres_url, postgres.postgres_database


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


@pytest.fixture(scope="session")
def _reused_database(postgres_url: str) -> Iterator[str]:
    with postgres.database(postgres_url) as url:
        open_store(url).close()
        yield url


@pytest.fixture
def postgres_store_uri(_reused_database: str) -> str:
    """The URI of an empty store in PostgreSQL; it is emptied, which is faster than to make one for each test."""
    import psycopg

    with psycopg.connect(_reused_database) as connection:
        # TRUNCATE would make new files for every table and index, and takes four times as long.
        connection.execute("SET session_replication_role = replica")  # no foreign keys, so any order will do
        for name in metadata.tables:
            connection.execute(f'DELETE FROM "{name}"')
        used = "SELECT format('ALTER SEQUENCE %I RESTART', sequencename) FROM pg_sequences WHERE last_value IS NOT NULL"
        for (restart,) in connection.execute(used).fetchall():
            connection.execute(restart)
        connection.execute("INSERT INTO experiments VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active', 1, 1)")
    return _reused_database


@pytest.fixture(scope="module")
def postgres_module_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database for a whole module."""
    with postgres.database(postgres_url) as url:
        yield url


@pytest.fixture(params=["sqlite file", "postgresql"])
def shared_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty store that several processes can open."""
    if request.param == "postgresql":
        uri: str = request.getfixturevalue("postgres_database")
        return uri
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(store_uri: str) -> Iterator[Store]:
    """An empty store, of each kind."""
    with open_store(store_uri) as opened:
        yield opened


@pytest.fixture
def experiment(store: Store) -> str:
    """The id of an experiment of its own."""
    return store.create_experiment("an experiment")


@pytest.fixture
def new_run(store: Store, experiment: str) -> Callable[..., str]:
    """Create a run with what is given, and return its id."""

    def create(
        name: str = "",
        *,
        start: int = 0,
        metrics: dict[str, float] | None = None,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> str:
        run_id = store.create_run(experiment, run_name=name, start_time=start).info.run_id
        store.log_batch(
            run_id,
            [Metric(key, value, 1) for key, value in (metrics or {}).items()],
            [Param(key, value) for key, value in (params or {}).items()],
            [Tag(key, value) for key, value in (tags or {}).items()],
        )
        return run_id

    return create
