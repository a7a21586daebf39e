"""The log of a service: failures with their reasons, the lifecycle, and libraries on request; as text or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Start
from tests.service.harness import Service, refused, run

MODEL = """
import logging
import os

from mistk_service import AbstractModel

logger = logging.getLogger(__name__)


class Model(AbstractModel):
    def do_initialize(self, objectives, props, hparams):
        print("the model prints")
        logger.debug("the model's own detail")
        logging.getLogger("a_library").debug("a detail of a library")

    def do_train(self):
        os._exit(3)

    def do_predict(self):
        raise ValueError("a bad weight")

    def do_stream_predict(self, data_map, details=False):
        raise LookupError("a bad record")
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "logging_model.py").write_text(MODEL)
    return f"{tmp_path / 'logging_model.py'}:Model"


def fail_in_every_way(service: Service) -> None:
    """Have a stream prediction raise, then a hook, then the worker exit, then be killed; and end the service."""
    service.make_ready()
    refused(service.api.post("/streamPredict", json={"a": "YQ=="}), 500)
    for operation in ("predict", "train", None):
        if operation is None:
            service.worker().kill()
            service.wait_for_state("failed", service.status())
        else:
            assert service.do(operation)["state"] == "failed"
        service.do("reset")
        service.make_ready()
    service.post("shutdown")
    assert service.wait_exit() == 0


def test_every_failure_is_an_error_in_the_log_and_the_lifecycle_is_reported(start: Start, model: str) -> None:
    service = start(model=model)
    fail_in_every_way(service)
    output = service.output()
    errors = [line for line in service.lines if " ERROR " in line]
    assert [error.partition(": ")[2] for error in errors] == [
        "streamPredict failed: LookupError: a bad record",
        "predict failed: ValueError: a bad weight",
        "train failed: WorkerDied: The worker process ended with exit code 3.",
        "The model failed: WorkerDied: The worker process was ended by signal 9 (SIGKILL: killed). This is "
        "often due to a lack of memory.",
    ]
    assert output.count("Traceback (most recent call last)") == 2
    assert output.count("in do_stream_predict") == output.count("in do_predict") == 1
    told = ["Model is loaded", "initialize started", "initialize ended", "reset ended", "shutdown ended"]
    assert [words for words in told if not any(" INFO " in line and words in line for line in service.lines)] == []


def test_a_log_in_json_has_an_object_in_every_line(start: Start, model: str) -> None:
    service = start("--log-format", "json", model=model)
    fail_in_every_way(service)
    lines: list[dict[str, Any]] = [json.loads(line) for line in service.lines]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    errors = [line["message"] for line in lines if line["level"] == "error"]
    assert len(errors) == 4
    assert "LookupError: a bad record\nTraceback" in errors[0]
    assert {"level": "info", "logger": "model", "message": "the model prints"}.items() <= next(
        line for line in lines if "prints" in line["message"]
    ).items()


def test_a_start_that_fails_is_logged_in_json_too(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("class Broken(\n")
    code, _, errors = run("serve", "broken.py:Broken", "--port", "0", "--log-format", "json", cwd=tmp_path)
    assert code == 1
    last = [json.loads(line) for line in errors.splitlines()][-1]
    assert last["level"] == "error"
    assert "importing the module broken raised SyntaxError" in last["message"]
    assert "broken.py" in last["traceback"]


def test_the_end_of_an_operation_is_not_logged_as_part_of_the_request_that_reset_the_model(
    start: Start, model: str
) -> None:
    service = start("--log-format", "json", model=model)
    service.do("reset")
    service.make_ready()
    service.post("shutdown")
    assert service.wait_exit() == 0
    lines = [json.loads(line) for line in service.lines]
    assert {"request" in line for line in lines if line["message"].endswith(" started.")} == {True}
    assert {"request" in line for line in lines if " ended" in line["message"]} == {False}


@pytest.mark.parametrize("asked", [False, True])
def test_at_debug_the_service_and_the_model_tell_details_and_libraries_only_when_asked(
    start: Start, model: str, asked: bool
) -> None:
    service = start(
        "--log-level", "debug", *(["--log-libraries"] if asked else []), model=model, env={"MISTK_LOG_FORMAT": "json"}
    )
    service.make_ready()
    service.post("shutdown")
    assert service.wait_exit() == 0
    details = [line for line in map(json.loads, service.lines) if line["level"] == "debug"]
    assert "the model's own detail" in [line["message"] for line in details]
    strangers = {line["logger"].partition(".")[0] for line in details} - {"mistk_service", "logging_model"}
    assert ("a_library" in strangers) is asked
    assert asked or not strangers
