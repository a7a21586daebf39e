"""Bare Starlette: ``json.loads``, the model in the same process, no validation. ``starlette_app.py PORT MODEL``."""

from __future__ import annotations

import json
import sys

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.models import MODELS, tensor_model

#: As large as a status of the service at rest.
_STATUS = {
    "objectInfo": {"name": "Logistic", "kind": "ModelInstanceStatus", "id": "0" * 36, "resourceVersion": 7},
    "state": "ready",
    "payload": {
        "possible": ["loadData", "buildModel", "train", "streamPredict", "reset", "shutdown"],
        "fill": "x" * 200,
    },
}


def create_app(model: str) -> Starlette:
    """Return the application."""
    predict, infer = MODELS[model](), tensor_model()

    async def stream_predict(request: Request) -> Response:
        return JSONResponse(predict(json.loads(await request.body())))

    async def infer_json(request: Request) -> Response:
        (given,) = json.loads(await request.body())["inputs"]
        pixels = np.array(given["data"], np.float32).reshape(given["shape"])
        outputs = [
            {"name": name, "datatype": "FP32", "shape": array.shape, "data": array.ravel().tolist()}
            for name, array in infer({"pixels": pixels}).items()
        ]
        return JSONResponse({"model_name": "undeclared", "outputs": outputs})

    async def means(request: Request) -> Response:
        images = np.frombuffer(await request.body(), np.float32).reshape(64, -1)
        return Response(images.mean(axis=1).tobytes(), media_type="application/octet-stream")

    async def status(_: Request) -> Response:
        return JSONResponse(_STATUS)

    return Starlette(
        routes=[
            Route("/predict", stream_predict, methods=["POST"]),
            Route("/infer", infer_json, methods=["POST"]),
            Route("/means", means, methods=["POST"]),
            Route("/status", status),
            Route("/health", status),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[2]), port=int(sys.argv[1]), log_level="warning", access_log=False)
