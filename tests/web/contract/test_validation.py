"""Bodies are read strictly, and a long one without blocking other requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest
from jsonschema import Draft4Validator

from mistk_service.resources import load_contract
from mistk_service.web.contract.json_body import accepting_reader, asks_for_strings
from mistk_service.web.json_limits import FREE_JSON
from tests.web.harness import API, application, client

DATA_MAP = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}, "example": {"a": "AA=="}}

NESTINGS = ["%s", "[1, %s]", '{"a": {"b": [[0.5, %s, "c"]]}}', "[[], {}, true, null, %s]"]


async def validate(schema: dict[str, Any], body: bytes) -> None:
    """Validate a body as Connexion does.

    Raises:
        ProblemException: it is refused.
    """
    from mistk_service.web.contract.validation import VALIDATORS

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    validators: Any = VALIDATORS
    validator = validators["body"]["application/json"](
        schema=schema, required=True, encoding="utf-8", strict_validation=True
    )
    scope = {"type": "http", "headers": [(b"content-length", str(len(body)).encode())]}
    await validator.wrap_receive(receive, scope=scope)


def refused() -> pytest.RaisesExc[Any]:
    """Expect Connexion's refusal of a body."""
    from connexion.exceptions import ProblemException

    return pytest.raises(ProblemException)


class Held(ThreadPoolExecutor):
    """Makes each call when the test says so.

    Attributes:
        calls: gets, for each call, the event that lets it begin.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self.calls: asyncio.Queue[threading.Event] = asyncio.Queue()

    def submit(self, call: Any, /, *args: Any, **options: Any) -> Future[Any]:
        """Announce a call, and make it later."""
        begin = threading.Event()
        self.calls.put_nowait(begin)

        def run() -> Any:
            assert begin.wait(10), "nobody was answered in the meantime"
            return call(*args, **options)

        return super().submit(run)


@pytest.mark.anyio
async def test_others_are_answered_while_a_long_body_is_read() -> None:
    held = Held()
    asyncio.get_running_loop().set_default_executor(held)
    body = {"hyperparamters": "x" * 70_000}
    async with client(application()) as http:
        request = asyncio.create_task(http.post(f"{API}/initialize", json=body))
        for _ in ("read quickly, and not recognised", "Connexion is loaded", "read by the validator, which explains"):
            call = asyncio.create_task(held.calls.get())
            await asyncio.wait({request, call}, return_when=asyncio.FIRST_COMPLETED)
            assert not request.done()
            assert (await http.get("/healthz")).status_code == 200
            (await call).set()
        answer = await request
    assert answer.status_code == 400
    assert "'hyperparamters' is not known" in answer.json()["message"]


class NotForJsonschema(dict[str, Any]):
    """A schema that jsonschema fails to apply; it begins by looking for a reference."""

    def get(self, key: str, default: Any = None) -> Any:
        assert key != "$ref", "jsonschema was asked"
        return super().get(key, default)


@pytest.mark.anyio
@pytest.mark.parametrize("count", [1, 1000, 10_000])
async def test_records_are_accepted_without_jsonschema(count: int) -> None:
    schema = {"type": "object", "minProperties": 1, "additionalProperties": NotForJsonschema(type="string")}
    records = {str(number): "AA==" for number in range(count)}
    await validate(schema, json.dumps(records).encode())
    with pytest.raises(AssertionError, match="jsonschema was asked"):
        await validate(schema, b'{"0": 0}')


def test_the_contract_still_lets_records_be_accepted_without_jsonschema() -> None:
    (schema,) = [
        p["schema"] for p in load_contract()["paths"]["/streamPredict"]["post"]["parameters"] if p["in"] == "body"
    ]
    assert asks_for_strings(schema)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "value", [{"a": ""}, {"a": "x", "b": "y"}, {}, {"a": 1}, {"a": "x", "b": None}, [], "a", None, 1]
)
@pytest.mark.parametrize(
    "schema",
    [DATA_MAP, {"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object", "title": "T"}],
    ids=["data map", "may be empty", "any object"],
)
async def test_what_is_accepted_is_what_jsonschema_accepts(value: Any, schema: dict[str, Any]) -> None:
    valid = Draft4Validator(schema).is_valid(value)
    with contextlib.nullcontext() if valid else refused():
        await validate(schema, json.dumps(value).encode())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "rule",
    [
        {"maxProperties": 1},
        {"properties": {"b": {"enum": ["x"]}}},
        {"additionalProperties": {"type": "string", "minLength": 2}},
    ],
)
async def test_the_further_rules_of_a_schema_are_obeyed(rule: dict[str, Any]) -> None:
    assert not asks_for_strings(DATA_MAP | rule)
    with refused():
        await validate(DATA_MAP | rule, b'{"a": "x", "b": "y"}')


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("number", ["0", "-9223372036854775808", "18446744073709551615", "1e308", "-1.5e-400", "0.1"])
def test_numbers_of_64_bits_are_taken(nesting: str, number: str) -> None:
    text = nesting % number
    assert accepting_reader({}, FREE_JSON)(text.encode()) == json.loads(text)


@pytest.mark.anyio
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
async def test_larger_numbers_are_refused_by_name_wherever_they_stand(nesting: str, number: str, said: str) -> None:
    with refused() as caught:
        await validate({}, (nesting % number).encode())
    assert said in caught.value.detail
    assert number[:80] in caught.value.detail


def test_numbers_in_great_numbers_are_not_looked_at_one_by_one() -> None:
    read = accepting_reader({}, FREE_JSON)
    numbers = [[*range(10_000)], -1e10]
    body = json.dumps(numbers).encode()
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        value = read(body)
    finally:
        sys.setprofile(None)
    assert value == numbers
    assert calls < 1000


@pytest.mark.anyio
@pytest.mark.parametrize(("operation", "code"), [("initialize", 415), ("train", 400), ("saveModel?modelPath=x", 400)])
async def test_a_media_type_of_strange_bytes_is_one_that_nobody_knows(operation: str, code: int) -> None:
    async with client(application()) as http:
        answer = await http.post(f"{API}/{operation}", content=b"{}", headers=[(b"content-type", b"\xff/\xfe; \xfd")])
    assert (answer.status_code, answer.json()["code"]) == (code, code)
