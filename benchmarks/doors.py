"""Compares the prediction APIs with MLServer, bare grpc.aio, Starlette and LitServe's streaming."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.client import Load, Result
from benchmarks.measures import put_load
from benchmarks.models import parts
from benchmarks.servers import Server, running
from benchmarks.table import Row

__all__ = [
    "GRPC_PEER",
    "INFER",
    "ROWS",
    "alternately_undeclared",
    "in_json",
    "in_parts",
    "large_json",
    "large_numpy",
    "large_raw",
    "over_grpc",
    "streams",
]

INFER = "/v2/models/undeclared/infer"

#: The images of the large request: 38 MB of float32.
_IMAGES = (64, 3, 224, 224)

#: The number of concurrent calls of gRPC.
_CALLS = 16

#: Streams at once, the parts of each, and how often the first part of one alone is awaited.
_STREAMS, _PARTS, _ALONE = 500, 100, 200

GRPC_PEER = "grpc.aio"

ROWS = [
    Row("OIP in JSON, 16 connections, MLServer", ("tensors", "json"), ("mlserver", "json"), "/s", 8),
    Row("OIP in JSON, 16 connections, Starlette", ("tensors", "json"), ("starlette json", "json"), "/s", None),
    Row("OIP in bytes, 38 MB / in JSON, MLServer", ("tensors", "raw"), ("mlserver large", "json"), "/s", 20),
    Row("OIP in bytes, 38 MB, Starlette", ("tensors", "raw"), ("starlette large", "raw"), "/s", 0.6),
    Row("OIP over gRPC, 1 record, MLServer", ("tensors", "grpc1"), ("mlserver", "grpc1"), "/s", 3),
    Row("OIP over gRPC, 1,000 records, MLServer", ("tensors", "grpc1000"), ("mlserver", "grpc1000"), "/s", 3),
    Row("OIP over gRPC, 1 record, grpc.aio", ("tensors", "grpc1"), (GRPC_PEER, "grpc1"), "/s", 0.5),
    Row("OIP over gRPC, 1,000 records, grpc.aio", ("tensors", "grpc1000"), (GRPC_PEER, "grpc1000"), "/s", 0.5),
    Row("first part over the generator's, p50", ("parts", "first"), None, "ms", 2, at_least=False),
    Row("parts of 500 streams, LitServe", ("parts", "rate"), ("litserve streams", "rate"), "/s", 3),
    Row("OIP in JSON, declared / undeclared", ("declared", "json"), ("declared", "undeclared"), "/s", 0.9),
]


def in_json(server: Server, seconds: float) -> dict[str, float]:
    """Ask for one record in JSON, with 16 connections."""
    pixels = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": [n / 64 for n in range(64)]}
    body = json.dumps({"inputs": [pixels]})
    for warm in (min(1.0, seconds), seconds):
        result = put_load(Load(server.port, server.predict, body, 16, warm))
    return {"json": result.rate}


def alternately_undeclared(
    server: Server, seconds: float, start_undeclared: Callable[[], Server], turns: int = 8
) -> dict[str, float]:
    """Alternate between a declared model and an undeclared one: they differ less than two rounds of the same model."""
    with running(start_undeclared) as undeclared:
        pairs = [(in_json(server, seconds / 2), in_json(undeclared, seconds / 2)) for _ in range(turns)]
    declared, other = zip(*pairs, strict=True)
    return {
        "json": statistics.median(each["json"] for each in declared),
        "undeclared": statistics.median(each["json"] for each in other),
    }


def over_grpc(server: Server, seconds: float) -> dict[str, float]:
    """Call with one record and with a thousand."""
    from benchmarks.grpc_load import call_rate  # it needs an extra
    from mistk_service.doors.grpc import open_inference_pb2 as pb

    found = {}
    for records in (1, 1000):
        request = pb.ModelInferRequest(model_name="undeclared")
        request.inputs.add(name="pixels", datatype="FP32", shape=[records, 64])
        request.raw_input_contents.append(_values((records, 64)).tobytes())
        found[f"grpc{records}"] = call_rate(server.grpc_port, request.SerializeToString(), _CALLS, seconds)
    return found


def large_raw(server: Server, seconds: float) -> dict[str, float]:
    """Send the images as bytes after the JSON."""
    data = _values(_IMAGES).tobytes()
    images = {**_described(), "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [images], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return {"raw": _large(server, server.predict, [head, data], headers, seconds)}


def large_json(server: Server, seconds: float) -> dict[str, float]:
    """Send the images in JSON; one request, which takes long."""
    values = b",".join(itertools.repeat(b"0.123456", int(np.prod(_IMAGES))))
    head, tail = json.dumps({"inputs": [{**_described(), "data": []}]}).encode().split(b"[]}]")
    whole = [head, b"[", values, b"]}]", tail]
    return {"json": _large(server, server.predict, whole, {"Content-Type": "application/json"}, seconds, limit=1)}


def large_numpy(server: Server, seconds: float) -> dict[str, float]:
    """Send the images as the body, to Starlette."""
    return {"raw": _large(server, "/means", [_values(_IMAGES).tobytes()], {}, seconds)}


def in_parts(server: Server, seconds: float) -> dict[str, float]:
    """Await the first part of one answer after another, and all parts of many at once."""
    calls = []
    for _ in range(_ALONE):
        began = time.perf_counter()
        next(parts(1))
        calls.append((time.perf_counter() - began) * 1000)
    first = _streams(server, 1, 20, _ALONE)[1]
    return {**streams(server, seconds), "first": first - statistics.median(calls)}


def streams(server: Server, _: float) -> dict[str, float]:
    """Await all parts of many answers at once."""
    return {"rate": _streams(server, _STREAMS, _PARTS, 1)[0]}


def _streams(server: Server, count: int, size: int, rounds: int) -> tuple[float, float]:
    """Return the parts a second, and the milliseconds until an answer has begun."""
    arguments = [str(each) for each in (server.port, server.predict, count, size, rounds)]
    command = [sys.executable, "-m", "benchmarks.streams", *arguments]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True)
    rate, first = map(float, done.stdout.split())
    return rate, first


def _large(
    server: Server, path: str, body: Sequence[bytes], headers: dict[str, str], seconds: float, limit: int | None = None
) -> float:
    """Return the answers a second to a large body, from one connection."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "body")
        file.write_bytes(b"".join(body))
        load: dict[str, Any] = {"file": str(file), "headers": headers}
        if limit is None:
            put_load(Load(server.port, path, seconds=60, limit=2, **load))
        result: Result = put_load(
            Load(server.port, path, seconds=600 if limit else max(3.0, seconds), limit=limit, **load)
        )
    return 1000 / result.p50


def _described() -> dict[str, Any]:
    return {"name": "images", "datatype": "FP32", "shape": list(_IMAGES)}


def _values(shape: tuple[int, ...]) -> np.ndarray:
    return np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
