"""A container in a process of its own, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mistk_service.errors import MistkError, SettingsError
from mistk_service.web.listening import bind

__all__ = ["ServiceProcess", "free_port"]

#: Seconds until the service answers, and until it has ended after it was told to.
_START, _STOP = 60.0, 20.0


def free_port(wanted: int) -> int:
    """Return the port that is wanted, or where it is taken 0, which stands for any that is free."""
    try:
        bind("127.0.0.1", wanted).close()
    except SettingsError:
        return 0
    return wanted


class ServiceProcess:
    """Runs ``mistk-service serve``; ends it at the end of the block, however that is reached.

    Args:
        model: the reference of the model.
        port: where to listen; see :func:`free_port`.
        state_dir: the folder for what outlives the process.

    Attributes:
        url: where it answers.
    """

    def __init__(self, model: str, port: int, state_dir: Path) -> None:
        self.url = ""
        self._model = model
        self._port = port
        self._state_dir = state_dir
        self._process: subprocess.Popen[str] | None = None
        self._lines: deque[str] = deque(maxlen=100)
        self._listening = threading.Event()

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "mistk_service", "serve", self._model, "--port", str(self._port)]
        # In a session of its own: Ctrl-C in the terminal is for the demonstration, which then ends the service in order.
        # The pipe ends with this process, and then the service does too, should there be no time for order.
        self._process = subprocess.Popen(
            [*command, "--state-dir", str(self._state_dir), "--log-level", "warning", "--stdin-lifeline"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        threading.Thread(target=self._read, args=(self._process.stderr,), daemon=True).start()
        try:
            self._wait_listening()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def wait_ended(self) -> int:
        """Wait until the service has ended by itself, and return its exit code."""
        assert self._process is not None
        return self._process.wait(_STOP)

    def stop(self) -> None:
        """End the service, if it still runs."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP)
        process.kill()  # does nothing to one that has ended
        process.wait()
        assert process.stdin is not None
        process.stdin.close()

    def _wait_listening(self) -> None:
        if not self._listening.wait(_START) or not self.url:
            printed = "\n".join(self._lines)
            raise MistkError(f"The service did not start. It printed:\n{printed}")

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.append(line.rstrip())
                if not self.url and (found := re.search(r"^Serving .*? at (http://\S+)", line)):
                    self.url = found[1]
                    self._listening.set()
        self._listening.set()
