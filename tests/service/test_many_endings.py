"""A hundred ends of all kinds, at all moments: each has exit code 0, shows no traceback and leaves no process behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.service.harness import ANSWER_TIME, API, OBEDIENT, all_gone, wait_until
from tests.support import preloaded

ENDINGS = 100

#: Services at a time; more would only make each slower.
AT_A_TIME = 4

GRACE = 2.0

#: What the service is doing when it ends; most are trainings of the model.
DOINGS = ("starting", "nothing", "steps_for_ever", "report_for_ever", "raise", "ignore_everything", "paused", "watched")

#: How it is ended.
ENDS = ("SIGTERM", "SIGINT", "shutdown", "SIGTERM twice", "SIGINT twice", "shutdown and SIGINT", "SIGINT thrice")

#: What Python prints, apart from tracebacks, where something went wrong at the end.
FAULTS = ("Exception ignored", "Fatal Python", "never retrieved", "Task was destroyed")

OPTIONS = ((), ("--worker", "thread"), ("--no-tracking",), ("--tracking-uri", "SILENT"))


class Preloaded:
    """Starts services by forking a process that has loaded all of the service; see :mod:`tests.support.preloaded`."""

    def __init__(self) -> None:
        # Not measured: coverage.py saves its data while other threads still run, which crashes a process now and then.
        foreign = ("MISTK_", "MLFLOW_", "COVERAGE_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        command = [sys.executable, "-m", preloaded.__name__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean)
        self._lock = threading.Lock()
        self._news = threading.Condition()
        self._started: list[int] = []
        self._codes: dict[int, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, folder: Path, log: Path, *arguments: str) -> int:
        """Start a service, and return its process id."""
        assert self._process.stdin is not None
        with self._lock, self._news:
            self._process.stdin.write(json.dumps([str(folder), str(log), *arguments]) + "\n")
            self._process.stdin.flush()
            assert self._news.wait_for(lambda: self._started, ANSWER_TIME)
            return self._started.pop()

    def wait(self, pid: int) -> int:
        """Wait until a service has ended, and return its exit code."""
        with self._news:
            assert self._news.wait_for(lambda: pid in self._codes, ANSWER_TIME), "it does not end"
            return self._codes[pid]

    def has_ended(self, pid: int) -> bool:
        """Return whether a service has ended."""
        return pid in self._codes

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(ANSWER_TIME)
        self._reader.join(ANSWER_TIME)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                word, *numbers = line.split()
                with self._news:
                    if word == "started":
                        self._started.append(int(numbers[0]))
                    else:
                        self._codes[int(numbers[0])] = int(numbers[1])
                    self._news.notify_all()


@pytest.fixture
def services() -> Iterator[Preloaded]:
    """What starts services."""
    process = Preloaded()
    yield process
    process.close()


def prepare(api: httpx.Client, doing: str) -> None:
    """Bring a service to what it is to be doing."""
    train = "steps_for_ever" if doing in ("paused", "watched") else doing
    do(api, "initialize", "initialized", {"hyperparameters": {"train": train}})
    do(api, "buildModel", "ready")
    if doing != "nothing":
        api.post("/train")
    if doing == "paused":
        do(api, "pause", "paused")


def do(api: httpx.Client, operation: str, state: str, body: object = None) -> None:
    """Call an operation and wait for the state to which it leads."""
    assert api.post(f"/{operation}", json=body).status_code == 200
    wait_until(lambda: api.get("/status").json()["state"] == state, every=0.01)


def end(api: httpx.Client | None, pid: int, how: str, pause: float) -> None:
    """End a service; a signal that follows comes after a pause."""
    for number, name in enumerate(ways(how)):
        if number:
            time.sleep(pause)
        if name == "shutdown" and api is not None:
            api.post("/shutdown")
            continue
        try:
            os.kill(pid, signal.Signals[name if name != "shutdown" else "SIGTERM"])
        except ProcessLookupError:
            return


def ways(how: str) -> list[str]:
    first, *rest = how.split()
    times = {"twice": 2, "thrice": 3}.get(rest[0], 1) if rest else 1
    return [first] * times + [word for word in rest[1:] if rest[0] == "and"]


def one_ending(services: Preloaded, folder: Path, number: int, silent: str) -> str:
    """Start a service and end it; return what is wrong with that, if anything is."""
    chance = random.Random(number)
    doing, how = DOINGS[number % len(DOINGS)], ENDS[number % len(ENDS)]
    options = tuple(silent if word == "SILENT" else word for word in chance.choice(OPTIONS))
    folder.mkdir()
    log, address = folder / "log", folder / "url"
    arguments = ("serve", OBEDIENT, "--port", "0", "--grace", str(GRACE), "--url-file", str(address), *options)
    pid = services.start(folder, log, *arguments)
    process = psutil.Process(pid)
    children: list[psutil.Process] = []
    with httpx.Client(timeout=ANSWER_TIME) as api:
        if doing == "starting":
            wait_until(log.exists, every=0.005)
            wait_until(log.read_text, every=0.005)
            time.sleep(chance.uniform(0.0, 0.6))
        else:
            wait_until(lambda: (log.exists() and "Serving" in log.read_text()) or services.has_ended(pid), every=0.01)
            if not address.exists():
                return f"{doing}, {how}, {options}: it ended by itself: {log.read_text()}"
            api.base_url = address.read_text().strip() + API
            prepare(api, doing)
            children = process.children(recursive=True)
        began = time.monotonic()
        if doing == "watched":
            with api.stream("GET", "/status", params={"watch": "true"}) as answer:
                end(api, pid, how, chance.uniform(0.0, 0.4))
                with contextlib.suppress(httpx.TransportError):  # a second signal cuts it off
                    answer.read()
        else:
            end(None if doing == "starting" else api, pid, how, chance.uniform(0.0, 0.4))
    code, took = services.wait(pid), time.monotonic() - began
    text = log.read_text()
    told = f"{number}: {doing}, {how}, {options}: code {code} after {took:.2f} s"
    wrong = code != 0 or not all_gone(children)
    wrong = wrong or text.count("Traceback") > (doing == "raise") or any(fault in text for fault in FAULTS)
    return f"{told}\n{text}" if wrong else ""


@pytest.mark.timeout(300)
def test_a_hundred_endings_show_no_traceback(services: Preloaded, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(AT_A_TIME) as pool:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = pool.map(lambda n: one_ending(services, tmp_path / str(n), n, url), range(ENDINGS))
        wrong = [text for text in found if text]
    assert not wrong, "\n\n".join(wrong)
