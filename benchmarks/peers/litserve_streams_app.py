"""LitServe's streaming, one worker on the CPU. ``litserve_streams_app.py PORT``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import litserve

from benchmarks.models import parts


class Api(litserve.LitAPI):
    """Answers in as many parts as the request says, each a line of JSON."""

    def setup(self, device: str) -> None:
        """Do nothing."""

    def decode_request(self, request: dict[str, str]) -> int:
        """Return the number of parts."""
        return int(request["n"])

    def predict(self, count: int) -> Iterator[dict[str, int]]:
        """Yield the parts."""
        yield from parts(count)

    def encode_response(self, output: Iterator[dict[str, int]]) -> Iterator[str]:
        """Yield the lines."""
        for part in output:
            yield json.dumps(part) + "\n"


if __name__ == "__main__":
    server = litserve.LitServer(Api(stream=True), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning")
