"""The contracts in OpenAPI 3 are valid, and describe the same operations."""

from __future__ import annotations

from typing import Any

import pytest

from mistk_service.resources import contract_path, load_contract
from mistk_service.web.contract.openapi3 import as_openapi3

CONTRACTS = sorted(
    path.name for path in contract_path().parent.glob("*.yaml") if load_contract(path.name).get("swagger") == "2.0"
)


@pytest.fixture(params=CONTRACTS)
def contract(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load_contract(request.param)


def test_it_is_valid(contract: dict[str, Any]) -> None:
    from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

    OpenAPIV2SpecValidator(contract).validate()
    OpenAPIV30SpecValidator(as_openapi3(contract)).validate()


def test_it_describes_the_same_operations(contract: dict[str, Any]) -> None:
    document = as_openapi3(contract)
    assert document["servers"] == [{"url": contract["basePath"]}]
    for path, item in contract["paths"].items():
        for method, operation in item.items():
            converted = document["paths"][path][method]
            assert converted["operationId"] == operation["operationId"]
            assert set(converted["responses"]) == set(operation["responses"])
            bodies = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "body"]
            named = converted.get("requestBody", {}).get("x-codegen-request-body-name")
            assert ([named] if named else []) == bodies
            others = {each["name"] for each in operation.get("parameters", ()) if each["in"] != "body"}
            assert {each["name"] for each in converted.get("parameters", ())} == others


def test_values_that_may_be_null_streams_and_examples_are_kept() -> None:
    document = as_openapi3(load_contract())
    info = document["components"]["schemas"]["ObjectInfo"]["properties"]
    assert info["id"] == {
        "description": "The identifier of the object.",
        "type": "string",
        "format": "uuid",
        "nullable": True,
    }
    predict = document["paths"]["/streamPredict"]["post"]
    assert set(predict["responses"]["200"]["content"]) == {
        "application/json",
        "application/x-ndjson",
        "text/event-stream",
    }
    assert "example" in predict["responses"]["200"]["content"]["application/json"]
    assert predict["responses"]["400"] == {"$ref": "#/components/responses/Refused"}
    assert "requestBody" not in document["paths"]["/train"]["post"]
