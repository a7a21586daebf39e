"""Runs of a container reach the configured servers, and a server that is down has no other effect."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Start
from tests.service.harness import REQUEST_TIMEOUT, Service, run, wait_delivered
from tests.service.test_runs import MLFLOW, get_run, settled_run, values
from tests.support.remotes import reserved_port


def remote_in(status: dict[str, Any]) -> dict[str, Any]:
    """The first remote that a status shows, if it shows one."""
    found: list[dict[str, Any]] = status["payload"].get("tracking", {}).get("remotes", [])
    return found[0] if found else {}


def wait_for_remote(service: Service, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the remote of the service stands as wanted."""
    status = service.wait(lambda s: bool(remote_in(s)) and condition(remote_in(s)), service.status())
    return remote_in(status)


def delivered(remote: dict[str, Any]) -> bool:
    """Whether everything has been delivered."""
    return remote["connected"] and remote["depth"] == 0


def copy_of(server: Service, run_id: str) -> dict[str, Any]:
    """The run of a server that is a copy of another one's."""
    experiments = httpx.post(
        f"{server.url}{MLFLOW}/experiments/search", json={"max_results": 100}, timeout=REQUEST_TIMEOUT
    ).json()
    found = httpx.post(
        f"{server.url}{MLFLOW}/runs/search",
        json={
            "experiment_ids": [experiment["experiment_id"] for experiment in experiments["experiments"]],
            "filter": f"tags.`mistk.sourceRunId` = '{run_id}'",
        },
        timeout=REQUEST_TIMEOUT,
    ).json()
    (copy,) = found["runs"]
    return get_run(server, copy["info"]["run_id"])


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """In what two runs differ that should not."""
    parts: dict[str, tuple[Any, ...]] = {
        part: (values(one, part), values(other, part)) for part in ("metrics", "params", "tags")
    }
    parts["info"] = tuple(
        {key: run["info"].get(key) for key in ("run_name", "status", "start_time", "end_time", "user_id")}
        for run in (one, other)
    )
    parts["inputs"] = (one.get("inputs"), other.get("inputs"))
    parts["tags"][1].pop("mistk.sourceRunId", None)
    return {part: pair for part, pair in parts.items() if pair[0] != pair[1]}


