"""The containers that a run drives: started from a class or an image, or running already."""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mistk_service.client import ContainerClient, launch
from mistk_service.errors import InvalidRequest, LaunchFailed, RequestFailed, ServiceUnreachable

#: The container engines, in order of preference.
_ENGINES = ("docker", "podman")

#: Maximum seconds for the response of an engine.
_ENGINE_TIMEOUT = 10.0

#: The port that a container of an image listens on.
_IMAGE_PORT = 8080

#: Maximum seconds until a container responds, seconds between two attempts, and maximum seconds until it has stopped.
_IMAGE_START, _IMAGE_RETRY, _IMAGE_STOP = 300.0, 0.2, 30

#: The number of lines of a container's output in an error.
_LINES = 100


@dataclass(frozen=True)
class Start:
    """How to start a container.

    Attributes:
        port: the port to listen on; 0 for a free one.
        keep: whether it keeps running after the run.
        on_output: called with each line of its output.
        paths: the files and folders to mount into the container of an image.
    """

    port: int
    keep: bool
    on_output: Callable[[str], object]
    paths: Sequence[str] = ()


def opened(
    text: str, client: type[ContainerClient], start: Start
) -> contextlib.AbstractContextManager[tuple[ContainerClient, str]]:
    """Return the client for a component, and the address of its container, for a ``with`` block.

    Args:
        text: an import path, a file with a class, the URL of a running container, or an image.
        client: the class of the client.
        start: how to start a container that is not running.

    Raises:
        InvalidRequest: the text is none of these.
    """
    if text.startswith(("http://", "https://")):
        return _running(text, client)
    reference = _reference(text)
    if reference is not None:
        return _launched(reference, client, start)
    failures: list[str] = []
    for name in _ENGINES:
        try:
            engine = _working_engine(name)
        except OSError as error:
            failures.append(f"{name}: {error}")
        else:
            return _image(engine, text, client, start)
    raise InvalidRequest(
        f"{text!r} is not a file, a URL or a module that can be found here, and no container engine can run it as an image "
        f"({'; '.join(failures)}). Expected package.module:Class, path/to/file.py:Class, http://HOST:PORT, or an image.",
        field=client.kind.name,
    )


def _working_engine(name: str) -> str:
    """Return the path of a container engine.

    Raises:
        OSError: its command is not installed, or cannot reach the engine.
    """
    command = shutil.which(name)
    if command is None:
        raise OSError("not installed")
    try:
        # The command contacts the engine too: a client alone is not enough.
        answer = subprocess.run(
            [command, "version"], check=False, capture_output=True, text=True, errors="replace", timeout=_ENGINE_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"no answer within {_ENGINE_TIMEOUT:g} s") from error
    if answer.returncode != 0:
        raise OSError(answer.stderr.strip() or f"exit code {answer.returncode}")
    return command


def _reference(text: str) -> str | None:
    """Return a component as ``mistk-service serve`` takes it; None if it is neither a file nor a module.

    Raises:
        InvalidRequest: it names a file that does not exist.
    """
    if ":" not in text and "/" not in text:  # MISTK's form: package.module.Class
        text = ":".join(text.rsplit(".", 1))
    module = text.rpartition(":")[0]
    if module.endswith(".py"):
        if not Path(module).expanduser().is_file():
            raise InvalidRequest(f"{module} is not a file; expected path/to/file.py:Class.", field="component")
        return text
    top = module.partition(".")[0]
    is_module = (
        top.isidentifier() and importlib.machinery.PathFinder.find_spec(top, [os.getcwd(), *sys.path]) is not None
    )
    return text if is_module else None


@contextlib.contextmanager
def _running(url: str, client: type[ContainerClient]) -> Iterator[tuple[ContainerClient, str]]:
    with client(url) as made:
        yield made, made.address


@contextlib.contextmanager
def _launched(reference: str, client: type[ContainerClient], start: Start) -> Iterator[tuple[ContainerClient, str]]:
    container = launch(reference, client, port=start.port, keep_running=start.keep, on_output=start.on_output)
    with container as made:
        yield made, container.url


@contextlib.contextmanager
def _image(
    engine: str, image: str, client: type[ContainerClient], start: Start
) -> Iterator[tuple[ContainerClient, str]]:
    """Run an image whose container sees the same paths as this process."""
    name, port = f"mistk-run-{uuid.uuid4().hex[:12]}", start.port or _free_port()
    mounts = [
        f"--volume={folder}:{folder}" for folder in sorted({_existing(path) for path in start.paths}) if folder != "/"
    ]
    published = f"--publish=127.0.0.1:{port}:{_IMAGE_PORT}"
    # An image of this service requires a log-in, and paths below /data; this container is published to this machine alone, and
    # sees nothing of it but the mounts.
    roots = (f"MISTK_{each}_ROOT=/" for each in ("DATA", "MODEL", "OUTPUT"))
    open_ = [f"--env={each}" for each in ("MISTK_INSECURE=1", *roots)]
    user = as_user(engine, os.getuid(), os.getgid())
    url, kept = f"http://127.0.0.1:{port}", False
    try:
        started = _run(engine, "run", "--detach", f"--name={name}", *user, published, *open_, *mounts, image)
        if started.returncode != 0:
            raise LaunchFailed(
                f"{image} could not be run: {started.stderr.strip()}", output=started.stderr.splitlines()
            )
        # It requires no log-in, so it does not get the token for others.
        with client(url, headers={"Authorization": ""}) as made:
            _wait_answering(made, engine, name)
            kept = start.keep
            yield made, url
    finally:
        if not kept:
            _end(engine, name, start.on_output)


def _end(engine: str, name: str, on_output: Callable[[str], object]) -> None:
    """Stop a container, pass on what it has printed, and remove it."""
    try:
        _run(engine, "stop", f"--time={_IMAGE_STOP}", name)
        for line in _printed(engine, name):
            on_output(line)
    finally:
        _run(engine, "rm", "--force", "--volumes", name)


def as_user(engine: str, uid: int, gid: int) -> list[str]:
    """Return the options with which a container writes files as a user of this machine."""
    user = [f"--user={uid}:{gid}"]
    # Without root, podman gives the container other users, to whom the folders do not belong.
    return [*user, "--userns=keep-id"] if uid and Path(engine).name == "podman" else user


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")


def _printed(engine: str, name: str) -> list[str]:
    """Return the lines that a container has printed; none if there is no such container."""
    logs = _run(engine, "logs", name)
    return [] if logs.returncode else (logs.stdout + logs.stderr).splitlines()


def _wait_answering(client: ContainerClient, engine: str, name: str) -> None:
    """Wait until a container answers.

    Raises:
        LaunchFailed: it has ended, or took too long.
    """
    deadline = time.monotonic() + _IMAGE_START
    silent = subprocess.DEVNULL
    with subprocess.Popen([engine, "wait", name], stdin=silent, stdout=silent, stderr=silent) as end:
        try:
            while not _is_serving(client):
                if end.poll() is not None or time.monotonic() > deadline:
                    lines = _printed(engine, name)[-_LINES:]
                    printed = "\n".join(lines)
                    raise LaunchFailed(f"The container did not start. It printed:\n{printed}", output=lines)
                time.sleep(_IMAGE_RETRY)
        finally:
            end.kill()


def _is_serving(client: ContainerClient) -> bool:
    try:
        client.status()
    except (ServiceUnreachable, RequestFailed):
        return False
    return True


def _existing(path: str) -> str:
    """Return the nearest folder that exists."""
    folder = Path(path)
    while not folder.is_dir():
        folder = folder.parent
    return str(folder)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
