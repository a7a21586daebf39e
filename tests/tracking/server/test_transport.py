"""Spellings, nulls, numbers as text, methods, prefixes and errors of requests and responses."""

import json
import socket

import pytest

BASE = "/api/2.0/mlflow"
PREFIXES = ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow", "/api/2.0/preview/mlflow", "/ajax-api/2.0/preview/mlflow"]


def refusal(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["error_code"] == code
    return body["message"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_spelling_of_the_prefix_is_served(http, prefix):
    assert (
        http.get(f"{prefix}/experiments/get", params={"experiment_id": "0"}).json()["experiment"]["name"] == "Default"
    )


@pytest.mark.parametrize("path", ["//api/2.0/mlflow/experiments/get", "///ajax-api/2.0/mlflow/experiments/get"])
def test_a_base_url_may_end_with_a_slash(http, path):
    found = http.get(f"{http.base_url}{path}", params={"experiment_id": "0"})
    assert (found.status_code, found.json()["experiment"]["name"]) == (200, "Default")
    assert http.get(f"{http.base_url}//health").text == "OK"


def test_the_id_of_an_experiment_may_be_a_number_where_a_run_is_created(http, api):
    experiment = api.experiment()
    made = api.post("runs/create", experiment_id=int(experiment))
    assert made["run"]["info"]["experiment_id"] == experiment
    for wrong in (True, 1.0, [experiment]):
        assert http.post("/api/2.0/mlflow/runs/create", json={"experiment_id": wrong}).status_code == 400


def test_health_and_version_are_plain_text(http):
    assert http.get("/health").text == "OK"
    assert http.get("/version").text.split(".")[0] == "3"


@pytest.mark.parametrize("prefix", ["/api/3.0", "/ajax-api/3.0"])
def test_server_info_promises_only_what_is_served(http, prefix):
    info = http.get(f"{prefix}/mlflow/server-info").json()
    assert info["store_type"] == "SqlStore"
    assert not any(value for key, value in info.items() if key != "store_type")


def test_the_contract_is_served(http):
    assert http.get(f"{BASE}/openapi.json").json()["openapi"].startswith("3.0")


def test_fields_may_be_in_camel_case(api):
    run = api.post("runs/create", experimentId="0", runName="camel", startTime=5)["run"]
    assert (run["info"]["run_name"], run["info"]["start_time"]) == ("camel", 5)
    assert api.get("runs/get", runId=run["info"]["run_id"])["run"]["info"]["run_name"] == "camel"


def test_both_spellings_of_one_field_are_refused(http):
    response = http.post(f"{BASE}/runs/create", json={"experiment_id": "0", "experimentId": "0"})
    assert "experimentId" in refusal(response, 400, "INVALID_PARAMETER_VALUE")


def test_unknown_fields_are_ignored(api, run_id):
    assert api.post("runs/set-tag", run_id=run_id, key="k", value="v", nonsense={"deep": [1]}) == {}
    assert api.get("runs/get", run_id=run_id, nonsense="1")["run"]["info"]["run_id"] == run_id


def test_null_is_absent(api):
    run = api.post("runs/create", experiment_id="0", run_name=None, start_time=None, user_id=None, tags=[])["run"]
    run_id = run["info"]["run_id"]
    api.post(
        "runs/log-metric", run_id=run_id, key="m", value=1, timestamp=1, step=None, model_id=None, dataset_name=None
    )
    api.post("runs/log-batch", run_id=run_id, metrics=None, params=None, tags=None)
    api.post("runs/update", run_id=run_id, status=None, end_time=None, run_name=None)
    found = api.get("runs/get", run_id=run_id)["run"]
    assert found["data"]["metrics"] == [{"key": "m", "value": 1.0, "timestamp": 1, "step": 0}]
    assert found["info"] == run["info"]


def test_enumerations_may_be_numbers(api):
    experiment_id = api.experiment()
    run_id = api.run(experiment_id)
    assert api.post("runs/update", run_id=run_id, status=3)["run_info"]["status"] == "FINISHED"
    found = api.post("runs/search", experiment_ids=[experiment_id], run_view_type=3, max_results=1)
    assert len(found["runs"]) == 1
    assert "experiments" in api.get("experiments/search", max_results="20000", view_type="1")


def test_whole_numbers_are_exact_over_all_64_bits(api, run_id):
    for step in (2**63 - 1, -(2**63), str(2**63 - 1), -5):
        api.post("runs/log-metric", run_id=run_id, key="m", value=1, timestamp="1700000000000", step=step)
    points = api.get("metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
    assert sorted(point["step"] for point in points) == [-(2**63), -5, 2**63 - 1]
    assert {point["timestamp"] for point in points} == {1700000000000}


def test_numbers_given_as_text_may_be_spelt_as_r_spells_them(api, run_id):
    metrics = [{"key": "a", "value": "1e-05", "timestamp": "1.7e+12", "step": "1e+05"}, point("a", step=" 2 ")]
    api.post("runs/log-batch", run_id=run_id, metrics=metrics)
    api.post("runs/log-metric", run_id=run_id, key="b", value=" 2.50", timestamp="1e3", step="0.0")
    assert api.get("metrics/get-history", run_id=run_id, metric_key="a")["metrics"] == [
        point("a", step=2),
        {"key": "a", "value": 1e-05, "timestamp": 1_700_000_000_000, "step": 100_000},
    ]
    assert api.get("metrics/get-history", run_id=run_id, metric_key="b")["metrics"] == [
        {"key": "b", "value": 2.5, "timestamp": 1000, "step": 0}
    ]


def point(key, step):
    return {"key": key, "value": 1.0, "timestamp": 1, "step": step}


def test_not_a_number_and_the_infinities_travel_as_text(api, run_id):
    for n, value in enumerate(["NaN", "Infinity", "-Infinity", "2.5"]):
        api.post("runs/log-metric", run_id=run_id, key="m", value=value, timestamp=n)
    points = api.get("metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
    assert [point["value"] for point in points] == ["NaN", 1.7976931348623157e308, -1.7976931348623157e308, 2.5]


def test_the_old_name_of_the_run_id_is_taken(api, run_id):
    api.post("runs/log-metric", run_uuid=run_id, key="m", value=1, timestamp=1)
    api.post("runs/set-tag", run_uuid=run_id, key="k", value="v")
    api.post("runs/log-parameter", run_uuid=run_id, key="k", value="v")
    api.post("runs/update", run_uuid=run_id, status="FINISHED")
    assert api.get("metrics/get-history", run_uuid=run_id, metric_key="m")["metrics"]
    assert api.get("runs/get", run_uuid=run_id)["run"]["info"]["status"] == "FINISHED"


def test_json_in_a_json_text_is_read(http, run_id):
    body = json.dumps(json.dumps({"run_id": run_id, "key": "k", "value": "v"}))
    response = http.post(f"{BASE}/runs/set-tag", content=body, headers={"Content-Type": "application/json"})
    assert response.json() == {}


def test_a_get_may_have_a_json_content_type_and_no_body(http, run_id):
    response = http.get(f"{BASE}/runs/get", params={"run_id": run_id}, headers={"Content-Type": "application/json"})
    assert response.json()["run"]["info"]["run_id"] == run_id


def test_a_get_without_a_query_may_have_a_body(http, run_id):
    assert http.request("GET", f"{BASE}/runs/get", json={"run_id": run_id}).json()["run"]["info"]["run_id"] == run_id


def test_a_delete_reads_its_body_and_not_its_query(http, api):
    api.post("registered-models/create", name="to delete")
    by_query = http.request("DELETE", f"{BASE}/registered-models/delete", params={"name": "to delete"})
    assert "'name'" in refusal(by_query, 400, "INVALID_PARAMETER_VALUE")
    both = http.request("DELETE", f"{BASE}/registered-models/delete", params={"name": "x"}, json={"name": "to delete"})
    assert both.json() == {}


def test_empty_texts_count_as_absent_where_that_makes_sense(api, run_id):
    assert api.get("artifacts/list", run_id=run_id, path="", page_token="")["root_uri"].endswith("/artifacts")
    assert api.get("metrics/get-history", run_id=run_id, metric_key="m", page_token="", max_results=50) == {}
    assert "experiments" in api.post("experiments/search", max_results=5, filter="", page_token="")


def test_repeated_query_parameters_are_a_list(api):
    ids = [api.run(), api.run()]
    for n, run_id in enumerate(ids):
        api.post("runs/log-metric", run_id=run_id, key="m", value=n, timestamp=1)
    found = api.get("metrics/get-history-bulk-interval", run_ids=ids, metric_key="m")["metrics"]
    assert {point["run_id"] for point in found} == set(ids)
    bulk = api.get("metrics/get-history-bulk", run_id=ids, metric_key="m")["metrics"]
    assert [point["run_id"] for point in bulk] == sorted(ids)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_the_content_type_may_have_parameters(http, content_type):
    response = http.post(
        f"{BASE}/experiments/search", content=b'{"max_results": 1}', headers={"Content-Type": content_type}
    )
    assert response.status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(http, content_type):
    response = http.post(
        f"{BASE}/experiments/search", content=b'{"max_results": 1}', headers={"Content-Type": content_type}
    )
    assert "application/json" in refusal(response, 400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "JSON object"),
        (b"5", "JSON object"),
        (b'"text"', "not valid JSON"),
        (b'{"max_results": NaN}', "not valid JSON"),
        (b'{"max_results": 1, "filter": "\xff"}', "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"", "max_results"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused_in_words(http, body, said):
    headers = {"Content-Type": "application/json"}
    response = http.post(f"{BASE}/experiments/search", content=body, headers=headers)
    assert said in refusal(response, 400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "path", ["/nothing", f"{BASE}/nothing", "/api/2.0/mlflow", f"{BASE}/runs", "/api/9.0/mlflow/runs/get"]
)
def test_an_unknown_path_is_answered_in_mlflows_form(http, path):
    assert path.split("/")[-1] in refusal(http.get(path), 404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "feature"),
    [
        ("GET", "/api/2.0/mlflow/traces", "Traces"),
        ("POST", "/ajax-api/3.0/mlflow/traces/search", "Traces"),
        ("POST", "/api/3.0/mlflow/gateway/endpoints/create", "gateway"),
        ("GET", "/ajax-api/3.0/mlflow/jobs/1", "Jobs"),
        ("GET", "/api/2.0/mlflow/webhooks", "Webhooks"),
        ("POST", "/api/3.0/mlflow/roles/create", "Roles"),
        ("POST", "/graphql", "MLflow"),
    ],
)
def test_a_feature_that_is_not_served_is_named(http, method, path, feature):
    assert feature in refusal(http.request(method, path), 404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", f"{BASE}/runs/create", "POST"),
        ("PUT", f"{BASE}/experiments/search", "GET, HEAD, POST"),
        ("POST", f"{BASE}/logged-models/m-1/tags/a/b", "DELETE"),
        ("PATCH", "/api/2.0/mlflow-artifacts/artifacts/x", "DELETE, GET, HEAD, PUT"),
    ],
)
def test_a_wrong_method_is_answered_with_the_right_ones(http, method, path, allowed):
    response = http.request(method, path)
    assert allowed in refusal(response, 405, "BAD_REQUEST")
    assert response.headers["allow"] == allowed


def test_a_body_over_the_limit_is_refused_before_it_is_read(start_server, tmp_path):
    with start_server(tmp_path, "--max-body", "1000") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST {BASE}/runs/set-tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall((head + "Content-Length: 1001\r\n\r\n").encode())
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"error_code":"BAD_REQUEST"' in answer
        with socket.create_connection((host, int(port))) as connection:
            chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
            connection.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode() + chunk)
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_compressed_body_is_refused(http):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = http.post(f"{BASE}/experiments/search", content=b"\x1f\x8b", headers=headers)
    refusal(response, 415, "BAD_REQUEST")


@pytest.mark.parametrize("path", [f"{BASE}/runs/get?run_id=%ff", "/api/2.0/mlflow-artifacts/artifacts/%ff", "/%c3%28"])
def test_broken_utf8_in_the_address_is_refused(http, path):
    assert "UTF-8" in refusal(http.get(path), 400, "INVALID_PARAMETER_VALUE")


def test_a_head_request_has_no_body(http):
    response = http.head(f"{BASE}/experiments/get", params={"experiment_id": "0"})
    assert (response.status_code, response.content) == (200, b"")


FOREIGN = {
    "a page of another site": {"Origin": "https://evil.example"},
    "one that hides where it comes from": {"Sec-Fetch-Site": "cross-site"},
    "one that calls itself by a name of its own": {"Host": "evil.example"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_page_of_another_site_can_do_nothing_through_a_browser(http, headers):
    plain = {"Content-Type": "text/plain", **headers}
    # The two that a browser sends without asking the server first, and the question itself.
    for response in (
        http.post("/ajax-api/2.0/mlflow/upload-artifact", content=b"x", headers=plain),
        http.post(f"{BASE}/experiments/create", content=b'{"name": "foreign"}', headers=plain),
        http.options(f"{BASE}/experiments/create", headers=headers),
    ):
        refusal(response, 403, "PERMISSION_DENIED")
    assert http.get("/health", headers=headers).status_code == (403 if "Host" in headers else 200)


def test_the_person_at_the_browser_is_served(http):
    assert http.get(f"{BASE}/experiments/get?experiment_id=0", headers={"Sec-Fetch-Site": "none"}).status_code == 200


def json_of(*members):
    """A JSON object, with members that no client's encoder would write."""
    return b'{"run_id": "a", "experiment_id": "0", ' + b", ".join(members) + b"}"


MANY = {
    "tags": b'"tags": [' + b", ".join(b'{"key": "%d", "value": "v"}' % n for n in range(20_000)) + b"]",
    "arrays": b'"tags": [' + b"[]," * 300_000 + b"[]]",
    "values": b'"ids": [' + b"1," * 300_000 + b"1]",
}


@pytest.mark.parametrize("path", ["runs/create", "runs/log-batch", "runs/log-inputs", "registered-models/create"])
@pytest.mark.parametrize("member", [MANY["arrays"], MANY["values"]], ids=["arrays", "values"])
def test_a_body_of_which_far_more_objects_would_be_made_than_any_request_needs_is_refused(http, path, member):
    response = http.post(f"{BASE}/{path}", content=json_of(member), headers={"Content-Type": "application/json"})
    assert "more than" in refusal(response, 400, "INVALID_PARAMETER_VALUE")


def test_what_is_text_within_text_is_counted_too(http):
    content = json.dumps(json_of(MANY["arrays"]).decode()).encode()
    response = http.post(f"{BASE}/runs/create", content=content, headers={"Content-Type": "application/json"})
    assert "more than" in refusal(response, 400, "INVALID_PARAMETER_VALUE")


def test_a_run_with_more_tags_than_it_can_have_is_refused(http):
    response = http.post(
        f"{BASE}/runs/create", content=json_of(MANY["tags"]), headers={"Content-Type": "application/json"}
    )
    assert "more than 5000 arrays and objects" in refusal(response, 400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    ("path", "limit"), [("runs/create", 2 << 20), ("runs/log-batch", 10 << 20), ("runs/log-inputs", 36 << 20)]
)
def test_a_body_has_the_bytes_that_its_operation_needs(server, path, limit):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {BASE}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall((head + f"Content-Length: {limit + 1}\r\n\r\n").encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert f"longer than {limit} bytes" in answer.decode()


def test_a_full_batch_of_the_longest_texts_written_as_escapes_is_taken(http, api, run_id):
    names = [f"{n:03}" + "語" * 247 for n in range(800)]
    batch = {
        "run_id": run_id,
        "metrics": [{"key": name, "value": 0.5, "timestamp": 1, "step": 1} for name in names],
        "params": [{"key": name, "value": "語" * 6000} for name in names[:100]],
        "tags": [{"key": name, "value": "語" * 8000} for name in names[:100]],
    }
    content = json.dumps(batch, ensure_ascii=True)
    response = http.post(f"{BASE}/runs/log-batch", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 200, response.text
    assert len(api.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]) == 800


def test_a_client_that_sends_all_of_a_body_that_is_too_long_gets_its_answer(http):
    content = json_of(b'"text": "' + b"x" * (30 << 20) + b'"')
    response = http.post(f"{BASE}/runs/create", content=content, headers={"Content-Type": "application/json"})
    assert "longer than" in refusal(response, 413, "BAD_REQUEST")
