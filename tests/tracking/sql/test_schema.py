"""The schema is created, upgraded, or refused without a change."""

import hashlib
import shlex
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, make_url, text

import mistk_service.tracking.sql
from mistk_service.tracking import open_store
from mistk_service.tracking.errors import ResourceNotFound, SchemaMismatch, StoreUnavailable, UnsupportedStore
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.sql.engine.database import Database
from mistk_service.tracking.sql.schema import REVISIONS, prepare
from mistk_service.tracking.sql.tables import metadata
from mistk_service.tracking.store import DEFAULT_ARTIFACT_ROOT
from mistk_service.tracking.values import Metric
from tests.support.preloaded import python

MIGRATIONS = str(Path(mistk_service.tracking.sql.__file__).parent / "migrations")


def migrate(uri: str, revision: str) -> None:
    """Bring a database to a revision by the migrations alone."""
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    engine = create_engine(make_url(uri).set(drivername="postgresql+psycopg") if uri.startswith("postgres") else uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def schema_of(file: Path) -> dict[str, list[str]]:
    """Return the clauses of each table and index of an SQLite file; their order, as it differs, does not matter."""
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: sorted(clauses(" ".join(sql.split()))) for name, sql in rows}


def clauses(sql: str) -> list[str]:
    """Split a statement at the commas of its outermost parentheses."""
    found, depth = [""], 0
    for character in sql:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if (character == "," and depth == 1) or (character in "()" and depth == (character == "(")):
            found.append("")
        else:
            found[-1] += character
    return [clause.strip() for clause in found]


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_migrations_are_the_revisions_that_are_known():
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_migrations_and_a_fresh_store_have_the_same_schema(tmp_path):
    migrate(f"sqlite:///{tmp_path}/migrated.db", "head")
    open_store(f"sqlite:///{tmp_path}/fresh.db").close()
    migrated, fresh = (schema_of(tmp_path / f"{name}.db") for name in ("migrated", "fresh"))
    assert migrated == fresh
    assert set(metadata.tables) < set(fresh)


def test_migrations_and_a_fresh_store_have_the_same_schema_in_postgresql(postgres_url, postgres_database):
    columns = text(
        "SELECT table_name, column_name, data_type, is_nullable, collation_name, is_identity "
        "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    others = text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
    keys = text(
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY 1, 2"
    )

    def look():
        engine = create_engine(make_url(postgres_database).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            found = [connection.execute(query).fetchall() for query in (columns, others, keys)]
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
        return found

    migrate(postgres_database, "head")
    migrated = look()
    open_store(postgres_database).close()
    assert look() == migrated
    assert all(migrated)


def test_an_older_store_is_upgraded_and_keeps_what_it_has(shared_uri):
    migrate(shared_uri, REVISIONS[0])
    engine = create_engine(
        make_url(shared_uri).set(drivername="postgresql+psycopg") if "postgres" in shared_uri else shared_uri
    )
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO experiments VALUES (7, 'old', 's3://x', 'active', 1, 2)"))
    engine.dispose()
    with open_store(shared_uri) as store:
        assert store.get_experiment("7").name == "old"
    with open_store(shared_uri) as store:
        assert store.get_experiment_by_name("old").creation_time == 1


def test_a_newer_store_is_refused_and_left_untouched(tmp_path):
    file = tmp_path / "store.db"
    open_store(str(file)).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = digest(file)
    with pytest.raises(SchemaMismatch, match=r"revision '9999'.*newer version"):
        open_store(str(file))
    assert digest(file) == before
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("CREATE TABLE experiments (anything TEXT)", "experiments"),
        ("CREATE TABLE customers (name TEXT)", "customers"),
        ("CREATE TABLE alembic_version (version_num TEXT)", "alembic_version"),
        # Alembic's revisions are often just counted.
        (
            "CREATE TABLE customers (name TEXT); CREATE TABLE alembic_version (version_num TEXT);"
            "INSERT INTO alembic_version VALUES ('0001')",
            "'0001'",
        ),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_something_else_is_refused_and_left_untouched(tmp_path, script, named, create):
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)
    before = digest(file)
    with pytest.raises(SchemaMismatch, match=named):
        open_store(str(file), create=create)
    assert digest(file) == before
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


def test_an_empty_file_becomes_a_store(tmp_path):
    file = tmp_path / "store.db"
    file.touch()
    with open_store(str(file)) as store:
        assert [experiment.name for experiment in store.search_experiments()] == ["Default"]


def test_a_store_that_is_not_there_is_not_made_where_it_is_not_to_be(tmp_path):
    (tmp_path / "empty.db").touch()
    for file in (tmp_path / "none.db", tmp_path / "no" / "folder.db", tmp_path / "empty.db"):
        with pytest.raises(ResourceNotFound, match="There is no store at"):
            open_store(str(file), create=False)
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("empty.db", 0)]
    open_store(str(tmp_path / "none.db")).close()
    open_store(str(tmp_path / "none.db"), create=False).close()


