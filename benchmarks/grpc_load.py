"""The load on a gRPC server: h2load of nghttp2. It is written in C, and leaves the processors to the server."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import grpc

__all__ = ["call_rate"]

_METHOD = "/inference.GRPCInferenceService/ModelInfer"

#: The flag and the length before each message.
_PREFIX = 5


def call_rate(port: int, message: bytes, calls: int, seconds: float) -> float:
    """Send the same message again and again over one connection, ``calls`` at a time, and return the calls a second.

    Raises:
        RuntimeError: h2load is not installed, or a call had no complete response.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        size = _PREFIX + len(channel.unary_unary(_METHOD)(message, wait_for_ready=True, timeout=60))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "message")
        file.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        output = _h2load(
            *("--clients=1", "--threads=1", f"--max-concurrent-streams={calls}", f"--data={file}"),
            *(f"--warm-up-time={_ms(min(1.0, seconds))}", f"--duration={_ms(seconds)}"),
            *("--header=content-type: application/grpc", "--header=te: trailers"),
            f"http://127.0.0.1:{port}{_METHOD}",
        )
    found = re.search(r" (\d+) done, (\d+) succeeded,.*traffic:.* \((\d+)\) data", output, re.DOTALL)
    done, succeeded, received = map(int, found.groups()) if found else (0, 0, 0)
    # A call that fails has the status 200 too, but no message.
    if done == 0 or succeeded < done or received < done * size:
        raise RuntimeError(f"expected responses of {size} bytes: {output}")
    return done / seconds


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"


def _h2load(*arguments: str) -> str:
    program = shutil.which("h2load")
    if program is None:
        raise RuntimeError("h2load is not installed; on Debian it is in the package nghttp2-client.")
    return subprocess.run([program, *arguments], text=True, stdout=subprocess.PIPE, check=True).stdout
