"""Failures of the network and of a server become errors that name the remedy."""

import email.utils
import http.server
import importlib.util
import threading

import httpx
import pytest

from mistk_service.tracking.errors import (
    AnswerLost,
    InvalidParameter,
    InvalidState,
    NotSupported,
    PermissionDenied,
    ResourceExists,
    ResourceNotFound,
    StoreError,
    StoreUnavailable,
    Unauthenticated,
    UnsupportedStore,
)
from mistk_service.tracking.rest import RestConfig, open_rest_store
from mistk_service.tracking.values import Metric, Tag
from tests.support.answering import RUN, answering, failing_with
from tests.support.remotes import answer, proxy_to, reserved_port

CODES = [
    (400, "INVALID_PARAMETER_VALUE", InvalidParameter),
    (400, "BAD_REQUEST", InvalidParameter),
    (400, "RESOURCE_ALREADY_EXISTS", ResourceExists),
    (409, "ALREADY_EXISTS", ResourceExists),
    (409, "RESOURCE_CONFLICT", StoreUnavailable),
    (404, "RESOURCE_DOES_NOT_EXIST", ResourceNotFound),
    (404, "ENDPOINT_NOT_FOUND", NotSupported),
    (501, "NOT_IMPLEMENTED", NotSupported),
    (500, "INVALID_STATE", InvalidState),
    (401, "UNAUTHENTICATED", Unauthenticated),
    (403, "PERMISSION_DENIED", PermissionDenied),
    (429, "REQUEST_LIMIT_EXCEEDED", StoreUnavailable),
    (503, "TEMPORARILY_UNAVAILABLE", StoreUnavailable),
    (500, "INTERNAL_ERROR", AnswerLost),
    (504, "DEADLINE_EXCEEDED", AnswerLost),
]


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_a_code_of_mlflow_is_one_of_our_errors(status, code, kind):
    with failing_with(status, json={"error_code": code, "message": "because of 'x'"}) as store:
        with pytest.raises(StoreError, match="because of 'x'") as caught:
            store.get_run("r")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidParameter), (401, Unauthenticated), (403, PermissionDenied), (408, StoreUnavailable),
     (404, StoreUnavailable), (405, StoreUnavailable), (413, InvalidParameter), (429, StoreUnavailable),
     (418, StoreError), (500, AnswerLost), (502, AnswerLost), (503, StoreUnavailable), (504, AnswerLost),
     (301, StoreUnavailable), (407, StoreUnavailable), (599, AnswerLost)],
)  # fmt: skip
@pytest.mark.parametrize("body", ["", "<html><body>The <b>proxy</b> is ill</body></html>", '{"message": "why"}', "[1]"])
def test_a_status_says_what_to_do_whoever_sends_it(status, kind, body):
    with failing_with(status, text=body) as store:
        with pytest.raises(StoreError, match=str(status)) as caught:
            store.log_batch("r", [Metric("m", 1.0, 1)])
    assert type(caught.value) is kind
    assert "<" not in str(caught.value)


def test_an_operation_that_a_server_does_not_have_is_not_supported():
    with failing_with(404, text="<html>Not Found</html>") as store, pytest.raises(NotSupported):
        store.record_model("r", "{}")


NOW = email.utils.formatdate(1_000_000_000, usegmt=True)
LATER = email.utils.formatdate(1_000_000_090, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "1e30"}, 86_400),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
        # The two clocks need not agree, so a date is compared with that of the server.
        ({"Retry-After": LATER, "Date": NOW}, 90),
        ({"Retry-After": NOW, "Date": LATER}, 0),
        ({"Retry-After": NOW}, 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 502])
def test_a_server_that_asks_to_wait_is_heard(status, headers, expected):
    with failing_with(status, headers=headers) as store, pytest.raises(StoreUnavailable) as caught:
        store.get_run("r")
    assert caught.value.retry_after == expected


