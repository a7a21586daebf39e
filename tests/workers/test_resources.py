"""A worker that cannot be started leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mistk_service import errors
from mistk_service.workers import messages as m
from mistk_service.workers.host.process import ProcessWorker
from tests.service.harness import wait_until
from tests.support.harness import TIMEOUT, Listener, make_worker, reference

pytestmark = pytest.mark.anyio

Hire = Callable[..., Any]


async def test_a_start_that_is_cancelled_leaves_nothing_behind(kind: str):
    for turns in range(4):
        listener = Listener()
        worker = make_worker(kind, reference("nothing:Nothing"), listener)
        starting = asyncio.ensure_future(worker.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        if worker.pid is None and turns == 0:
            continue  # it had not even begun
        worker.kill()
        await listener.until_exit()


async def test_a_process_that_cannot_be_started_is_a_worker_that_died(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    listener = Listener()
    worker = ProcessWorker(reference("nothing:Nothing"), listener)
    with pytest.raises(errors.WorkerDied, match=r"could not be started: .*No such file"):
        await worker.start()
    assert "could not be started" in (await listener.until_exit()).message


def refuse(*_: object, **__: object) -> None:
    """Be a system that has no more of something."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def no_thread(number: int) -> Callable[..., None]:
    """Return what starts threads up to a number, and then is a system that has no more."""
    count = itertools.count(1)
    start = threading.Thread.start

    def start_or_refuse(thread: threading.Thread) -> None:
        if next(count) >= number:
            raise RuntimeError("can't start new thread")
        start(thread)

    return start_or_refuse


#: By name, the kinds of worker that need it, and what is replaced to have it run out.
SHORTAGES: dict[str, tuple[str, Any, str, Any]] = {
    "no sockets": ("thread, new interpreter", socket, "socketpair", refuse),
    "no pipe": ("new interpreter", os, "pipe", refuse),
    "no process": ("new interpreter", subprocess, "Popen", refuse),
    "no thread": ("thread, new interpreter", threading.Thread, "start", no_thread(1)),
    "no second thread": ("new interpreter", threading.Thread, "start", no_thread(2)),
    "no channel": ("thread, new interpreter", asyncio.SelectorEventLoop, "create_connection", refuse),
}


@pytest.mark.local
@pytest.mark.parametrize("kind", ["thread", "new interpreter"])
@pytest.mark.parametrize("shortage", SHORTAGES)
async def test_a_worker_that_cannot_be_started_has_ended_and_leaves_nothing_behind(
    kind: str, shortage: str, monkeypatch: pytest.MonkeyPatch
):
    kinds, *patch = SHORTAGES[shortage]
    if kind not in kinds:
        pytest.skip("this kind of worker needs no such thing")
    listener = Listener()
    worker = make_worker(kind, reference("nothing:Nothing"), listener)
    before = held()
    with monkeypatch.context() as short:
        short.setattr(*patch)
        with pytest.raises(errors.WorkerDied, match="could not be started") as caught:
            await worker.start()
    assert worker.exited
    assert listener.failure == caught.value.failure
    worker.kill()  # it does no harm
    await worker.wait_exited()
    # A thread that ends may start another one before that, and the event loop closes what the last one has left.
    await asyncio.to_thread(wait_until, lambda: held() <= before, every=0.01)


def held() -> set[object]:
    """Return what this process holds for its workers, those of earlier tests included: threads, open files and children."""
    return {*threads_of_workers(), *open_files(), *psutil.Process().children()}


def threads_of_workers() -> set[threading.Thread]:
    """Return the threads that serve a worker."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("mistk-")}


def open_files() -> set[object]:
    """Return the files that this process has open, by what they are and not by their number, which the next one gets."""
    files: set[object] = set()
    for descriptor in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the one that the list was read from is closed by now
            found = os.fstat(int(descriptor))
            files.add((found.st_dev, found.st_ino))
    return files


@pytest.mark.local
async def test_a_program_that_has_left_the_workers_group_holds_no_thread_and_no_file(hire: Hire, tmp_path: Path):
    source = tmp_path / "starts_a_daemon.py"
    source.write_text(
        "import subprocess, sys\n"
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_train(self):\n"
        "        code = 'import signal; signal.pause()'\n"
        "        self.update_status(subprocess.Popen([sys.executable, '-c', code], start_new_session=True).pid)\n"
    )
    files = open_files()
    worker = await hire(f"{source}:Model")
    output = next(thread for thread in threading.enumerate() if thread.name == f"mistk-output-{worker.worker.pid}")
    worker.send(m.Run(1, "do_train"))
    daemon = (await worker.until(m.StatusUpdated)).payload
    try:
        worker.send(m.Exit("do_terminate"))
        await worker.listener.until_exit()
        output.join(TIMEOUT)
        assert not output.is_alive()
        assert open_files() <= files
    finally:
        os.kill(daemon, signal.SIGKILL)
