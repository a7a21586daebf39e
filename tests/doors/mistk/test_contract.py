"""The contract is complete and documented, uses MISTK's names, and matches the state table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import jsonschema
import pytest

from mistk_service.kinds.model.operations import OPERATIONS
from mistk_service.kinds.model.states import State
from mistk_service.kinds.values import Dataset, MistkDataset, ObjectInfo, Objective
from mistk_service.resources import contract_path, load_contract

# path -> (method, operationId, parameters as name: (place, type, required)); an orchestrator of MISTK relies on them.
MISTK: dict[str, tuple[str, str, dict[str, tuple[str, str, bool]]]] = {
    "/initialize": ("post", "initializeModel", {"initializationParameters": ("body", "object", True)}),
    "/loadData": ("post", "loadData", {"datasets": ("body", "object", True)}),
    "/buildModel": ("post", "buildModel", {"modelPath": ("query", "string", False)}),
    "/buildEnsemble": (
        "post",
        "build_ensemble",
        {"ensemblePath": ("query", "string", False), "modelPaths": ("body", "object", False)},
    ),
    "/train": ("post", "train", {}),
    "/miniaturize": (
        "post",
        "miniaturize",
        {"dataPath": ("query", "string", True), "includeHalfPrecision": ("query", "boolean", True)},
    ),
    "/saveModel": ("post", "saveModel", {"modelPath": ("query", "string", True)}),
    "/predict": ("post", "predict", {}),
    "/streamPredict": (
        "post",
        "streamPredict",
        {"dataMap": ("body", "object", True), "details": ("query", "boolean", False)},
    ),
    "/streamPredict/source": (
        "post",
        "stream_predict_source",
        {
            "source": ("query", "string", True),
            "format": ("query", "string", False),
            "props": ("body", "object", False),
        },
    ),
    "/streamPredict/source/cancel": ("delete", "cancel_stream_predict_source", {}),
    "/updateStreamProperties": ("post", "updateStreamProperties", {"props": ("body", "object", True)}),
    "/savePredictions": ("post", "savePredictions", {"dataPath": ("query", "string", True)}),
    "/generate": ("post", "generate", {}),
    "/evaluate": ("post", "evaluate", {"evaluationParameters": ("body", "object", True)}),
    "/saveGenerations": ("post", "saveGenerations", {"dataPath": ("query", "string", True)}),
    "/pause": ("post", "pause", {}),
    "/resumeTraining": ("post", "resumeTraining", {}),
    "/resumePredict": ("post", "resumePredict", {}),
    "/status": (
        "get",
        "getStatus",
        {"watch": ("query", "boolean", False), "resourceVersion": ("query", "integer", False)},
    ),
    "/shutdown": ("post", "terminate", {}),
    "/reset": ("post", "reset", {}),
    "/apiVersion": ("get", "getApiVersion", {}),
}


SPEC = load_contract()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every (path, method, operation)."""
    for path, methods in SPEC["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Follow the reference that ``node`` is, if it is one."""
    while "$ref" in node:
        target: Any = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def nodes(node: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in the document with its place."""
    if isinstance(node, dict):
        yield place, node
        for key, value in node.items():
            yield from nodes(value, f"{place}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{place}/{index}")


def errors_in(name: str, value: Any) -> list[str]:
    """What a definition says against a value, as Connexion judges it."""
    schema = {"$ref": f"#/definitions/{name}", "definitions": SPEC["definitions"]}
    from connexion.json_schema import Draft4RequestValidator

    errors = Draft4RequestValidator(schema).iter_errors(value)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]


# --- names --------------------------------------------------------------------------------------------------------


def test_paths_operation_ids_and_parameters_are_those_of_mistk():
    found = {
        path: (
            method,
            operation["operationId"],
            {
                p["name"]: (p["in"], p.get("type") or resolve(p["schema"])["type"], p["required"])
                for p in operation.get("parameters", [])
            },
        )
        for path, method, operation in operations()
    }
    assert found == MISTK
    assert SPEC["basePath"] == "/v1/mistk"
    assert SPEC["info"]["version"] == "1.4.0"


def test_defaults_have_the_type_that_they_are_the_default_of():
    defaults = {place: node for place, node in nodes(SPEC) if "default" in node and "type" in node}
    assert {node["type"] for node in defaults.values()} == {"boolean"}
    assert all(node["default"] is False for node in defaults.values())


# --- the document as a whole --------------------------------------------------------------------------------------


def test_every_reference_leads_to_something_in_the_same_file():
    references = [(place, node["$ref"]) for place, node in nodes(SPEC) if "$ref" in node]
    assert references
    for place, reference in references:
        assert reference.startswith("#/"), place
        assert resolve({"$ref": reference}), place


def test_every_definition_and_response_is_used():
    used = {node["$ref"] for _, node in nodes(SPEC) if "$ref" in node}
    there = {f"#/responses/{name}" for name in SPEC["responses"]} | {
        f"#/definitions/{name}" for name in SPEC["definitions"]
    }
    # These belong to MISTK's vocabulary: clients are generated from them, and no operation of a model uses them.
    assert there - used == {
        "#/definitions/MistkMetricList",
        "#/definitions/DataRecordList",
        "#/definitions/MistkDataRecordList",
        "#/definitions/MistkWatchEvent",
    }


def test_connexion_takes_it_and_asks_for_a_handler_for_every_operation_id():
    from connexion import AsyncApp
    from connexion.resolver import Resolver

    asked: set[str] = set()

    def handler(operation_id: str) -> Any:
        asked.add(operation_id)

        async def handle() -> dict[str, Any]:
            return {}

        return handle

    app = AsyncApp(__name__)
    app.add_api(contract_path(), resolver=Resolver(handler))
    with app.test_client() as client:
        assert client.post("/v1/mistk/train").status_code == 200
    assert asked == {operation_id for _, operation_id, _ in MISTK.values()}


def test_every_definition_is_a_valid_schema():
    for definition in SPEC["definitions"].values():
        jsonschema.Draft4Validator.check_schema(definition)


# --- documentation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "method", "operation"), [pytest.param(*o, id=o[0]) for o in operations()])
def test_an_operation_is_documented(path: str, method: str, operation: dict[str, Any]):
    assert operation["summary"]
    assert len(operation["description"]) > len(operation["summary"])
    assert operation["tags"] == ["Model Instance Endpoint"]
    for parameter in operation.get("parameters", []):
        assert parameter["description"], parameter["name"]
    for status, response in operation["responses"].items():
        assert resolve(response)["description"], status


def test_every_property_of_every_definition_is_documented():
    for place, node in nodes(SPEC["definitions"]):
        if isinstance(node.get("properties"), dict) and not place.endswith("/properties"):
            for name, schema in node["properties"].items():
                assert resolve(schema).get("description"), f"{place}.{name}"


# --- statuses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "method", "operation"), [pytest.param(*o, id=o[0]) for o in operations()])
def test_every_status_that_an_operation_can_give_is_declared(path: str, method: str, operation: dict[str, Any]):
    has_body = any(p["in"] == "body" for p in operation.get("parameters", []))
    expected = {"204" if method == "delete" else "200", "500", "503"}
    if method == "post" or operation.get("parameters"):
        expected.add("400")
    if method in ("post", "delete"):
        expected.add("413")
    if has_body:
        expected.add("415")
    if path == "/streamPredict":
        expected.add("504")
    assert set(operation["responses"]) == expected
    for status, response in operation["responses"].items():
        if status not in ("200", "204"):
            assert resolve(response)["schema"] == {"$ref": "#/definitions/ServiceError"}


def test_an_accepted_operation_answers_with_the_status():
    for path, method, operation in operations():
        if method == "post" and not path.startswith("/streamPredict"):
            schema = resolve(operation["responses"]["200"])["schema"]
            assert schema == {"$ref": "#/definitions/ModelInstanceStatus"}, path


def test_an_operation_without_a_body_takes_any_content_type():
    for path, _, operation in operations():
        has_body = any(p["in"] == "body" for p in operation.get("parameters", []))
        assert operation.get("consumes", SPEC["consumes"]) == (["application/json"] if has_body else []), path


def test_the_status_can_be_had_as_json_as_lines_and_as_events():
    assert SPEC["paths"]["/status"]["get"]["produces"] == [
        "application/json",
        "application/x-ndjson",
        "text/event-stream",
    ]


# --- states -------------------------------------------------------------------------------------------------------


def test_the_contract_says_of_the_states_what_the_table_says():
    declared = {
        path.removeprefix("/"): operation["x-mistk-states"]
        for path, _, operation in operations()
        if "x-mistk-states" in operation
    }
    table = {
        row.name: {
            "allowed": [state.value for state in State if state in row.allowed],
            "while": row.running,
            "then": row.then or "back",
        }
        for row in OPERATIONS.values()
    }
    assert declared == table


def test_the_states_of_a_status_are_those_of_the_table():
    assert SPEC["definitions"]["ModelInstanceStatus"]["properties"]["state"]["enum"] == [s.value for s in State]


# --- values -------------------------------------------------------------------------------------------------------


def test_every_spelling_of_an_objective_that_the_contract_lists_is_understood():
    spellings = SPEC["definitions"]["ModelInstanceInitParams"]["properties"]["objectives"]["items"]["enum"]
    assert {Objective.parse(text) for text in spellings} == set(Objective)
    assert len(spellings) == 2 * len(Objective) - 1


@pytest.mark.parametrize(
    ("definition", "value"), [("ObjectInfo", ObjectInfo), ("Dataset", Dataset), ("MistkDataset", MistkDataset)]
)
def test_every_field_of_a_value_is_in_the_contract(definition: str, value: type):
    node = SPEC["definitions"][definition]
    parts = [resolve(part) for part in node.get("allOf", [node])]
    declared = {name for part in parts for name in part["properties"]}
    filled = value(**{f.name: "x" for f in fields(value) if f.name not in {"object_info", "extra"}})
    assert set(filled.to_wire()) <= declared


@pytest.mark.parametrize(
    "dataset",
    [
        {},
        {"dataPath": "/data"},
        {"data_path": "/data", "object_info": {"name": "x", "project": "p"}},
        {"objectInfo": {"name": "x", "labels": None}, "dataPath": None, "statistics": None},
        {"dataPath": "/data", "anything": [1]},
    ],
)
def test_a_dataset_needs_nothing_and_may_be_spelt_both_ways(dataset: dict[str, Any]):
    assert errors_in("MistkDataset", dataset) == []


@pytest.mark.parametrize(
    ("dataset", "place"),
    [
        ({"dataPath": 5}, "dataPath"),
        ({"objectInfo": "x"}, "objectInfo"),
        ({"objectInfo": {"resources": 5}}, "objectInfo.resources"),
        ({"modality": 1}, "modality"),
        ({"statistics": {"size": "big"}}, "statistics.size"),
    ],
)
def test_a_dataset_with_a_wrong_type_is_refused_and_the_place_is_named(dataset: dict[str, Any], place: str):
    assert [error.partition(":")[0] for error in errors_in("MistkDataset", dataset)] == [place]


@pytest.mark.parametrize(
    "params", [{}, {"objectives": ["train", "prediction"]}, {"objectives": None, "hyperparameters": None}]
)
def test_init_params_need_nothing(params: dict[str, Any]):
    assert errors_in("ModelInstanceInitParams", params) == []


@pytest.mark.parametrize(
    "params",
    [{"objectives": ["trian"]}, {"objectives": "training"}, {"hyperparameters": [1]}, {"hyperParameters": {}}],
)
def test_wrong_init_params_are_refused(params: dict[str, Any]):
    assert len(errors_in("ModelInstanceInitParams", params)) == 1


def test_no_two_names_of_an_object_are_one_name_to_a_generator_of_code():
    """They become arguments of one constructor, in snake case."""
    for place, node in nodes(SPEC):
        names = [
            re.sub("(?=[A-Z])", "_", name).lower()
            for name in node.get("properties", {})
            if isinstance(node.get("properties"), dict)
        ]
        assert len(set(names)) == len(names), place


def test_optional_parameters_have_no_bounds_that_none_does_not_meet():
    for _, _, operation in operations():
        for parameter in operation.get("parameters", []):
            if not parameter["required"]:
                assert not {"minLength", "minimum"} & parameter.keys(), parameter["name"]


def test_the_examples_of_the_contract_conform_to_it():
    for name, definition in SPEC["definitions"].items():
        if "example" in definition:
            assert errors_in(name, definition["example"]) == [], name
    refusal = SPEC["responses"]["Refused"]["examples"]["application/json"]
    assert errors_in("ServiceError", refusal) == []


def test_a_watch_event_carries_a_whole_status():
    status = SPEC["definitions"]["ModelInstanceStatus"]["example"]
    event = {"eventType": "modified", "payload": status, "missed": {"from": 1, "to": 4}, "note": "4 versions are gone."}
    assert errors_in("MistkWatchEvent", event) == []
    assert errors_in("MistkWatchEvent", {"eventType": "modified", "payload": {"state": "ready"}}) != []
    assert errors_in("MistkWatchEvent", {"eventType": "changed", "payload": status}) != []