@pytest.mark.parametrize(
    "body",
    ["<html>Log in</html>", "[]", '"x"', "{", '{"run": {"info": ', '{"run": {}}', '{"run": null}', '{"run": {"info": []}}',
     '{"run": {"info": {"run_id": "r", "status": "NONE"}}}', '{"run": {"info": {"run_id": "r", "start_time": "x"}}}',
     '{"run": {"info": {"run_id": "r"}, "data": {"metrics": [{"key": "m"}]}}}', "\xff", "{}", ""],
)  # fmt: skip
def test_a_success_that_says_something_else_is_not_an_answer(body):
    with failing_with(200, text=body) as store, pytest.raises(AnswerLost, match="address of a tracking server"):
        store.get_run("r")


def test_what_a_server_leaves_out_is_not_needed():
    with answering(lambda request: httpx.Response(200, json=RUN)) as store:
        run = store.get_run("r")
    assert (run.info.run_id, run.info.run_name, run.info.end_time, run.data.metrics) == ("r", "", None, ())


# --- the network ------------------------------------------------------------------------------------------------------


def test_a_server_that_is_gone_cannot_have_done_anything():
    with (
        reserved_port() as nobody,
        open_rest_store(RestConfig(f"http://127.0.0.1:{nobody.getsockname()[1]}")) as store,
    ):
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            store.log_batch("r", [Metric("m", 1.0, 1)])
    assert type(caught.value) is StoreUnavailable


def test_a_name_that_nobody_knows_cannot_be_reached():
    with open_rest_store(RestConfig("http://no-such-host.invalid/x")) as store:
        with pytest.raises(StoreUnavailable, match=r"http://no-such-host\.invalid/x cannot be reached") as caught:
            store.check()
    assert type(caught.value) is StoreUnavailable


def test_a_server_that_hangs_is_given_up_after_the_timeout():
    with proxy_to("http://127.0.0.1:1", "hang") as proxy:
        with open_rest_store(RestConfig(proxy.url, timeout=0.2)) as store:
            with pytest.raises(AnswerLost, match=r"within 0\.2 seconds \(run 'r'\)"):
                store.get_run("r")


HALF = answer("200 OK", body='{"run": {"info": {"run_id": "r"}}}')


@pytest.mark.parametrize("end", [1, 20, HALF.index(b"\r\n\r\n") + 4, len(HALF) - 1])
def test_half_an_answer_leaves_open_whether_it_was_done(end):
    with (
        proxy_to("http://127.0.0.1:1", HALF[:end]) as proxy,
        open_rest_store(RestConfig(proxy.url)) as store,
    ):
        with pytest.raises(AnswerLost):
            store.log_batch("r", [Metric("m", 1.0, 1)])


