"""Invalid requests are refused with MLflow's code and a helpful message, and change nothing."""

from typing import Any

import pytest

BASE = "/api/2.0/mlflow"
POINT = {"key": "m", "value": 1.0, "timestamp": 1}


@pytest.fixture
def refuse(http):
    """Send a request that has to be refused, and return the message."""

    def send(method, path, fields, status=400, code="INVALID_PARAMETER_VALUE"):
        if method == "GET":
            response = http.get(f"{BASE}/{path}", params=fields)
        else:
            response = http.request(method, f"{BASE}/{path}", json=fields)
        assert response.status_code == status, response.text
        assert response.json()["error_code"] == code
        return response.json()["message"]

    return send


@pytest.fixture
def data(api, run_id):
    """Return what was logged to the run, to see that nothing was."""
    before = api.get("runs/get", run_id=run_id)["run"]
    yield run_id
    assert api.get("runs/get", run_id=run_id)["run"] == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": None}, "'value'"),
        ({"value": "abc"}, "'value'"),
        ({"value": [1]}, "'value'"),
        ({"value": True}, "'value'"),
        ({"value": "1e999"}, "'value'"),
        ({"timestamp": None}, "'timestamp'"),
        ({"timestamp": 1.5}, "'timestamp'"),
        ({"timestamp": "soon"}, "'timestamp'"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": 2**63}, "'timestamp'"),
        ({"step": 2**63}, "'step'"),
        ({"step": 0.5}, "'step'"),
        ({"key": ""}, "'key'"),
        ({"key": None}, "'key'"),
        ({"key": 5}, "'key'"),
        ({"key": "x" * 251}, "250"),
        ({"key": "/a"}, "/a"),
        ({"key": "a//b"}, "a//b"),
        ({"key": "a/../b"}, "a/../b"),
        ({"key": "."}, "name"),
        ({"key": "a\u0007b"}, "name"),
        ({"key": "a\u0000b"}, "name"),
        ({"key": "a#b"}, "a#b"),
        ({"run_id": None}, "'run_id'"),
        ({"run_id": 7}, "'run_id'"),
    ],
)
def test_a_wrong_metric_is_refused(refuse, data, change, said):
    assert said in refuse("POST", "runs/log-metric", {"run_id": data, **POINT, **change})


@pytest.mark.parametrize("path", ["runs/log-parameter", "runs/set-tag"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": 5}, "'value'"),
        ({"value": {}}, "'value'"),
        ({"key": ""}, "'key'"),
        ({"key": "x" * 251}, "250"),
        ({"key": "../x"}, "../x"),
    ],
)
def test_a_wrong_param_or_tag_is_refused(refuse, data, path, change, said):
    assert said in refuse("POST", path, {"run_id": data, "key": "k", "value": "v", **change})


def many(number, **fields):
    return [{"key": f"k{n}", **fields} for n in range(number)]


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"metrics": [{**POINT, "value": None}]}, "metrics[0].value"),
        ({"metrics": [POINT, POINT, {**POINT, "timestamp": None}]}, "metrics[2].timestamp"),
        ({"metrics": [{**POINT, "key": "../x"}]}, "metrics[0].name"),
        ({"metrics": POINT}, "'metrics'"),
        ({"metrics": [5]}, "metrics[0]"),
        ({"metrics": many(1001, value=1, timestamp=1)}, "1000"),
        ({"params": many(101, value="v")}, "100"),
        ({"tags": many(101, value="v")}, "100"),
        ({"metrics": many(950, value=1, timestamp=1), "params": many(51, value="v")}, "1000"),
        ({"params": [{"key": "d", "value": "1"}, {"key": "d", "value": "1"}]}, "d"),
        ({"params": [{"key": "p", "value": 1}]}, "params[0].value"),
        ({"params": [{"value": "1"}]}, "params[0].key"),
        ({"tags": [{"key": "x" * 251, "value": "v"}]}, "250"),
        ({"run_id": None}, "'run_id'"),
    ],
)
def test_a_wrong_batch_is_refused_whole(refuse, data, batch, said):
    good = {"metrics": [POINT], "params": [{"key": "good", "value": "1"}], "tags": [{"key": "good", "value": "1"}]}
    assert said in refuse("POST", "runs/log-batch", {"run_id": data, **good, **batch})


