"""The contract, the methods that answer it, and its promise that every answer has the form that it says."""

import inspect

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis import checks

from mistk_service.resources import load_contract
from mistk_service.tracking.server.operations import OPERATIONS as ALWAYS
from mistk_service.tracking.server.operations.accounts import AccountOperations
from mistk_service.tracking.server.operations.roles import RoleOperations
from mistk_service.tracking.server.transfers import Transfers

CONTRACT = load_contract("mlflow-api.yaml")
METHODS = {"get", "put", "post", "patch", "delete"}
OPERATIONS = [
    operation for path in CONTRACT["paths"].values() for method, operation in path.items() if method in METHODS
]

#: The operations on accounts are answered where clients have to log in.
PARTS = (*ALWAYS, AccountOperations, RoleOperations)

schema = schemathesis.openapi.from_dict(CONTRACT)

#: What the schemas cannot say: requests are taken more widely than they are written down, and names, filters and states
#: have rules of their own.
LENIENT = [checks.negative_data_rejection, checks.positive_data_acceptance, checks.missing_required_header]


def public_methods(kind):
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_the_contract_is_valid_openapi():
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


@pytest.mark.timeout(300)
@schema.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_has_the_form_that_the_contract_says(case, server):
    unsupported = case.operation.definition.raw["summary"].startswith("Not supported")
    excluded = [*LENIENT, checks.not_a_server_error] if unsupported else LENIENT
    case.call_and_validate(base_url=server.url, excluded_checks=excluded, timeout=30)