def test_an_answer_without_a_length_that_breaks_off_is_not_an_answer():
    cut = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"run": {"info": {"run_id"'
    with proxy_to("http://127.0.0.1:1", cut) as proxy, open_rest_store(RestConfig(proxy.url)) as store:
        with pytest.raises(AnswerLost):
            store.get_run("r")


@pytest.mark.parametrize("proxy", ["ftp://ann:secret@127.0.0.1:1", "socks5://ann:secret@127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_said_and_its_password_is_not(monkeypatch, proxy):
    if proxy.startswith("socks") and importlib.util.find_spec("socksio") is not None:
        pytest.skip("SOCKS can be used here")
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UnsupportedStore, match=r"ALL_PROXY.*NO_PROXY, such as mlflow\.example") as caught:
        open_rest_store("https://mlflow.example")
    assert "secret" not in str(caught.value)


def test_where_a_proxy_is_in_between_an_outage_says_so(monkeypatch):
    with reserved_port() as nobody, reserved_port() as place:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", f"http://ann:secret@{address}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with (
            open_rest_store("http://mlflow.example") as behind,
            pytest.raises(StoreUnavailable, match=f"through the proxy http://{address} of the environment") as caught,
        ):
            behind.get_run("r")
        assert "secret" not in str(caught.value)
        with (
            open_rest_store(f"http://127.0.0.1:{place.getsockname()[1]}") as direct,
            pytest.raises(StoreUnavailable, match="cannot be reached: "),
        ):
            direct.get_run("r")


def test_a_store_works_again_by_itself_when_the_server_is_back():
    body = '{"run": {"info": {"run_id": "r", "experiment_id": "1"}}}'
    with proxy_to("http://127.0.0.1:1", "gone") as proxy, open_rest_store(RestConfig(proxy.url)) as store:
        with pytest.raises(StoreUnavailable):
            store.get_run("r")
        proxy.become(answer("503 Service Unavailable", "Retry-After: 3"))
        with pytest.raises(StoreUnavailable) as caught:
            store.get_run("r")
        assert caught.value.retry_after == 3
        proxy.become(answer("200 OK", body=body))
        assert store.get_run("r").info.run_id == "r"


def test_a_download_that_breaks_off_is_not_a_file():
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all of it"
    with proxy_to("http://127.0.0.1:1", cut) as proxy, open_rest_store(RestConfig(proxy.url)) as store:
        with answering(lambda request: httpx.Response(200, json=RUN)) as other:
            run = other.get_run("r")
        with pytest.raises(AnswerLost):
            store.run_artifacts(run).open("file")


def test_a_closed_store_says_so():
    store = answering(lambda request: httpx.Response(200, json=RUN))
    store.close()
    store.close()
    for call in (lambda: store.get_run("r"), lambda: store.submit_batch("r"), lambda: store.submit_run("1")):
        with pytest.raises(StoreUnavailable, match="closed"):
            call()


def test_closing_waits_for_what_was_submitted_and_keeps_its_order():
    seen = []

    def record(request):
        seen.append(request.content)
        return httpx.Response(200, json={})

    with answering(record) as store:
        futures = [store.submit_batch("r", [Metric("m", float(i), i)]) for i in range(50)]
    assert all(future.done() and future.exception() is None for future in futures)
    assert [b'"timestamp":%d,' % i in content for i, content in enumerate(seen)] == [True] * 50


def test_what_is_submitted_waits_neither_for_the_server_nor_for_what_it_can_do():
    asked, answered = threading.Event(), threading.Event()

    def slow(request):
        asked.set()
        assert answered.wait(30)
        return httpx.Response(200, json={})

    with answering(slow) as store:
        thread = threading.Thread(target=lambda: store.capabilities)
        thread.start()
        assert asked.wait(30)
        future = store.submit_batch("r", [Metric("m", 1.0, 1)])
        assert not future.done()
        answered.set()
        assert future.result(30) is None
        thread.join()


# --- many at once -----------------------------------------------------------------------------------------------------


def test_many_threads_share_a_few_connections():
    connections = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            connections.append(self.client_address)

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_address[1]}"
        points = [Metric("m", float(i), i, i) for i in range(900)]
        with open_rest_store(RestConfig(uri)) as store:
            threads = [
                threading.Thread(target=lambda: [store.log_batch("r", points) for _ in range(10)]) for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        server.shutdown()
    assert len(connections) <= 8


def test_tags_and_numbers_go_over_as_they_are():
    sent = []

    def record(request):
        sent.append(request.content.decode())
        return httpx.Response(400 if b"no filter" in request.content else 200, json={})

    with answering(record) as store:
        store.log_batch("r", [Metric("m", float(x), 1) for x in ("nan", "inf", "-inf", "0.1")], tags=[Tag("t", "ü\n")])
    values = ['"value":"NaN"', '"value":"Infinity"', '"value":"-Infinity"', '"value":0.1']
    assert [value in sent[-1] for value in values] == [True] * 4
    assert '"value":"ü\\n"' in sent[-1]
