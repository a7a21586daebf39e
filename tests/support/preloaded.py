"""Starts services in a fraction of a second: a process that has loaded all of the service, and forks for each.

Reads a JSON array ``[folder, log file, *arguments]`` a line. Writes ``started PID`` for each, and ``ended PID CODE`` later.
"""

from __future__ import annotations

import json
import os
import select

# What a service would load on a thread after it listens.
import mistk_service.app.asgi
import mistk_service.app.container
import mistk_service.tracking.replication
import mistk_service.tracking.rest
import mistk_service.tracking.server.app
import mistk_service.tracking.sql  # noqa: F401
from mistk_service.app.cli import main


def serve(folder: str, log: str, *arguments: str) -> None:
    """Be a service, from here to the end of the interpreter."""
    os.chdir(folder)
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for descriptor, target in ((os.open(os.devnull, os.O_RDWR), 0), (file, 1), (file, 2)):
        os.dup2(descriptor, target)
    main(arguments, prog_name="mistk-service")


def follow() -> None:
    """Start what standard input asks for, until it ends."""
    requests = os.fdopen(0, "rb", buffering=0, closefd=False)
    while True:
        if select.select([requests], [], [], 0.02)[0]:
            line = requests.readline()
            if not line:
                return
            pid = os.fork()
            if not pid:
                requests.close()
                serve(*json.loads(line))
            print("started", pid, flush=True)
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            continue
        if pid:
            print("ended", pid, os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    follow()
