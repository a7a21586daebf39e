"""One suite for every store: SQLite in a file, SQLite in memory, a real PostgreSQL, and a tracking server over HTTP.

What is written to runs is tested with MLflow's own server, too; where that does something else, the test is named here.
What is only read, such as filters, orders and pages, is not tested in memory, where SQLite reads as it does from a file.
"""

from pathlib import Path

import pytest

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
#: The modules and tests of what is only read.
READING = {
    "test_columns.py",
    "test_histories.py",
    "test_infinities.py",
    "test_models_are_searched",
    "test_pages_of_models_and_versions_are_whole",
    "test_properties.py",
    "test_records.py",
    "test_run_search.py",
    "test_versions_are_searched",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take out the tests that are not for a store."""
    items[:] = [item for item in items if not isinstance(item, pytest.Function) or _is_wanted(item)]


def _is_wanted(item: pytest.Function) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if parameters.get("store_uri") == "sqlite memory":
        return not {item.path.name, item.originalname} & READING
    if parameters.get("store_uri") != "mlflow":
        return True
    # Its server takes long to start where many other things run.
    item.add_marker(pytest.mark.timeout(180))
    return item.path.name in WITH_MLFLOW and item.originalname not in OTHERWISE_IN_MLFLOW


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
