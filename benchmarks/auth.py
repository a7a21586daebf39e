"""``make bench ARGS=--auth``: the cost of a log-in for predictions and for the logging of metrics."""

from __future__ import annotations

import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.client import Load
from benchmarks.measures import RECORD, put_load
from benchmarks.servers import ours, running

#: Connections at a time, seconds of a measurement, and rounds. The kinds of log-in alternate in each round.
_CONNECTIONS, _SECONDS, _ROUNDS = 8, 1.5, 9

#: The speed that has to remain, as a share of that without a log-in.
_WANTED = {"token": 0.9, "password": 0.8}

_USER, _PASSWORD = "root", "correct horse battery"

_MLFLOW = "/api/2.0/mlflow"


def main() -> None:
    """Measure, print the shares, and exit with 1 if one is too small."""
    os.environ |= {"MLFLOW_AUTH_ADMIN_USERNAME": _USER, "MLFLOW_AUTH_ADMIN_PASSWORD": _PASSWORD}
    rates: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        command = [sys.executable, "-m", "mistk_service", "token", "new", "bench", "--role", "admin"]
        printed = subprocess.run(
            [*command, "--state-dir", second], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        bearer = {"Authorization": f"Bearer {printed.strip()}"}
        basic = {"Authorization": f"Basic {base64.b64encode(f'{_USER}:{_PASSWORD}'.encode()).decode()}"}
        with (
            running(ours("Logistic", "--state-dir", first)) as free,
            running(ours("Logistic", "--state-dir", second, headers=bearer)) as guarded,
        ):
            logins = {
                # The same header, which this service ignores, so that its cost for the client does not count.
                "none": (free, bearer),
                "token": (guarded, bearer),
                "password": (guarded, basic),
            }
            created = {
                name: server.call("POST", f"{_MLFLOW}/runs/create", {"experiment_id": "0"})
                for name, (server, _) in logins.items()
            }
            for step in range(_ROUNDS):
                for name, (server, headers) in logins.items():
                    run_id = created[name]["run"]["info"]["run_id"]
                    point = {"run_id": run_id, "key": "loss", "value": 1.0, "timestamp": 1, "step": step}
                    for what, path, body in (
                        ("streamPredict", server.predict, RECORD),
                        ("log-metric", f"{_MLFLOW}/runs/log-metric", json.dumps(point)),
                    ):
                        load = Load(server.port, path, body, _CONNECTIONS, _SECONDS, headers=headers)
                        rates.setdefault((what, name), []).append(put_load(load).rate)
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