def test_a_batch_whose_param_has_another_value_is_refused_whole(refuse, api, run_id):
    api.post("runs/log-parameter", run_id=run_id, key="p", value="1")
    before = api.get("runs/get", run_id=run_id)
    batch = {
        "metrics": [POINT],
        "tags": [{"key": "t", "value": "1"}],
        "params": [*many(2, value="x"), {"key": "p", "value": "2"}],
    }
    assert "Changing param values" in refuse("POST", "runs/log-batch", {"run_id": run_id, **batch})
    assert api.get("runs/get", run_id=run_id) == before


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("GET", "runs/get", {"run_id": "0" * 32}),
        ("POST", "runs/update", {"run_id": "0" * 32, "status": "FINISHED"}),
        ("POST", "runs/delete", {"run_id": "0" * 32}),
        ("POST", "runs/restore", {"run_id": "0" * 32}),
        ("POST", "runs/log-metric", {"run_id": "0" * 32, **POINT}),
        ("POST", "runs/log-batch", {"run_id": "0" * 32}),
        ("POST", "runs/log-inputs", {"run_id": "0" * 32}),
        ("POST", "runs/create", {"experiment_id": "4711"}),
        ("GET", "artifacts/list", {"run_id": "0" * 32}),
        ("GET", "experiments/get", {"experiment_id": "4711"}),
        ("GET", "experiments/get-by-name", {"experiment_name": "no such experiment"}),
        ("POST", "experiments/delete", {"experiment_id": "4711"}),
        ("GET", "registered-models/get", {"name": "no such model"}),
        ("PATCH", "registered-models/update", {"name": "no such model"}),
        ("DELETE", "registered-models/delete", {"name": "no such model"}),
        ("GET", "model-versions/get", {"name": "no such model", "version": "1"}),
        ("GET", "logged-models/m-00000000000000000000000000000000", {}),
    ],
)
def test_what_does_not_exist_is_not_found(refuse, method, path, fields):
    assert refuse(method, path, fields, 404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("method", "path", "fields", "said"),
    [
        ("POST", "experiments/create", {}, "'name'"),
        ("POST", "experiments/create", {"name": 5}, "'name'"),
        ("POST", "experiments/create", {"name": "x" * 501}, "500"),
        ("POST", "experiments/create", {"name": "tags", "tags": "x"}, "'tags'"),
        ("POST", "experiments/search", {}, "'max_results'"),
        ("POST", "experiments/search", {"max_results": 0}, "max_results"),
        ("POST", "experiments/search", {"max_results": 50_001}, "max_results"),
        ("POST", "experiments/search", {"max_results": 1, "view_type": "SOME"}, "ACTIVE_ONLY"),
        ("POST", "experiments/search", {"max_results": 1, "order_by": "name"}, "'order_by'"),
        ("POST", "experiments/search", {"max_results": 1, "page_token": "nonsense!"}, "token"),
        ("GET", "experiments/get", {}, "'experiment_id'"),
        ("POST", "runs/create", {"tags": []}, "'experiment_id'"),
        ("POST", "runs/create", {"experiment_id": 1.5}, "'experiment_id'"),
        ("POST", "runs/create", {"experiment_id": "0", "start_time": "x"}, "'start_time'"),
        ("POST", "runs/create", {"experiment_id": "0", "tags": many(2, value="x")[:1] * 2}, "k0"),
        ("POST", "runs/search", {"experiment_ids": [3]}, "'experiment_ids'"),
        ("POST", "runs/search", {"experiment_ids": ["x"]}, "x"),
        ("POST", "runs/search", {"experiment_ids": ["0"], "max_results": 0}, "max_results"),
        ("POST", "runs/search", {"experiment_ids": ["0"], "max_results": 50_001}, "max_results"),
        ("POST", "runs/search", {"experiment_ids": ["0"], "run_view_type": 4}, "'run_view_type'"),
        ("POST", "runs/search", {"experiment_ids": ["0"], "filter": 5}, "'filter'"),
        ("POST", "runs/outputs", {"run_id": "x"}, "'models'"),
        ("GET", "metrics/get-history", {"run_id": "x", "metric_key": "m", "max_results": "0"}, "max_results"),
        ("GET", "metrics/get-history", {"run_id": "x"}, "'metric_key'"),
        ("GET", "metrics/get-history-bulk", {"metric_key": "m"}, "run"),
        ("GET", "metrics/get-history-bulk", {"metric_key": "m", "run_id": ["x"] * 101}, "100"),
        (
            "GET",
            "metrics/get-history-bulk-interval",
            {"metric_key": "m", "run_ids": "x", "start_step": 1},
            "both must be specified",
        ),
        ("GET", "metrics/get-history-bulk-interval", {"metric_key": "m", "run_ids": "x", "max_results": 2501}, "2500"),
        ("POST", "experiments/search-datasets", {"experiment_ids": []}, "experiment_id"),
        ("POST", "experiments/search-datasets", {"experiment_ids": ["0"] * 21}, "20"),
        ("POST", "registered-models/create", {"name": " "}, "name"),
        ("POST", "registered-models/create", {"name": "a/b"}, "a/b"),
        ("POST", "registered-models/create", {"name": "a:b"}, "a:b"),
        ("GET", "registered-models/search", {"max_results": 1001}, "max_results"),
        ("GET", "model-versions/get", {"name": "m", "version": "x"}, "must be an integer"),
        ("POST", "logged-models", {"name": "x"}, "'experiment_id'"),
        ("PATCH", "logged-models/m-1", {"status": "DONE"}, "LOGGED_MODEL_READY"),
        ("PATCH", "logged-models/m-1", {}, "'status'"),
    ],
)
def test_wrong_fields_are_named(refuse, method, path, fields, said):
    assert said in refuse(method, path, fields)


