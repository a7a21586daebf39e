"""``mistk-service`` for the shells of tests: asks a process that has loaded it to fork, and ends as what was forked does.

Run with ``python -I -S``, which takes a twentieth of the time that it takes to load ``mistk-service``. The variable
MISTK_TEST_STARTER of the environment has the descriptor of :attr:`tests.support.preloaded.Starter.requests`.
"""

import contextlib
import json
import os
import signal
import socket
import sys

with socket.socket(fileno=int(os.environ["MISTK_TEST_STARTER"])) as requests:
    connection, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(requests, [b"\n"], [0, 1, 2, theirs.fileno()])
environment = {name: value for name, value in os.environ.items() if name != "MISTK_TEST_STARTER"}
request = [["-m", "mistk_service", *sys.argv[1:]], os.getcwd(), environment, False, []]
connection.sendall(json.dumps(request).encode() + b"\n")
lines = connection.makefile("rb")
pid = int(lines.readline())


def forward(number: int, _: object) -> None:
    """Pass a signal on, unless the process has just ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, forward)
code = int(lines.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
