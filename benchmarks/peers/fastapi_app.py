"""FastAPI with a typed body, the model in the same process. ``fastapi_app.py PORT MODEL``."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.models import MODELS


def create_app(model: str) -> FastAPI:
    """Return the application."""
    app = FastAPI()
    predictor = MODELS[model]()

    @app.post("/predict")
    async def predict(data: dict[str, str]) -> dict[str, Any]:
        return predictor(data)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[2]), port=int(sys.argv[1]), log_level="warning", access_log=False)
