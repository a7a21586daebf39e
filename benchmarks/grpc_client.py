"""The load on a gRPC server: concurrent calls with the same message, in a separate process.

``python -m benchmarks.grpc_client PORT CALLS SECONDS`` takes the message on its input, and prints the calls a second.
"""

from __future__ import annotations

import asyncio
import sys
import time

import grpc

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


async def main(port: int, calls: int, seconds: float) -> None:
    """Put the load on, and print."""
    message = sys.stdin.buffer.read()
    # Without messages of its own, the client costs little.
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(_METHOD)
        for _ in range(20):
            await call(message)
        end, done = time.perf_counter() + seconds, 0

        async def ask() -> None:
            nonlocal done
            while time.perf_counter() < end:
                if not await call(message):
                    raise RuntimeError("an empty response")
                done += 1

        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(calls)))
        print(done / (time.perf_counter() - began))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
