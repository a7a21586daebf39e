"""The deployments in the documentation, started without an engine and without the platform.

Ports are free ones, and the folders of the image are those of the checkout and of the test.
"""

from __future__ import annotations

import ast
import io
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.docs.pages import ROOT, blocks_of, free_port
from tests.service.harness import Service, run
from tests.test_docker import in_image

HOWTO = ROOT / "docs" / "howto"
DOORS = HOWTO / "serve-other-apis.md"

PIXELS = [[0.0] * 64]

pytestmark = pytest.mark.timeout(150)


def blocks(page: Path, language: str, part: str) -> list[str]:
    """The blocks of a page that have something in them."""
    return [block.code for block in blocks_of(page) if block.language == language and part in block.code]


def started(folder: Path, *arguments: str, **env: str) -> Service:
    """A container of the image, before it can predict."""
    return Service(*arguments, cwd=folder, env={**in_image(folder), **env})


def container_of(manifest: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The container of an InferenceService, and its environment."""
    (container,) = yaml.safe_load(manifest)["spec"]["predictor"]["containers"]
    assert container["name"] == "kserve-container"
    return container, {each["name"]: each["value"] for each in container["env"]}


def test_on_kserve_the_probe_and_the_predictions_of_version_1_work(tmp_path: Path) -> None:
    manifest = next(text for text in blocks(DOORS, "yaml", "InferenceService") if "httpGet" in text)
    container, env = container_of(manifest)
    annotations = yaml.safe_load(manifest)["metadata"]["annotations"]
    probe = container["readinessProbe"]["httpGet"]["path"]
    with started(tmp_path, "serve", **env) as service:
        assert service.api.get(service.url + probe).status_code == 503
        service.make_ready()
        assert service.api.get(service.url + probe).status_code == 200
        assert service.api.get(service.url + annotations["prometheus.kserve.io/path"]).status_code == 200
        answer = service.api.post(f"{service.url}{probe}:predict", json={"instances": PIXELS})
        assert len(answer.json()["predictions"]) == 1


def test_on_kserve_the_probe_of_grpc_works(tmp_path: Path) -> None:
    manifest = next(text for text in blocks(DOORS, "yaml", "InferenceService") if "grpc" in text)
    container, env = container_of(manifest)
    port = str(container["readinessProbe"]["grpc"]["port"])
    assert {port, env["MISTK_GRPC_PORT"]} == {str(each["containerPort"]) for each in container["ports"]}
    with started(tmp_path, "serve", **{**env, "MISTK_GRPC_PORT": str(here := free_port())}) as service:
        service.make_ready()
        with grpc.insecure_channel(f"127.0.0.1:{here}") as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_on_sagemaker_an_endpoint_answers(tmp_path: Path) -> None:
    (code,) = blocks(DOORS, "python", "from sagemaker")
    model = next(
        node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and "Model" in ast.dump(node.func)
    )
    (env,) = (ast.literal_eval(each.value) for each in model.keywords if each.arg == "env")
    array = io.BytesIO()
    np.save(array, np.array(PIXELS))  # as NumpySerializer does
    with started(tmp_path, "serve", **env) as service:
        service.make_ready()
        assert service.api.get(f"{service.url}/ping").status_code == 200
        headers = {"Content-Type": "application/x-npy", "Accept": "application/json"}
        answer = service.api.post(f"{service.url}/invocations", content=array.getvalue(), headers=headers)
        assert len(answer.json()) == 1


def test_on_vertex_ai_an_endpoint_answers(tmp_path: Path) -> None:
    (command,) = blocks(DOORS, "sh", "gcloud ai models upload")
    options = dict(re.findall(r"--container-([\w-]+)=(\S+)", " ".join(shlex.split(command))))
    env = dict([options["env-vars"].split("=")])
    env |= {"AIP_HTTP_PORT": str(free_port()), "AIP_HEALTH_ROUTE": options["health-route"]}
    env |= {"AIP_PREDICT_ROUTE": options["predict-route"], "AIP_MODE": "PREDICTION"}
    with started(tmp_path, "serve", **env) as service:
        assert service.port == int(env["AIP_HTTP_PORT"])
        assert service.api.get(service.url + options["health-route"]).status_code == 503
        service.make_ready()
        assert service.api.get(service.url + options["health-route"]).status_code == 200
        answer = httpx.post(service.url + options["predict-route"], json={"instances": PIXELS}, timeout=60)
        assert len(answer.json()["predictions"]) == 1


def test_on_kubernetes_a_job_trains_and_its_codes_are_those_of_the_table(tmp_path: Path) -> None:
    page = HOWTO / "run-a-training-as-a-job.md"
    (manifest,) = blocks(page, "yaml", "kind: Job")
    spec = yaml.safe_load(manifest)["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    shutil.copy(ROOT / "plugins" / "digits" / "data" / "train.csv", tmp_path)
    arguments = [each.replace("/data", str(tmp_path)) for each in container["args"]]
    (tmp_path / "short.json").write_text(json.dumps({"epochs": 1}))
    code, _, err = run(*arguments, "--hyperparameters", "short.json", cwd=tmp_path, env=in_image(tmp_path))
    assert code == 0, err
    assert (tmp_path / "model" / "digits.npz").is_file()
    table = dict(re.findall(r"^\| (\d+) \| .* \| (.*?) ?\|$", page.read_text(encoding="utf-8"), re.M))
    fail, ignore = (rule["onExitCodes"]["values"] for rule in spec["podFailurePolicy"]["rules"])
    assert [table[str(each)] for each in fail] == ["after a change of the model", "no"]
    assert [table[str(each)] for each in ignore] == ["yes, it resumes"]
