"""Requests of browsers from pages of other sites are refused; other clients are not affected."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from starlette.responses import JSONResponse

from mistk_service.doors.mistk.problems import answer
from mistk_service.web.gate import RequestFilter
from tests.web.harness import API, application, client

pytestmark = pytest.mark.anyio

URL = "http://localhost:8080"
ELSEWHERE = "https://evil.example"


async def ask(
    method: str, *, url: str = URL, bound: str = "127.0.0.1", allowed: tuple[str, ...] = (), **headers: str
) -> tuple[int, str]:
    """Return status and text of an answer; the headers' names are written with underscores."""
    async with client(RequestFilter(JSONResponse("done"), bound, allowed, answer), url) as http:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await http.request(method, "/", headers=named)
        if response.status_code == 403:
            assert response.json()["code"] == 403
        return response.status_code, response.text


@pytest.mark.parametrize(
    ("path", "key"),
    [(f"{API}/pause", "code"), ("/v2/models/model/infer", "error"), ("/api/2.0/mlflow/runs/create", "error_code")],
)
async def test_a_refusal_has_the_form_of_the_api_that_the_request_is_for(path: str, key: str) -> None:
    async with client(application(), URL) as http:
        assert key in (await http.post(path, headers={"Origin": ELSEWHERE})).json()


@pytest.mark.parametrize("path", [f"{API}/pause", f"{API}/nothing", f"{API}/ui/", "/", "/healthz", "/anywhere/else"])
async def test_the_whole_application_is_protected(path: str) -> None:
    async with client(application(), URL) as http:
        assert (await http.post(path, headers={"Origin": ELSEWHERE})).status_code == 403
        assert (await http.get(path, headers={"Host": "evil.example"})).status_code == 403
        assert (await http.post(path)).status_code != 403


FOREIGN = {
    "another site": {"Sec_Fetch_Site": "cross-site", "Origin": ELSEWHERE},
    "another site without an origin": {"Sec_Fetch_Site": "cross-site"},
    "another site, an old browser": {"Origin": ELSEWHERE},
    "another port": {"Sec_Fetch_Site": "same-site", "Origin": "http://localhost:3000"},
    "another port, an old browser": {"Origin": "http://localhost:3000"},
    "a file or a sandbox": {"Origin": "null"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
async def test_a_foreign_page_can_change_nothing(method: str, headers: dict[str, Any]) -> None:
    status, text = await ask(method, **headers)
    assert status == 403
    assert "another site" in text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": URL},
        {"Origin": URL, "Sec_Fetch_Site": "same-origin"},
        {"Origin": "HTTP://LOCALHOST:8080"},
        {"Sec_Fetch_Site": "none"},
        # A proxy that passes on a Host of its own; the browser knows better.
        {"Origin": "https://models.example", "Sec_Fetch_Site": "same-origin"},
    ],
    ids=str,
)
async def test_programs_and_the_services_own_pages_are_served(headers: dict[str, Any]) -> None:
    assert await ask("POST", **headers) == (200, '"done"')


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_link_from_a_foreign_page_may_be_followed(method: str) -> None:
    assert (await ask(method, Sec_Fetch_Site="cross-site", Origin=ELSEWHERE))[0] == 200


@pytest.mark.parametrize(
    "url", ["http://evil.example:8080", "http://127.0.0.1.evil.example", "http://192.168.1.5:8080"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_on_loopback_a_foreign_name_is_refused_even_for_reading(url: str, method: str) -> None:
    status, text = await ask(method, url=url)
    assert status == 403
    assert url.split("/")[2] in text
    assert "localhost" in text


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
@pytest.mark.parametrize("name", ["localhost:8080", "LOCALHOST", "127.0.0.1:9", "127.0.0.1", "[::1]:8080", "[::1]"])
async def test_on_loopback_its_own_names_are_served_on_any_port(bound: str, name: str) -> None:
    assert (await ask("GET", bound=bound, Host=name))[0] == 200


async def test_the_address_that_it_is_bound_to_is_one_of_its_names() -> None:
    assert (await ask("GET", bound="127.0.0.2", url="http://127.0.0.2:8080"))[0] == 200
    assert (await ask("GET", bound="127.0.0.1", url="http://127.0.0.2:8080"))[0] == 403


EVERYWHERE = ["0.0.0.0", "::", "192.168.1.5", "model-container"]

LOCAL = ["192.168.1.5:8080", "10.0.0.1", "[fd00::5]:8080", "localhost", "127.0.0.1:8080", "digits", "digits:8080",
         "digits.models.svc", "digits.models.svc.cluster.local:80", "nas.local", "host.docker.internal",
         socket.gethostname()]  # fmt: skip


@pytest.mark.parametrize("bound", EVERYWHERE)
@pytest.mark.parametrize("name", LOCAL)
async def test_elsewhere_names_that_nobody_can_register_are_served(bound: str, name: str) -> None:
    assert (await ask("GET", bound=bound, Host=name))[0] == 200
    assert (await ask("POST", bound=bound, Host=name, Origin=f"http://{name}"))[0] == 200
    assert (await ask("POST", bound=bound, Host=name, Origin=ELSEWHERE))[0] == 403


@pytest.mark.parametrize("bound", EVERYWHERE)
@pytest.mark.parametrize("name", ["evil.example", "evil.example:8080", "192.168.1.5.evil.example", "local.example"])
async def test_elsewhere_a_registered_name_is_refused_unless_it_is_allowed(bound: str, name: str) -> None:
    for method in ("GET", "POST"):
        status, text = await ask(method, bound=bound, Host=name)
        assert status == 403
        assert "--allowed-host" in text
        assert (await ask(method, bound=bound, Host=name, allowed=("other.example",)))[0] == 403
        for allowed in (name.partition(":")[0], "*.example", "*"):
            assert (await ask(method, bound=bound, Host=name, allowed=("other.example", allowed)))[0] == 200


async def test_on_loopback_a_name_can_be_allowed_for_a_proxy() -> None:
    assert (await ask("GET", Host="models.example"))[0] == 403
    assert (await ask("GET", Host="models.example", allowed=("models.example",)))[0] == 200
    assert (await ask("POST", Host="models.example", allowed=("models.example",), Origin=ELSEWHERE))[0] == 403


async def test_the_address_that_it_is_asked_to_listen_on_is_a_name_of_it() -> None:
    assert (await ask("GET", bound="models.example", Host="models.example:8080"))[0] == 200
