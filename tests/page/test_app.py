"""The Flask side: the page, its files, and what every other path is answered with."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from mistk_service.page import DashboardInfo, create_dashboard


@pytest.fixture
def client() -> FlaskClient:
    return create_dashboard(DashboardInfo("plugins/digits/model.py:Digits", "/v1/mistk", "1.2.3")).test_client()


def test_the_page_names_the_model_its_reference_and_the_version(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert '<h1 id="name">Digits</h1>' in page.text
    assert "plugins/digits/model.py:Digits" in page.text
    assert "mistk-service 1.2.3" in page.text


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("package.module:Class", "Class"),
        ("path/to/file.py:Class", "Class"),
        ("package.module Class", "Class"),
        ("Class", "Class"),
        ("module:", "module:"),
    ],
)
def test_the_name_is_the_class_in_every_form_of_reference(reference: str, name: str) -> None:
    assert DashboardInfo(reference, "/v1/mistk", "1").name == name


def test_a_reference_is_text_and_never_markup() -> None:
    info = DashboardInfo("<script>alert(1)</script>:A\"'><b>", "/v1/mistk", "1")
    page = create_dashboard(info).test_client().get("/").text
    assert "<script>alert" not in page
    assert "'><b>" not in page


def test_the_page_links_to_the_api_and_to_the_health_of_the_service(client: FlaskClient) -> None:
    links = set(re.findall(r'<a href="([^"]+)"', client.get("/").text))
    assert links == {
        "v1/mistk/ui/",
        "v1/mistk/swagger.json",
        "v1/mistk/status",
        "healthz",
        "readyz",
        "metrics",
    }


def test_everything_that_the_page_loads_is_there(client: FlaskClient) -> None:
    page = client.get("/").text
    files = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
    assert {file.rpartition(".")[2] for file in files} == {"css", "js", "svg"}
    for file in files:
        with client.get(f"/{file}") as answer:
            assert answer.status_code == 200, file


def test_the_page_works_offline_and_holds_no_inline_script_or_style(client: FlaskClient) -> None:
    page = client.get("/").text
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"\son\w+=|\sstyle=|<style", page) == []
    assert re.findall(r"(?:src|href)=\"(?:\w+:)?//", page) == []


def test_every_address_is_relative_so_that_a_proxy_can_serve_the_page_below_a_prefix(client: FlaskClient) -> None:
    addresses = re.findall(r'(?:src|href|data-api)="([^"]*)"', client.get("/").text)
    assert len(addresses) > 6
    assert [address for address in addresses if address.startswith("/")] == []


@pytest.mark.parametrize("path", ["/", "/static/dashboard.js", "/nowhere"])
def test_the_security_headers_stand_on_every_answer(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"


def test_a_file_that_the_browser_has_is_not_sent_again(client: FlaskClient) -> None:
    with client.get("/static/dashboard.css") as first:
        etag = first.headers["ETag"]
    with client.get("/static/dashboard.css", headers={"If-None-Match": etag}) as second:
        assert second.status_code == 304


@pytest.mark.parametrize("path", ["/nowhere", "/static/nowhere.js", "/static/../app.py", "/v2/mistk/status"])
def test_an_unknown_path_is_a_service_error(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.mimetype == "application/json"
    assert answer.get_json()["code"] == 404
    assert "/v1/mistk" in answer.get_json()["message"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_method_that_the_page_does_not_take_is_a_service_error(client: FlaskClient, method: str) -> None:
    answer = client.open("/", method=method)
    assert answer.status_code == 405
    assert answer.json == {
        "code": 405,
        "message": f"/ does not take {method}. The operations are below /v1/mistk.",
    }
    assert "GET" in answer.headers["Allow"]


def test_a_fault_of_the_page_is_a_service_error_without_its_innards(client: FlaskClient) -> None:
    app = client.application
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.view_functions["index"] = lambda: str(1 / 0)
    answer = client.get("/")
    assert answer.status_code == 500
    assert answer.get_json()["code"] == 500
    assert "ZeroDivisionError" not in answer.text
