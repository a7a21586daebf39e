"""The page's files, what it stands on, and what every other path is answered with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import mistk_service.page
from mistk_service import __version__
from mistk_service.doors.mistk.problems import answer
from mistk_service.page import Page

STATIC = Path(mistk_service.page.__file__).parent / "static"
FILES = sorted(file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Page(lambda _: {"name": "Digits"}, answer))


def test_the_page_names_what_it_stands_on_and_what_the_visitor_may_do(client: TestClient) -> None:
    assert client.get("/page/about").json() == {
        "version": __version__,
        "user": None,
        "role": "admin",
        "name": "Digits",
    }


@pytest.mark.parametrize("file", FILES)
def test_every_file_that_another_one_names_is_there(client: TestClient, file: str) -> None:
    assert client.get(f"/static/{file}").status_code == 200
    text = (STATIC / file).read_text(encoding="utf-8")
    named = re.findall(r'(?:from|import\() ?"(\.[^"]+)"', text) + re.findall(r'(?:src|href)="(static/[^"]+)"', text)
    folder = (STATIC / file).parent
    missing = [name for name in named if not (folder / name).is_file() and not (STATIC.parent / name).is_file()]
    assert missing == []


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith((".html", ".js", ".css"))])
def test_the_page_works_offline_below_a_prefix_and_without_inline_script_or_style(file: str) -> None:
    text = (STATIC / file).read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<[^>]*\s(?:on\w+|style)=|<style", text) == []
    # Only relative addresses.
    assert re.findall(r"(?:src|href)=\"(?:\w+:|/)|url\(|@import|(?:from|import\() ?\"[^.]", text) == []
    # No text becomes markup.
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text) == []


@pytest.mark.parametrize("path", ["/", "/static/shell.js", "/page/about", "/page/nowhere"])
def test_the_security_headers_stand_on_every_answer(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"


def test_a_file_that_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/static/base.css").headers["ETag"]
    assert client.get("/static/base.css", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("path", ["/page/nowhere", "/static/nowhere.js", "/static/../app.py", "/static/%2e%2e/app.py"])
def test_an_unknown_path_is_a_service_error(client: TestClient, path: str) -> None:
    assert client.get(path).json()["code"] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_method_that_the_page_does_not_take_is_a_service_error(client: TestClient, method: str) -> None:
    response = client.request(method, "/")
    assert (response.status_code, response.json()["message"]) == (405, "/ takes GET only.")
    assert response.headers["Allow"] == "GET, HEAD"


def test_the_whole_page_takes_less_than_200_kilobytes_on_its_way(client: TestClient) -> None:
    sizes = {}
    for file in FILES:
        with client.stream("GET", f"/static/{file}", headers={"Accept-Encoding": "gzip"}) as response:
            sizes[file] = sum(len(part) for part in response.iter_raw())
    assert sum(sizes.values()) < 200_000, sizes