def test_a_run_is_the_same_on_the_server_that_was_named(start: Start, tmp_path: Path) -> None:
    server = start("--state-dir", str(tmp_path / "remote"))
    service = start("--tracking-uri", server.url)
    service.do("initialize", {"hyperparameters": {"rate": 0.1}})
    service.do("loadData", {"train": {"dataPath": __file__, "objectInfo": {"name": "data", "kind": "MistkDataset"}}})
    service.do("buildModel")
    service.do("train")
    service.do("saveModel", modelPath=str(tmp_path / "model"))
    run_id = settled_run(service)["info"]["run_id"]

    wait_delivered(tmp_path / "mistk-state")

    copy = copy_of(server, run_id)
    assert differences(get_run(service, run_id), copy) == {}
    wait_for_remote(service, delivered)
    root = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{copy['info']['artifact_uri'].partition(':/')[2]}"
    assert httpx.get(f"{root}/model/model.txt", timeout=REQUEST_TIMEOUT).text == "saved"


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL of this machine where nobody listens until a service is started on its port."""
    with reserved_port() as place:
        yield f"http://127.0.0.1:{place.getsockname()[1]}"


def test_what_waits_is_reported_and_is_delivered_when_the_server_is_there(
    start: Start, tmp_path: Path, nobody: str
) -> None:
    service = start("--tracking-uri", nobody, "--state-dir", str(tmp_path / "state"))
    service.make_ready()
    assert service.do("train")["state"] == "ready"
    run_id = settled_run(service)["info"]["run_id"]

    remote = wait_for_remote(service, lambda remote: remote["depth"] > 0 and "lastError" in remote)

    assert remote["remote"] == nobody
    assert not remote["connected"]
    assert remote["waitingSince"].startswith("20")
    assert service.metric("mistk_outbox_items", remote=nobody) > 0
    assert service.metric("mistk_outbox_connected", remote=nobody) == 0
    service.post("shutdown")
    assert service.wait_exit() == 0
    assert "remain to be forwarded" in service.output()

    server = start("--state-dir", str(tmp_path / "remote"), "--port", nobody.rpartition(":")[2])
    again = start("--tracking-uri", nobody, "--state-dir", str(tmp_path / "state"))
    wait_delivered(tmp_path / "state")
    wait_for_remote(again, delivered)

    assert differences(get_run(again, run_id), copy_of(server, run_id)) == {}
    again.wait_for_metric("mistk_outbox_connected", 1, remote=nobody)


def test_an_address_where_nobody_is_is_reported_before_anything_waits_for_it(start: Start) -> None:
    url = "http://127.0.0.1:9"
    service = start("--tracking-uri", url)

    remote = wait_for_remote(service, lambda remote: "lastError" in remote)

    assert (remote["remote"], remote["connected"], remote["depth"]) == (url, False, 0)
    assert "cannot be reached" in remote["lastError"]
    assert service.metric("mistk_outbox_connected", remote=url) == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_container_is_not_sent_to_itself(tmp_path: Path, host: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    code, _, err = run(
        "serve", "model:Model", "--port", str(port), "--tracking-uri", f"http://me:secret@{host}:{port}", cwd=tmp_path
    )

    assert code == 1
    assert "own address" in err
    assert "secret" not in err


def test_the_login_of_one_server_is_not_shown_to_another(tmp_path: Path) -> None:
    uris = ["--tracking-uri", "http://a.invalid", "--tracking-uri", "https://b.invalid"]

    code, _, err = run(
        "serve", "model:Model", "--port", "0", *uris, cwd=tmp_path, env={"MLFLOW_TRACKING_TOKEN": "secret"}
    )

    assert code == 1
    assert "http://a.invalid and https://b.invalid" in err
    assert "https://:TOKEN@HOST" in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        (["sqlite:///a.db", "postgresql://me:secret@host/db"], "at most one store"),
        (["databricks://me:secret@profile"], "expected sqlite:///FILE"),
        (["databricks://me:pass@secret@profile"], "expected sqlite:///FILE"),
        (["http://me:pass/secret@host"], "written as %2F"),
        (["http://me:12/secret@host"], "written as %2F"),
        (["http://me:secret#@host"], "written as %2F"),
        (["http://host?token=secret"], "without a query"),
        (["http://host:99999"], "'http://host:99999' cannot be used"),
        (["https://a.example,https://b.example"], "blanks between several addresses"),
        (["mlflow.example.org"], "http(s)://HOST for a tracking server"),
        (["sqlite:///"], "expected sqlite:///FILE; a store in memory"),
        (["sqlite:///:memory:"], "expected sqlite:///FILE; a store in memory"),
        (["databricks"], "./databricks or sqlite:///databricks"),
    ],
)
def test_stores_that_a_container_cannot_keep_are_refused(tmp_path: Path, uris: list[str], reason: str) -> None:
    options = [part for uri in uris for part in ("--tracking-uri", uri)]

    code, _, err = run("serve", "model:Model", "--port", "0", *options, cwd=tmp_path)

    assert code == 1
    assert reason in err
    assert "secret" not in err


def test_a_server_that_never_answers_keeps_neither_the_model_nor_the_end_waiting(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service = start("--grace", "3", "--tracking-uri", f"http://127.0.0.1:{silent.getsockname()[1]}")
        service.make_ready()
        assert service.do("train")["state"] == "ready"
        settled_run(service)
        wait_for_remote(service, lambda remote: remote["depth"] > 0)

        service.post("shutdown")

        assert service.wait_exit() == 0
    assert "remain to be forwarded" in service.output()


def test_a_user_and_a_password_are_shown_nowhere(start: Start) -> None:
    service = start("--tracking-uri", "http://me:secret@127.0.0.1:9")
    service.make_ready()
    service.do("train")
    wait_for_remote(service, lambda remote: "lastError" in remote)

    shown = service.api.get("/status").text + service.api.get(f"{service.url}/metrics").text

    assert "http://127.0.0.1:9" in shown
    service.post("shutdown")
    service.wait_exit()
    assert "secret" not in shown + service.output()
