"""Bodies are read strictly, and a long one while others are answered."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from jsonschema import Draft4Validator

from mistk_service.resources import contract_path
from mistk_service.web.contract import validation
from tests.web.harness import API, application, client

DATA_MAP = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}, "example": {"a": "AA=="}}

NESTINGS = ["%s", "[1, %s]", '{"a": {"b": [[0.5, %s, "c"]]}}', "[[], {}, true, null, %s]"]


@pytest.mark.anyio
async def test_others_are_answered_while_a_long_body_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, answered = threading.Event(), threading.Event()
    parse = validation._parse

    def wait_and_parse(body: bytes, *limits: Any) -> Any:
        reading.set()
        if not answered.wait(10):
            raise ValueError("nobody was answered in the meantime")
        return parse(body)

    monkeypatch.setattr(validation, "_parse", wait_and_parse)
    body = {"hyperparamters": "x" * 70_000}
    async with client(application()) as http:
        request = asyncio.create_task(http.post(f"{API}/initialize", json=body))
        await asyncio.to_thread(reading.wait)
        assert (await http.get("/healthz")).status_code == 200
        answered.set()
        answer = await request
    assert answer.status_code == 400
    assert "'hyperparamters' is not known" in answer.json()["message"]


def test_records_are_accepted_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "Draft4RequestValidator", None)
    records = {str(number): "AA==" for number in range(1000)}
    assert body_validator(DATA_MAP)._read(json.dumps(records).encode()) == records


def test_the_contract_still_lets_records_be_accepted_without_jsonschema() -> None:
    import yaml

    contract = yaml.safe_load(contract_path().read_text(encoding="utf-8"))
    (schema,) = [p["schema"] for p in contract["paths"]["/streamPredict"]["post"]["parameters"] if p["in"] == "body"]
    assert validation._is_map_of_strings({"a": ""}, schema)


@pytest.mark.parametrize(
    "value", [{"a": ""}, {"a": "x", "b": "y"}, {}, {"a": 1}, {"a": "x", "b": None}, [], "a", None, 1]
)
@pytest.mark.parametrize(
    "schema",
    [DATA_MAP, {"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object", "title": "T"}],
    ids=["data map", "may be empty", "any object"],
)
def test_what_is_accepted_without_jsonschema_would_be_accepted_by_it(value: Any, schema: dict[str, Any]) -> None:
    valid = Draft4Validator(schema).is_valid(value)
    strings_only = "additionalProperties" in schema
    assert validation._is_map_of_strings(value, schema) == (valid and strings_only)


@pytest.mark.parametrize(
    "rule", [{"maxProperties": 1}, {"properties": {"a": {}}}, {"additionalProperties": {"minLength": 1}}]
)
def test_a_schema_with_further_rules_is_left_to_jsonschema(rule: dict[str, Any]) -> None:
    assert not validation._is_map_of_strings({"a": "x"}, DATA_MAP | rule)


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("number", ["0", "-9223372036854775808", "18446744073709551615", "1e308", "-1.5e-400", "0.1"])
def test_numbers_of_64_bits_are_taken(nesting: str, number: str) -> None:
    text = nesting % number
    assert validation._parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("-9223372036854775809", "more than 64 bits"),
        ("18446744073709551616", "more than 64 bits"),
        ("9" * 5000, "more than 64 bits"),
        ("1e309", "too large"),
        ("-1e999", "too large"),
    ],
    ids=lambda text: text[:25],
)
def test_larger_numbers_are_refused_by_name_wherever_they_stand(nesting: str, number: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        validation._parse((nesting % number).encode())
    assert number[:80] in str(caught.value)


def test_numbers_in_great_numbers_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_CAREFUL", None)
    assert validation._parse(b"[[1, 2, 3.5], -1e10]") == [[1, 2, 3.5], -1e10]


@pytest.mark.anyio
@pytest.mark.parametrize(("operation", "code"), [("initialize", 415), ("train", 400), ("saveModel?modelPath=x", 400)])
async def test_a_media_type_of_strange_bytes_is_one_that_nobody_knows(operation: str, code: int) -> None:
    async with client(application()) as http:
        answer = await http.post(f"{API}/{operation}", content=b"{}", headers=[(b"content-type", b"\xff/\xfe; \xfd")])
    assert (answer.status_code, answer.json()["code"]) == (code, code)


def body_validator(schema: dict[str, Any]) -> validation._BodyValidator:
    """Return the validator of bodies for a schema, as Connexion makes it."""
    return validation._BodyValidator(schema=schema, required=True, encoding="utf-8", strict_validation=True)
