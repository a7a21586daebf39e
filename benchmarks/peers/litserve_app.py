"""LitServe with its own batching, one worker on the CPU. ``litserve_app.py PORT MODEL``."""

from __future__ import annotations

import sys
from typing import Any

import litserve

from benchmarks.models import MODELS


class Api(litserve.LitAPI):
    """One request is a map of records; a batch is a list of maps."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Make the model."""
        self._predict = MODELS[sys.argv[2]]()

    def decode_request(self, request: dict[str, str]) -> dict[str, str]:
        """Return the records."""
        return request

    def batch(self, inputs: list[dict[str, str]]) -> list[dict[str, str]]:
        """Keep the requests separate, so that their names cannot collide."""
        return inputs

    def predict(self, inputs: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Predict for all records of the batch in one call of the model."""
        merged = {f"{number}/{key}": value for number, data in enumerate(inputs) for key, value in data.items()}
        answers = self._predict(merged)
        return [{key: answers[f"{number}/{key}"] for key in data} for number, data in enumerate(inputs)]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answers, one for each request."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return the answer."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=32, batch_timeout=0.001), accelerator="cpu", workers_per_device=1, fast_queue=True
    )
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning")
