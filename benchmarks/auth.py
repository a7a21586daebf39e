"""``make bench ARGS=--auth``: the cost of a log-in for predictions and for the logging of metrics."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: Connections at a time, seconds of a measurement, and rounds. The kinds of log-in alternate in each round.
_CONNECTIONS, _SECONDS, _ROUNDS = 8, 1.5, 9

#: The speed that has to remain, as a share of that without a log-in.
_WANTED = {"token": 0.9, "password": 0.8}

_USER, _PASSWORD = "root", "correct horse battery"


@contextlib.contextmanager
def _service(folder: Path, *options: str) -> Iterator[int]:
    """Run a service, and yield its port."""
    environment = {**os.environ, "MLFLOW_AUTH_ADMIN_USERNAME": _USER, "MLFLOW_AUTH_ADMIN_PASSWORD": _PASSWORD}
    command = [sys.executable, "-m", "mistk_service", "serve", "benchmarks.served:Logistic", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--state-dir", str(folder), *options], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("Serving"))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        found = re.search(r":(\d+) ", line)
        assert found is not None
        yield int(found[1])
    finally:
        process.kill()
        process.wait()


def _post(connection: http.client.HTTPConnection, path: str, body: object, headers: dict[str, str]) -> bytes:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {content[:200]!r}")
    return content


def _rate(port: int, path: str, body: object, headers: dict[str, str]) -> float:
    """Return the requests a second of several connections."""
    counts = [0] * _CONNECTIONS
    end = time.monotonic() + _SECONDS

    def ask(index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < end:
            _post(connection, path, body, headers)
            counts[index] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / _SECONDS


def _prepare(port: int, headers: dict[str, str]) -> str:
    """Make the model ready, and return the id of a run."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for operation, state in (("initialize", "initialized"), ("buildModel", "ready")):
        _post(connection, f"/v1/mistk/{operation}", {}, headers)
        while True:
            connection.request("GET", "/v1/mistk/status", headers=headers)
            if json.loads(connection.getresponse().read())["state"] == state:
                break
            time.sleep(0.05)
    made = _post(connection, "/api/2.0/mlflow/runs/create", {"experiment_id": "0"}, headers)
    connection.close()
    run_id: str = json.loads(made)["run"]["info"]["run_id"]
    return run_id


def main() -> None:
    """Measure, print the shares, and exit with 1 if one is too small."""
    record = {"a": base64.b64encode(bytes(256)).decode()}
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        command = [
            sys.executable,
            "-m",
            "mistk_service",
            "token",
            "new",
            "bench",
            "--role",
            "admin",
            "--state-dir",
            second,
        ]
        token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        basic = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
        with _service(Path(first)) as free, _service(Path(second)) as guarded:
            bearer = {"Authorization": f"Bearer {token}"}
            logins = {
                # The same header, which this service ignores, so that its cost for the client does not count.
                "none": (free, bearer),
                "token": (guarded, bearer),
                "password": (guarded, {"Authorization": f"Basic {basic}"}),
            }
            runs = {free: _prepare(free, {}), guarded: _prepare(guarded, logins["token"][1])}
            rates: dict[tuple[str, str], list[float]] = {}
            for step in range(_ROUNDS):
                for name, (port, headers) in logins.items():
                    point = {"run_id": runs[port], "key": "loss", "value": 1.0, "timestamp": 1, "step": step}
                    for what, path, body in (
                        ("streamPredict", "/v1/mistk/streamPredict", record),
                        ("log-metric", "/api/2.0/mlflow/runs/log-metric", point),
                    ):
                        rates.setdefault((what, name), []).append(_rate(port, path, body, headers))
    _report(rates)


def _report(rates: dict[tuple[str, str], list[float]]) -> None:
    missed = False
    for (what, name), found in rates.items():
        share = statistics.median(rate / free for rate, free in zip(found, rates[what, "none"], strict=True))
        wanted = _WANTED.get(name, 0.0)
        missed |= share < wanted
        answer = "no" if share < wanted else "yes"
        print(f"{what:14} {name:9} {statistics.median(found):8.0f}/s  {share:5.2f}  (at least {wanted})  {answer}")
    raise SystemExit(int(missed))


if __name__ == "__main__":
    main()