def test_an_unknown_status_is_refused_and_the_known_ones_are_named(refuse, data):
    assert "FINISHED" in refuse("POST", "runs/update", {"run_id": data, "status": "DONE"})


@pytest.mark.parametrize(
    "text",
    ["metrics.loss = '1'", "params.p = 1", "a or b", "metrics.", "nope.x = 'y'", "tags.x == 'y'", "tags.x = 'y", "("],
)
def test_a_broken_filter_says_where(refuse, text):
    message = refuse("POST", "runs/search", {"experiment_ids": ["0"], "filter": text})
    assert text in message


def test_a_taken_name_is_refused(refuse, api):
    api.post("registered-models/create", name="taken")
    api.experiment("taken")
    for path in ("registered-models/create", "experiments/create"):
        assert "taken" in refuse("POST", path, {"name": "taken"}, code="RESOURCE_ALREADY_EXISTS")


def test_a_deleted_experiment_cannot_be_renamed(refuse, api):
    experiment_id = api.experiment()
    api.post("experiments/delete", experiment_id=experiment_id)
    refuse("POST", "experiments/update", {"experiment_id": experiment_id, "new_name": "x"}, 500, "INVALID_STATE")


def test_a_deleted_run_cannot_be_written_to(refuse, api, run_id):
    api.post("runs/delete", run_id=run_id)
    writes: list[tuple[str, dict[str, Any]]] = [
        ("runs/log-metric", POINT),
        ("runs/log-parameter", {"key": "k", "value": "v"}),
        ("runs/set-tag", {"key": "k", "value": "v"}),
        ("runs/update", {"status": "FINISHED"}),
        ("runs/log-batch", {}),
    ]
    for path, fields in writes:
        assert "active" in refuse("POST", path, {"run_id": run_id, **fields})


def test_an_alias_that_is_missing_is_a_bad_request(refuse, api):
    api.post("registered-models/create", name="no aliases")
    refuse("GET", "registered-models/alias", {"name": "no aliases", "alias": "nope"})


