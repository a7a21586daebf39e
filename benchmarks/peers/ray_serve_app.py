"""Ray Serve: a deployment with one replica, as its documentation writes one. Run as ``ray_serve_app.py PORT MODEL``."""

from __future__ import annotations

import sys
import threading

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from benchmarks.models import MODELS

PORT, MODEL = int(sys.argv[1]), sys.argv[2]


@serve.deployment(max_ongoing_requests=100)
class Model:
    """Serves one of the models."""

    def __init__(self) -> None:
        self._predictor = MODELS[MODEL]()

    async def __call__(self, request: Request) -> JSONResponse:
        """Answer a request to any path."""
        return JSONResponse(self._predictor(await request.json()) if request.method == "POST" else {})


if __name__ == "__main__":
    ray.init(include_dashboard=False, object_store_memory=100_000_000)
    serve.start(http_options={"port": PORT})
    serve.run(Model.bind())
    threading.Event().wait()
