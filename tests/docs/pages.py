"""The code blocks of the documentation, and a runner that executes those of one page in order.

A comment directly above a block says how it is treated:

* no comment: it is run, as a shell script or a Python program;
* ``<!-- file: NAME -->``: it is written to a file for the blocks that follow;
* ``<!-- server -->``: it is run in the background until the page ends;
* ``<!-- prints: TEXT -->``: it is run, and its output must contain the text;
* ``<!-- refused: TEXT -->``: likewise, and the service may answer with an error;
* ``<!-- not run: REASON -->``: it is only parsed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.preloaded import run_python, starter

ROOT = Path(__file__).parents[2]
LANGUAGES = ("sh", "python", "yaml", "json")
#: What ``mistk-service`` is in the shells.
FORKED_COMMAND = ROOT / "tests" / "support" / "forked_command.py"
#: Those that are data, which is only parsed, or written to a file.
DATA = ("yaml", "json")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "mistk_service" / "tracking" / "README.md",
    *sorted((ROOT / "plugins").glob("*/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_BLOCK = re.compile(r"(?:<!-- (?P<how>.+?) -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$", re.M | re.S)
_KEPT = re.compile(r"export |\w+=\S+$|\w+\(\) \{")
_WITH_MLFLOW = re.compile(r"\b(mlflow|sklearn|pandas)\b")
_STARTED = re.compile(r"Serving |Tracking server at ")


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, and the comment above it."""

    language: str
    code: str
    how: str

    @property
    def is_run(self) -> bool:
        """Whether the block is executed."""
        return not self.how.startswith("not run: ")

    @property
    def is_file(self) -> bool:
        """Whether the block is written to a file."""
        return self.how.startswith("file: ")


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page that are code."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["language"], each["code"], each["how"] or "") for each in found if each["language"] in LANGUAGES]


class PageRun:
    """Runs the blocks of a page in a folder of their own, on free ports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in ("8080", "8081", "5000", "5001")}
        self._prelude: list[str] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        commands = folder / ".commands"
        commands.mkdir()
        command = commands / "mistk-service"
        command.write_text(f"#!{sys.executable} -IS\n{FORKED_COMMAND.read_text(encoding='utf-8')}", encoding="utf-8")
        command.chmod(0o755)
        self._starter = starter().requests.fileno()
        path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
        more = {"PATH": path, "MISTK_PORT": self._ports["8080"], "MISTK_TEST_STARTER": str(self._starter)}
        self._env = os.environ | more
        (folder / "plugins").symlink_to(ROOT / "plugins")

    def run(self, block: Block) -> None:
        """Do with a block what the comment above it says."""
        code = re.sub(r"\b(8080|8081|5000|5001)\b", lambda found: self._ports[found[1]], block.code)
        code = re.sub(r"^\. \.venv/bin/activate\n", "", code, flags=re.M)
        kind, _, argument = block.how.partition(": ")
        if kind == "file":
            (self._folder / argument).write_text(code, encoding="utf-8")
        elif kind == "server":
            self._serve(code)
        else:
            output = self._output(block.language, code)
            assert argument in output
            assert kind == "refused" or '"code":4' not in output, output

    def _output(self, language: str, code: str) -> str:
        if language == "python":
            loaded = "mlflow" if _WITH_MLFLOW.search(code) else "service"
            return run_python("-c", code, cwd=self._folder, env=self._env, loaded=loaded)
        command = ["bash", "-c", "\n".join(["set -e", *self._prelude, code])]
        self._prelude += [line for line in code.splitlines() if _KEPT.match(line)]
        done = subprocess.run(
            command, cwd=self._folder, env=self._env, pass_fds=[self._starter],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _serve(self, code: str) -> None:
        script = "\n".join([*self._prelude, f"exec {code.strip()}"])
        log = self._folder / f"server-{len(self._servers)}.log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                ["bash", "-c", script], cwd=self._folder, env=self._env, stderr=output, pass_fds=[self._starter]
            )
        self._servers.append(server)
        while not _STARTED.search(log.read_text(encoding="utf-8")):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.02)

    def close(self) -> None:
        """End the servers; each must end with exit code 0."""
        for server in self._servers:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
        codes = [server.wait(timeout=30) for server in self._servers]
        assert codes == [0] * len(codes), codes


@contextlib.contextmanager
def page_run(folder: Path) -> Iterator[PageRun]:
    """Give a runner, and end its servers."""
    run = PageRun(folder)
    try:
        yield run
    finally:
        run.close()


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
