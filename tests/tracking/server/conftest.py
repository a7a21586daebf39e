"""A tracking server in a separate process, and its clients."""

import contextlib
import os
import re
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

from tests.service.harness import start
from tests.support.preloaded import Forked


@dataclass
class Server:
    """A running server."""

    url: str
    process: Forked | Popen[bytes]
    folder: Path
    output: Future[str]


@contextlib.contextmanager
def running_server(folder, *arguments, flags=(), env=None):
    """Start ``mistk-service tracking serve`` on a free port, with its store and its artifacts in ``folder``."""
    options = {"--store": f"sqlite:///{folder}/tracking.db", "--artifacts": f"{folder}/artifacts"}
    options |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    command = ["tracking", "serve", "--port", "0", *flags, *(part for option in options.items() for part in option)]
    reader, writer = os.pipe()
    with os.fdopen(reader) as output, ThreadPoolExecutor(1) as pool:
        with open(writer, "wb") as errors:
            process = start(*command, cwd=folder, env=env, stdout=errors, stderr=errors)
        try:
            line = next((line for line in output if "Tracking server at" in line), "")
            rest = pool.submit(output.read)
            found = re.search(r"at (http://\S+)", line)
            assert found, line + rest.result()
            yield Server(found[1], process, folder, rest)
        finally:
            process.terminate()
            process.wait(50)
            # What the server did not expect is in its log, whatever the test looked at.
            assert "Traceback" not in rest.result(), rest.result()


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