def test_a_table_that_keeps_the_store_from_being_written_is_named_with_its_remedy(tmp_path):
    file = tmp_path / "the store.db"
    open_store(str(file)).close()
    with closing(sqlite3.connect(file)) as connection:
        # The first is what MLflow's migrations begin with; the other harms nobody.
        connection.execute(
            "CREATE TABLE tags (key TEXT, run_uuid TEXT, FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid))"
        )
        connection.execute("CREATE TABLE notes (run INTEGER REFERENCES runs (id))")
        connection.commit()
    before = digest(file)
    with pytest.raises(SchemaMismatch, match="'tags'") as caught:
        open_store(str(file))
    assert digest(file) == before
    _, database, statement = shlex.split(str(caught.value).partition("Remove it: ")[2])
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(statement)
    with open_store(str(file)) as store:
        assert store.create_run("0").info.experiment_id == "0"


def test_a_file_that_is_not_a_database_is_refused_and_left_untouched(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no database at all\n" * 100)
    with pytest.raises(StoreUnavailable, match="not an SQLite database"):
        open_store(str(file))
    assert file.read_text().startswith("no database")


CREATE = """
import sys
from mistk_service.tracking import open_store
sys.stdin.readline()
with open_store(sys.argv[1]) as store:
    print(store.create_experiment(sys.argv[2]), len(store.search_experiments()) >= 2)
"""


@pytest.mark.timeout(200)
def test_processes_that_create_a_store_at_once_all_succeed(shared_uri):
    processes = [python("-c", CREATE, shared_uri, f"e{i}") for i in range(4)]
    # All have been started before one of them begins.
    answers = []
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        answers.append(process.communicate()[0].split())
        assert process.returncode == 0
    assert sorted(number for number, _ in answers) == ["1", "2", "3", "4"]
    with open_store(shared_uri) as store:
        assert sorted(e.name for e in store.search_experiments()) == ["Default", "e0", "e1", "e2", "e3"]


def test_what_was_measured_on_models_is_kept_when_every_point_of_it_is(tmp_path):
    migrate(f"sqlite:///{tmp_path}/old.db", "0004")
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute(
            "INSERT INTO logged_models (id, model_id, experiment_id, name, artifact_uri, status, creation_timestamp, "
            "last_updated_timestamp, lifecycle_stage) VALUES (1, 'm-1', 0, 'm', 'x', 'READY', 1, 1, 'active')"
        )
        connection.execute("INSERT INTO logged_model_metrics VALUES (1, 'acc', 'iris', 'd', 'r', 0.5, 7, 3, 0)")
    with open_store(f"{tmp_path}/old.db") as store:
        assert store.get_logged_model("m-1").metrics == (Metric("acc", 0.5, 7, 3, "m-1", "iris", "d", "r"),)


def test_what_was_deleted_in_an_older_store_counts_from_its_upgrade(tmp_path):
    migrate(f"sqlite:///{tmp_path}/old.db", "0005")
    started = time.time_ns() // 1_000_000
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute("INSERT INTO experiments VALUES (1, 'e', 'x', 'active', 1, 1)")
        connection.execute("INSERT INTO runs VALUES (1, 'r', 1, 'n', '', 'FINISHED', 1, 2, 'x', 'deleted')")
    with SqlStore.open(f"{tmp_path}/old.db") as store:
        assert store.trash.items(started - 1) == []
        assert [item.id for item in store.trash.items(started + 3_600_000)] == ["r"]


def test_a_store_is_opened_by_path_and_by_uri(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for uri in ("deep/er/a.db", "sqlite:///deep/er/a.db", f"sqlite:///{tmp_path}/deep/er/a.db"):
        with open_store(uri) as store:
            assert store.uri == f"sqlite:///{tmp_path}/deep/er/a.db"
            store.check()


def test_stores_in_memory_are_apart():
    with open_store("sqlite://") as one, open_store("sqlite:///:memory:") as other:
        one.create_experiment("e")
        assert len(other.search_experiments()) == 1


@pytest.mark.parametrize("uri", ["mysql://host/db", "ftp://host", "postgresql://host:port/db"])
def test_a_store_of_an_unknown_kind_is_refused(uri):
    with pytest.raises(UnsupportedStore):
        open_store(uri)


def test_a_password_that_is_not_escaped_is_refused_and_not_repeated():
    with pytest.raises(UnsupportedStore, match="%40") as refused:
        open_store("postgresql://ann:pass@secret@host/db")
    assert "secret" not in str(refused.value)


def test_a_connection_that_is_read_with_while_its_database_is_closed_is_closed_when_it_is_given_back(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path / 'store.db'}", 1.0)
    with database.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        database.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        driver.execute("SELECT 1")


def test_no_password_is_shown_wherever_it_stands():
    database = Database.open("postgresql://ann:secret@host/db?password=secret&sslmode=require", 1.0)
    assert "secret" not in database.shown_url
    assert "sslmode=require" in database.shown_url


def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        SqlStore.open("postgresql://nobody@127.0.0.1:1/none", lock_timeout=2)


def test_a_password_is_not_shown(postgres_database):
    uri = make_url(postgres_database).set(username="postgres", password="s3cret").render_as_string(hide_password=False)
    with open_store(uri) as store:
        assert "s3cret" not in store.uri
        assert "s3cret" not in repr(store)


def test_a_file_keeps_its_journal_and_a_network_folder_gets_another(tmp_path):
    def journal(file: Path) -> str:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute("PRAGMA journal_mode").fetchone()[0]

    open_store(str(tmp_path / "local.db")).close()
    (tmp_path / "mounts").write_text(f"server:/home {tmp_path.resolve()} nfs4 rw,vers=4.2 0 0\n")
    database = Database.open(str(tmp_path / "remote.db"), 30.0, mounts=tmp_path / "mounts")
    prepare(database, DEFAULT_ARTIFACT_ROOT)
    with SqlStore(database, DEFAULT_ARTIFACT_ROOT) as store:
        store.create_experiment("e")
    assert (journal(tmp_path / "local.db"), journal(tmp_path / "remote.db")) == ("wal", "delete")


def test_a_store_that_another_process_makes_between_two_looks_is_opened(shared_uri):
    database = Database.open(shared_uri, 30.0)
    if database.file is not None:
        database.file.touch()
    made: list[str] = []

    def make(connection, cursor, statement, parameters, *_):
        if not made and "alembic_version" in f"{statement} {parameters}":
            made.append(statement)
            open_store(shared_uri).close()

    event.listen(database.engine, "after_cursor_execute", make)
    prepare(database, DEFAULT_ARTIFACT_ROOT)
    assert made
    with SqlStore(database, DEFAULT_ARTIFACT_ROOT) as store:
        assert store.create_experiment("made") == store.get_experiment_by_name("made").experiment_id
