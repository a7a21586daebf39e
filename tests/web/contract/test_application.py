"""An API from a contract: routes, limits, errors and handlers, with Connexion as the fallback."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from mistk_service.web.contract import NotRecognised, Operation, Reader, contract_app
from mistk_service.web.json_limits import JsonLimits
from mistk_service.web.request_body import BodyTooLarge

pytestmark = pytest.mark.anyio

LIMIT = 100


def operation(operation_id: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": operation_id, "parameters": list(parameters), "responses": {"200": {"description": ""}}}


def in_path(name: str, **schema: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}


CONTRACT = {
    "openapi": "3.0.3",
    "info": {"title": "Toy", "version": "1"},
    "paths": {
        "/echo": {"post": operation("echo"), "get": operation("echo")},
        "/fail": {"post": operation("fail")},
        "/files/{path}": {
            "put": operation("upload", in_path("path", format="path")),
            "delete": operation("delete", in_path("path", format="path")),
        },
        "/files/index": {"get": operation("echo")},
        "/items/{item}/tags": {"get": operation("tags", in_path("item"))},
        "/items/{item}": {"get": operation("tags", in_path("item"))},
        "/items/{item}:close": {"post": operation("tags", in_path("item"))},
    },
}


class Handlers:
    """The operations of the toy contract."""

    async def echo(self, text: str) -> Response:
        return JSONResponse(text)

    async def fail(self, text: str) -> Response:
        raise LookupError(text)

    async def upload(self, request: Request, path: str) -> Response:
        return JSONResponse([path, len(await request.body())])

    async def delete(self, text: str, path: str) -> Response:
        return JSONResponse([path, text])

    async def tags(self, text: str, item: str) -> Response:
        return JSONResponse([item, text])


def read_text(_operation: Operation, _limits: JsonLimits) -> Reader:
    def read(_scope: Scope, body: bytes | bytearray) -> dict[str, Any]:
        if body == b"odd":
            raise NotRecognised
        if body == b"wrong":
            raise ValueError("wrong")
        return {"text": body.decode()}

    return read


def answer(error: Exception, scope: Scope) -> Response:
    status = {BodyTooLarge: 413, LookupError: 404, ValueError: 400}.get(type(error), 500)
    headers = error.headers if isinstance(error, HTTPException) else None
    if isinstance(error, HTTPException):
        status = error.status_code
    return JSONResponse({"error": str(error), "path": scope["path"]}, status, headers)


def toy_client(*, validate: bool = False) -> httpx.AsyncClient:
    handlers = Handlers()
    app = contract_app(
        CONTRACT,
        lambda operation_id: getattr(handlers, operation_id),
        limits=lambda operation_id: None if operation_id == "upload" else JsonLimits(size=LIMIT),
        answer=answer,
        reader=read_text,
        validate=validate,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with toy_client() as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/echo", b"a", "a"),
        ("GET", "/echo", b"", ""),
        ("PUT", "/files/a/b", b"x" * 3 * LIMIT, ["a/b", 3 * LIMIT]),
        ("DELETE", "/files/a", b"", ["a", ""]),
        ("GET", "/files/index", b"", ""),
        ("GET", "/items/7/tags", b"", ["7", ""]),
        ("POST", "/items/7:close", b"", ["7", ""]),
    ],
)
async def test_a_request_reaches_its_handler_with_what_was_read(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, expected: Any
) -> None:
    response = await client.request(method, path, content=body)
    assert (response.status_code, response.json()) == (200, expected)


async def test_a_get_operation_answers_head(client: httpx.AsyncClient) -> None:
    assert (await client.head("/items/7/tags")).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/fail", b"nothing", 404, "nothing"),
        ("/echo", b"wrong", 400, "wrong"),
        ("/echo", b"x" * (LIMIT + 1), 413, f"The body of the request is longer than {LIMIT} bytes."),
        ("/nothing", b"", 404, "404: Not Found"),
        ("/items/a/b/tags", b"", 404, "404: Not Found"),
    ],
)
async def test_every_error_is_answered_in_the_one_form_of_the_api(
    client: httpx.AsyncClient, path: str, body: bytes, status: int, error: str
) -> None:
    response = await client.post(path, content=body)
    assert (response.status_code, response.json()) == (status, {"error": error, "path": path})


@pytest.mark.parametrize(
    ("path", "allowed"), [("/echo", "GET, HEAD, POST"), ("/files/a/b", "DELETE, PUT"), ("/items/7:close", "POST")]
)
async def test_a_wrong_method_is_answered_with_all_methods_of_the_path(
    client: httpx.AsyncClient, path: str, allowed: str
) -> None:
    response = await client.patch(path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


async def test_a_path_that_ends_with_a_line_feed_is_another_path(client: httpx.AsyncClient) -> None:
    response = await client.post("/items/7:close%0A")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD"), "an item of that name"


async def test_a_large_body_is_read_on_a_thread() -> None:
    loops: list[asyncio.AbstractEventLoop | None] = []

    def reader(_operation: Operation, _limits: JsonLimits) -> Reader:
        def read(_scope: Scope, body: bytes | bytearray) -> dict[str, Any]:
            try:
                loops.append(asyncio.get_running_loop())
            except RuntimeError:
                loops.append(None)
            return {"text": str(len(body))}

        return read

    handlers = Handlers()
    app = contract_app(
        CONTRACT,
        lambda operation_id: getattr(handlers, operation_id),
        limits=lambda _: JsonLimits(size=2**20),
        answer=answer,
        reader=reader,
        validate=False,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.post("/echo", content=b"x" * 100_000)).json() == "100000"
        assert (await client.post("/echo", content=b"x")).json() == "1"
    assert loops == [None, asyncio.get_running_loop()]


async def test_a_handler_that_is_missing_stops_the_start() -> None:
    with pytest.raises(AttributeError, match="echo"):
        contract_app(
            CONTRACT,
            lambda operation_id: getattr(object(), operation_id),
            limits=lambda _: JsonLimits(size=LIMIT),
            answer=answer,
            reader=read_text,
            validate=False,
        )


def test_connexion_is_loaded_by_the_first_request_that_is_not_recognised() -> None:
    code = """if True:
        import asyncio, httpx, sys
        from tests.web.contract.test_application import toy_client

        async def ask() -> None:
            async with toy_client(validate=True) as client:
                assert (await client.post("/echo", content=b"a")).status_code == 200
                assert (await client.post("/nothing")).status_code == 404
                assert "connexion" not in sys.modules
                answers = await asyncio.gather(*(client.post("/echo", content=b"odd") for _ in range(8)))
                assert "connexion" in sys.modules
                assert {answer.status_code for answer in answers} == {500}, "Connexion found no argument"

        asyncio.run(ask())
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
