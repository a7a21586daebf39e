"""A tracking server in a process of its own, and ways to speak to it."""

import contextlib
import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen
    folder: Path


@contextlib.contextmanager
def running_server(folder, *arguments):
    """Start ``mistk-service tracking serve`` on a free port, with its store and its artifacts in ``folder``."""
    command = [sys.executable, "-m", "mistk_service", "tracking", "serve", "--port", "0"]
    options = {"--store": f"sqlite:///{folder}/tracking.db", "--artifacts": f"{folder}/artifacts"}
    options |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(
        [*command, *(part for option in options.items() for part in option)],
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"at (http://\S+)", line)
        assert found, line + process.stderr.read()
        yield Server(found[1], process, folder)
    finally:
        process.terminate()
        _, output = process.communicate(timeout=50)
        # What the server did not expect is in its log, whatever the test looked at.
        assert "Traceback" not in output, output


@pytest.fixture(scope="session")
def start_server():
    return running_server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server for all tests that do not mind each other's experiments."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def http(server):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


class Api:
    """Calls by the path below /api/2.0/mlflow; a call that fails fails the test."""

    def __init__(self, http):
        self.http = http

    def post(self, path, /, **body):
        return self._ok(self.http.post(f"/api/2.0/mlflow/{path}", json=body))

    def patch(self, path, /, **body):
        return self._ok(self.http.patch(f"/api/2.0/mlflow/{path}", json=body))

    def delete(self, path, /, **body):
        return self._ok(self.http.request("DELETE", f"/api/2.0/mlflow/{path}", json=body))

    def get(self, path, /, **query):
        return self._ok(self.http.get(f"/api/2.0/mlflow/{path}", params=query))

    @staticmethod
    def _ok(response):
        assert response.status_code == 200, response.text
        return response.json()

    def experiment(self, name=None):
        return self.post("experiments/create", name=name or f"experiment {uuid.uuid4().hex}")["experiment_id"]

    def run(self, experiment_id=None, **fields):
        return self.post("runs/create", experiment_id=experiment_id or self.experiment(), **fields)["run"]["info"][
            "run_id"
        ]


@pytest.fixture(scope="session")
def api(http):
    return Api(http)


@pytest.fixture
def run_id(api):
    return api.run()
