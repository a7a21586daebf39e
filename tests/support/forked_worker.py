"""Starts workers by forking a process that has loaded what a worker loads, for a tenth of the processor time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tests.support.preloaded import starter


def fork_worker(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a worker with the arguments of :class:`subprocess.Popen`; it is everything but a new interpreter."""
    reader, writer = os.pipe()
    try:
        process = starter("worker").start(
            *command[1:],
            cwd=Path.cwd(),
            env=os.environ,
            stdout=writer,
            stderr=writer,
            pass_fds=options["pass_fds"],
            start_new_session=True,
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    process.stdout = os.fdopen(reader, "rb")
    return cast("subprocess.Popen[bytes]", process)
