"""The compiled operations and Connexion give the same responses to all requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Scope

from mistk_service.core.status_log import StatusEvent
from mistk_service.doors.mistk.handlers import Handlers
from mistk_service.doors.mistk.problems import answer
from mistk_service.kinds.call import Call
from mistk_service.kinds.model import MODEL
from mistk_service.kinds.model.states import State
from mistk_service.kinds.predictions import Answer, Signature
from mistk_service.resources import load_contract
from mistk_service.web.contract import Operation, Reader, argument_name, contract_app
from mistk_service.web.contract.compiled import MakeReader
from mistk_service.web.contract.omitted import OmittedParameters
from mistk_service.web.contract.strict import strict_reader
from mistk_service.web.json_limits import JsonLimits
from tests.support.examples import examples

BASE = "/v1/mistk"
EVENT = StatusEvent(1, State.READY, "added", b'{"state":"ready"}')


class Recorder:
    """Stands for the controller: notes every call, and answers with a status."""

    def __init__(self) -> None:
        self.kind = MODEL
        self.calls: list[tuple[Any, ...]] = []
        self.log = self

    def latest(self) -> StatusEvent:
        return self._note("latest")

    def __getattr__(self, name: str) -> Any:
        if name == "signature":
            return Signature(record_encoding="base64")
        if name in ("call", "predict", "wait_accepted"):
            return lambda *arguments: self._note_later(name, *arguments)
        return lambda *arguments: self._note(name, *arguments)

    async def _note_later(self, *call: Any) -> Any:
        event = self._note(*call)
        return Answer(msgspec.Raw(b"\x80")) if call[0] == "predict" else event

    def _note(self, *call: Any) -> StatusEvent:
        self.calls.append(call)
        return EVENT


class Way:
    """The API over a recorder; ``recognised`` counts the requests that its readers have recognised."""

    def __init__(self, make_reader: MakeReader) -> None:
        self.recorder = Recorder()
        self.recognised = 0
        self._make_reader = make_reader
        contract = load_contract(MODEL.contract)
        handlers = Handlers(self.recorder, contract, keepalive=1)  # type: ignore[arg-type]
        api = contract_app(
            contract, handlers.resolve, limits=lambda _: JsonLimits(size=2**20), answer=answer, reader=self._counting
        )
        self.app = OmittedParameters(api, contract)

    def _counting(self, operation: Operation, limits: JsonLimits) -> Reader | None:
        read = self._make_reader(operation, limits)

        def count(scope: Scope, body: bytes | bytearray) -> dict[str, Any]:
            assert read is not None
            arguments = read(scope, body)
            self.recognised += 1
            return arguments

        return count if read is not None else None

    def ask(self, method: str, path: str, **request: Any) -> tuple[int, bytes, list[tuple[Any, ...]]]:
        """Return the status, the body and the calls that were made for it."""
        self.recorder.calls.clear()

        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, BASE + path, **request)

        response = asyncio.run(call())
        return response.status_code, response.content, list(self.recorder.calls)


@pytest.fixture(scope="module")
def short() -> Way:
    return Way(strict_reader)


@pytest.fixture(scope="module")
def long() -> Way:
    return Way(lambda *_: None)


def alike(short: Way, long: Way, method: str, path: str, **request: Any) -> tuple[int, bool]:
    """Ask both, which must say and do the same; return the status, and whether the short way was enough."""
    before = short.recognised
    answered = short.ask(method, path, **request)
    assert answered == long.ask(method, path, **request)
    return answered[0], short.recognised > before


def post(short: Way, long: Way, path: str, body: bytes, media_type: str = "application/json") -> tuple[int, bool]:
    return alike(short, long, "POST", path, content=body, headers={"Content-Type": media_type})


PLAIN = {
    "GET": ["/status", "/apiVersion"],
    "HEAD": ["/status"],
    "POST": ["/train", "/predict", "/generate", "/pause", "/resumeTraining", "/resumePredict", "/reset", "/shutdown",
             "/buildModel", "/buildModel?modelPath=/a/b", "/saveModel?modelPath=/a", "/savePredictions?dataPath=/b",
             "/saveGenerations?dataPath=/c"],
}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, paths in PLAIN.items() for path in paths])
def test_every_plain_call_takes_the_short_way(short: Way, long: Way, method: str, path: str):
    assert alike(short, long, method, path) == (200, True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/initialize", {"objectives": ["training"], "hyperparameters": {"a": 1, "b": [0.5, None]}}),
        ("/loadData", {"train": {"dataPath": "/data", "objectInfo": {"name": "digits"}}}),
        ("/updateStreamProperties", {"threshold": 0.5}),
        ("/streamPredict", {"a": "AAAA"}),
        ("/streamPredict?details=true", {"a": "AAAA", "b": "", "ü": "//8="}),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_every_plain_body_takes_the_short_way(short: Way, long: Way, path: str, body: Any, indent: int | None):
    assert post(short, long, path, json.dumps(body, indent=indent).encode()) == (200, True)


ODD_BODIES = [
    b"", b" ", b"null", b"[]", b"{}", b"1", b'"a"', b'{"a":1}', b'{"a":"AAAA","a":"BBBB"}', b'{"a":"AAAA","\\u0061":"BBBB"}',
    b'{"a":"A\\"A"}', b'{"a":"AAAA\\u002f"}', b'{"a":"\\ud800"}', b'{"a":NaN}', b'{"a":"A\nA"}', b'{"a":"\xff"}',
    b'\xef\xbb\xbf{}',
    b'{"a":"AAAA"} x', b'{"a":"AAAA",}', b"{'a':'AAAA'}", b'{"a":"AA"}', b'{"a":"AA==\\n"}', b'{"a":{"b":1}}', b"[" * 200,
    b'{"":""}', b'{"a":"AAAA","b":null}', b'{"objectives":["nonsense"]}', b'{"train":{"labels":1}}', b'{"train":{}}',
]  # fmt: skip


@pytest.mark.parametrize("path", ["/streamPredict", "/initialize", "/loadData", "/updateStreamProperties"])
@pytest.mark.parametrize("body", ODD_BODIES)
def test_an_odd_body_is_read_alike(short: Way, long: Way, path: str, body: bytes):
    post(short, long, path, body)


@pytest.mark.parametrize(
    "media_type",
    ["APPLICATION/JSON", "application/json; charset=utf-8", "text/plain", "application/xml", "nonsense", ""],
)
def test_an_odd_media_type_is_read_alike(short: Way, long: Way, media_type: str):
    _, is_short = post(short, long, "/streamPredict", b'{"a":"AAAA"}', media_type)
    assert not is_short


QUERIES: Iterable[str] = [
    "details", "details=", "details=True", "details=1", "details=nonsense", "details=true&details=false", "more=1",
    "details=true&more=1", "details=%74rue", "details=+true", "&", "details=true&", "=true", "details==true",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_an_odd_query_is_read_alike(short: Way, long: Way, query: str):
    post(short, long, f"/streamPredict?{query}", b'{"a":"AAAA"}')


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", f"/buildModel?modelPath={value}") for value in ("None", "")),
        *(("GET", f"/status?{query}") for query in ("watch=None", "watch=&resourceVersion=None", "resourceVersion=")),
    ],
)
def test_an_optional_parameter_that_is_empty_or_none_is_not_given(short: Way, long: Way, method: str, path: str):
    assert alike(short, long, method, path) == (200, True)
    for way in (short, long):
        calls = way.ask(method, path)[2]
        assert ("call", "buildModel", Call((None,))) in calls if method == "POST" else calls == [("latest",)]


def test_a_required_parameter_that_reads_none_is_a_value(short: Way, long: Way):
    assert alike(short, long, "POST", "/saveModel?modelPath=None") == (200, True)
    assert ("call", "saveModel", Call(("None",), writes={"modelPath": "None"})) in short.ask(
        "POST", "/saveModel?modelPath=None"
    )[2]


@pytest.mark.parametrize("version", ["0", "7", "007", "-1", "1.0", "1e3", "٣", "9" * 18, "9" * 30, "x", ""])
def test_a_version_is_read_alike(short: Way, long: Way, version: str):
    alike(short, long, "GET", f"/status?watch=false&resourceVersion={version}")


@pytest.mark.parametrize(
    "path", ["/saveModel", "/saveModel?modelPath=", "/saveModel?modelPath=%2Fa", "/saveModel?modelPath=a+b"]
)
def test_a_path_in_a_query_is_read_alike(short: Way, long: Way, path: str):
    alike(short, long, "POST", path)


@pytest.mark.parametrize(("method", "path"), [("GET", "/train"), ("POST", "/nothing"), ("GET", "/status/")])
def test_what_is_not_an_operation_takes_the_long_way(short: Way, long: Way, method: str, path: str):
    assert not alike(short, long, method, path)[1]


texts = st.text(max_size=6) | st.sampled_from(["AAAA", "//8=", "a", "\\", '"'])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(texts, each, max_size=4),
    max_leaves=12,
)


@settings(max_examples=examples(120), deadline=None)
@given(
    st.sampled_from(["/streamPredict", "/initialize", "/updateStreamProperties"]),
    st.dictionaries(texts, texts) | st.dictionaries(texts, values) | values,
    st.booleans(),
)
def test_whatever_the_body_both_ways_read_it_alike(short: Way, long: Way, path: str, body: Any, ascii_only: bool):
    content = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    post(short, long, path, content)


@pytest.mark.parametrize(
    "name", ["modelPath", "format", "HTTPPath", "data-path", "2fast", "resourceVersion", "in", "x1Y"]
)
def test_arguments_have_the_names_that_connexion_gives_them(name: str) -> None:
    from connexion.decorators.parameter import pythonic

    assert argument_name(name) == pythonic(name)
