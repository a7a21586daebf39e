"""Every operation of every contract has a role by a rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mistk_service
from mistk_service.doors.grpc.method_roles import ROLES
from mistk_service.doors.mistk.handlers import role_in
from mistk_service.kinds import all_kinds
from mistk_service.resources import contract_path, load_contract
from mistk_service.tracking.server.permissions import DECISIONS
from mistk_service.web.access import AccessRole, rule_for

#: Contracts whose operations have rules of their own: those of kinds, by how an operation is carried out, and of tracking.
CONTRACTS = sorted(file.name for file in (Path(mistk_service.__file__).parent.parent / "api").glob("*.yaml"))
DOORS = [name for name in CONTRACTS if "mlflow" not in name]


def test_every_operation_of_tracking_has_a_decision() -> None:
    names = {
        prefix + operation["operationId"]
        for contract, prefix in (("mlflow-api.yaml", ""), ("gitlab-mlflow-api.yaml", "project:"))
        for item in load_contract(contract)["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
    }
    assert names == DECISIONS.keys()


def test_every_method_of_grpc_has_a_role() -> None:
    contract = contract_path("open_inference.proto").read_text(encoding="utf-8")
    assert ROLES.keys() == set(re.findall(r"^\s*rpc (\w+)", contract, re.M))


def test_every_way_to_carry_out_an_operation_has_a_role() -> None:
    assert {
        role_in(kind, row.name, row.name, "POST") for kind in all_kinds() for row in kind.operations.values()
    } == set(AccessRole) - {AccessRole.VIEWER}


@pytest.mark.parametrize("name", DOORS)
def test_every_operation_of_a_door_has_a_role(name: str) -> None:
    contract = load_contract(name)
    without = [
        f"{method} {path}"
        for path, item in contract["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict)
        and "operationId" in operation
        and "x-mistk-states" not in operation  # an operation of a kind, whose role comes from how it is carried out
        and rule_for(operation["operationId"], method) is None
    ]
    assert without == [], "name it in mistk_service/web/access/roles.py"
