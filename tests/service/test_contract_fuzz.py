"""Fuzzing the running service: every request that the contract allows gets a response that it describes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from mistk_service.resources import load_contract
from tests.service.harness import API, OBEDIENT, REQUEST_TIMEOUT, RESTING, Service
from tests.support.examples import examples
from tests.support.fuzzing import cases, described

if TYPE_CHECKING:
    import schemathesis
    from schemathesis.schemas import BaseSchema

#: Everything but what ends the service.
OPERATIONS = [
    (path, method) for path, methods in load_contract()["paths"].items() for method in methods if path != "/shutdown"
]

bounded = settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a working directory of its own, for what it is told to write to relative paths."""
    service = Service("serve", OBEDIENT, "--port", "0", cwd=tmp_path_factory.mktemp("fuzzed"))
    yield service
    service.end()


@pytest.fixture(scope="module")
def contract(fuzzed: Service) -> BaseSchema:
    """The contract as the service publishes it."""
    import schemathesis

    return schemathesis.openapi.from_url(f"{fuzzed.url}{API}/swagger.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the paths of the cases lead, since a path may lead anywhere."""
    return tmp_path_factory.mktemp("paths")


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize("state", ["started", "ready"])
def test_an_instance_answers_as_the_contract_says(
    contract: BaseSchema, fuzzed: Service, folder: Path, state: str, path: str, method: str
) -> None:
    operation = contract[path][method]

    @bounded
    @given(case=cases(operation))
    def every_case(case: schemathesis.Case) -> None:
        bring_to(fuzzed, state)
        make_harmless(case, folder)
        answer = case.call(timeout=REQUEST_TIMEOUT)
        case.validate_response(answer, checks=described(with_body=bool(answer.content)))

    every_case()


def make_harmless(case: schemathesis.Case, folder: Path) -> None:
    """Keep a case from asking for a watch, which never ends, and from writing to wherever its path leads."""
    if str(case.query.get("watch", "")).lower() == "true":
        case.query["watch"] = "false"
    for name in ("modelPath", "dataPath"):
        if case.query.get(name):
            digest = hashlib.sha256(repr(case.query[name]).encode("utf-8", "replace")).hexdigest()
            case.query[name] = str(folder / digest)


def bring_to(service: Service, state: str) -> None:
    """Have the instance in the state, by as little as it takes."""
    status = service.wait(lambda s: s["state"] in RESTING, service.status())
    if status["state"] == state:
        return
    if status["state"] not in ("started", "initialized") or state == "started":
        service.do("reset")
        status = service.status()
    if state == "ready":
        if status["state"] == "started":
            service.do("initialize", {})
        service.do("buildModel")
