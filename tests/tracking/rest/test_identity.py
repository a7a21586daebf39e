"""The credentials for a tracking server, which are not sent to other servers after a redirect."""

import logging
import os
from typing import Any

import httpx
import pytest

from mistk_service.tracking.errors import (
    StoreUnavailable,
    Unauthenticated,
)
from mistk_service.tracking.values import Param
from tests.support.answering import RUN, answering, failing_with


def asked(headers, status=200):
    """A server that notes the header it is shown."""

    def handler(request):
        headers.append(request.headers.get("authorization"))
        return httpx.Response(status, json=RUN)

    return handler


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"token": "t"}, "Bearer t"),
        ({"username": "ann", "password": "päss"}, "Basic YW5uOnDDpHNz"),
        ({"username": "ann", "password": "p", "token": "t"}, "Basic YW5uOnA="),
        ({"headers": {"authorization": "Custom x"}}, "Custom x"),
    ],
)
def test_every_request_says_who_is_asking(settings, expected):
    seen: list[Any] = []
    with answering(asked(seen), **settings) as store:
        store.get_run("r")
        store.log_batch("r", params=[Param("p", "1")])
    assert set(seen) == {expected}


def test_a_token_file_is_read_again_when_it_changes(tmp_path, caplog):
    file = tmp_path / "token"
    file.write_text("first\n")
    seen: list[Any] = []
    with answering(asked(seen), token="unused", token_file=str(file)) as store:
        store.get_run("r")
        file.write_text("second-token")
        store.get_run("r")
        for broken in ("", "two words"):
            file.write_text(broken)
            store.get_run("r")
        file.unlink()
        store.get_run("r")
        file.write_text("the-third")
        store.get_run("r")
    assert seen == ["Bearer first", *["Bearer second-token"] * 4, "Bearer the-third"]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert "second-token" not in caplog.text


def test_a_token_that_was_refused_is_looked_for_anew(tmp_path):
    """Also where the file has the same size and time as before."""
    file = tmp_path / "token"
    file.write_text("token-1")
    stamp = os.stat(file)
    seen: list[Any] = []

    def expire(request):
        seen.append(request.headers["authorization"])
        if seen[-1] == "Bearer token-1":
            with file.open("r+") as there:
                there.write("token-2")
            os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            return httpx.Response(401, json={})
        return httpx.Response(200, json=RUN)

    with answering(expire, token_file=str(file)) as store:
        assert store.get_run("r").info.run_id == "r"
    assert seen == ["Bearer token-1", "Bearer token-2"]


def test_a_token_that_stays_refused_is_tried_once(tmp_path):
    file = tmp_path / "token"
    file.write_text("token")
    seen: list[Any] = []
    with answering(asked(seen, 401), token_file=str(file)) as store, pytest.raises(Unauthenticated, match="expired"):
        store.get_run("r")
    assert seen == ["Bearer token"]


def test_without_a_token_in_the_file_nothing_is_sent(tmp_path):
    seen: list[Any] = []
    with answering(asked(seen), token_file=str(tmp_path / "none")) as store:
        with pytest.raises(StoreUnavailable, match="The token file"):
            store.get_run("r")
    assert seen == []


# --- redirects --------------------------------------------------------------------------------------------------------


def redirecting(to, seen):
    def handler(request):
        seen.append((request.method, str(request.url), request.headers.get("private-token")))
        if request.url.path.startswith("/api") and request.url.host == "host":
            return httpx.Response(307, headers={"Location": to})
        return httpx.Response(200, json=RUN)

    return handler


def test_a_reading_request_follows_a_redirect_to_the_same_server():
    seen: list[Any] = []
    with answering(redirecting("/other", seen), headers={"Private-Token": "secret"}) as store:
        assert store.get_run("r").info.run_id == "r"
    assert seen[1] == ("GET", "https://host/other", "secret")


@pytest.mark.parametrize("to", ["https://elsewhere/api", "http://host/other", "https://host:444/x"])
def test_nobody_else_is_asked_and_nothing_is_written_by_a_redirect(to):
    seen: list[Any] = []
    with answering(redirecting(to, seen), headers={"Private-Token": "secret"}) as store:
        for call in (lambda: store.get_run("r"), lambda: store.log_batch("r")):
            with pytest.raises(StoreUnavailable, match=f"a redirect to {to};"):
                call()
    assert [url.partition("/api")[0] for _, url, _ in seen] == ["https://host"] * 2


def test_a_file_is_fetched_from_elsewhere_without_saying_who_is_asking():
    seen: list[Any] = []
    with answering(lambda request: httpx.Response(200, json=RUN)) as other:
        run = other.get_run("r")
    with answering(redirecting("https://storage/file?signature=x", seen), headers={"Private-Token": "secret"}) as store:
        with store.run_artifacts(run).open("file") as stored:
            assert stored.stream.read().startswith(b"{")
    assert seen == [
        ("GET", "https://host/api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/file", "secret"),
        ("GET", "https://storage/file?signature=x", None),
    ]


def test_the_path_of_an_address_is_sent_as_it_was_given():
    seen: list[Any] = []

    def handler(request):
        seen.append(request.url.raw_path)
        return httpx.Response(200, json=RUN)

    with answering(handler, "https://host/api/v4/projects/group%2Fname/ml/mlflow") as store:
        store.get_run("r")
        store.log_batch("r")
    root = b"/api/v4/projects/group%2Fname/ml/mlflow/api/2.0/mlflow/runs/"
    assert seen == [root + b"get?run_id=r", root + b"log-batch"]


def test_a_circle_of_redirects_ends():
    with answering(lambda request: httpx.Response(302, headers={"Location": "/again"})) as store:
        with pytest.raises(StoreUnavailable, match="302"):
            store.get_run("r")


@pytest.mark.parametrize("said", [{}, {"message": "401 Unauthorized"}, {"error_code": "UNAUTHENTICATED"}])
def test_who_sends_nothing_that_says_who_is_asking_learns_what_to_set(said):
    with failing_with(401, json=said) as store, pytest.raises(Unauthenticated) as caught:
        store.check()
    text = str(caught.value)
    for variable in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        assert variable in text
    assert ". No credentials were sent" in text
    assert "expired" not in text


@pytest.mark.parametrize(
    "identity", [{"token": "t-1"}, {"username": "u-1", "password": "p-1"}, {"headers": {"X-Key": "k-1"}}]
)
def test_who_is_not_believed_is_asked_to_check_what_was_sent(identity):
    with answering(lambda _: httpx.Response(401, json={"message": "401 Unauthorized"}), **identity) as store:
        with pytest.raises(
            Unauthenticated, match=r"401: 401 Unauthorized\. Check the token, or the username"
        ) as caught:
            store.check()
    assert "MLFLOW" not in str(caught.value)
