"""No orphan is left behind, however the service exits and whatever the model is doing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.harness import MODELS, TIMEOUT

ROOT = Path(__file__).parents[2]

#: A service in small: it starts a worker, lets it train, prints the status that it gets, and then does nothing.
SERVICE = """
import asyncio, json, sys
from mistk_service.workers import messages as m
from mistk_service.workers.host.process import ProcessWorker

class Listener:
    def on_message(self, worker, message):
        if isinstance(message, m.Loaded):
            worker.send(m.Run(1, "do_initialize", ([], json.loads(sys.argv[2]), {})))
            worker.send(m.Run(2, "do_train"))
        if isinstance(message, m.StatusUpdated):
            print(json.dumps({**message.payload, "pid": worker.pid}), flush=True)

    def on_exit(self, worker, failure):
        print(json.dumps({"failed": failure.message}), flush=True)

async def main():
    worker = ProcessWorker(sys.argv[1], Listener())
    await worker.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


class SmallService:
    """The process, and the status that its model gave."""

    def __init__(self, model: str, properties: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, model, json.dumps(properties)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.status = json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        """End it in a way that gives it no chance to do anything about its worker."""
        self.process.kill()
        self.process.wait(TIMEOUT)


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[SmallService]:
    service = SmallService(*request.param)
    yield service
    service.kill()
    assert service.process.stdout is not None
    service.process.stdout.close()


def gone(pids: list[int]) -> bool:
    """Wait until there are no such processes any more; one that is not reaped yet has ended."""
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs([p for p in processes if p.status() != psutil.STATUS_ZOMBIE], timeout=TIMEOUT)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


@pytest.mark.parametrize(
    "service",
    [(f"{MODELS}/blocks.py:Blocks", {"how": how}) for how in ("wait", "loop", "gil", "ignores everything")],
    indirect=True,
    ids=["waits", "computes", "holds the interpreter's lock", "ignores its stop"],
)
def test_a_worker_ends_with_its_service(service: SmallService):
    pid = service.status["pid"]
    assert psutil.pid_exists(pid)
    service.kill()
    assert gone([pid])


@pytest.mark.parametrize(
    "service",
    [(f"{MODELS}/starts_others.py:StartsOthers", {"then": then}) for then in ("wait", "gil")],
    indirect=True,
    ids=["waits", "holds the interpreter's lock"],
)
def test_what_a_model_started_ends_with_the_service(service: SmallService):
    pids = [service.status["pid"], *service.status["started"]]
    assert all(map(psutil.pid_exists, pids))
    service.kill()
    assert gone(pids)


#: What becomes of the orphans of a worker when they come to the service, as to the first process of a container.
FIRST_PROCESS = """
import asyncio, os, sys, threading
from mistk_service.workers import messages as m
from mistk_service.workers.host.process import ProcessWorker

class Listener:
    def on_message(self, worker, message):
        if isinstance(message, m.Loaded):
            worker.send(m.Run(1, "do_initialize", ([], {}, {})))
            worker.send(m.Run(2, "do_train"))
        elif isinstance(message, m.Done) and message.id == 2:
            worker.send(m.Exit("do_terminate"))

    def on_exit(self, worker, failure):
        print("ended:", failure.message)

async def main():
    worker = ProcessWorker(sys.argv[1], Listener())
    await worker.start()
    await worker.wait_exited()

assert os.getpid() == 1
asyncio.run(main())
for thread in threading.enumerate():
    if thread.name.startswith("mistk-"):
        thread.join()
try:
    print("left:", os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child is left")
"""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, to be the first process of a namespace")
def test_the_first_process_of_a_container_keeps_no_zombies():
    command = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if (tried := run([*command, "true"])).returncode:
        pytest.skip(f"no process namespaces here: {tried.stderr}")
    ran = run([*command, sys.executable, "-c", FIRST_PROCESS, f"{MODELS}/starts_others.py:StartsOthers"])
    assert ran.stdout.splitlines()[-1:] == ["no child is left"], ran
