"""Replicas behind HTTP and gRPC: all of them serve every prediction API."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton

from tests.service.conftest import Start
from tests.service.harness import MODELS, Service, run
from tests.service.test_grpc import grpc_address

SPREAD = f"{MODELS / 'spread.py'}:Spread"

ROUTE = "/v1/endpoints/1/deployedModels/2:predict"

TENSOR = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [1]}]}

REQUESTS = {
    "/v1/mistk/streamPredict": {"a": "eA=="},
    "/v2/models/spread/infer": TENSOR,
    "/v2/models/spread/generate": {"text_input": "a"},
    "/invocations": {"instances": [1]},
    "/v1/models/spread:predict": {"instances": [1]},
    ROUTE: {"instances": [1]},
    "/v1/completions": {"model": "spread", "prompt": "a"},
    "/v1/chat/completions": {"model": "spread", "messages": [{"role": "user", "content": "a"}]},
}


def complete(service: Service, count: int) -> None:
    """Wait until all replicas have the model."""
    service.wait(lambda s: s["payload"].get("replicas") == {"usable": count, "of": count}, service.status())


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two replicas that have the model."""
    with Service(
        *("serve", SPREAD, "--port", "0", "--replicas", "2", "--grpc-port", "0"),
        cwd=tmp_path_factory.mktemp("spread"),
        env={"AIP_PREDICT_ROUTE": ROUTE},
    ) as service:
        service.make_ready()
        complete(service, 2)
        yield service


def answering(service: Service, path: str) -> set[int]:
    """Return the processes that answer two requests."""
    answers = [service.api.post(f"{service.url}{path}", json=REQUESTS[path]) for _ in range(2)]
    children = {child.pid for child in psutil.Process(service.process.pid).children()}
    return children & {int(number) for answer in answers for number in re.findall(r"\d+", answer.text)}


@pytest.mark.parametrize("path", REQUESTS)
def test_every_prediction_api_is_answered_by_all_replicas(spread: Service, path: str) -> None:
    assert len(answering(spread, path)) == 2


def test_grpc_is_answered_by_all_replicas(spread: Service) -> None:
    client = triton.InferenceServerClient(grpc_address(spread))
    tensor = triton.InferInput("x", [1], "INT64")
    tensor.set_data_from_numpy(np.ones(1, np.int64))
    pids = {int(client.infer("spread", [tensor]).as_numpy("pid")[0]) for _ in range(2)}
    client.close()
    assert len(pids) == 2


def test_a_killed_replica_is_replaced_and_the_metrics_show_it(spread: Service) -> None:
    before = answering(spread, "/invocations")
    assert spread.metric("mistk_replicas_usable") == 2
    os.kill(min(before), signal.SIGKILL)
    spread.wait(lambda status: status["payload"]["replicas"]["usable"] == 1, spread.status())
    complete(spread, 2)
    after = answering(spread, "/invocations")
    assert (len(after), max(before) in after, min(before) in after) == (2, True, False)


def test_auto_is_one_replica_for_each_gpu_that_it_has_for_itself(start: Start) -> None:
    service = start("--replicas", "auto", model=f"{MODELS / 'spread.py'}:Devices", env={"CUDA_VISIBLE_DEVICES": "3,5"})
    service.make_ready()
    complete(service, 2)
    seen = [service.post("streamPredict", {"a": ""})["a"] for _ in range(2)]
    assert sorted(each["gpu"] for each in seen) == ["3", "5"]
    assert all(int(each["threads"]) >= 1 for each in seen)


def test_only_a_model_has_replicas(tmp_path: Path) -> None:
    evaluation = Path(__file__).parents[2] / "plugins" / "sklearn_evaluation" / "evaluation.py"
    code, _, errors = run("serve", f"{evaluation}:SklearnEvaluation", "--port", "0", "--replicas", "2", cwd=tmp_path)
    assert code == 1
    assert "--replicas: only models have replicas" in errors


@pytest.mark.parametrize("value", ["0", "-1", "two", "", "1025", "1000000", "9" * 5000])
def test_the_number_of_replicas_is_from_1_to_1024_or_auto(tmp_path: Path, value: str) -> None:
    code, _, errors = run("serve", SPREAD, "--port", "0", "--replicas", value, cwd=tmp_path)
    assert code == 1
    assert f"--replicas: {value!r} cannot be used; expected a number from 1 to 1024, or auto." in errors


def test_a_worker_on_ray_needs_ray(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is not None:
        pytest.skip("Ray is installed.")
    code, _, errors = run("serve", SPREAD, "--port", "0", "--worker", "ray", cwd=tmp_path)
    assert code == 1
    assert "pip install 'mistk-service[ray]'" in errors
