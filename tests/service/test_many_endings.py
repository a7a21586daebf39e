"""Every kind of end, whatever the service is doing: each has exit code 0, shows no traceback and leaves no process behind."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.service.harness import API, OBEDIENT, REQUEST_TIMEOUT, all_gone, wait_until
from tests.support.preloaded import Forked, clean_environment, starter

#: Services at a time; more would only make each slower.
AT_A_TIME = 4

GRACE = 2.0

#: What the service is doing when it ends; most are trainings of the model.
DOINGS = ("starting", "nothing", "steps_for_ever", "report_for_ever", "raise", "ignore_everything", "paused", "watched")

#: How it is ended.
ENDS = ("SIGTERM", "SIGINT", "shutdown", "SIGTERM twice", "SIGINT twice", "shutdown and SIGINT", "SIGINT thrice")

#: What Python prints, apart from tracebacks, where something went wrong at the end.
FAULTS = ("Exception ignored", "Fatal Python", "never retrieved", "Task was destroyed")

#: Each way to end it in each of its doings once, as the two numbers have no common divisor. A quarter of them, with every
#: doing and every end, are tried on every change.
ENDINGS = len(DOINGS) * len(ENDS)

OPTIONS = ((), ("--worker", "thread"), ("--no-tracking",), ("--tracking-uri", "SILENT"))


ENVIRONMENT = clean_environment(measured=False)


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


def end(api: httpx.Client | None, process: Forked, how: str, pause: float) -> None:
    """End a service; a signal that follows comes after a pause."""
    for number, name in enumerate(ways(how)):
        if number:
            time.sleep(pause)
        if name == "shutdown" and api is not None:
            api.post("/shutdown")
            continue
        process.send_signal(signal.Signals[name if name != "shutdown" else "SIGTERM"])


def ways(how: str) -> list[str]:
    first, *rest = how.split()
    times = {"twice": 2, "thrice": 3}.get(rest[0], 1) if rest else 1
    return [first] * times + [word for word in rest[1:] if rest[0] == "and"]


def one_ending(folder: Path, number: int, silent: str) -> str:
    """Start a service and end it; return what is wrong with that, if anything is."""
    chance = random.Random(number)
    doing, how = DOINGS[number % len(DOINGS)], ENDS[number % len(ENDS)]
    options = tuple(silent if word == "SILENT" else word for word in chance.choice(OPTIONS))
    folder.mkdir()
    log, address = folder / "log", folder / "url"
    command = ("-m", "mistk_service", "serve")
    arguments = (*command, OBEDIENT, "--port", "0", "--grace", str(GRACE), "--url-file", str(address), *options)
    with log.open("wb") as file:
        services = starter(measured=False)
        process = services.start(*arguments, cwd=folder, env=ENVIRONMENT, stdout=file.fileno(), stderr=file.fileno())
    children: list[psutil.Process] = []
    with httpx.Client(timeout=REQUEST_TIMEOUT) as api:
        if doing == "starting":
            wait_until(log.read_text, every=0.005)
            time.sleep(chance.uniform(0.0, 0.6))
        else:
            wait_until(lambda: "Serving" in log.read_text() or process.poll() is not None, every=0.01)
            if not address.exists():
                return f"{doing}, {how}, {options}: it ended by itself: {log.read_text()}"
            api.base_url = address.read_text().strip() + API
            prepare(api, doing)
            children = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        if doing == "watched":
            with api.stream("GET", "/status", params={"watch": "true"}) as answer:
                end(api, process, how, chance.uniform(0.0, 0.4))
                with contextlib.suppress(httpx.TransportError):  # a second signal cuts it off
                    answer.read()
        else:
            end(None if doing == "starting" else api, process, how, chance.uniform(0.0, 0.4))
    code, took = process.wait(REQUEST_TIMEOUT), time.monotonic() - began
    text = log.read_text()
    told = f"{number}: {doing}, {how}, {options}: code {code} after {took:.2f} s"
    wrong = code != 0 or not all_gone(children)
    wrong = wrong or text.count("Traceback") > (doing == "raise") or any(fault in text for fault in FAULTS)
    return f"{told}\n{text}" if wrong else ""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param(range(ENDINGS // 4), id="some"),
        pytest.param(range(ENDINGS // 4, ENDINGS), id="the others", marks=pytest.mark.nightly),
    ],
)
def test_no_ending_shows_a_traceback(tmp_path: Path, numbers: range) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(AT_A_TIME) as pool:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = pool.map(lambda n: one_ending(tmp_path / str(n), n, url), numbers)
        wrong = [text for text in found if text]
    assert not wrong, "\n\n".join(wrong)
