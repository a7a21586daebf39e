"""Stores with a database: SQLite in a file, SQLite in memory, and a real PostgreSQL."""

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite file", "sqlite memory", "postgresql"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty store, of each kind that has a database."""
    match request.param:
        case "sqlite file":
            return f"sqlite:///{tmp_path}/store.db"
        case "sqlite memory":
            return "sqlite://"
        case _:
            uri: str = request.getfixturevalue("postgres_store_uri")
            return uri
