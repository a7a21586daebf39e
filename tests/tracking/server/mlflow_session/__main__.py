"""What a data scientist does with MLflow, step by step; writes what came back as JSON to the file that is its argument.

Run as a program (``python mlflow_session FILE``) with MLFLOW_TRACKING_URI set. The test runs it against a real MLflow server
and against ours, and compares. Every step writes what it saw under its own name; what differs between two servers by nature
(ids, times) is masked by the test.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import matplotlib  # noqa: E402

matplotlib.use("Agg")

import data  # noqa: E402
import models  # noqa: E402
import runs  # noqa: E402
import searching  # noqa: E402
from mlflow import MlflowClient  # noqa: E402

STEPS = (
    runs.experiments,
    runs.fluent_run,
    runs.resumed_and_nested,
    runs.failed_and_killed,
    runs.client_batches,
    runs.deleted_runs,
    searching.searches,
    data.datasets,
    data.artifacts,
    models.models,
    models.autologging,
    models.registry,
    models.prompts,
    runs.asynchronous,
)


def main():
    client = MlflowClient()
    seen = {step.__name__: step(client) for step in STEPS}
    Path(sys.argv[1]).write_text(json.dumps(seen, default=str))


if __name__ == "__main__":
    main()
