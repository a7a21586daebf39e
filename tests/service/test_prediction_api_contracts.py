"""Fuzzing the prediction APIs of a running service: every response is described by the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mistk_service.resources import load_contract
from tests.service.harness import REQUEST_TIMEOUT, Service
from tests.support.examples import examples
from tests.support.fuzzing import cases, described
from tests.support.harness import reference

if TYPE_CHECKING:
    import schemathesis

CONTRACTS = ("inference-api.yaml", "kserve-v1-api.yaml", "invocations-api.yaml", "openai-api.yaml")

#: The operations, of which each path with a version repeats one without.
OPERATIONS = [
    (contract, path, method)
    for contract in CONTRACTS
    for path, item in load_contract(contract)["paths"].items()
    for method in ("get", "post")
    if method in item and "{model_version}" not in path
]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Service]]:
    """Returns the service for a contract: its model takes any tensors, or it generates text."""
    with ExitStack() as stack:

        @cache
        def start(model: str, *options: str) -> Service:
            folder = tmp_path_factory.mktemp("model")
            service = stack.enter_context(Service("serve", reference(model), "--port", "0", *options, cwd=folder))
            service.make_ready()
            return service

        openai = ("generates:Generates", "--doors", "openai")
        yield lambda contract: start(*openai if contract == "openai-api.yaml" else ("tensors:Echo",))


@pytest.mark.parametrize(("contract", "path", "method"), OPERATIONS)
def test_an_api_answers_as_its_contract_says(
    services: Callable[[str], Service], contract: str, path: str, method: str
) -> None:
    import schemathesis

    service = services(contract)
    schema: Any = schemathesis.openapi.from_dict(load_contract(contract))
    schema.config.update(base_url=service.url)
    operation = schema[path][method]

    @settings(
        max_examples=examples(12 if method == "post" else 3), deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=cases(operation), known=st.booleans())
    def every_case(case: schemathesis.Case, known: bool) -> None:
        if known and isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "generates"
        if known and "model_name" in case.path_parameters:
            case.path_parameters["model_name"] = "generates" if contract == "openai-api.yaml" else "echo"
        case.call_and_validate(checks=described(), timeout=REQUEST_TIMEOUT)

    every_case()
    assert service.status()["state"] == "ready"
