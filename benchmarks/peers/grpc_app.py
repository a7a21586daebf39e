"""Bare grpc.aio with the model in the same process, no validation. ``grpc_app.py PORT MODEL GRPC_PORT``."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.models import tensor_model


def _messages() -> Any:
    """Return the generated messages, without the package that they belong to."""
    file = Path(__file__).parents[2] / "mistk_service" / "doors" / "grpc" / "open_inference_pb2.py"
    spec = importlib.util.spec_from_file_location("open_inference_pb2", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def main(port: int, grpc_port: int) -> None:
    """Serve."""
    pb, infer = _messages(), tensor_model()

    async def model_infer(request: Any, _: Any) -> Any:
        shape = tuple(request.inputs[0].shape)
        pixels = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(shape)
        response = pb.ModelInferResponse(model_name=request.model_name)
        for name, array in infer({"pixels": pixels}).items():
            response.outputs.add(name=name, datatype="FP32", shape=array.shape)
            response.raw_output_contents.append(array.tobytes())
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        model_infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
    )
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    service = "inference.GRPCInferenceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"ModelInfer": handler}),))
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await server.start()
    app = Starlette(routes=[Route("/health", lambda _: Response(b"{}"))])
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning")).serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[3])))
