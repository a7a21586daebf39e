"""Reads answers in parts, many at once or one after the other, in a separate process.

``python -m benchmarks.streams PORT PATH STREAMS PARTS ROUNDS`` prints the parts a second, and the median time in milliseconds
until an answer has begun.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

from benchmarks.client import http_request


async def _stream(port: int, request: bytes, parts: int, first: list[float]) -> None:
    """Read one answer to its end.

    Raises:
        RuntimeError: it does not have all its parts.
    """
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    seen = 0
    while seen < parts:
        data = await reader.read(1 << 16)
        count = data.count(b'"part"')
        if count and not seen:
            first.append((time.perf_counter() - began) * 1000)
        seen += count
        if not data:
            raise RuntimeError(f"an answer ended after {seen} of {parts} parts")
    writer.close()


async def main(port: int, path: str, streams: int, parts: int, rounds: int) -> None:
    """Put the load on, and print."""
    request = http_request(path, json.dumps({"n": str(parts)})).replace(
        b"application/json\r\nContent-L", b"*/*\r\nContent-L"
    )
    first: list[float] = []
    began = time.perf_counter()
    for _ in range(rounds):
        await asyncio.gather(*(_stream(port, request, parts, first) for _ in range(streams)))
    print(rounds * streams * parts / (time.perf_counter() - began), statistics.median(first))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
