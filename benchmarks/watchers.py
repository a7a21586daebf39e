"""Open watches: ``python -m benchmarks.watchers PORT COUNT`` opens them, says ``open``, and reads until its input ends.

At the end it prints as JSON how many events and how many ends came.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys

from benchmarks.client import http_request
from benchmarks.servers import API, allow_many_connections

__all__: list[str] = []


def _open(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(http_request(f"{API}/status?watch=true", None))
    return sock


def main(port: int, count: int) -> None:
    """See the module."""
    allow_many_connections()
    selector = selectors.DefaultSelector()
    quiet = set()
    for _ in range(count):
        sock = _open(port)
        selector.register(sock, selectors.EVENT_READ)
        quiet.add(sock)
    selector.register(sys.stdin, selectors.EVENT_READ)
    events = ends = 0
    announced = False
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                print(json.dumps({"events": events, "ends": ends}), flush=True)
                return
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            data = sock.recv(1 << 16)
            events += data.count(b'"eventType"')
            quiet.discard(sock)
            if not data:
                ends += 1
                selector.unregister(sock)
        if not quiet and not announced:
            announced = True
            print("open", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