def test_presigned_urls_and_multipart_uploads_are_not_implemented(refuse, http):
    for path in ("artifacts/presigned-upload-url", "artifacts/presigned-download-url"):
        refuse("POST", path, {"path": "x"}, 501, "NOT_IMPLEMENTED")
    for path in ("create", "complete", "abort"):
        response = http.post(f"/api/2.0/mlflow-artifacts/mpu/{path}/x", json={"path": "x"})
        assert (response.status_code, response.json()["error_code"]) == (501, "NOT_IMPLEMENTED")


BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
UPLOAD = "/ajax-api/2.0/mlflow/upload-artifact"


@pytest.mark.parametrize(
    ("method", "path", "query", "begins"),
    [
        ("GET", BULK, {"metric_key": "m"}, "GetMetricHistoryBulk request must specify at least one run_id."),
        ("GET", BULK, {"run_id": "r"}, "GetMetricHistoryBulk request must specify a metric_key."),
        (
            "GET", BULK, {"run_id": ["r"] * 101, "metric_key": "m"},
            "GetMetricHistoryBulk request cannot specify more than 100 run_ids. Received 101 run_ids.",
        ),
        ("GET", f"{BULK}-interval", {"metric_key": "m"}, "Missing value for required parameter 'run_ids'."),
        (
            "GET", f"{BULK}-interval", {"run_ids": ["r"] * 101, "metric_key": "m"},
            "GetMetricHistoryBulkInterval request must specify at most 100 run_ids. Received 101 run_ids.",
        ),
        (
            "GET", f"{BULK}-interval", {"run_ids": "r", "metric_key": "m", "start_step": 5, "end_step": 1},
            "end_step must be greater than start_step. Found start_step=5 and end_step=1.",
        ),
        (
            "GET", f"{BULK}-interval", {"run_ids": "r", "metric_key": "m", "start_step": 5},
            "If either start step or end step are specified, both must be specified.",
        ),
        ("POST", UPLOAD, {"path": "p"}, "Request must specify run_uuid."),
        ("POST", UPLOAD, {"run_uuid": "r"}, "Request must specify path."),
    ],
)  # fmt: skip
def test_a_refusal_begins_with_mlflows_words(http, method, path, query, begins):
    response = http.request(method, path, params=query, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["message"].startswith(begins)


@pytest.mark.parametrize(
    ("path", "body", "begins"),
    [
        ("log-metric", {"key": "a%", "value": 1, "timestamp": 1}, "Invalid value \"a%\" for parameter 'name' supplied: Na"),
        ("log-parameter", {"key": "a//b"}, "Invalid value \"a//b\" for parameter 'key' supplied: Names may be treated as"),
        ("log-batch", {"params": [{"key": "p"}] * 2}, "Duplicate parameter keys have been submitted: ['p']. Please en"),
        ("log-batch", {"tags": [{"key": "t"}] * 101}, "A batch logging request can contain at most 100 tags. Got 101"),
        ("search", {"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive"),
        ("log-batch", {"run_id": "b@d"}, "Invalid value \"b@d\" for parameter 'run_id' supplied."),
    ],
)  # fmt: skip
def test_a_refused_run_begins_with_mlflows_words(http, run_id, path, body, begins):
    response = http.post(f"/api/2.0/mlflow/runs/{path}", json={"run_id": run_id, **body})
    assert response.status_code == 400
    assert response.json()["message"].startswith(begins)


@pytest.mark.parametrize("path", ["log-metric", "log-parameter", "set-tag", "outputs"])
def test_the_run_is_asked_for_before_what_is_logged_to_it(http, path):
    response = http.post(f"/api/2.0/mlflow/runs/{path}", json={})
    assert response.json()["message"].startswith("Missing value for required parameter 'run_id'")


def test_a_small_upload_must_have_content(http, api, run_id):
    response = http.post(UPLOAD, params={"run_uuid": run_id, "path": "empty"})
    assert (response.status_code, response.json()["message"]) == (400, "Request must specify data.")
    assert "files" not in api.get("artifacts/list", run_id=run_id)
