"""The contract and its handlers match, and every response has the described form."""

import inspect

import pytest
from hypothesis import HealthCheck, given, settings

from mistk_service.resources import load_contract
from mistk_service.tracking.server.operations import OPERATIONS as ALWAYS
from mistk_service.tracking.server.operations.accounts import AccountOperations
from mistk_service.tracking.server.operations.roles import RoleOperations
from mistk_service.tracking.server.transfers import Transfers
from tests.support.examples import examples
from tests.support.fuzzing import cases

CONTRACT = load_contract("mlflow-api.yaml")
METHODS = {"get", "put", "post", "patch", "delete"}
PLACES = [(path, method) for path, item in CONTRACT["paths"].items() for method in item if method in METHODS]
OPERATIONS = [CONTRACT["paths"][path][method] for path, method in PLACES]

#: The operations on accounts are answered where clients have to log in.
PARTS = (*ALWAYS, AccountOperations, RoleOperations)


def public_methods(kind):
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_the_contract_is_valid_openapi():
    from openapi_spec_validator import validate

    validate(CONTRACT)


def test_every_operation_has_a_method_and_every_method_an_operation():
    answered = set().union(*map(public_methods, (*PARTS, Transfers)))
    assert {operation["operationId"] for operation in OPERATIONS} == answered


def test_no_operation_is_answered_twice():
    methods = [name for kind in (*PARTS, Transfers) for name in public_methods(kind)]
    assert len(methods) == len(set(methods))
    ids = [operation["operationId"] for operation in OPERATIONS]
    assert len(ids) == len(set(ids))


def test_every_operation_says_what_an_error_looks_like():
    for operation in OPERATIONS:
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Error"}, operation["operationId"]


@pytest.fixture(scope="module")
def schema():
    import schemathesis

    return schemathesis.openapi.from_dict(CONTRACT)


@pytest.mark.hypothesis
@pytest.mark.parametrize(("path", "method"), PLACES)
def test_every_answer_has_the_form_that_the_contract_says(schema, server, path, method):
    from schemathesis import checks

    # What the schemas cannot say: requests are taken more widely than they are written down, and names, filters and states
    # have rules of their own.
    excluded = [checks.negative_data_rejection, checks.positive_data_acceptance, checks.missing_required_header]
    operation = schema[path][method]
    if operation.definition.raw["summary"].startswith("Not supported"):
        excluded.append(checks.not_a_server_error)

    @settings(max_examples=examples(4), deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases(operation))
    def every_case(case):
        case.call_and_validate(base_url=server.url, excluded_checks=excluded, timeout=30)

    every_case()
