"""Every invalid request is answered with a message about the problem, and changes nothing."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.service.harness import API, JSON, RECORD, Service, accepted, raw, refused
from tests.support.examples import examples

# --- bodies -----------------------------------------------------------------------------------------------------------

NOT_JSON = {
    "cut off": b'{"hyperparameters": {',
    "empty": b"",
    "white space": b" \n\t ",
    "text": b"hello",
    "two values": b"{} {}",
    "single quotes": b"{'a': 1}",
    "trailing comma": b'{"hyperparameters": {"a": 1,}}',
    "NaN": b'{"hyperparameters": {"a": NaN}}',
    "Infinity": b'{"hyperparameters": {"a": -Infinity}}',
    "a number beyond all floats": b'{"hyperparameters": {"a": 1e999}}',
    "an integer beyond 64 bits": b'{"hyperparameters": {"a": ' + b"9" * 400 + b"}}",
    "an integer that Python does not even read": b'{"hyperparameters": {"a": ' + b"9" * 5000 + b"}}",
    "Latin-1": '{"hyperparameters": {"ä": 1}}'.encode("latin-1"),
    "UTF-16": '{"hyperparameters": {}}'.encode("utf-16"),
    "a lone surrogate": rb'{"hyperparameters": {"a": "\ud800"}}',
    "a lone surrogate as a key": rb'{"hyperparameters": {"\udfff": 1}}',
    "a control character": b'{"hyperparameters": {"a": "\x01"}}',
    "NUL": b"\0",
    "arrays in arrays in arrays": b'{"hyperparameters": {"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
    "objects in objects in objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "open brackets": b"[" * 60_000,
    "the same key twice": b'{"hyperparameters": {"rate": 1, "rate": 2}}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_a_body_that_is_not_proper_json_is_refused(fresh: Service, body: bytes) -> None:
    error = refused(fresh.api.post("/initialize", content=body, headers=JSON))
    assert "body" in error["message"] or "hyperparameters" in error["message"]


@pytest.mark.parametrize("depth", [50, 90, 300, 900, 990, 1000, 1100, 3000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_taken_up_to_a_limit_and_refused_beyond_it(
    service: Service, depth: int, left: str, right: str
) -> None:
    body = '{"hyperparameters": {"a": ' + left * depth + "1" + right * depth + "}}"
    response = service.api.post("/initialize", content=body, headers=JSON)
    if depth <= 90:
        assert service.wait_for_state("initialized", accepted(response))
        echoed = service.do("buildModel")
        assert echoed["state"] == "ready"
    else:
        assert "deep" in refused(response)["message"]
        assert service.status()["state"] == "started"


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (None, ["object"]),
        ([], ["object"]),
        ("initialize", ["object"]),
        (5, ["object"]),
        ({"objectives": "training"}, ["objectives", "'training'", "an array"]),
        ({"objectives": ["train", "fly"]}, ["objectives[1]", "'fly'", "transfer_learning", "prediction"]),
        ({"objectives": [["train"]]}, ["objectives[0]"]),
        ({"objectives": [None]}, ["objectives[0]"]),
        ({"hyperparameters": [1]}, ["hyperparameters", "[1]", "an object"]),
        ({"hyperparameters": "rate=1"}, ["hyperparameters", "'rate=1'", "an object"]),
        ({"modelProperties": True}, ["modelProperties", "an object"]),
        ({"hyperparamters": {}}, ["'hyperparamters'", "hyperparameters"]),
    ],
    ids=str,
)
def test_wrong_types_and_names_in_initialize_are_reported_by_their_place(
    fresh: Service, body: Any, parts: list[str]
) -> None:
    error = refused(fresh.api.post("/initialize", json=body))
    assert [part for part in parts if part not in error["message"]] == []


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ([], ["object"]),
        ({"train": 5}, ["train", "5", "object"]),
        ({"train": {"dataPath": 5}}, ["train.dataPath", "5", "string"]),
        ({"train": {"dataPath": ""}}, ["train.dataPath"]),
        ({"train": {"dataPath": "/no/such/file"}}, ["train.dataPath", "/no/such/file", "No such file"]),
        ({"test": {"data_path": "/no/such/file"}}, ["test.", "ath", "/no/such/file"]),
        ({"validation": {"dataPath": "/no/such/file"}}, ["validation.dataPath", "/no/such/file"]),
        ({"test": {"data_path": 5}}, ["datasets.test", "data_path", "5", "string"]),
        ({"test": {"object_info": [5]}}, ["datasets.test", "object_info", "[5]", "object"]),
        ({"train": {"dataPath": "/dev/null/x"}}, ["train.dataPath", "Not a directory"]),
        ({"train": {"dataPath": "a\0b"}}, ["train.dataPath"]),
        ({"train": {"dataPath": "/" + "x" * 5000}}, ["train.dataPath", "too long"]),
        ({"train": {"objectInfo": {"resourceVersion": "new"}}}, ["train.objectInfo.resourceVersion", "'new'"]),
        ({"train": {"objectInfo": {"resources": "all"}}}, ["train.objectInfo.resources", "'all'", "array"]),
        ({"train": {"objectInfo": []}}, ["train.objectInfo", "object"]),
        ({"train": {"statistics": {"size": "big"}}}, ["train.statistics.size", "'big'"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_datasets_are_reported_by_their_place(unchanged: Service, body: Any, parts: list[str]) -> None:
    error = refused(unchanged.api.post("/loadData", json=body))
    assert [part for part in parts if part not in error["message"]] == []


def test_a_pipe_that_nobody_writes_to_does_not_hold_anything_up(ready: Service, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert ready.do("loadData", {"train": {"dataPath": str(pipe)}})["state"] == "ready"


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ([], ["object"]),
        ({"a": 5}, ["a", "5", "string"]),
        ({"a": RECORD, "b": None}, ["b", "string"]),
        ({"a": [RECORD]}, ["a", "string"]),
        ({"good": RECORD, "bad": "no base64!"}, ["dataMap", "'bad'", "base64"]),
        ({"bad": "YQ"}, ["dataMap", "'bad'", "base64"]),
        ({"bad": "YQ==YQ=="}, ["dataMap", "'bad'", "base64"]),
        ({"bad": "YQ=\u00e4"}, ["dataMap", "'bad'", "base64"]),
        ({"bad": "_-_-"}, ["dataMap", "'bad'", "base64"]),
        ({"x" * 30_000: "no base64!"}, ["dataMap", "'xxxxxx", "base64"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_records_that_cannot_be_read_are_reported_by_their_identifier(
    unchanged: Service, body: Any, parts: list[str]
) -> None:
    error = refused(unchanged.api.post("/streamPredict", json=body))
    assert [part for part in parts if part not in error["message"]] == []


def test_a_record_given_twice_is_refused_and_not_dropped(unchanged: Service) -> None:
    body = b'{"twin": "YQ==", "other": "YQ==", "twin": "Yg=="}'
    error = refused(unchanged.api.post("/streamPredict", content=body, headers=JSON))
    assert "'twin'" in error["message"]


@pytest.mark.parametrize("data", ["", "YQ==", "Y\r\nQ\n==", "YWJj" * 1000], ids=lambda data: repr(data[:12]))
def test_base64_of_every_usual_form_is_taken(ready: Service, data: str) -> None:
    answer = ready.post("streamPredict", {"a": data})
    assert answer["a"]["echo"].encode("latin-1") == base64.b64decode(data)


def test_properties_that_are_not_an_object_are_refused(unchanged: Service) -> None:
    error = refused(unchanged.api.post("/updateStreamProperties", json=[1]))
    assert "object" in error["message"]


# --- identifiers ------------------------------------------------------------------------------------------------------

over_http = settings(
    max_examples=examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
surrogates = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"])


@over_http
@given(st.dictionaries(st.text(), st.binary(max_size=20), min_size=1, max_size=8))
@example({"": b""})
@example({"\0": b"nul", "\0\0": b"two"})
@example({"\U0001f469\u200d\U0001f52c": b"emoji", "\u202e": b"rtl", "e\u0301": b"decomposed", "\u00e9": b"composed"})
@example({"__proto__": b"1", "a.b": b"2", "#1": b"3", "a/b?c=d&e": b"4", '"\\': b"5", "\uffff": b"6"})
def test_identifiers_of_any_unicode_come_back_as_they_went(ready: Service, records: dict[str, bytes]) -> None:
    body = {key: base64.b64encode(value).decode() for key, value in records.items()}
    for escaped in (True, False):
        content = json.dumps(body, ensure_ascii=escaped).encode()
        answer = accepted(ready.api.post("/streamPredict", content=content, headers=JSON))
        assert {key: value["echo"].encode("latin-1") for key, value in answer.items()} == records


@over_http
@given(st.text(max_size=5), surrogates, st.text(max_size=5))
def test_an_identifier_with_half_a_surrogate_pair_is_refused(
    ready: Service, before: str, half: str, after: str
) -> None:
    content = json.dumps({before + half + after: RECORD}).encode()
    error = refused(ready.api.post("/streamPredict", content=content, headers=JSON))
    assert "surrogate" in error["message"]


def test_an_identifier_may_be_long(ready: Service) -> None:
    name = "\u20ac" * 15_000
    assert ready.post("streamPredict", {name: RECORD}) == {name: {"echo": "record", "details": False}}


# --- content types ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data", "json"],
)
@pytest.mark.parametrize("operation", ["initialize", "loadData", "streamPredict", "updateStreamProperties"])
def test_a_body_of_another_type_is_refused_with_415(unchanged: Service, operation: str, content_type: str) -> None:
    response = unchanged.api.post(f"/{operation}", content=b"{}", headers={"content-type": content_type})
    error = refused(response, 415)
    assert "application/json" in error["message"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;a=b"]
)
def test_json_is_recognised_however_it_is_announced(ready: Service, content_type: str) -> None:
    body = json.dumps({"a": RECORD}).encode()
    accepted(ready.api.post("/streamPredict", content=body, headers={"content-type": content_type}))


def test_a_body_whose_type_nobody_told_is_taken_for_json(ready: Service) -> None:
    body = json.dumps({"a": RECORD}).encode()
    request = f"POST {API}/streamPredict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    status, _, answer = raw(ready.port, request.encode(), body)
    assert (status, json.loads(answer)) == (200, {"a": {"echo": "record", "details": False}})


def test_an_operation_without_a_body_takes_whatever_a_client_sends_along(ready: Service) -> None:
    for content, content_type in ((b"", "text/plain"), (b"{", "application/json"), (b"\xff", "image/png")):
        response = ready.api.post("/train", content=content, headers={"content-type": content_type})
        ready.wait_for_state("ready", accepted(response))


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "parts"),
    [
        ("POST", "/saveModel", ["modelPath", "missing"]),
        ("POST", "/saveModel?modelPath=", ["modelPath"]),
        ("POST", "/saveModel?modelPath=%00", ["modelPath"]),
        ("POST", "/saveModel?modelpath=/tmp/x", ["modelpath"]),
        ("POST", "/saveModel?modelPath=/proc/nothing", ["modelPath", "/proc/nothing"]),
        ("POST", "/saveModel?modelPath=/dev/null", ["modelPath", "/dev/null"]),
        ("POST", "/saveModel?modelPath=/dev/null/below", ["modelPath", "Not a directory"]),
        ("POST", "/savePredictions", ["dataPath", "missing"]),
        ("POST", "/savePredictions?dataPath=/proc", ["dataPath", "/proc"]),
        ("POST", f"/saveGenerations?dataPath=/{'x' * 3000}", ["dataPath", "too long"]),
        ("POST", "/buildModel?modelPath=/no/such/model", ["modelPath", "/no/such/model", "No such file"]),
        ("POST", "/train?epochs=5", ["epochs"]),
        ("GET", "/status?watch=maybe", ["watch", "maybe", "true or false"]),
        ("GET", "/status?resourceVersion=new", ["resourceVersion", "new", "integer"]),
        ("GET", "/status?resourceVersion=-1", ["resourceVersion", "-1"]),
        ("GET", "/status?watch=true&resourceVersion=1.5", ["resourceVersion", "1.5"]),
        ("GET", f"/status?watch=true&resourceVersion={'9' * 5000}", ["resourceVersion"]),
        ("GET", "/status?wach=true", ["wach"]),
        ("GET", "/apiVersion?x=1", ["x"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_parameters_are_reported_by_their_name(
    unchanged: Service, method: str, path: str, parts: list[str]
) -> None:
    error = refused(unchanged.api.request(method, path))
    assert [part for part in parts if part not in error["message"]] == []


def test_details_that_are_neither_true_nor_false_are_refused(unchanged: Service) -> None:
    error = refused(unchanged.api.post("/streamPredict?details=perhaps", json={"a": RECORD}))
    assert "details" in error["message"]
    assert "true or false" in error["message"]


@pytest.mark.parametrize("text", ["new", "-1", "1.5", "\u0661", "9" * 5000], ids=lambda text: text[:5])
def test_a_last_event_id_that_is_not_a_version_is_refused(unchanged: Service, text: str) -> None:
    headers = {b"Last-Event-ID": text.encode(), b"Accept": b"text/event-stream"}
    error = refused(unchanged.api.get("/status?watch=true", headers=headers))
    assert "Last-Event-ID" in error["message"]


# --- paths that cannot be used ----------------------------------------------------------------------------------------


def test_a_file_in_the_way_of_a_folder_is_reported(unchanged: Service, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        error = refused(unchanged.api.post("/saveModel", params={"modelPath": str(folder)}))
        assert error["field"] == "modelPath"
        assert str(folder) in error["message"]
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_that_cannot_be_written_is_reported(unchanged: Service, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        # Permissions do not stop root; the kernel's own folders do.
        folder = Path("/proc/self")
    error = refused(unchanged.api.post("/savePredictions", params={"dataPath": str(folder)}))
    assert error["field"] == "dataPath"
    assert str(folder) in error["message"]


def test_a_refused_save_leaves_nothing_behind(unchanged: Service, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    refused(unchanged.api.post("/saveModel", params={"modelPath": f"{target}\0"}))
    refused(unchanged.api.post("/pause", params={"modelPath": str(target)}))
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_the_state_refuses_makes_no_folder(fresh: Service, tmp_path: Path) -> None:
    error = refused(fresh.api.post("/saveModel", params={"modelPath": str(tmp_path / "new")}))
    assert error["state"] == "started"
    assert list(tmp_path.iterdir()) == []


# --- refusals beside each other ---------------------------------------------------------------------------------------


def test_a_bad_request_during_a_training_does_not_touch_it(service: Service) -> None:
    service.make_ready(train="steps_for_ever")
    began = service.post("train")
    refused(service.api.post("/initialize", content=b"{", headers=JSON))
    refused(service.api.post("/saveModel"))
    refused(service.api.post("/streamPredict", content=b"{}", headers={"content-type": "text/plain"}), 415)
    status = service.do("pause")
    assert (status["state"], status["payload"]["activity"]) == ("paused", began["payload"]["activity"])


def test_what_is_wrong_with_the_body_is_reported_before_what_is_wrong_with_the_state(fresh: Service) -> None:
    assert "base64" in refused(fresh.api.post("/streamPredict", json={"a": "?"}))["message"]
    error = refused(fresh.api.post("/streamPredict", json={"a": RECORD}))
    assert error["state"] == "started"
