"""A kind is one value: a container of any kind has the API, the watch, the page, the run, the metrics and the client."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import mistk_service
from mistk_service.client import ContainerClient
from mistk_service.errors import RequestRefused
from mistk_service.kinds import KINDS, Kind, all_kinds, kind_at, kind_of
from mistk_service.kinds.kind import Role
from mistk_service.kinds.model import MODEL
from mistk_service.resources import load_contract
from tests.kinds.toy import TOY
from tests.service.harness import wait_until

ROOT = Path(__file__).parents[2]


class ToyClient(ContainerClient):
    kind = TOY


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = tmp_path_factory.mktemp("state")
    command = [sys.executable, "-m", "tests.kinds.toy", str(state)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        url = service.stdout.readline().strip()
        yield url
        with ToyClient(url) as toy:
            toy.shutdown()
        assert service.wait(30) == 0


@pytest.fixture
def toy(url: str) -> Iterator[ToyClient]:
    with ToyClient(url) as client:
        yield client


def test_its_operations_are_accepted_watched_and_tracked(toy: ToyClient, url: str) -> None:
    begun = toy.call("greet", name="Ada")
    assert begun.state == "greeting"
    states = [begun.state]
    for event in toy.watch(begun.resource_version):
        states.append(event.status.state)
        if event.status.state == "idle":
            break
    assert set(states) == {"greeting", "idle"}
    status = toy.status()
    assert status.payload["greeted"] == "Ada"
    assert status.metrics == {"loudness": 1.0}
    run = toy.wait_for("idle").payload["run"]

    def metrics() -> set[str]:
        answer = httpx.get(f"{url}/api/2.0/mlflow/runs/get", params={"run_id": run["id"]}, timeout=60).json()
        return {metric["key"] for metric in answer["run"]["data"].get("metrics", ())}

    wait_until(lambda: metrics() >= {"loudness", "mistk/greet_count"})  # they are written a moment later


def test_what_the_class_lacks_or_the_contract_forbids_is_refused(toy: ToyClient) -> None:
    toy.wait_for("idle")
    with pytest.raises(RequestRefused, match="has no do_forget"):
        toy.call("forget")
    with pytest.raises(RequestRefused, match="name"):
        toy.call("greet")


def test_a_reset_leads_to_its_initial_state(toy: ToyClient) -> None:
    toy.wait_for("idle", since=toy.reset())
    assert toy.status().possible == ("greet", "reset", "shutdown")


def test_its_figures_page_and_contract_are_served(url: str) -> None:
    figures = httpx.get(f"{url}/metrics").text
    assert 'mistk_state{state="idle"} 1.0' in figures
    assert httpx.get(f"{url}/page/about").json()["api"] == "v1/toy"
    assert httpx.get(f"{url}/v1/toy/swagger.json").json()["info"]["title"] == "Toy"
    assert httpx.get(f"{url}/readyz").json() == {"ready": True, "state": "idle"}


@pytest.mark.parametrize("kind", [*all_kinds(), TOY], ids=lambda kind: kind.name)
def test_a_kind_agrees_with_its_contract_and_with_itself(kind: Kind) -> None:
    contract = load_contract(kind.contract)
    assert contract["basePath"] == kind.base_path
    paths = {*kind.operations, *kind.documents, "status", "apiVersion"}
    assert {path.strip("/") for path in contract["paths"]} == paths
    for row in kind.operations.values():
        assert callable(getattr(kind.base, row.hook)), row.hook
        assert {*row.allowed, row.running, row.then} <= {*kind.states, None}
        assert row.resumes is None or kind.operations[row.resumes].role is Role.ACTIVITY
    assert len(kind.of_role(Role.RESET)) == len(kind.of_role(Role.SHUTDOWN)) == 1
    assert {kind.initial, kind.ready} <= set(kind.states)


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.name)
def test_the_base_class_of_a_kind_is_importable_from_the_package_and_leads_to_it(kind: Kind) -> None:
    base = getattr(mistk_service, kind.base.__name__)
    assert kind_of(base) is kind
    assert kind_at(KINDS[base.__name__]) is kind


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.name)
def test_the_table_of_a_kind_is_that_of_its_contract(kind: Kind) -> None:
    contract = load_contract(kind.contract)
    for row in kind.operations.values():
        (operation,) = contract["paths"][f"/{row.name}"].values()
        table = operation["x-mistk-states"]
        assert set(table["allowed"]) == row.allowed
        assert set(as_list(table["while"])) == (row.running_states or {None})
        assert set(as_list(table["then"])) == {row.then or "back", *row.alternatives}
    states = contract["definitions"][kind.status_name]["properties"]["state"]["enum"]
    assert states == [str(state) for state in kind.states]


@pytest.mark.parametrize("kind", [kind for kind in all_kinds() if kind is not MODEL], ids=lambda kind: kind.name)
def test_what_the_contracts_share_is_the_same(kind: Kind) -> None:
    model, contract = load_contract(MODEL.contract)["definitions"], load_contract(kind.contract)["definitions"]
    shared = model.keys() & contract.keys() - {"MistkWatchEvent"}
    assert shared > {"ServiceError", "StatusPayload", "ObjectInfo", "WatchEvent"}
    assert {name: contract[name] for name in shared} == {name: model[name] for name in shared}


def test_nothing_outside_its_folder_names_an_operation_of_a_model() -> None:
    names = "|".join(name for name in TOY.operations.keys() ^ MODEL.operations.keys() if name not in TOY.operations)
    named = re.compile(rf"""["'](?:{names})["']""")
    package = ROOT / "mistk_service"
    free = [
        *(package / "core").rglob("*.py"),
        *(package / "workers").rglob("*.py"),
        *(package / "recording").rglob("*.py"),
    ]
    free += [*(package / "doors").rglob("*.py"), package / "client" / "container.py"]
    free.remove(package / "recording" / "datasets.py")  # roles of datasets have the same names
    for protocol in ("inference", "kserve"):  # operations of the protocol have the same names
        free.remove(package / "doors" / protocol / "handlers.py")
    found = [f"{file.relative_to(ROOT)}: {match[0]}" for file in free for match in named.finditer(file.read_text())]
    assert found == []
