"""A container as a deployment of Ray Serve: the prediction APIs of every replica, over Ray Serve's own proxy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

serve: Any = pytest.importorskip("ray.serve")

SPREAD = f"{Path(__file__).parents[1] / 'service' / 'models' / 'spread.py'}:Spread"

pytestmark = [pytest.mark.timeout(180), pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    import ray

    from mistk_service.integrations.ray_serve import deployment

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    ray.shutdown()  # the one that tests of workers have used
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=80_000_000)
    serve.start(http_options={"port": port})
    serve.run(deployment(SPREAD).options(num_replicas=2).bind())
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    serve.shutdown()
    ray.shutdown()


def test_every_prediction_api_answers(api: httpx.Client) -> None:
    requests = {
        "/v1/mistk/streamPredict": {"a": "eA=="},
        "/v2/models/spread/infer": {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [1]}]},
        "/invocations": {"instances": [1]},
        "/v1/chat/completions": {"model": "spread", "messages": [{"role": "user", "content": "a"}]},
    }
    for path, body in requests.items():
        answer = api.post(path, json=body)
        assert answer.status_code == 200, (path, answer.text)
    assert api.get("/readyz").json()["ready"]
    assert api.get("/v1/mistk/status").json()["state"] == "ready"


def test_predictions_are_spread_over_the_replicas(api: httpx.Client) -> None:
    seen: set[int] = set()
    while len(seen) < 2:
        seen.add(api.post("/v1/mistk/streamPredict", json={"a": "eA=="}).json()["a"])
