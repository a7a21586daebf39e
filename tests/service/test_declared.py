"""Declarations of a class are published, and checked before anything changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.harness import Service, refused, run
from tests.support.harness import reference

MODEL = reference("declared:Declared")


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of a class that declares everything."""
    with Service("serve", MODEL, "--port", "0", cwd=tmp_path_factory.mktemp("declared")) as service:
        yield service


@pytest.fixture
def fresh(declared: Service) -> Service:
    """The same service in the state ``started``."""
    status = declared.status()
    if status["state"] != "started":
        declared.wait_for_state("started", declared.post("reset"))
    return declared


def test_the_hook_gets_an_instance_with_defaults_and_texts_are_read_as_json(fresh: Service) -> None:
    given = {"rate": "0.5", "epochs": "7", "layers": '[{"depth": 4}]', "name": "5", "limit": None}
    status = fresh.do("initialize", {"hyperparameters": given})
    expected = {"rate": 0.5, "epochs": 7, "optimizer": "sgd", "limit": None, "layers": [{"depth": 4}], "name": "5"}
    assert status["payload"]["got"] == expected


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"rate": 0}, "rate", "hyperparameters.rate cannot be 0; expected a number, above 0 and at most 1."),
        ({}, "rate", "hyperparameters.rate is missing; expected a number, above 0 and at most 1."),
        ({"rate": 1, "epochs": 1.5}, "epochs", "hyperparameters.epochs cannot be 1.5; expected a whole number, at least 1."),
        ({"rate": 1, "epochs": True}, "epochs", "cannot be True; expected a whole number"),
        ({"rate": "fast"}, "rate", "cannot be 'fast'"),
        ({"rate": 1, "optimizer": "lbfgs"}, "optimizer", "expected one of adam, sgd."),
        ({"rate": 1, "limit": "x"}, "limit", "expected a number or null."),
        ({"rate": 1, "layers": [{"depth": 0}]}, "layers", "expected a list."),
        ({"rate": 1, "epoch": 3}, "epoch", "hyperparameters.epoch is not known; did you mean epochs? expected one of rate,"),
    ],
)  # fmt: skip
def test_what_the_class_does_not_accept_is_refused_and_changes_nothing(
    fresh: Service, given: dict[str, Any], field: str, message: str
) -> None:
    before = fresh.settled()
    error = refused(fresh.api.post("/initialize", json={"hyperparameters": given}))
    assert error["field"] == f"hyperparameters.{field}"
    assert message in error["message"]
    assert fresh.status() == before


def test_all_problems_are_reported_at_once(fresh: Service) -> None:
    error = refused(fresh.api.post("/initialize", json={"hyperparameters": {"rate": 2, "epochs": 0}}))
    assert "hyperparameters.rate cannot be 2" in error["message"]
    assert "hyperparameters.epochs cannot be 0" in error["message"]


def test_a_check_of_the_class_itself_refuses_and_restores_the_state(fresh: Service) -> None:
    body = {"hyperparameters": {"rate": 0.9, "optimizer": "adam"}}
    error = refused(fresh.api.post("/initialize", json=body))
    assert "adam needs a rate of at most 0.5" in error["message"]
    assert fresh.status()["state"] == "started"


def test_a_check_of_the_class_may_raise_what_a_hook_may_raise(fresh: Service) -> None:
    error = refused(fresh.api.post("/initialize", json={"hyperparameters": {"rate": 1, "name": "taken"}}))
    assert (error["message"], error["field"]) == ("name: 'taken' is taken", "hyperparameters.name")
    failed = fresh.wait_for_state(
        "failed", fresh.post("initialize", {"hyperparameters": {"rate": 1, "name": "broken"}})
    )
    failure = failed["payload"]["error"]
    assert (failure["type"], failure["message"]) == ("KeyError", "'broken'")


def test_a_whole_number_may_have_a_decimal_point(fresh: Service) -> None:
    assert fresh.do("initialize", {"hyperparameters": {"rate": 1, "epochs": 7.0}})["payload"]["got"]["epochs"] == 7


def test_what_only_the_class_can_check_names_the_field(fresh: Service) -> None:
    body = {"hyperparameters": {"rate": 1, "layers": [{"depth": 3}, {"depth": 2.0}]}}
    error = refused(fresh.api.post("/initialize", json=body))
    assert error["field"] == "hyperparameters.layers[1].depth"
    assert error["message"].startswith("hyperparameters.layers[1].depth: Expected `int`")


def test_the_contract_of_the_container_describes_them(declared: Service) -> None:
    from openapi_spec_validator import OpenAPIV2SpecValidator

    contract = declared.api.get("/swagger.json").json()
    OpenAPIV2SpecValidator(contract).validate()
    properties = contract["definitions"]["ModelInstanceInitParams"]["properties"]
    rate = properties["hyperparameters"]["properties"]["rate"]
    assert rate == {
        "type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1, "description": "The size of a step.",
    }  # fmt: skip
    assert properties["hyperparameters"]["required"] == ["rate"]
    assert properties["hyperparameters"]["properties"]["limit"] == {
        "type": "number",
        "x-nullable": True,
    }
    assert "| age | float64 | [-1] |" in contract["info"]["description"]
    assert "modelProperties" in properties


def test_a_struct_of_columns_declares_tensors(fresh: Service) -> None:
    fresh.make_ready(rate=0.1)
    metadata = fresh.api.get(f"{fresh.url}/v2/models/declared").json()
    assert metadata["inputs"] == [
        {"name": "age", "datatype": "FP64", "shape": [-1]},
        {"name": "city", "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "text"}},
    ]
    inputs = [
        {"name": "age", "datatype": "FP64", "shape": [2], "data": [20, 40]},
        {"name": "city", "datatype": "BYTES", "shape": [2], "data": ["Bonn", "Rome"]},
    ]
    answer = fresh.api.post(f"{fresh.url}/v2/models/declared/infer", json={"inputs": inputs}).json()
    # The hook returns truth values.
    assert answer["outputs"] == [{"name": "label", "datatype": "INT64", "shape": [2], "data": [0, 1]}]


def test_a_description_of_the_class_names_what_it_declares(tmp_path: Path) -> None:
    code, out, err = run("describe", MODEL, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "  rate       a number, above 0 and at most 1  required       The size of a step." in out
    assert '  optimizer  one of adam, sgd                 default "sgd"' in out
    assert "  city  text     [-1]" in out
    assert "streamPredict" in out


def test_a_class_that_cannot_be_loaded_is_not_described(tmp_path: Path) -> None:
    code, out, err = run("describe", "nothing.py:Model", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert "there is no file" in err


def test_a_declaration_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    code, _, err = run("describe", "odd.py:Odd", cwd=tmp_path)
    assert code == 1
    assert "'odd.py:Odd': inputs: places: a column is of the type" in err


ODD = """
import msgspec
from mistk_service import AbstractModel

class Row(msgspec.Struct):
    places: list[str]

class Odd(AbstractModel):
    inputs = Row
    def do_infer(self, inputs):
        return inputs
"""
