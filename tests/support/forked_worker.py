"""Workers whose processes are forked by one that has loaded what a worker loads, for a tenth of the processor time."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import cast

from mistk_service.workers.host.process import ProcessWorker
from tests.support.preloaded import starter


class ForkedWorker(ProcessWorker):
    """A worker in its own process, which is everything but a new interpreter."""

    def _spawn(self, theirs: socket.socket, lifeline: int) -> subprocess.Popen[bytes]:
        passed = (theirs.fileno(), lifeline)
        reader, writer = os.pipe()
        try:
            process = starter("worker").start(
                *self._arguments(*passed),
                cwd=Path.cwd(),
                env=os.environ,
                stdout=writer,
                stderr=writer,
                pass_fds=passed,
                start_new_session=True,
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        process.stdout = os.fdopen(reader, "rb")
        return cast("subprocess.Popen[bytes]", process)
