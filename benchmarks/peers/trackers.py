"""Log the benchmark's series to a tracker, each as its documentation shows. ``trackers.py NAME PLACE POINTS``.

The place is a folder, or the URL of a tracking server. It prints the seconds that this took, and the id of the run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: The one value that is not between 0 and 1; no step has it.
SPIKE = 77.25

#: Where the spike is, as a share of all steps.
PLACE = 0.654321

#: When the run begins, in ms.
START = 1_700_000_000_000


def ours(place: str, values: list[float]) -> str:
    """Log in the largest batches that MLflow's API takes."""
    import httpx

    with httpx.Client(base_url=f"{place}/api/2.0/mlflow/runs/", timeout=60, trust_env=False) as http:
        created = http.post("create", json={"experiment_id": "0", "start_time": START}).raise_for_status()
        run_id = str(created.json()["run"]["info"]["run_id"])
        for start in range(0, len(values), 1000):
            metrics = [
                {"key": "loss", "value": each, "timestamp": START + 10 * step, "step": step}
                for step, each in enumerate(values[start : start + 1000], start)
            ]
            http.post("log-batch", json={"run_id": run_id, "metrics": metrics}).raise_for_status()
        http.post("update", json={"run_id": run_id, "status": "FINISHED"}).raise_for_status()
    return run_id


def mlflow(place: str, values: list[float]) -> str:
    """Log in the largest batches that MLflow takes."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(place)
    run_id = str(client.create_run("0").info.run_id)
    for start in range(0, len(values), 1000):
        batch = enumerate(values[start : start + 1000], start)
        client.log_batch(run_id, [Metric("loss", each, START + 10 * step, step) for step, each in batch])
    client.set_terminated(run_id)
    return run_id


def tensorboard(place: str, values: list[float]) -> str:
    """Log with TensorBoard's own writer."""
    from tensorboard.summary import Writer

    writer = Writer(f"{place}/run")
    for step, each in enumerate(values):
        writer.add_scalar("loss", each, step)
    writer.close()
    return "run"


def aim(place: str, values: list[float]) -> str:
    """Log with Run.track."""
    from aim import Run

    run = Run(repo=place, system_tracking_interval=None, capture_terminal_logs=False)
    for step, each in enumerate(values):
        run.track(each, name="loss", step=step)
    run.close()
    return str(run.hash)


def trackio(place: str, values: list[float]) -> str:
    """Log with trackio.log."""
    os.environ["TRACKIO_DIR"] = place
    import trackio

    trackio.init(project="long", name="run", auto_log_gpu=False)
    for step, each in enumerate(values):
        trackio.log({"loss": each}, step=step)
    trackio.finish()
    return "run"


TRACKERS: dict[str, Callable[[str, list[float]], str]] = {
    each.__name__: each for each in (ours, mlflow, tensorboard, aim, trackio)
}


def main() -> None:
    """Log, and print how long it took."""
    name, place, points = sys.argv[1], sys.argv[2], int(sys.argv[3])
    series = [step * 7919 % 1000 / 1000 for step in range(points)]
    series[int(PLACE * points)] = SPIKE
    begun = time.perf_counter()
    run_id = TRACKERS[name](place, series)
    print(f"{time.perf_counter() - begun:.1f} {run_id}")


if __name__ == "__main__":
    # The folder of this script has a module for each peer, some of which are called as what they import.
    sys.path.remove(str(Path(__file__).parent))
    main()
