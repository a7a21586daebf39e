"""The commands that inspect a store."""

import json
import os
import re
import signal
import socket
import sqlite3
from contextlib import ExitStack, closing, suppress
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from mistk_service.tracking import open_store
from mistk_service.tracking.cli.commands import tracking
from mistk_service.tracking.cli.sync_command import SyncCommand
from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Dataset, DatasetInput, Metric, Param, RunStatus, Tag
from tests.tracking.server.conftest import running_server


@pytest.fixture(autouse=True)
def signals_as_before():
    """What ``serve`` does at a signal is for a process of its own, and not for the one that runs the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path}/tracking.db"


@pytest.fixture
def run_id(uri):
    with open_store(uri) as store:
        experiment_id = store.create_experiment("[bold]digits[/bold]")
        run = store.create_run(experiment_id, run_name="first", start_time=1_700_000_000_000)
        run_id = run.info.run_id
        store.log_batch(run_id, [Metric("loss", 0.25, 1, 3)], [Param("rate", "0.1")], [Tag("team", "a")])
        store.log_inputs(run_id, [DatasetInput(Dataset("points", "abc", "local", "here"))])
        store.update_run(run_id, RunStatus.FINISHED, 1_700_000_061_000)
        store.delete_experiment(store.create_experiment("gone"))
        store.create_run("0", run_name="second", start_time=1)
    return run_id


@pytest.fixture
def call(uri):
    def call(*arguments, status=0, columns="200"):
        result = CliRunner(env={"COLUMNS": columns}).invoke(tracking, [arguments[0], "--store", uri, *arguments[1:]])
        assert result.exit_code == status, result.output
        return result.output

    return call


@pytest.mark.usefixtures("run_id")
def test_experiments_are_listed_as_they_are_named(call):
    shown = call("experiments")
    assert "[bold]digits[/bold]" in shown
    assert "Default" in shown
    assert "gone" not in shown
    assert "gone" in call("experiments", "--all")


@pytest.mark.usefixtures("run_id")
def test_experiments_can_be_had_as_json(call):
    assert [item["name"] for item in json.loads(call("experiments", "--json"))] == ["[bold]digits[/bold]", "Default"]


def test_runs_are_listed_with_what_matters(call, run_id):
    shown = call("runs")
    for word in (run_id, "first", "FINISHED", "0:01:01", "loss=0.25", "second", "RUNNING"):
        assert word in shown


@pytest.mark.parametrize("columns", ["20", "80", "100", None])
def test_an_id_is_never_cut_and_what_gives_way_is_not_lost(call, run_id, columns):
    shown = call("runs", columns=columns)
    (line,) = [line for line in shown.splitlines() if run_id in line]
    assert "FINISHED" in line
    assert "…" not in shown
    assert "[bold]digits[/bold]" in ("".join(cell_by_cell(shown, 2)) if columns else line)


def cell_by_cell(table: str, column: int) -> list[str]:
    """Return what is in a column of a table, line by line."""
    return [line.split("│")[column + 1].strip() for line in table.splitlines() if line.startswith("│")]


def test_metrics_that_say_nothing_of_the_model_are_left_out_of_the_list(call, uri, run_id):
    with open_store(uri) as store:
        for key in ("mistk/train_count", "system/cpu_utilization_percentage", "systematic"):
            store.log_metric(run_id, Metric(key, 2.0, 1))
    shown = call("runs")
    assert "systematic=2" in shown
    assert "loss=0.25" in shown
    assert "mistk/" not in shown
    assert "system/" not in shown


def test_the_beginning_of_an_id_is_enough_to_show_a_run(call, uri, run_id):
    assert json.loads(call("show", run_id[:12], "--json"))["info"]["run_id"] == run_id
    call("show", run_id[:3], status=1)
    call("show", run_id[:11] + "%", status=1)
    with open_store(uri) as store:
        store.delete_run(run_id)
    assert run_id in call("show", run_id[:12])


def test_the_beginning_of_several_ids_names_the_candidates(call, uri):
    with open_store(uri) as store:
        for name, run_id in (("one", "abcd1"), ("two", "abcd2"), ("other", "xabcd")):
            store.create_run("0", run_name=name, run_id=run_id)
    shown = call("show", "abcd", status=1)
    assert shown.startswith("Error: The ids of several runs begin with 'abcd'")
    for word in ("abcd1", "one", "abcd2", "two"):
        assert word in shown
    assert "other" not in shown
    assert "abcd1" in call("show", "abcd1")


@pytest.mark.parametrize("named", [False, True])
def test_a_run_is_shown_with_its_files_and_their_sizes(call, uri, run_id, tmp_path, named):
    with open_store(uri) as store:
        uri_of_run = store.get_run(run_id).info.artifact_uri
    root = tmp_path / ("elsewhere" if named else "artifacts")
    folder = root / uri_of_run.partition(":/")[2] / "model"
    folder.mkdir(parents=True)
    (folder / "digits.npz").write_bytes(b"x" * 1500)
    shown = call("show", run_id, *(("--artifacts", str(root)) if named else ()))
    (line,) = [line for line in shown.splitlines() if "model/digits.npz" in line]
    assert "1.5 kB" in line


def test_showing_a_run_makes_no_folder_of_artifacts(call, run_id, tmp_path):
    call("show", run_id)
    assert "There is no folder" in call("show", run_id, "--artifacts", str(tmp_path / "none"), status=1)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.usefixtures("run_id")
def test_runs_are_chosen_by_experiment_and_filter(call):
    assert "second" not in call("runs", "--experiment", "[bold]digits[/bold]")
    assert "first" not in call("runs", "--experiment", "0")
    found = json.loads(call("runs", "--filter", "metrics.loss < 1", "--order-by", "metrics.loss ASC", "--json"))
    assert [run["info"]["run_name"] for run in found] == ["first"]


@pytest.mark.usefixtures("run_id")
def test_a_list_that_is_cut_says_so(call):
    assert "more with --limit" in call("runs", "--limit", "1")
    assert "more with --limit" not in call("runs", "--limit", "2")


def test_a_run_is_shown_with_everything(call, run_id):
    shown = call("show", run_id)
    for word in (
        run_id,
        "first",
        "digits",
        "loss",
        "0.25",
        "rate",
        "0.1",
        "team",
        "points",
        "abc",
        "mlflow-artifacts:",
    ):
        assert word in shown
    assert json.loads(call("show", run_id, "--json"))["info"]["run_id"] == run_id


@pytest.mark.parametrize("arguments", [("runs",), ("experiments",), ("show", "x"), ("outbox",), ("sync", "--to", "x")])
def test_looking_into_a_store_that_is_not_there_makes_none(call, tmp_path, arguments):
    shown = call(*arguments, status=1)
    assert f"There is no store at sqlite:///{tmp_path}/tracking.db" in shown
    assert "tracking serve" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("run_id")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nope"), "nope"),
        (("runs", "--experiment", "nope"), "There is no experiment named or numbered 'nope'"),
        (("runs", "--filter", "a or b"), "a or b"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(call, arguments, said):
    shown = call(*arguments, status=1)
    assert shown.startswith("Error: ")
    assert said in shown
    assert "Traceback" not in shown


def test_a_store_of_an_unknown_kind_is_refused_in_a_sentence():
    result = CliRunner().invoke(tracking, ["runs", "--store", "mongodb://x"])
    assert (result.exit_code, result.output.startswith("Error: ")) == (1, True)


@pytest.mark.parametrize("command", ["runs", "serve"])
def test_a_folder_is_not_taken_for_a_store(tmp_path, command):
    result = CliRunner().invoke(tracking, [command, "--store", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output == f"Error: The store {tmp_path} is a folder; expected the SQLite file in it, such as " + (
        f"sqlite:///{tmp_path / 'tracking.db'}.\n"
    )


def test_a_store_whose_folder_cannot_be_written_is_read_as_it_lies_there(call, uri, run_id, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere, as far as permissions go
    (store_file,) = tmp_path.iterdir()
    with open_store(uri, create=False) as store:
        assert store.get_run(run_id).info.run_name == "first"
        assert list(tmp_path.iterdir()) == [store_file]
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            store.set_tag(run_id, Tag("a", "b"))
    assert "first" in call("runs")


def test_what_another_process_is_just_writing_is_read_though_the_folder_cannot_be_written(uri, run_id, monkeypatch):
    with open_store(uri) as writing:
        writing.set_tag(run_id, Tag("newest", "x"))
        monkeypatch.setattr(os, "access", lambda *_: False)
        with open_store(uri, create=False) as reading:
            assert Tag("newest", "x") in reading.get_run(run_id).data.tags


def test_a_server_that_could_take_no_request_is_not_started(uri):
    result = CliRunner().invoke(tracking, ["serve", "--store", uri, "--max-body", "-1"])
    assert result.exit_code == 2
    assert "--max-body" in result.output


def test_an_address_that_is_taken_is_said(uri, tmp_path):
    result = CliRunner().invoke(
        tracking,
        ["serve", "--store", uri, "--artifacts", str(tmp_path), "--host", "203.0.113.1", "--port", "0", "--insecure"],
    )
    assert result.exit_code == 1
    assert "Cannot listen on 203.0.113.1" in result.output


@pytest.fixture
def refused_run(uri, run_id):
    """A run that one remote waits for and another has refused a part of."""
    with SqlStore.open(uri) as store:
        store.journal.configure(["http://slow", "http://gone"])
        store.journal.configure(["http://slow", "http://quick"])
        store.log_batch(run_id, [Metric("late", 1.0, 1)])
        quick, slow = store.journal.ledger("http://quick"), store.journal.ledger("http://slow")
        store.journal.acknowledge(quick.number, store.journal.last())
        quick.refuse(run_id, "metric [odd]", "NaN is not acceptable", 3)
        slow.failed("connection refused")
    return run_id


def test_the_outbox_shows_what_waits_and_what_was_refused_and_why(call, refused_run):
    shown = call("outbox")
    for word in ("http://slow", "connection refused", "http://gone", "not configured"):
        assert word in shown
    for word in ("http://quick", refused_run, "metric [odd]", "NaN is not acceptable"):
        assert word in shown


def test_addresses_in_the_outbox_are_whole_and_their_state_is_not_an_error(call, uri, refused_run):
    long = "https://mlflow.example.org/a/path/that/is/longer/than/a/terminal/is/wide/and/then/goes/on"
    with SqlStore.open(uri) as store:
        store.journal.configure(["http://slow", "http://quick", long])
    shown = call("outbox", columns="80")
    assert long in shown
    assert refused_run in shown
    rows = dict(zip(cell_by_cell(call("outbox"), 0), cell_by_cell(call("outbox"), 1), strict=True))
    assert (rows["http://gone"], rows["http://slow"]) == ("not configured", "configured")


def test_the_outbox_can_be_had_as_json(call, refused_run):
    found = json.loads(call("outbox", "--json"))
    slow, quick = found["remotes"]
    assert (slow["remote"], slow["depth"], slow["connected"], slow["refused"]) == ("http://slow", 1, False, 0)
    assert slow["last_error"] == "connection refused"
    assert slow["oldest_seconds"] >= 0
    assert (quick["depth"], quick["connected"], quick["refused"]) == (0, True, 3)
    assert "oldest_seconds" not in quick
    assert found["former"] == ["http://gone"]
    (refusal,) = found["refused"]
    assert (refusal["run_id"], refusal["what"], refusal["items"]) == (refused_run, "metric [odd]", 3)


@pytest.mark.usefixtures("run_id")
def test_a_store_without_remotes_has_an_empty_outbox(call):
    assert json.loads(call("outbox", "--json")) == {"remotes": [], "former": [], "refused": []}


def test_the_outbox_of_a_tracking_server_is_asked_for_in_vain():
    result = CliRunner().invoke(tracking, ["outbox", "--store", "http://localhost:1"])
    assert result.exit_code == 1
    assert "expected a store of this machine" in result.output


def test_sync_says_what_is_wrong_with_a_moment(call):
    assert "'yesterday' is not a time" in call("sync", "--to", "http://localhost:1", "--since", "yesterday", status=2)


def test_sync_to_a_server_that_is_not_there_fails_with_a_sentence(call, run_id):
    shown = call("sync", "--to", "http://user:s3cret@127.0.0.1:1", status=1)
    assert "Error:" in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize(("complete", "status"), [(True, 0), (False, 1)])
def test_a_script_can_tell_whether_sync_brought_everything_over(call, run_id, monkeypatch, complete, status):
    monkeypatch.setattr(SyncCommand, "once", lambda self: complete)
    call("sync", "--to", "http://localhost:1", status=status)


SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


@SIGNALS
def test_a_server_that_is_asked_to_exit_ends_with_0(tmp_path, number):
    with running_server(tmp_path) as server:
        server.process.send_signal(number)
        assert server.process.wait(30) == 0


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=["once", "twice"])
def test_requests_that_wait_for_a_locked_store_do_not_hold_the_end(tmp_path, numbers):
    body = b'{"name": "new"}'
    head = "POST /api/2.0/mlflow/experiments/create HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with ExitStack() as stack:
        server = stack.enter_context(running_server(tmp_path))
        address = ("127.0.0.1", urlsplit(server.url).port)
        other = stack.enter_context(closing(sqlite3.connect(tmp_path / "tracking.db")))
        other.execute("BEGIN IMMEDIATE")
        for _ in range(5):  # the store has one writer: the others wait when the first has waited in vain
            waiting = stack.enter_context(socket.create_connection(address, timeout=60))
            waiting.sendall(head.encode())
            assert b" 100 " in waiting.recv(1000)
            waiting.sendall(body)
            # What came before it is at the store when this is answered.
            assert httpx.get(f"{server.url}/api/2.0/mlflow/experiments/get?experiment_id=0").status_code == 200
        for number in numbers:
            server.process.send_signal(number)
            with suppress(ConnectionError):  # until the server listens no more
                while True:
                    socket.create_connection(address, timeout=60).close()
        assert server.process.wait(60) == 0
        output = server.output.result(60)
    assert re.search("The service ends although these threads are still running: .*tracking_", output)
    assert "Traceback" not in output


@pytest.mark.parametrize("option", ["--store", "--to"])
def test_a_password_on_the_command_line_is_warned_of_and_not_repeated(run_id, uri, option):
    addresses = {"--store": uri, "--to": "http://127.0.0.1:1", option: "http://user:s3cret@127.0.0.1:1"}
    arguments = [part for pair in addresses.items() for part in pair]
    shown = CliRunner().invoke(tracking, ["sync", *arguments]).output
    assert f"Warning: {option} has a password or token on the command line" in shown
    assert "MLFLOW_TRACKING_TOKEN" in shown
    assert "s3cret" not in shown


def test_a_password_in_the_environment_is_not_warned_of():
    secret = {"MISTK_TRACKING_STORE": "http://user:s3cret@127.0.0.1:1"}
    assert "Warning" not in CliRunner(env=secret).invoke(tracking, ["experiments"]).output
